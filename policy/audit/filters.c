/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/filters.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_ATTEMPTS 2000
#define STOP_PAUSE_US 1000

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

static int read_all(pid_t thread, struct filters *filters)
{
    int result = 1;
    for (unsigned long index = 0; result == 1; index++)
        result = read_one(thread, index, filters);
    return result;
}

/* Returns 0 when it has stopped. One in the middle of a call that nothing interrupts does not. */
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

int filters_read(pid_t thread, struct filters *ret)
{
    struct filters filters = {0};
    int status = 0;
    if (ptrace(PTRACE_SEIZE, thread, 0, 0) < 0)
        return -errno;
    int result = ptrace(PTRACE_INTERRUPT, thread, 0, 0) < 0 ? -errno : 0;
    if (result == 0)
        result = wait_stop(thread, &status);
    if (result == 0)
        result = read_all(thread, &filters);
    /* A signal that came in between is not lost: only what stopped it last is told here. */
    int signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
    ptrace(PTRACE_DETACH, thread, 0, (long)signal);
    if (result < 0)
        filters_free(&filters);
    else
        *ret = filters;
    return result;
}

void filters_free(struct filters *filters)
{
    for (size_t i = 0; i < FILTERS_MAX; i++)
        free(filters->items[i].filter);
    *filters = (struct filters){0};
}
