/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets with a name: clients of this machine connect to them, and servers listen on them.
 * All sockets are non-blocking and close-on-exec. */
#ifndef BROKER_BACKEND_UNIX_SOCKET_H
#define BROKER_BACKEND_UNIX_SOCKET_H

#include <sys/types.h>

#include "broker/backend/directory.h"
#include "broker/failure.h"

/*
 * Before lock-down, with a single thread: listen at `name` in `directory`, with a socket of `type`
 * (SOCK_STREAM or SOCK_SEQPACKET). `path` is the value of the key socket_path, from which
 * `directory` comes. A socket that an earlier run left there is replaced; anything else is left
 * alone, and is an error. `mode`: mode of the socket's file, before the umask; 0: the umask alone
 * decides. Returns an fd; or -errno, with *failure filled in.
 */
int unix_listen(const struct directory *directory, const char *name, const char *path, int type,
                mode_t mode, struct failure *failure);

/* Accept the next client. Returns an fd; -EAGAIN if none waits; -errno. */
int unix_accept(int listener);

/* Returns an fd, or -errno. Never waits: if the server is busy, it fails. */
int unix_connect(const char *path, int type);

#endif
