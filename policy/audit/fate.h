/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to each system call under one seccomp program, or under several. */
#ifndef POLICY_AUDIT_FATE_H
#define POLICY_AUDIT_FATE_H

#include "policy/audit/stack.h"

/* What happens to a call: one line for each way, "ACTION" or "ACTION if CONDITIONS". */
struct fate {
    uint32_t number;
    char *text;
};

struct fates {
    const struct stack_entry *entry;
    char *otherwise; /* what happens to a call that does not exist, in one line without its end */
    size_t count;
    struct fate *items; /* for the calls whose fate is different, or has conditions */
};

/* Returns 0, and what is to be freed with fates_free(); -ENOMEM. */
int fates_find(const struct stack *stack, const struct stack_entry *entry, struct fates *ret);
void fates_free(struct fates *fates);

/* The fate of a call that does not exist. Returns 0 and a text to be freed; -ENOMEM. */
int fate_of_others(const struct stack *stack, const struct stack_entry *entry, char **ret);

/* "ioctl", "ioctl (x32)", or its number. Returns `ret`. */
const char *fate_call_words(const struct stack_entry *entry, uint32_t number, char *ret,
                            size_t size);

#endif
