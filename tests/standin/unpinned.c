/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker for tests whose window is as on a real Bao: bare physical memory that the kernel can't
 * pin. The stand-in's window is a memfd. So this file plays the kernel's part, in front of the
 * system calls of the worker's own sources, and of what goes into its ring. O_DIRECT on the window
 * fails with EFAULT. MADV_POPULATE_READ, by which the worker asks whether the window can be pinned,
 * fails with EINVAL.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "worker/block/block.h"
#include "worker/ring.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define WINDOW_LEAST 0x100000u /* every other shared mapping is smaller */

void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __real_madvise(void *address, size_t length, int advice);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
int __wrap_madvise(void *address, size_t length, int advice);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags);

static const unsigned char *window;
static size_t window_size;

static bool in_window(const void *address)
{
    const unsigned char *at = address;
    return window && at >= window && at < window + window_size;
}

static bool refused(const struct iovec *iov, int count)
{
    for (int i = 0; block.direct && i < count; i++) {
        if (in_window(iov[i].iov_base))
            return true;
    }
    return false;
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    void *mapped = __real_mmap(address, length, protection, flags, fd, offset);
    if (mapped != MAP_FAILED && (flags & MAP_SHARED) != 0 && length >= WINDOW_LEAST) {
        window = mapped;
        window_size = length;
    }
    return mapped;
}

int __wrap_madvise(void *address, size_t length, int advice)
{
    if (advice != MADV_POPULATE_READ || !in_window(address))
        return __real_madvise(address, length, advice);
    errno = EINVAL;
    return -1;
}

ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (!refused(iov, count))
        return __real_preadv2(fd, iov, count, offset, flags);
    errno = EFAULT;
    return -1;
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    if (!refused(iov, count))
        return __real_pwritev2(fd, iov, count, offset, flags);
    errno = EFAULT;
    return -1;
}

/* The kernel answers so where there is no memory. */
static const struct iovec nowhere = {(void *)1, 512};

void __real_ring_add_read(uint32_t number, const struct iovec *to, unsigned int count,
                          uint64_t offset);
void __real_ring_add_write(uint32_t number, const struct iovec *from, unsigned int count,
                           uint64_t offset);
void __wrap_ring_add_read(uint32_t number, const struct iovec *to, unsigned int count,
                          uint64_t offset);
void __wrap_ring_add_write(uint32_t number, const struct iovec *from, unsigned int count,
                           uint64_t offset);

void __wrap_ring_add_read(uint32_t number, const struct iovec *to, unsigned int count,
                          uint64_t offset)
{
    bool may = !refused(to, (int)count);
    __real_ring_add_read(number, may ? to : &nowhere, may ? count : 1, offset);
}

void __wrap_ring_add_write(uint32_t number, const struct iovec *from, unsigned int count,
                           uint64_t offset)
{
    bool may = !refused(from, (int)count);
    __real_ring_add_write(number, may ? from : &nowhere, may ? count : 1, offset);
}
