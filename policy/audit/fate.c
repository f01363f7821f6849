/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/fate.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/conditions_words.h"
#include "policy/audit/ways.h"
#include "policy/catalog.h"

#define X32_BIT 0x40000000u
#define CALLS_END ((size_t)POLICY_CALLS_END)
#define UNNAMED_CALL 0x3fffffffu /* there will never be one of this number */
#define WAYS_TEXT_MAX 65536u

const struct fate_entry fate_entries[] = {
    {"x86_64", AUDIT_ARCH_X86_64, POLICY_ARCH_X86_64},
    {"aarch64", AUDIT_ARCH_AARCH64, POLICY_ARCH_AARCH64},
    {"riscv64", AUDIT_ARCH_RISCV64, POLICY_ARCH_RISCV64},
    {"i386", AUDIT_ARCH_I386, POLICY_ARCHES},
    {"arm", AUDIT_ARCH_ARM, POLICY_ARCHES},
    {"riscv32", AUDIT_ARCH_RISCV32, POLICY_ARCHES},
    {"any other", 0, POLICY_ARCHES},
    {0},
};

/* ---- One call ---- */

static const char *action_words(const struct ways_leaf *leaf, char *ret, size_t size)
{
    uint32_t data = leaf->result & SECCOMP_RET_DATA;
    if (leaf->is_computed)
        return "what is calculated from the call";
    switch (leaf->result & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_KILL_PROCESS:
        return "kill the process";
    case SECCOMP_RET_TRAP:
        return "signal SIGSYS";
    case SECCOMP_RET_ERRNO:
        snprintf(ret, size, "error %" PRIu32 " (%s)", data, strerror((int)data));
        return ret;
    case SECCOMP_RET_USER_NOTIF:
        return "ask another process";
    case SECCOMP_RET_TRACE:
        return "ask the tracer";
    case SECCOMP_RET_LOG:
        return "allow and log";
    case SECCOMP_RET_ALLOW:
        return "allow";
    default: /* an action that the kernel does not know kills the process; 0 kills the thread */
        return leaf->result == SECCOMP_RET_KILL_THREAD ? "kill the thread" : "kill the process";
    }
}

struct writer {
    const struct stack *stack;
    const struct fate_entry *entry;
    uint32_t number;
    FILE *text;
    const char *otherwise; /* ways that end so are not reported; NULL: all are */
};

static bool write_way(struct writer *writer, const struct ways_leaf *leaf)
{
    char words[128], conditions[4096];
    const char *action = action_words(leaf, words, sizeof(words));
    const char *call = writer->entry->arch == POLICY_ARCHES
                           ? NULL
                           : audit_call_name(writer->number, writer->entry->arch);
    if (!conditions_in_words(leaf, call, conditions, sizeof(conditions)))
        return true; /* no call can meet them */
    if (!writer->otherwise || strcmp(writer->otherwise, action) != 0)
        fprintf(writer->text, "%s%s%s\n", action, conditions[0] ? " if " : "", conditions);
    return ftell(writer->text) <= (long)WAYS_TEXT_MAX;
}

/* The stricter of two answers, by the kernel's rule: the lower action, as a signed number. */
static uint32_t stricter(uint32_t a, uint32_t b)
{
    int32_t first = (int32_t)(a & SECCOMP_RET_ACTION_FULL);
    int32_t second = (int32_t)(b & SECCOMP_RET_ACTION_FULL);
    return second < first ? b : a;
}

/* A way through the programs up to `index`, and the writer that gets it. */
struct joined {
    struct writer *writer;
    size_t index;
    const struct ways_leaf *before; /* NULL: this is the first */
};

/* Each way through a program continues with each way through the next one. */
static bool join_way(void *context, const struct ways_leaf *leaf)
{
    const struct joined *joined = context;
    struct writer *writer = joined->writer;
    struct ways_test tests[CONDITIONS_MAX];
    struct ways_leaf both = *leaf;
    if (joined->before) {
        const struct ways_leaf *before = joined->before;
        if (before->count + leaf->count > CONDITIONS_MAX)
            return false;
        memcpy(tests, before->tests, before->count * sizeof(tests[0]));
        memcpy(tests + before->count, leaf->tests, leaf->count * sizeof(tests[0]));
        both = (struct ways_leaf){
            tests, before->count + leaf->count, before->unclear || leaf->unclear,
            before->is_computed || leaf->is_computed, stricter(before->result, leaf->result)};
    }
    if (!conditions_can_hold(&both))
        return true;
    struct joined next = {writer, joined->index + 1, &both};
    if (next.index == writer->stack->count)
        return write_way(writer, &both);
    return ways_of_call(writer->stack->programs[next.index], writer->entry->token, writer->number,
                        join_way, &next) == 0;
}

/* Returns 0 and a text to be freed; "" if the call always ends as `otherwise` says. */
static int fate_of(const struct stack *stack, const struct fate_entry *entry, uint32_t number,
                   const char *otherwise, char **ret)
{
    size_t size;
    struct writer writer = {
        .stack = stack, .entry = entry, .number = number, .otherwise = otherwise};
    writer.text = open_memstream(ret, &size);
    if (!writer.text)
        return -ENOMEM;
    struct joined first = {&writer, 0, NULL};
    int error = ways_of_call(stack->programs[0], entry->token, number, join_way, &first);
    if (error == -ECANCELED || error == -E2BIG) {
        fputs("in more ways than are told here\n", writer.text);
        error = 0;
    }
    if (fclose(writer.text) != 0 && error == 0)
        error = -ENOMEM;
    if (error < 0)
        free(*ret);
    return error;
}

/* ---- All calls of an entry ---- */

/* Steps through every number that has a name, then through those that the programs themselves
 * name. */
static bool next_number(const struct stack *stack, size_t *at, uint32_t *ret)
{
    size_t index = (*at)++;
    if (index < 2 * CALLS_END) {
        *ret = (uint32_t)(index % CALLS_END) | (index < CALLS_END ? 0 : X32_BIT);
        return true;
    }
    index -= 2 * CALLS_END;
    for (size_t i = 0; i < stack->count; index -= stack->lengths[i++]) {
        if (index < stack->lengths[i]) {
            *ret = stack->programs[i][index].k;
            return true;
        }
    }
    return false;
}

static bool is_asked_before(uint32_t number)
{
    return (number & ~X32_BIT) < CALLS_END;
}

static int add_fate(struct fates *fates, uint32_t number, char *text)
{
    for (size_t i = 0; i < fates->count; i++) {
        if (fates->items[i].number == number) {
            free(text);
            return 0;
        }
    }
    struct fate *items = realloc(fates->items, (fates->count + 1) * sizeof(*items));
    if (!items) {
        free(text);
        return -ENOMEM;
    }
    fates->items = items;
    items[fates->count++] = (struct fate){number, text};
    return 0;
}

void fates_free(struct fates *fates)
{
    for (size_t i = 0; i < fates->count; i++)
        free(fates->items[i].text);
    free(fates->items);
    free(fates->otherwise);
}

/* Find the fate of a call that does not exist, without the end of the line. */
static int find_otherwise(const struct stack *stack, struct fates *fates)
{
    int error = fate_of(stack, fates->entry, UNNAMED_CALL, NULL, &fates->otherwise);
    if (error == 0)
        fates->otherwise[strcspn(fates->otherwise, "\n")] = '\0';
    return error;
}

int fates_find(const struct stack *stack, const struct fate_entry *entry, struct fates *ret)
{
    *ret = (struct fates){.entry = entry};
    int error = find_otherwise(stack, ret);
    uint32_t number;
    for (size_t at = 0; error == 0 && next_number(stack, &at, &number);) {
        bool again = at > 2 * CALLS_END && is_asked_before(number);
        char *text;
        if (again || (error = fate_of(stack, entry, number, ret->otherwise, &text)) < 0)
            continue;
        if (text[0] == '\0')
            free(text);
        else
            error = add_fate(ret, number, text);
    }
    if (error < 0)
        fates_free(ret);
    return error;
}

const char *fate_call_words(const struct fate_entry *entry, uint32_t number, char *ret, size_t size)
{
    bool x32 = entry->token == AUDIT_ARCH_X86_64 && (number & X32_BIT) != 0;
    uint32_t plain = x32 ? number & ~X32_BIT : number;
    const char *name = entry->arch == POLICY_ARCHES ? NULL : audit_call_name(plain, entry->arch);
    if (name)
        snprintf(ret, size, "%s%s", name, x32 ? " (x32)" : "");
    else
        snprintf(ret, size, number < CALLS_END ? "%" PRIu32 : "0x%" PRIx32, number);
    return ret;
}
