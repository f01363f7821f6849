/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_supervisor_waits.c and test_supervisor_connects.c, which include it: what the
 * loop watches, and what it calls. */
#ifndef TESTS_UNIT_SUPERVISOR_WATCHED_H
#define TESTS_UNIT_SUPERVISOR_WATCHED_H

#include "tests/unit/supervisor_under_test.h"

#include "tests/unit/failing_calls.h"

WRAPPED(int, epoll_create1, (int flags), (flags))
WRAPPED(int, socketpair, (int domain, int type, int protocol, int *ret),
        (domain, type, protocol, ret))
WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *what, int flags), (fd, what, flags))
WRAPPED(ssize_t, recvmsg, (int fd, struct msghdr *what, int flags), (fd, what, flags))

/* ---- What is watched ---- */

#define WATCHES 32
#define NOBODY UINT32_MAX

static struct {
    int fd;
    uint32_t as;
} watches[WATCHES];
static unsigned int watch_count; /* calls that did not fail, since a case began */

int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (call_fails("epoll_ctl"))
        return -1;
    if (operation != EPOLL_CTL_DEL && watch_count < WATCHES) {
        watches[watch_count].fd = fd;
        watches[watch_count].as = event->data.u32;
    }
    watch_count++;
    return __real_epoll_ctl(epoll, operation, fd, event);
}

/* For whom the file is watched. */
static uint32_t watched_as(int fd)
{
    for (unsigned int i = watch_count < WATCHES ? watch_count : WATCHES; i-- > 0;) {
        if (watches[i].fd == fd)
            return watches[i].as;
    }
    return NOBODY;
}

/* ---- What supervisor.c calls besides ---- */

static void (*on_opening)(struct device *device);
static int64_t opening_next; /* when it wants to be called again */

int64_t __wrap_opening_look(struct device *device, const struct opening_context *context,
                            int64_t now);

int64_t __wrap_opening_look(struct device *device, const struct opening_context *context,
                            int64_t now)
{
    CU_ASSERT_PTR_EQUAL(context, &supervisor.opening);
    CU_ASSERT_EQUAL(now, now_ms + 1);
    if (on_opening)
        on_opening(device);
    return opening_next;
}

static unsigned int connections_watched;

int __real_connections_watch(const struct device *device, int epoll, uint32_t source);
int __wrap_connections_watch(const struct device *device, int epoll, uint32_t source);

int __wrap_connections_watch(const struct device *device, int epoll, uint32_t source)
{
    CU_ASSERT_EQUAL(source, EVENT_CLIENT_FIRST + device->index);
    connections_watched++;
    return __real_connections_watch(device, epoll, source);
}

static unsigned int served[DEVICES];
static const char *serve_wrong; /* what is wrong with the first worker */
static int64_t serve_next = INT64_MAX;

const char *__wrap_connections_serve(struct device *device, int64_t now, int64_t *ret_next);

const char *__wrap_connections_serve(struct device *device, int64_t now, int64_t *ret_next)
{
    CU_ASSERT_EQUAL(now, now_ms + 1);
    CU_ASSERT_EQUAL(device->worker.phase, WORKER_READY);
    served[device->index]++;
    if (serve_next < *ret_next)
        *ret_next = serve_next;
    return device->index == 0 ? serve_wrong : NULL;
}

static bool lines_are_lost;

bool __wrap_log_tell_lost(void);

bool __wrap_log_tell_lost(void)
{
    return !lines_are_lost;
}

static int64_t entropy_took;

int64_t __wrap_entropy_came(struct entropy *entropy);

int64_t __wrap_entropy_came(struct entropy *entropy)
{
    CU_ASSERT_PTR_EQUAL(entropy, &supervisor.entropy);
    int64_t took = entropy_took;
    entropy_took = 0;
    return took;
}

static void make_all(void)
{
    make();
    watch_count = connections_watched = 0;
    served[0] = served[1] = 0;
    on_opening = NULL;
    opening_next = serve_next = INT64_MAX;
    serve_wrong = NULL;
    lines_are_lost = false;
    entropy_took = 0;
    failing.call = NULL;
}

static int init(void)
{
    errno = EIO; /* of an earlier call */
    return supervisor_init(&supervisor);
}

static void start_both_watched(void)
{
    make_all();
    CU_ASSERT_EQUAL(init(), 0);
    steps[0] = both_are_started;
    steps[1] = both_are_ready;
    steps[2] = all_is_well;
}

static bool keeper_has_nothing(void)
{
    return message_receive(keeper, ROLE_BROKER, &message, got, &got_count) == -EAGAIN;
}

/* Replaces the file with one of the number 0, or with one of another number again. */
static void give_0(int *fd)
{
    if (*fd != 0) {
        close(*fd);
        free_0();
        *fd = new_eventfd();
        CU_ASSERT_EQUAL_FATAL(*fd, 0);
    } else {
        *fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
        take_0_back();
    }
}

#endif
