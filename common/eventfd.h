/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_EVENTFD_H
#define COMMON_EVENTFD_H

#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

/*
 * Signal a non-blocking eventfd. False only if its counter is full: whoever polls it finds it
 * readable, but no waiter is woken by this call.
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
 * Whatever the counter of a non-blocking eventfd was, it is 1 afterwards. For a holder who may not
 * be trusted can fill it (2^64-2), and then nobody is woken any more; and the kernel's own signal
 * makes 2^64-1 of that, which it reports as an error (EPOLLERR) for ever, to vhost as well. False
 * only if somebody fills it again meanwhile.
 */
static inline bool eventfd_renew(int fd)
{
    (void)eventfd_drain(fd);
    return eventfd_signal(fd);
}

#endif
