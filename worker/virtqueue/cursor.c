/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue/cursor.h"

struct cursor cursor_of(const struct iovec *segments, unsigned int count)
{
    size_t length = 0;
    for (unsigned int i = 0; i < count; i++)
        length += segments[i].iov_len;
    return cursor_over(segments, count, length);
}

unsigned int cursor_segments(const struct cursor *cursor, struct iovec *ret, unsigned int room)
{
    const struct iovec *segment = cursor->segments, *end = segment + cursor->count;
    size_t offset = cursor->offset, left = cursor->left;
    unsigned int count = 0;
    for (; segment < end && left > 0 && count < room; segment++, offset = 0) {
        size_t part = segment->iov_len - offset;
        if (part > left)
            part = left;
        if (part == 0)
            continue;
        ret[count++] = (struct iovec){(unsigned char *)segment->iov_base + offset, part};
        left -= part;
    }
    return count;
}
