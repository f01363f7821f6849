/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_VM_SEND_ALL_H
#define TESTS_VM_SEND_ALL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Waits until all has gone. A message of a seqpacket socket goes as a whole, by one call. */
static inline bool send_all(int fd, const void *data, size_t size)
{
    const uint8_t *next = data;
    while (size > 0) {
        ssize_t n = send(fd, next, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        next += n;
        size -= (size_t)n;
    }
    return true;
}

#endif
