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

#endif
