/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker is told: the START message and the files that come with it. The files that only the
 * start needs are used and closed before lock-down. The broker is trusted, yet each value is
 * checked: a mistake there should end in an error message here, and not in a worker that holds too
 * much.
 */
#ifndef WORKER_START_H
#define WORKER_START_H

#include <stddef.h>

#include "common/device_kind.h"
#include "common/message.h"
#include "common/state.h"
#include "common/worker_fds.h"
#include "worker/sandbox/sandbox.h"

#define WORKER_UID_MIN 1000u /* lower ids are the system's own users */

/* How many fds START brings that a worker keeps: fds 0 up to the last kick eventfd. */
static inline unsigned int start_fd_count(const struct message_start *start)
{
    return WORKER_FD_BACKEND + start->backend_fd_count + start->queue_count;
}

/* How many fds a worker has after lock-down: those, and what start_fill_fds adds to them. */
static inline unsigned int worker_fd_count(const struct message_start *start)
{
    return device_kind_fds(&device_kinds[start->kind], start->backend_fd_count, start->queue_count);
}

/*
 * Wait for the START message on WORKER_FD_CONTROL. Its fds are then at their numbers
 * (common/worker_fds.h), the state page and the DM file at start_fd_count() and the number after
 * it.
 * Returns 0; -EPIPE if the broker is gone; -EPROTO if it is not a START message, or its fds are
 * not those of its kind or not at their numbers; -EINVAL if a field is not usable; -errno.
 * *ret_start is written as soon as there is a START message, usable or not.
 */
int start_receive(struct message_start *ret_start);

/*
 * Open the boxes among the backend's files (common/box.h): the file in a box replaces the box,
 * under the same number. The boxes are then closed here; the next worker is given them as well.
 * After start_receive. Returns 0; -EPROTO if a file is no box; -errno.
 */
int start_open_boxes(const struct message_start *start);

/*
 * Map the state page and close its file; if the kind has a ring, the mark (worker/ring.h) takes the
 * ring's number. The page must be sealed against a change of its size: otherwise
 * any process that shares it could end this process by truncating it.
 * Returns 0; -EPERM without the seals, -EINVAL with a wrong size, -errno.
 */
int start_map_state(const struct message_start *start, struct state_page **ret_state);

/*
 * Map the window, exactly as large as the broker says (the DM file's own mmap checks nothing). Then
 * close the DM file, through which every other device could be reached.
 * Returns 0; -ENXIO if the file is known to be shorter than the window; -errno.
 */
int start_map_window(const struct message_start *start, void **ret_window);

/*
 * Have the device's kind look at its backend: for example, how large an image is now. This can
 * block for any time, on the process or disk that serves the file.
 */
void start_measure(struct message_start *start);

/* Set the processors and the scheduling class that the user wants. Returns 0 or -errno: -EINVAL if
 * none of the processors exists. */
int start_schedule(const struct message_start *start);

/*
 * If later connections have numbers of their own, or the ring has, fill every free number below
 * them with /dev/null. After start_map_window. Returns 0 or -errno.
 */
int start_fill_fds(const struct message_start *start);

/* Make the ring, if the kind has one. After start_fill_fds. It waits for the ring of a predecessor.
 * Returns 0 or -errno. */
int start_open_ring(const struct message_start *start);

/* RLIMIT_NOFILE: one above the highest number that a later connection can have; else 0. */
unsigned int start_fd_limit(const struct message_start *start);

/* What each fd has to be, for the sandbox to check; `ret_kinds` has worker_fd_count() entries. */
void start_fd_kinds(const struct message_start *start, enum fd_kind *ret_kinds);

/* How far the worker may write into a file, in bytes. 0: it writes no file. */
uint64_t start_file_size_max(const struct message_start *start);

#endif
