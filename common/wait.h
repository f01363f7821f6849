/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for the events of an epoll instance. Broker and workers make one call for all of them,
 * epoll_pwait2 (Linux 5.11): every architecture has it, and it takes nanoseconds, which an
 * interrupt that is due in some microseconds needs.
 */
#ifndef COMMON_WAIT_H
#define COMMON_WAIT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

#ifndef __GLIBC__ /* worker/libc.c */
int epoll_pwait2(int epoll, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask);
#endif

#define WAIT_FOR_EVER UINT64_MAX

/* Returns how many of `max` events there are; 0: timeout_ns are over; -1 and errno. */
static inline int wait_events(int epoll, struct epoll_event *events, int max, uint64_t timeout_ns)
{
    const struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / 1000000000u),
        .tv_nsec = (long)(timeout_ns % 1000000000u),
    };
    return epoll_pwait2(epoll, events, max, timeout_ns == WAIT_FOR_EVER ? NULL : &timeout, NULL);
}

/* -1: for ever. */
static inline uint64_t wait_ns(int64_t timeout_ms)
{
    return timeout_ms < 0 ? WAIT_FOR_EVER : (uint64_t)timeout_ms * 1000000u;
}

#endif
