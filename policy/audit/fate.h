/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to each system call under one seccomp program, or under several that are all in
 * force: the kernel asks all of them and takes the strictest answer.
 */
#ifndef POLICY_AUDIT_FATE_H
#define POLICY_AUDIT_FATE_H

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/audit/filters.h"
#include "policy/rule.h"

/* Programs that are all in force: they are valid (ways.h), and in any order. Not owned. */
struct stack {
    size_t count;
    const struct sock_filter *programs[FILTERS_MAX];
    size_t lengths[FILTERS_MAX];
};

/* An entry of the kernel for system calls. Programs know it by AUDIT_ARCH_... */
struct fate_entry {
    const char *name;
    uint32_t token;        /* 0: every entry that the programs do not ask for */
    enum policy_arch arch; /* POLICY_ARCHES: its calls have no names here */
};

/* Ends with one whose name is NULL. */
extern const struct fate_entry fate_entries[];

/* What happens to a call: one line for each way, "ACTION" or "ACTION if CONDITIONS". */
struct fate {
    uint32_t number;
    char *text;
};

struct fates {
    const struct fate_entry *entry;
    char *otherwise; /* what happens to a call that does not exist, in one line without its end */
    size_t count;
    struct fate *items; /* for the calls whose fate is different, or has conditions */
};

/* Returns 0, and what is to be freed with fates_free(); -ENOMEM. */
int fates_find(const struct stack *stack, const struct fate_entry *entry, struct fates *ret);
void fates_free(struct fates *fates);

/* "ioctl", "ioctl (x32)", or its number. Returns `ret`. */
const char *fate_call_words(const struct fate_entry *entry, uint32_t number, char *ret,
                            size_t size);

#endif
