/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp programs of a running process, read out of the kernel. */
#ifndef POLICY_AUDIT_FILTERS_H
#define POLICY_AUDIT_FILTERS_H

#include <linux/filter.h>
#include <stddef.h>
#include <sys/types.h>

#define FILTERS_MAX 16

struct filters {
    size_t count; /* in the order in which they were loaded; all are in force */
    struct {
        unsigned short length;
        struct sock_filter *filter;
    } items[FILTERS_MAX];
};

/*
 * Stops the thread for a moment, like a debugger. Needs CAP_SYS_ADMIN and CAP_SYS_PTRACE, no
 * filter of one's own, and a kernel with CONFIG_CHECKPOINT_RESTORE. Free with filters_free().
 * Returns 0; -ETIMEDOUT if it does not stop; -E2BIG if there are more than FILTERS_MAX; -errno.
 */
int filters_read(pid_t thread, struct filters *ret);

void filters_free(struct filters *filters);

#endif
