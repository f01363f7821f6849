/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512

/* snprintf's result as an index that stays inside the buffer. */
static size_t clamped(int written, size_t room)
{
    if (written < 0)
        return 0;
    return (size_t)written < room ? (size_t)written : room - 1;
}

static atomic_int level = LOG_LEVEL_INFO;

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&level, memory_order_relaxed);
}

void log_set_level(enum log_level to)
{
    atomic_store_explicit(&level, (int)to, memory_order_relaxed);
}

bool log_says(enum log_level of)
{
    return of <= log_level();
}

const char *log_level_name(unsigned int of)
{
    static const char *const names[LOG_LEVELS] = {
#define X(constant, name) name,
        LOG_LEVELS_OF(X)
#undef X
    };
    return of < LOG_LEVELS ? names[of] : NULL;
}

static void write_line(const char *device, const char *format, va_list args)
{
    char line[LINE_MAX_BYTES];
    size_t room = sizeof(line) - 1; /* for the line's end */
    int prefix = device ? snprintf(line, room, "bao-virtio-dm: %s: ", device)
                        : snprintf(line, room, "bao-virtio-dm: ");
    size_t length = clamped(prefix, room);
    length += clamped(vsnprintf(line + length, room - length, format, args), room - length);

    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    line[length++] = '\n';
    /* Where stderr is gone there is nobody left to tell. */
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored;
}

void log_line(const char *device, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    write_line(device, format, args);
    va_end(args);
}

void log_at(enum log_level of, const char *device, const char *format, ...)
{
    if (!log_says(of))
        return;
    va_list args;
    va_start(args, format);
    write_line(device, format, args);
    va_end(args);
}
