/* SPDX-License-Identifier: Apache-2.0 */
/* Lists a directory without allocating, as opendir would. Not every C library has getdents64. */
#ifndef WORKER_SANDBOX_LISTING_H
#define WORKER_SANDBOX_LISTING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* An entry, as the kernel writes it. The next one begins `length` bytes after it. */
struct listing_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

/* Reads the next entries into the buffer, which is aligned as an entry. Returns how many bytes they
 * take; 0 at the end; -1 with errno set. */
static inline ssize_t listing_read(int directory, void *buffer, size_t size)
{
    return syscall(SYS_getdents64, directory, buffer, size);
}

#endif
