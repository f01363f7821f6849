/* SPDX-License-Identifier: Apache-2.0 */
/* The seccomp programs of a running process, read from the kernel. */
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
 * Stops the thread, as a debugger does, until filters_resume() or until the caller ends. Needs
 * CAP_SYS_PTRACE. Returns 0, and the signal that filters_resume() is to deliver; -ESRCH if the
 * thread has ended; -ETIMEDOUT if it does not stop; -EBUSY if another process traces it for more
 * than 2 s; -errno, also while it is about to end.
 */
int filters_stop(pid_t thread, int *ret_signal);
void filters_resume(pid_t thread, int signal);

/*
 * The filters of a stopped thread. Needs CAP_SYS_ADMIN, a caller without a filter, and a kernel
 * with CONFIG_CHECKPOINT_RESTORE. Free with filters_free(). Returns 0; -E2BIG if there are more
 * than FILTERS_MAX; -errno.
 */
int filters_of_stopped(pid_t thread, struct filters *ret);

/* Does stop, read and resume in this order, with their errors. */
int filters_read(pid_t thread, struct filters *ret);

/* How many of the first filters of both are the same, byte for byte. */
size_t filters_alike(const struct filters *a, const struct filters *b);

void filters_free(struct filters *filters);

/* A program from a file of instructions (struct sock_filter), as libseccomp and export write it. It
 * is to be freed. Returns 0; -EINVAL if it is not 1 to BPF_MAXINSNS whole instructions; -errno. */
int filter_of_file(const char *path, struct sock_filter **ret, size_t *ret_length);

#endif
