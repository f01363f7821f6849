/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_EVENTFD_H
#define COMMON_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/*
 * Signal a non-blocking eventfd. Returns false only if its counter is full: a poll then finds it
 * readable, but this call wakes no waiter.
 */
static inline bool eventfd_signal(int fd)
{
    const uint64_t one = 1;
    return write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

/* Empty a non-blocking eventfd. Returns whether it had been signalled. */
static inline bool eventfd_drain(int fd)
{
    uint64_t count;
    return read(fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

/*
 * Set the counter of a non-blocking eventfd to 1, whatever it was. The reason: an untrusted process
 * that has the eventfd can fill the counter (2^64-2), and then nobody is woken any more. The
 * kernel's own signal then makes it 2^64-1, which the kernel reports as an error (EPOLLERR) for
 * ever, to vhost, too. Returns false only if somebody fills the counter again in between.
 */
static inline bool eventfd_renew(int fd)
{
    (void)eventfd_drain(fd);
    return eventfd_signal(fd);
}

#endif
