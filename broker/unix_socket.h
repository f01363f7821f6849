/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets with a name: clients of this machine connect to them, and servers listen on them.
 * All sockets are non-blocking and close-on-exec. */
#ifndef BROKER_UNIX_SOCKET_H
#define BROKER_UNIX_SOCKET_H

#include <stdint.h>

#define UNIX_MODE_OF_UMASK UINT32_MAX

/*
 * Before lock-down, with a single thread: listen at `path`, with a socket of `type` (SOCK_STREAM or
 * SOCK_SEQPACKET) on which up to `backlog` clients wait. A socket file that an earlier run left,
 * and that nobody uses any more, is replaced. `mode`: permissions of the socket's file, whatever
 * the umask is, or UNIX_MODE_OF_UMASK. Returns an fd; -EEXIST: `path` is there and is no socket;
 * -EADDRINUSE: another process listens there; -ENAMETOOLONG; -errno.
 */
int unix_listen(const char *path, int type, uint32_t mode, int backlog);

/* Accept the next client. Returns an fd; -EAGAIN if none waits; -errno. */
int unix_accept(int listener);

/* Returns an fd, or -errno. Never waits: if the server is busy, it fails. */
int unix_connect(const char *path, int type);

#endif
