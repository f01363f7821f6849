/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of a console with a socket: a connection that the broker hands over, one at a time.
 * The broker keeps a copy for the next worker, and decides when a client has left. So a connection
 * stays here until the next one comes, and what the client sent before it closed can still be read.
 *
 * A connection has the number WORKER_FD_CONNECTION or the next one, since the new connection comes
 * before the old one is closed.
 *
 * System calls after lock-down: epoll_ctl and close.
 */
#ifndef WORKER_CONSOLE_CLIENT_H
#define WORKER_CONSOLE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/message.h"

/* Before lock-down. `expected`: a predecessor's client is on the way, and counts as connected. A
 * write to a client that has left raises no signal. Returns 0 or -errno. */
int console_client_init(bool expected);

/* Take a message from the broker, with its fds (owned from now on): the next client. Returns false
 * if it is not such a message. */
bool console_client_take(const union message *message, const int *fds, size_t fd_count);

/* The fd to read from and write to, non-blocking; -1: no client has come yet, even if one is on the
 * way. */
int console_client_fd(void);

/* Is there a client to write to, or is one on the way? */
bool console_client_reads(void);

/* A write has failed: the client takes nothing any more. */
void console_client_left(void);

#endif
