/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64
#define SOCKET_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

static int failed(struct failure *failure, const char *path, int error)
{
    return failure_set(failure, -error, "socket_path \"%s\": %s", path, strerror(error));
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return address;
}

static int new_socket(int type)
{
    int fd = socket(AF_UNIX, type | SOCKET_FLAGS, 0);
    return fd < 0 ? -errno : fd;
}

int unix_connect(const char *path, int type)
{
    const struct sockaddr_un address = address_of(path);
    int fd = new_socket(type);
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

/* Remove a socket that an earlier run left, which nobody uses any more. Anything else belongs to
 * somebody and is an error. */
static int remove_stale(const char *name, const char *path, int type, struct failure *failure)
{
    struct stat status;
    if (lstat(name, &status) < 0)
        return errno == ENOENT ? 0 : failed(failure, path, errno);
    if (!S_ISSOCK(status.st_mode))
        return failure_set(failure, -EEXIST,
                           "socket_path \"%s\" is there already and is no socket: choose another "
                           "path, or remove it",
                           path);
    int other = unix_connect(name, type);
    if (other >= 0)
        close(other);
    if (other != -ECONNREFUSED)
        return failure_set(failure, -EADDRINUSE,
                           "socket_path \"%s\" is in use by another process: choose another path, "
                           "or end that one",
                           path);
    return unlinkat(AT_FDCWD, name, 0) < 0 ? failed(failure, path, errno) : 0;
}

/* Listen in the working directory. */
static int listen_here(const char *name, const char *path, int type, mode_t mode,
                       struct failure *failure)
{
    int result = remove_stale(name, path, type, failure);
    if (result < 0)
        return result;
    const struct sockaddr_un address = address_of(name);
    int fd = new_socket(type);
    if (fd < 0)
        return failed(failure, path, -fd);
    /* bind gives the file the mode of the socket, so that the file never has another mode. */
    if ((mode != 0 && fchmod(fd, mode) < 0) ||
        bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        result = failed(failure, path, errno);
        close(fd);
        return result;
    }
    return fd;
}

int unix_listen(const struct directory *directory, const char *name, const char *path, int type,
                mode_t mode, struct failure *failure)
{
    int back;
    int result = directory_enter(directory, &back);
    if (result < 0)
        return failed(failure, path, -result);
    result = listen_here(name, path, type, mode, failure);
    directory_leave(back);
    return result;
}

int unix_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCKET_FLAGS);
    return fd < 0 ? -errno : fd;
}
