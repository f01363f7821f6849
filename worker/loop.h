/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's event loop: register accesses, kicks and backend events, one thread.
 *
 * Eventfds are watched edge-triggered, so none is ever read. An event says that somebody wrote;
 * memory says what there is to do.
 */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

#include <stdbool.h>

struct device;

/*
 * Watch everything that the device waits for on WORKER_FD_EPOLL, which must exist. Before
 * lock-down: most devices' filters do not allow epoll_ctl. Returns 0 or -errno.
 */
int loop_watch(struct device *dev);

/*
 * Watch a connection that came after lock-down, edge-triggered: what comes from it, its end, and,
 * if `room`, also when there is room in it again. Whatever is true already is an event, too. Events
 * go to device_ops.connection_event, with that number, until loop_forget_connection, which must
 * come before the connection's close, and before it is watched in another way. Returns 0 or -errno.
 *
 * System calls: epoll_ctl with EPOLL_CTL_ADD and EPOLL_CTL_DEL.
 */
int loop_watch_connection(int fd, unsigned int number, bool room);
void loop_forget_connection(int fd);

/*
 * Take over the state page, then serve until the broker closes the control socket. It is called
 * after lock-down, and is the first function that reads anything that a guest or a predecessor
 * wrote.
 *
 * System calls of its own: epoll_pwait2, exit_group.
 */
_Noreturn void loop_run(struct device *dev);

/* One round: wait at most timeout_ms (-1: for ever), then serve what there is. */
void loop_round(struct device *dev, int timeout_ms);

#endif
