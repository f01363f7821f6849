/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_relay.c and test_relay_drivers.c, which include it: time passes only when the test
 * says so. */
#ifndef TESTS_UNIT_RELAY_TIME_H
#define TESTS_UNIT_RELAY_TIME_H

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/relay_under_test.h"

/* --- Time ------------------------------------------------------------------------------------- */

static _Atomic int64_t passed_ms;
static _Atomic int64_t waits_until[1024]; /* index: epoll fd; value in passed_ms, 0: nobody waits */
static _Atomic int waits[1024];           /* so often; the same index */
static _Atomic bool waits_for_part;       /* a relay does not wait for its two files at once */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int count,
                        const struct timespec *timeout, const sigset_t *mask);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    int64_t now = atomic_load(&passed_ms);
    (void)clock;
    *ret = (struct timespec){.tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000};
    return 0;
}

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int count,
                        const struct timespec *timeout, const sigset_t *mask)
{
    (void)mask;
    int64_t timeout_ms = timeout ? timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000 : -1;
    int64_t end = atomic_load(&passed_ms) + timeout_ms;
    waits[epoll]++;
    if (count < 2)
        waits_for_part = true;
    if (timeout_ms < 0)
        return epoll_wait(epoll, events, count, -1);
    /* An event that is there already ends a wait before any time passes. */
    int found = epoll_wait(epoll, events, count, 0);
    if (found != 0 || timeout_ms <= 0)
        return found;
    atomic_store(&waits_until[epoll], end);
    do
        found = epoll_wait(epoll, events, count, 1);
    while (found == 0 && atomic_load(&passed_ms) < end);
    atomic_store(&waits_until[epoll], 0);
    return found;
}

/* How long the relay waits for an event; asserts that it does. */
static int64_t it_waits(void)
{
    int64_t end = 0;
    for (int i = 0; i < SLACK_MS && (end = atomic_load(&waits_until[relay->epoll])) == 0; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_FATAL(end > 0);
    return end - atomic_load(&passed_ms);
}

/* Let that much time pass while the relay waits. It may have to wake up from a wait before. */
static void pass(int64_t ms)
{
    for (int i = 0; i < SLACK_MS && it_waits() < ms; i++)
        poll(NULL, 0, 1);
    CU_ASSERT(it_waits() >= ms);
    atomic_fetch_add(&passed_ms, ms);
}

#endif
