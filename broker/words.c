/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/words.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "common/cgroup_limit.h"
#include "common/log_code.h"
#include "common/sandbox_layer.h"

struct text {
    char *buffer; /* WORDS_SIZE bytes, always terminated */
    size_t length;
};

static struct text begin(char buffer[WORDS_SIZE])
{
    buffer[0] = '\0';
    return (struct text){.buffer = buffer};
}

static void append(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void append(struct text *text, const char *format, ...)
{
    size_t room = WORDS_SIZE - text->length;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text->buffer + text->length, room, format, args);
    va_end(args);
    text->length += strlen(text->buffer + text->length);
}

const char *words_error(int error)
{
    /* Not strerror: it may look for a translation. */
    const char *words = strerrordesc_np(error);
    return words ? words : "unknown error";
}

const char *words_death(int code, int status, char buffer[WORDS_SIZE])
{
    struct text text = begin(buffer);
    const char *name = sigabbrev_np(status);
    if (code == CLD_EXITED)
        append(&text, "exit status %d", status);
    else if (status == SIGSYS)
        append(&text, "seccomp violation (SIGSYS)");
    else if (name)
        append(&text, "killed by SIG%s", name);
    else
        append(&text, "killed by signal %d", status);
    return buffer;
}

static const char *format_of(uint32_t code)
{
    switch (code) {
#define X(name, level, format)                                                                     \
    case LOG_##name:                                                                               \
        return format;
        LOG_CODES(X)
#undef X
    default:
        return NULL;
    }
}

const char *words_log(uint32_t code, const uint64_t args[4], char buffer[WORDS_SIZE])
{
    const char *format = format_of(code);
    if (!format)
        return NULL;

    struct text text = begin(buffer);
    size_t next = 0;
    for (const char *at = format; *at; at++) {
        if (*at != '{') {
            append(&text, "%c", *at);
            continue;
        }
        append(&text, at[1] == 'x' ? "0x%" PRIx64 : "%" PRIu64, args[next++]);
        at += 2; /* "d}" or "x}" */
    }
    return buffer;
}

const char *words_log_code(uint32_t code)
{
    switch (code) {
#define X(name, level, format)                                                                     \
    case LOG_##name:                                                                               \
        return #name;
        LOG_CODES(X)
#undef X
    default:
        return NULL;
    }
}

enum log_level words_log_level(uint32_t code)
{
    static const enum log_level levels[LOG_CODE_COUNT] = {
#define X(name, level, format) [LOG_##name] = LOG_LEVEL_##level,
        LOG_CODES(X)
#undef X
    };
    return words_log_code(code) ? levels[code] : LOG_LEVEL_ERROR;
}

const char *words_step(uint32_t step)
{
    switch (step) {
#define X(name, words)                                                                             \
    case STEP_##name:                                                                              \
        return words;
        WORKER_STEPS(X)
#undef X
    default:
        return NULL;
    }
}

static const struct {
    const char *name;
    int core;
} layers_known[LAYER_COUNT] = {
#define X(constant, words, is_core) [LAYER_##constant] = {words, is_core},
    SANDBOX_LAYERS(X)
#undef X
};

const char *words_layers(uint32_t layers, char buffer[WORDS_SIZE])
{
    struct text text = begin(buffer);
    for (size_t i = 0; i < LAYER_COUNT; i++) {
        if ((layers & (1u << i)) != 0)
            append(&text, "%s%s", text.length > 0 ? ", " : "", layers_known[i].name);
    }
    return buffer;
}

const char *words_limits(uint32_t cgroup, char buffer[WORDS_SIZE])
{
    struct text text = begin(buffer);
#define X(constant, controller, file)                                                              \
    if ((cgroup & 1u << CGROUP_##constant) != 0)                                                   \
        append(&text, "%s" file, text.length > 0 ? ", " : "");
    CGROUP_LIMITS(X)
#undef X
    return buffer;
}

uint32_t words_core_layers(void)
{
    uint32_t core = 0;
    for (size_t i = 0; i < LAYER_COUNT; i++)
        core |= layers_known[i].core ? 1u << i : 0;
    return core;
}
