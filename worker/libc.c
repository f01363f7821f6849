/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of the C library, where that is not GNU's. The policies allow one call for each
 * purpose, and GNU's C library makes it. musl has others for some arguments: preadv and pwritev
 * where there are no flags; stat where an architecture still has it. And it changes no scheduling
 * class. And it has no epoll_pwait2. Here are the same calls as GNU's. Both C libraries have the
 * kernel's struct stat on the architectures that there are policies for.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/wait.h"

#ifndef __GLIBC__

#if defined(__x86_64__)
_Static_assert(sizeof(struct stat) == 144, "the kernel's");
#else
_Static_assert(sizeof(struct stat) == 128, "the kernel's");
#endif

/* The kernel takes the offset in two halves: here the first has all of it. */
ssize_t preadv2(int fd, const struct iovec *to, int count, off_t offset, int flags)
{
    return syscall(SYS_preadv2, fd, to, count, offset, 0L, flags);
}

ssize_t pwritev2(int fd, const struct iovec *from, int count, off_t offset, int flags)
{
    return syscall(SYS_pwritev2, fd, from, count, offset, 0L, flags);
}

int sched_setscheduler(pid_t process, int class, const struct sched_param *parameters)
{
    return (int)syscall(SYS_sched_setscheduler, process, class, parameters);
}

int epoll_pwait2(int epoll, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask)
{
    return (int)syscall(SYS_epoll_pwait2, epoll, events, max, timeout, mask, _NSIG / 8);
}

int stat(const char *restrict path, struct stat *restrict ret)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, ret, 0);
}

#endif
