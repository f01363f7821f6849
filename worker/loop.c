/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/wait.h"
#include "worker/device.h"
#include "worker/log.h"
#include "worker/transport.h"

/* What an event is about: the data of its epoll entry. Queue q is SOURCE_QUEUE + q, and so on. */
enum source {
    SOURCE_CONTROL,
    SOURCE_REQUEST,
    SOURCE_QUEUE = 0x100,
    SOURCE_BACKEND = 0x200,
    SOURCE_CONNECTION = 0x300,
};

#define EVENTS_MAX 128 /* more than there are sources, so that one call takes all events */

/* If looking at the rings has found something, there is no need to look at events as well, but for
 * once in so many rounds. */
#define NO_EVENTS (-2)
#define FOUND_IN_A_ROW 16u

/* A pause is waited for in pieces, so that an occasional event delays its end by one piece only. */
#define PAUSE_SLICE_MS 100u

static int watch(int fd, uint32_t events, uint32_t source)
{
    struct epoll_event event = {.events = events, .data = {.u32 = source}};
    return epoll_ctl(WORKER_FD_EPOLL, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int loop_watch(struct device *dev)
{
    int r = watch(WORKER_FD_CONTROL, EPOLLIN | EPOLLRDHUP, SOURCE_CONTROL);
    if (r == 0)
        r = watch(WORKER_FD_REQUEST, EPOLLIN | EPOLLET, SOURCE_REQUEST);
    for (uint32_t f = 0; r == 0 && f < dev->backend_fd_count; f++) {
        uint32_t out = (dev->backend_writes & 1u << f) != 0 ? EPOLLOUT : 0;
        if ((dev->backend_events & 1u << f) != 0)
            r = watch(WORKER_FD_BACKEND + (int)f, EPOLLIN | out | EPOLLET, SOURCE_BACKEND + f);
    }
    for (uint32_t q = 0; r == 0 && q < dev->queue_count; q++) {
        if ((dev->user_queues & 1u << q) != 0)
            r = watch(device_kick_fd(dev, q), EPOLLIN | EPOLLET, SOURCE_QUEUE + q);
    }
    return r;
}

int loop_watch_connection(int fd, unsigned int number, bool room)
{
    uint32_t out = room ? EPOLLOUT : 0;
    return watch(fd, EPOLLIN | out | EPOLLRDHUP | EPOLLET, SOURCE_CONNECTION + number);
}

/* The broker may still hold a copy for a moment, so closing alone would not end the watch. */
void loop_forget_connection(int fd)
{
    (void)epoll_ctl(WORKER_FD_EPOLL, EPOLL_CTL_DEL, fd, NULL);
}

static void dispatch(struct device *dev, uint32_t source, uint32_t events)
{
    if (source >= SOURCE_CONNECTION)
        dev->ops->connection_event(dev, source - SOURCE_CONNECTION, events);
    else if (source >= SOURCE_BACKEND)
        device_backend_event(dev, source - SOURCE_BACKEND, events);
    else if (source >= SOURCE_QUEUE) {
        polling_ends(&dev->polling, true);
        device_notify(dev, source - SOURCE_QUEUE);
    } else if (source == SOURCE_CONTROL && !device_control_event(dev))
        _exit(EXIT_SUCCESS); /* the broker is gone, or broke the protocol: nothing is left to do */
    /* Nothing to do for SOURCE_REQUEST: every round looks at the mailbox, and at what the broker
     * says. */
}

/* This much time has passed, and nothing happened. A wait that an event cut short does not
 * count. */
static void passed(struct device *dev, int timeout_ms)
{
    if (timeout_ms >= LOG_QUIET_MS)
        log_quiet();
    if (dev->pause_ms == 0)
        return;
    if (timeout_ms >= (int)dev->pause_ms)
        device_pause_over(dev);
    else
        dev->pause_ms -= (unsigned int)timeout_ms;
}

static bool found(void *dev)
{
    return device_look(dev);
}

/* Nothing is to be done now. Look at the rings for a while, if that pays; then ask for kicks.
 * Returns how long to wait for events, or NO_EVENTS. */
static int idle(struct device *dev, int timeout_ms)
{
    switch (polling_look(&dev->polling, found, dev)) {
    case POLLING_FOUND:
        polling_ends(&dev->polling, false);
        return ++dev->found_in_a_row % FOUND_IN_A_ROW == 0 ? 0 : NO_EVENTS;
    case POLLING_ON:
        return 0;
    default:
        device_late_before_sleep(dev);
        device_ask_for_kicks(dev);
        return dev->work != 0 ? 0 : timeout_ms;
    }
}

/* Wait for events, and take them. An interrupt that waits has an end, by the kernel's clock. */
static void take_events(struct device *dev, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    const uint64_t timeout_ns = wait_ns(timeout_ms), late_ns = device_late_ns(dev);
    const bool late = late_ns < timeout_ns;
    int count = wait_events(WORKER_FD_EPOLL, events, EVENTS_MAX, late ? late_ns : timeout_ns);
    if (count < 0 && errno != EINTR)
        _exit(EXIT_FAILURE);
    if (count == 0 && late)
        device_late_is_over(dev, true);
    else if (count == 0)
        passed(dev, timeout_ms);
    for (int i = 0; i < count; i++)
        dispatch(dev, events[i].data.u32, events[i].events);
    if (dev->work != 0)
        polling_ends(&dev->polling, false);
}

void loop_round(struct device *dev, int timeout_ms)
{
    if (timeout_ms != 0)
        timeout_ms = idle(dev, timeout_ms);
    if (timeout_ms != NO_EVENTS)
        take_events(dev, timeout_ms);
    device_backend_changed(dev);
    transport_serve_mailbox(dev);
    device_alive(dev);
    device_turns(dev);
    device_late_is_over(dev, false);
}

/* How long to wait for events until something else is due. */
static int wait_ms(const struct device *dev)
{
    if (dev->work != 0)
        return 0;
    if (dev->pause_ms > 0)
        return dev->pause_ms < PAUSE_SLICE_MS ? (int)dev->pause_ms : (int)PAUSE_SLICE_MS;
    return log_limited() ? LOG_QUIET_MS : -1;
}

_Noreturn void loop_run(struct device *dev)
{
    device_resume(dev);
    for (;;)
        loop_round(dev, wait_ms(dev));
}
