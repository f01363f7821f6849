/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/console_files.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/worker_fds.h"

#define PORT_FD(p) (WORKER_FD_BACKEND2 + (int)(p))

struct file files[STATE_CONSOLE_PORTS];
unsigned int ports, questions;

static struct file *file_of(int fd)
{
    return fd >= PORT_FD(0) && fd < PORT_FD(STATE_CONSOLE_PORTS) ? &files[fd - PORT_FD(0)] : NULL;
}

static bool fails(struct file *file)
{
    errno = file->error;
    file->error = 0;
    return errno != 0;
}

ssize_t write(int fd, const void *from, size_t length)
{
    struct file *file = file_of(fd);
    if (!file)
        return syscall(SYS_write, fd, from, length);
    file->writes++;
    file->longest = length > file->longest ? length : file->longest;
    if (fails(file))
        return -1;
    length = length < file->call_max ? length : file->call_max;
    length = length < file->room ? length : file->room;
    if (length == 0) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(file->written + file->written_length, from, length);
    file->written_length += length;
    file->room -= length;
    return (ssize_t)length;
}

ssize_t read(int fd, void *to, size_t length)
{
    struct file *file = file_of(fd);
    if (!file)
        return syscall(SYS_read, fd, to, length);
    file->reads++;
    file->longest = length > file->longest ? length : file->longest;
    if (fails(file))
        return -1;
    size_t left = strlen(file->typed);
    length = length < left ? length : left;
    if (length == 0) {
        errno = file->reader ? EAGAIN : EIO;
        return -1;
    }
    memcpy(to, file->typed, length);
    file->typed += length;
    return (ssize_t)length;
}

int epoll_pwait2(int fd, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *mask)
{
    int count = 0;
    if (fd != WORKER_FD_BACKEND)
        return epoll_pwait(fd, events, max, (int)(timeout->tv_nsec / 1000000), mask);
    questions++;
    CU_ASSERT(timeout->tv_sec == 0 && timeout->tv_nsec == 0);
    for (unsigned int p = 0; p < ports && count < max; p++) {
        if (!files[p].reader)
            events[count++] = (struct epoll_event){.events = EPOLLHUP, .data.u32 = p};
    }
    return count;
}
