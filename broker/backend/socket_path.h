/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that a device listens on: the key socket_path. */
#ifndef BROKER_BACKEND_SOCKET_PATH_H
#define BROKER_BACKEND_SOCKET_PATH_H

#include "broker/backend/directory.h"
#include "broker/failure.h"

/*
 * Before lock-down: listen at `name` in `directory`, with a socket of `type`, as unix_listen does
 * (broker/unix_socket.h). `path` is the value of the key, from which `directory` comes. Returns an
 * fd; or -errno, with *failure filled in.
 */
int socket_path_listen(const struct directory *directory, const char *name, const char *path,
                       int type, uint32_t mode, struct failure *failure);

#endif
