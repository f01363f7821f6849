/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/filters.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/audit/process.h"

#define STOP_ATTEMPTS 20000
#define STOP_PAUSE_US 100
#define SEIZE_ATTEMPTS 2000
#define SEIZE_PAUSE_US 1000

#ifndef PTRACE_SECCOMP_GET_FILTER
#define PTRACE_SECCOMP_GET_FILTER 0x420c
#endif

/* Returns 1, 0 if there is no such filter, or -errno. */
static int read_one(pid_t thread, unsigned long index, struct filters *filters)
{
    long length = ptrace(PTRACE_SECCOMP_GET_FILTER, thread, index, NULL);
    if (length < 0)
        return errno == ENOENT ? 0 : -errno;
    if (index == FILTERS_MAX)
        return -E2BIG;
    struct sock_filter *filter = calloc((size_t)length, sizeof(*filter));
    if (!filter)
        return -ENOMEM;
    filters->items[index].filter = filter;
    filters->items[index].length = (unsigned short)length;
    filters->count = index + 1;
    return ptrace(PTRACE_SECCOMP_GET_FILTER, thread, index, filter) == length ? 1 : -errno;
}

/* Returns 0 when the thread has stopped. A thread in a system call that can't be interrupted does
 * not stop. */
static int wait_stop(pid_t thread, int *ret_status)
{
    for (unsigned int i = 0; i < STOP_ATTEMPTS; i++) {
        pid_t waited = waitpid(thread, ret_status, __WALL | WNOHANG);
        if (waited == thread)
            return WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
        if (waited < 0 && errno != EINTR)
            return -errno;
        usleep(STOP_PAUSE_US);
    }
    return -ETIMEDOUT;
}

static bool is_traced(pid_t thread)
{
    char tracer[16];
    return process_field(thread, "status", "TracerPid", tracer, sizeof(tracer)) &&
           strcmp(tracer, "0") != 0;
}

/* A thread has one tracer at a time. Another audit soon lets go of it. */
static int seize(pid_t thread)
{
    for (unsigned int i = 0; i < SEIZE_ATTEMPTS; i++) {
        if (ptrace(PTRACE_SEIZE, thread, 0, 0) == 0)
            return 0;
        int error = errno;
        if (error != EPERM || (!is_traced(thread) && i > 0))
            return -error;
        usleep(SEIZE_PAUSE_US);
    }
    return -EBUSY;
}

int filters_stop(pid_t thread, int *ret_signal)
{
    int status = 0;
    int error = seize(thread);
    if (error < 0)
        return error;
    /* This fails if the thread has ended meanwhile. It must be waited for in any case, or it stays
     * a zombie. */
    ptrace(PTRACE_INTERRUPT, thread, 0, 0);
    int result = wait_stop(thread, &status);
    /* A signal that came in between is not lost: here only the last reason for the stop is
     * returned. */
    if (result == 0)
        *ret_signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
    return result;
}

void filters_resume(pid_t thread, int signal)
{
    ptrace(PTRACE_DETACH, thread, 0, (long)signal);
}

int filters_of_stopped(pid_t thread, struct filters *ret)
{
    int result = 1;
    *ret = (struct filters){0};
    for (unsigned long index = 0; result == 1; index++)
        result = read_one(thread, index, ret);
    if (result < 0)
        filters_free(ret);
    return result;
}

int filters_read(pid_t thread, struct filters *ret)
{
    int signal = 0;
    int result = filters_stop(thread, &signal);
    if (result < 0)
        return result;
    result = filters_of_stopped(thread, ret);
    filters_resume(thread, signal);
    return result;
}

size_t filters_alike(const struct filters *a, const struct filters *b)
{
    size_t same = 0;
    while (same < a->count && same < b->count && a->items[same].length == b->items[same].length &&
           memcmp(a->items[same].filter, b->items[same].filter,
                  a->items[same].length * sizeof(*a->items[same].filter)) == 0)
        same++;
    return same;
}

void filters_free(struct filters *filters)
{
    for (size_t i = 0; i < FILTERS_MAX; i++)
        free(filters->items[i].filter);
    *filters = (struct filters){0};
}

int filter_of_file(const char *path, struct sock_filter **ret, size_t *ret_length)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    struct sock_filter *filter = calloc(BPF_MAXINSNS + 1, sizeof(*filter));
    int error = filter ? 0 : -ENOMEM;
    size_t bytes = error == 0 ? fread(filter, 1, (BPF_MAXINSNS + 1) * sizeof(*filter), file) : 0;
    size_t length = bytes / sizeof(*filter);
    if (error == 0 && ferror(file))
        error = -EIO;
    else if (error == 0 && (length == 0 || length > BPF_MAXINSNS || bytes % sizeof(*filter) != 0))
        error = -EINVAL;
    fclose(file);
    if (error < 0) {
        free(filter);
        return error;
    }
    *ret = filter;
    *ret_length = length;
    return 0;
}
