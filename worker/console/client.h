/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of a console with a socket: a connection that the broker hands over, one at a time.
 * The broker keeps a copy, for the next worker, and decides when a client has gone; so here a
 * connection stays until the next one comes, and what it sent before it closed can still be read.
 *
 * A connection has number WORKER_FD_CONNECTION, or the one behind it: the new one comes before the
 * old one is closed.
 *
 * System calls after lock-down: epoll_ctl and close.
 */
#ifndef WORKER_CONSOLE_CLIENT_H
#define WORKER_CONSOLE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/message.h"

/* Before lock-down. `expected`: a predecessor's client is on the way, and counts as there. A write
 * to who has left is no signal. Returns 0 or -errno. */
int console_client_init(bool expected);

/* A message of the broker's, with its fds (owned from now on): the next client. Returns false if it
 * is none. */
bool console_client_take(const union message *message, const int *fds, size_t fd_count);

/* To read from and write to, non-blocking; -1: nobody has come yet, even if one is on the way. */
int console_client_fd(void);

/* Is there somebody to write to, or on the way? */
bool console_client_reads(void);

/* A write has failed: he takes nothing any more. */
void console_client_left(void);

#endif
