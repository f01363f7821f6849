/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's event loop: register accesses, kicks and backend events, one thread.
 *
 * Eventfds are watched edge-triggered, so none is ever read: an event says that somebody
 * wrote, and what there is to do is found in memory.
 */
#ifndef WORKER_LOOP_H
#define WORKER_LOOP_H

struct device;

/*
 * Watch everything that the device waits for on WORKER_FD_EPOLL, which must exist. Before
 * lock-down: the filter knows no epoll_ctl. Returns 0 or -errno.
 */
int loop_watch(struct device *dev);

/*
 * Watch a connection that came after lock-down, edge-triggered and in both directions; it is
 * device_ops.connection_event's, with that number, until loop_forget_connection, which must come
 * before its close. Returns 0 or -errno.
 *
 * System calls: epoll_ctl with EPOLL_CTL_ADD and EPOLL_CTL_DEL.
 */
int loop_watch_connection(int fd, unsigned int number);
void loop_forget_connection(int fd);

/*
 * Take over the state page, then serve until the broker closes the control socket. After
 * lock-down, and the first function to read anything that a guest or a predecessor wrote.
 *
 * System calls of its own: epoll_pwait, exit_group.
 */
_Noreturn void loop_run(struct device *dev);

/* One round: wait at most timeout_ms (-1: for ever), then serve what there is. */
void loop_round(struct device *dev, int timeout_ms);

#endif
