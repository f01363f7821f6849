/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a worker holds. It keeps for ever what it was given before lock-down, so one fd
 * too many is a hole that no later layer closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "worker/sandbox/listing.h"
#include "worker/sandbox/step.h"

#define NULL_MAJOR 1 /* /dev/null, Documentation/admin-guide/devices.txt */
#define NULL_MINOR 3

static bool is_null_device(const struct stat *file)
{
    return S_ISCHR(file->st_mode) && file->st_rdev == makedev(NULL_MAJOR, NULL_MINOR);
}

static bool is_control_socket(int fd)
{
    int domain = 0, type = 0;
    socklen_t length = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && domain == AF_UNIX &&
           type == SOCK_SEQPACKET;
}

/* Files of these kinds have no name except the one that /proc gives them. `name` is the fd's in
 * `dir`. */
static bool is_anonymous(int dir, const char *name, const char *expected)
{
    char target[64];
    ssize_t length = readlinkat(dir, name, target, sizeof(target));
    return length == (ssize_t)strlen(expected) && memcmp(target, expected, (size_t)length) == 0;
}

/* A directory would lead to other files (openat), and so could an O_PATH fd. */
static bool leads_nowhere(int fd, const struct stat *file)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) == 0 && !S_ISDIR(file->st_mode);
}

static bool is_of_kind(int dir, const char *name, int fd, enum fd_kind kind)
{
    struct stat file;
    if (fstat(fd, &file) < 0)
        return false;
    switch (kind) {
    case FD_NULL:
        return is_null_device(&file);
    case FD_SOCKET:
        return is_control_socket(fd);
    case FD_EPOLL:
        return is_anonymous(dir, name, "anon_inode:[eventpoll]");
    case FD_EVENT:
        return is_anonymous(dir, name, "anon_inode:[eventfd]");
    case FD_RING:
        return is_anonymous(dir, name, "anon_inode:[io_uring]");
    case FD_BACKEND:
        return leads_nowhere(fd, &file);
    }
    return false;
}

/* One entry of /proc/self/fd: should this fd be there, and be such a file? `dir` is the fd of the
 * listing itself. */
static int note_entry(const struct sandbox *sandbox, const char *name, int dir,
                      bool seen[SANDBOX_FDS_MAX])
{
    if (name[0] == '.')
        return 0;
    unsigned long fd = strtoul(name, NULL, 10);
    if (fd == (unsigned long)dir)
        return 0;
    if (fd >= sandbox->fd_count)
        return -EMFILE;
    if (!is_of_kind(dir, name, (int)fd, sandbox->fds[fd]))
        return -EBADFD;
    seen[fd] = true;
    return 0;
}

static int list_fds(const struct sandbox *sandbox, int dir, bool seen[SANDBOX_FDS_MAX])
{
    _Alignas(struct listing_entry) char buffer[2048];
    ssize_t length;
    while ((length = listing_read(dir, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct listing_entry *entry = (const void *)(buffer + at);
            int error = note_entry(sandbox, entry->name, dir, seen);
            if (error < 0)
                return error;
            at += entry->length;
        }
    }
    return length < 0 ? -errno : 0;
}

static int compare_fds(const struct sandbox *sandbox, int dir)
{
    bool seen[SANDBOX_FDS_MAX] = {false};
    struct statfs fs;
    if (fstatfs(dir, &fs) < 0)
        return -errno;
    if (fs.f_type != PROC_SUPER_MAGIC)
        return -ENOTRECOVERABLE;
    int error = list_fds(sandbox, dir, seen);
    for (unsigned int fd = 0; error == 0 && fd < sandbox->fd_count; fd++) {
        if (!seen[fd])
            error = -EBADF;
    }
    return error;
}

int step_enter_fds(const struct sandbox *sandbox)
{
    int dir = openat(AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int error = compare_fds(sandbox, dir);
    close(dir);
    return error < 0 ? error : 1;
}

/* Without /proc: if a later step left an fd open, that fd has the lowest free number. */
int step_check_fds(const struct sandbox *sandbox, uint32_t layers)
{
    (void)layers;
    for (unsigned int fd = 0; fd < sandbox->fd_count; fd++) {
        if (fcntl((int)fd, F_GETFD) < 0)
            return -ENOTRECOVERABLE;
    }
    return fcntl((int)sandbox->fd_count, F_GETFD) < 0 ? 0 : -ENOTRECOVERABLE;
}
