/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/socket_path.h"

#include <errno.h>
#include <string.h>

#include "broker/unix_socket.h"

#define BACKLOG 64

static int explain(struct failure *failure, const char *path, int result)
{
    if (result == -EEXIST)
        return failure_set(failure, result,
                           "socket_path \"%s\" is there already and is no socket: choose another "
                           "path, or remove it",
                           path);
    if (result == -EADDRINUSE)
        return failure_set(failure, result,
                           "socket_path \"%s\" is in use by another process: choose another path, "
                           "or end that one",
                           path);
    return failure_set(failure, result, "socket_path \"%s\": %s", path, strerror(-result));
}

int socket_path_listen(const struct directory *directory, const char *name, const char *path,
                       int type, uint32_t mode, struct failure *failure)
{
    int back;
    int result = directory_enter(directory, &back);
    if (result == 0) {
        result = unix_listen(name, type, mode, BACKLOG);
        directory_leave(back);
    }
    return result < 0 ? explain(failure, path, result) : result;
}
