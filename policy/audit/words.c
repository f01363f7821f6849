/* SPDX-License-Identifier: Apache-2.0 */
/* Words that several verbs use. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/catalog.h"
#include "policy/compiler/vocabulary.h"

const char *audit_tool = "bao-seccomp";

int audit_complain(const char *what, const char *found, const char *expected)
{
    fprintf(stderr, "%s: %s '%s': expected %s\n", audit_tool, what, found, expected);
    return AUDIT_TROUBLE;
}

void audit_print_policies(bool to_stderr)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        if (at->arch == POLICY_ARCH_NATIVE)
            fprintf(to_stderr ? stderr : stdout, "  %-16s  %s\n", at->program.name, at->confines);
    }
}

int audit_pid(const char *text)
{
    char *end = NULL;
    long pid = text ? strtol(text, &end, 10) : 0;
    return text && end != text && *end == '\0' && pid > 0 && pid <= INT_MAX ? (int)pid : 0;
}

const char *audit_plural(size_t count)
{
    return count == 1 ? "" : "s";
}

const char *audit_call_name(uint32_t number, enum policy_arch arch)
{
    for (const struct policy_call *call = policy_calls; call->name; call++) {
        if (call->number[arch] == number && number != POLICY_NO_CALL)
            return call->name;
    }
    return NULL;
}

bool audit_call_number(const char *name, enum policy_arch arch, uint32_t *ret_number)
{
    const struct policy_call *call = policy_calls;
    while (call->name && strcmp(call->name, name) != 0)
        call++;
    if (!call->name || call->number[arch] == POLICY_NO_CALL)
        return false;
    *ret_number = call->number[arch];
    return true;
}

const char *audit_argument_name(const char *call, unsigned int index)
{
    static const char *const unnamed[POLICY_ARGUMENTS] = {"argument 1", "argument 2", "argument 3",
                                                          "argument 4", "argument 5", "argument 6"};
    const struct call_signature *signature = call ? call_signature_find(call) : NULL;
    for (unsigned int i = 0; signature && i <= index && signature->arguments[i].name; i++) {
        if (i == index)
            return signature->arguments[i].name;
    }
    return unnamed[index];
}

/* The last of several names is the policy's own, which says most. */
static const struct policy_fd *fd_of(const struct policy_listing *listing, uint64_t number)
{
    const struct policy_fd *found = NULL;
    for (unsigned int i = 0; i < listing->fd_count; i++) {
        if (listing->fds[i].number == number)
            found = &listing->fds[i];
    }
    return found;
}

/* How a condition of any policy spells this value of this argument of this call. */
static const char *spelling(uint32_t number, enum policy_arch arch, unsigned int index,
                            uint64_t mask, uint64_t value)
{
    for (const struct policy_listing *at = policy_catalog; at->program.name; at++) {
        for (unsigned int r = 0; r < at->rule_count && at->arch == arch; r++) {
            const struct policy_rule *rule = &at->rules[r];
            for (unsigned int c = 0; c < rule->condition_count && rule->number == number; c++) {
                const struct policy_condition *condition = &rule->conditions[c];
                bool whole = condition->bits == 64 ? condition->mask == UINT64_MAX
                                                   : condition->mask == UINT32_MAX;
                if (condition->index != index ||
                    (condition->mask != mask && !(whole && mask == UINT64_MAX)))
                    continue;
                for (unsigned int v = 0; v < condition->value_count; v++) {
                    if (condition->values[v] == (value & condition->mask) &&
                        condition->spelled[v][0] != '@')
                        return condition->spelled[v];
                }
            }
        }
    }
    return NULL;
}

static bool is_fd_argument(const char *name)
{
    size_t length = strlen(name);
    return length >= 2 && strcmp(name + length - 2, "fd") == 0;
}

const char *audit_value_words(const struct policy_listing *listing, uint32_t number,
                              unsigned int index, uint64_t mask, uint64_t value, char *ret,
                              size_t size)
{
    enum policy_arch arch = listing ? listing->arch : POLICY_ARCH_NATIVE;
    const char *argument = audit_argument_name(audit_call_name(number, arch), index);
    const struct policy_fd *fd = listing && is_fd_argument(argument) ? fd_of(listing, value) : NULL;
    const char *spelled = fd ? NULL : spelling(number, arch, index, mask, value);
    if (fd)
        snprintf(ret, size, "%s (fd %u)", fd->words, fd->number);
    else if (spelled)
        snprintf(ret, size, "%s", spelled);
    else
        snprintf(ret, size, value < 10 ? "%" PRIu64 : "0x%" PRIx64, value);
    return ret;
}
