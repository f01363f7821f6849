/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces, and a root with nothing in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/confine.h"
#include "worker/sandbox/listing.h"
#include "worker/sandbox/step.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* This process itself makes the namespaces that a process can make for itself. So it does not
 * matter if the keeper forgot one. */
#define MADE_HERE (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const char *const made_here[] = {
    "/proc/self/ns/mnt",
    "/proc/self/ns/ipc",
    "/proc/self/ns/uts",
    "/proc/self/ns/cgroup",
};
#define MADE_HERE_COUNT (sizeof(made_here) / sizeof(made_here[0]))

static int namespace_ids(ino_t ids[MADE_HERE_COUNT])
{
    for (size_t i = 0; i < MADE_HERE_COUNT; i++) {
        struct stat file;
        if (stat(made_here[i], &file) < 0)
            return -errno;
        ids[i] = file.st_ino;
    }
    return 0;
}

static int make_namespaces(void)
{
    ino_t before[MADE_HERE_COUNT] = {0}, after[MADE_HERE_COUNT] = {0};
    int error = namespace_ids(before);
    if (error < 0)
        return error;
    if (unshare(MADE_HERE) < 0)
        return -errno;
    error = namespace_ids(after);
    if (error < 0)
        return error;
    for (size_t i = 0; i < MADE_HERE_COUNT; i++) {
        if (after[i] == before[i])
            return -ENOTRECOVERABLE;
    }
    return 0;
}

static int net_cookie(int socket, uint64_t *ret_cookie)
{
    socklen_t length = sizeof(*ret_cookie);
    return getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, ret_cookie, &length) < 0 ? -errno : 0;
}

/*
 * A kernel takes long to make a net namespace, and longer to remove it, so the one that the keeper
 * made is used. It is checked in this way: a socket belongs for ever to the namespace in which it
 * was made, and the control socket was made in the broker's namespace.
 */
static int check_net_namespace(void)
{
    uint64_t theirs = 0, ours = 0;
    int probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -errno;
    int error = net_cookie(probe, &ours);
    close(probe);
    if (error == 0)
        error = net_cookie(WORKER_FD_CONTROL, &theirs);
    if (error < 0)
        return error;
    return ours != theirs ? 0 : -EXDEV;
}

int step_enter_namespaces(const struct sandbox *sandbox)
{
    (void)sandbox;
    if (getpid() != 1) /* only a parent can make a pid namespace */
        return -EXDEV;
    int error = check_net_namespace();
    if (error == 0)
        error = make_namespaces();
    return error < 0 ? error : 1;
}

int step_check_namespaces(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    return getpid() == 1 ? 0 : -ENOTRECOVERABLE;
}

/* Check that the root is empty. */
static int list_root(void)
{
    _Alignas(struct listing_entry) char buffer[512];
    int root = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -errno;
    int entries = 0;
    ssize_t length;
    while ((length = listing_read(root, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < length; entries++)
            at += ((const struct listing_entry *)(const void *)(buffer + at))->length;
    }
    int error = length < 0 ? -errno : 0;
    close(root);
    if (error < 0)
        return error;
    return entries == 2 ? 0 : -ENOTRECOVERABLE; /* "." and ".." */
}

int step_enter_empty_root(const struct sandbox *sandbox)
{
    (void)sandbox;
    /* Mounts made here do not appear outside, and mounts made outside do not appear here. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -errno;
    /* Mounted on /proc, because that directory is known to exist: it was just read. The only inode
     * is the root itself. */
    if (mount("none", "/proc", "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=4k,nr_inodes=1,mode=0555") < 0)
        return -errno;
    if (chdir("/proc") < 0)
        return -errno;
    int error = confine_change_root();
    if (error < 0)
        return error;
    if (chdir("/") < 0)
        return -errno;
    error = list_root();
    return error < 0 ? error : 1;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int step_check_empty_root(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    const unsigned long flags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
    struct statfs fs;
    struct statvfs vfs;
    struct stat root, above, here, proc;
    if (statfs("/", &fs) < 0 || statvfs("/", &vfs) < 0 || stat("/", &root) < 0 ||
        stat("/..", &above) < 0 || stat(".", &here) < 0)
        return -errno;
    if (fs.f_type != TMPFS_MAGIC || (vfs.f_flag & flags) != flags)
        return -ENOTRECOVERABLE;
    if (root.st_nlink != 2 || !same_file(&root, &above) || !same_file(&root, &here))
        return -ENOTRECOVERABLE;
    return stat("/proc", &proc) < 0 && errno == ENOENT ? 0 : -ENOTRECOVERABLE;
}
