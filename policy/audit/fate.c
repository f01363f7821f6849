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

#define CALLS_END ((size_t)POLICY_CALLS_END)
#define WAYS_TEXT_MAX 65536u

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
    const struct stack_entry *entry;
    uint32_t number;
    FILE *text;
    const char *otherwise; /* ways that end so are not reported; NULL: all are */
};

static bool write_way(void *context, const struct ways_leaf *leaf)
{
    struct writer *writer = context;
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

/* Returns 0 and a text to be freed; "" if the call always ends as `otherwise` says. */
static int fate_of(const struct stack *stack, const struct stack_entry *entry, uint32_t number,
                   const char *otherwise, char **ret)
{
    size_t size;
    struct writer writer = {.entry = entry, .number = number, .otherwise = otherwise};
    writer.text = open_memstream(ret, &size);
    if (!writer.text)
        return -ENOMEM;
    struct ways_test given[WAYS_CALL_TESTS];
    ways_call_tests(entry->token, number, given);
    int error = stack_follow(stack, given, WAYS_CALL_TESTS, write_way, &writer);
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

static bool is_asked_before(uint32_t number)
{
    return (number & ~STACK_X32_BIT) < CALLS_END;
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

int fate_of_others(const struct stack *stack, const struct stack_entry *entry, char **ret)
{
    int error = fate_of(stack, entry, STACK_UNNAMED_CALL, NULL, ret);
    if (error == 0)
        (*ret)[strcspn(*ret, "\n")] = '\0';
    return error;
}

int fates_find(const struct stack *stack, const struct stack_entry *entry, struct fates *ret)
{
    *ret = (struct fates){.entry = entry};
    int error = fate_of_others(stack, entry, &ret->otherwise);
    uint32_t number;
    for (size_t at = 0; error == 0 && stack_next_number(stack, &at, &number);) {
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

const char *fate_call_words(const struct stack_entry *entry, uint32_t number, char *ret,
                            size_t size)
{
    bool x32 = entry->token == AUDIT_ARCH_X86_64 && (number & STACK_X32_BIT) != 0;
    uint32_t plain = x32 ? number & ~STACK_X32_BIT : number;
    const char *name = entry->arch == POLICY_ARCHES ? NULL : audit_call_name(plain, entry->arch);
    if (name)
        snprintf(ret, size, "%s%s", name, x32 ? " (x32)" : "");
    else
        snprintf(ret, size, number < CALLS_END ? "%" PRIu32 : "0x%" PRIx32, number);
    return ret;
}
