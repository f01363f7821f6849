/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

static int set_address(const char *path, struct sockaddr_un *ret)
{
    size_t length = strlen(path);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (length >= sizeof(ret->sun_path))
        return -ENAMETOOLONG;
    memcpy(ret->sun_path, path, length);
    return 0;
}

static int new_socket(int type)
{
    int fd = socket(AF_UNIX, type | SOCKET_FLAGS, 0);
    return fd < 0 ? -errno : fd;
}

/* Returns `fd`; or, if the last call on it has failed, closes it and returns -errno. */
static int keep_unless(bool has_failed, int fd)
{
    int error = errno;
    if (!has_failed)
        return fd;
    close(fd);
    return -error;
}

static int connect_to(const struct sockaddr_un *address, int type)
{
    int fd = new_socket(type);
    if (fd < 0)
        return fd;
    return keep_unless(connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0, fd);
}

/* Does a process listen there? If that can't be known, the file is left alone. */
static bool is_used(const struct sockaddr_un *address, int type)
{
    int fd = connect_to(address, type);
    if (fd >= 0)
        close(fd);
    return fd != -ECONNREFUSED;
}

static int remove_stale(const struct sockaddr_un *address, int type)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    if (is_used(address, type))
        return -EADDRINUSE;
    return unlinkat(AT_FDCWD, address->sun_path, 0) < 0 ? -errno : 0;
}

/* The file is made with that mode, so that it never has another. */
static int bind_with_mode(int fd, const struct sockaddr_un *address, uint32_t mode)
{
    if (mode == UNIX_MODE_OF_UMASK)
        return bind(fd, (const struct sockaddr *)address, sizeof(*address));
    mode_t before = umask(~mode & 0777);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address));
    umask(before);
    return result;
}

int unix_listen(const char *path, int type, uint32_t mode, int backlog)
{
    struct sockaddr_un address;
    int result = set_address(path, &address);
    if (result == 0)
        result = remove_stale(&address, type);
    if (result < 0)
        return result;
    int fd = new_socket(type);
    if (fd < 0)
        return fd;
    return keep_unless(bind_with_mode(fd, &address, mode) < 0 || listen(fd, backlog) < 0, fd);
}

int unix_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCKET_FLAGS);
    return fd < 0 ? -errno : fd;
}

int unix_connect(const char *path, int type)
{
    struct sockaddr_un address;
    int result = set_address(path, &address);
    return result < 0 ? result : connect_to(&address, type);
}
