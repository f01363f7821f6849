/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffers of a chain as one stretch of bytes: VirtIO 1.2 §2.7.4 leaves it to the driver where
 * one buffer ends and the next begins. What they point to is guest memory.
 */
#ifndef WORKER_VIRTQUEUE_SEGMENTS_H
#define WORKER_VIRTQUEUE_SEGMENTS_H

#include <stddef.h>
#include <sys/uio.h>

/* Copy the first `length` bytes, which must be there, from or to the segments. */
void segments_read(const struct iovec *segments, void *to, size_t length);
void segments_write(const struct iovec *segments, const void *from, size_t length);

/*
 * What is left of `count` segments behind the first `skip` bytes, `length` bytes of it at most.
 * `ret` has room for `count`; returns how many it then has, none of them empty.
 */
unsigned int segments_cut(const struct iovec *segments, unsigned int count, size_t skip,
                          size_t length, struct iovec *ret);

#endif
