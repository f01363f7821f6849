/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue/segments.h"

#include "worker/virtqueue/window.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void segments_read(const struct iovec *segments, void *to, size_t length)
{
    unsigned char *at = to;
    for (; length > 0; segments++) {
        size_t part = smaller(segments->iov_len, length);
        guest_copy(at, segments->iov_base, part);
        at += part;
        length -= part;
    }
}

void segments_write(const struct iovec *segments, const void *from, size_t length)
{
    const unsigned char *at = from;
    for (; length > 0; segments++) {
        size_t part = smaller(segments->iov_len, length);
        memcpy(segments->iov_base, at, part);
        at += part;
        length -= part;
    }
}

unsigned int segments_cut(const struct iovec *segments, unsigned int count, size_t skip,
                          size_t length, struct iovec *ret)
{
    unsigned int kept = 0;
    for (unsigned int i = 0; i < count && length > 0; i++) {
        size_t skipped = smaller(segments[i].iov_len, skip);
        size_t part = smaller(segments[i].iov_len - skipped, length);
        skip -= skipped;
        if (part == 0)
            continue;
        ret[kept++] = (struct iovec){(unsigned char *)segments[i].iov_base + skipped, part};
        length -= part;
    }
    return kept;
}
