/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/virtqueue/cursor.h"

#include <string.h>

#include "worker/virtqueue/window.h"

struct cursor cursor_of(const struct iovec *segments, unsigned int count)
{
    size_t length = 0;
    for (unsigned int i = 0; i < count; i++)
        length += segments[i].iov_len;
    return cursor_over(segments, count, length);
}

size_t cursor_read(struct cursor *cursor, void *to, size_t length)
{
    size_t done = 0;
    while (done < length) {
        struct iovec piece = cursor_next(cursor, length - done);
        if (piece.iov_len == 0)
            break;
        guest_copy((unsigned char *)to + done, piece.iov_base, piece.iov_len);
        done += piece.iov_len;
    }
    return done;
}

size_t cursor_write(struct cursor *cursor, const void *from, size_t length)
{
    size_t done = 0;
    while (done < length) {
        struct iovec piece = cursor_next(cursor, length - done);
        if (piece.iov_len == 0)
            break;
        memcpy(piece.iov_base, (const unsigned char *)from + done, piece.iov_len);
        done += piece.iov_len;
    }
    return done;
}

size_t cursor_skip(struct cursor *cursor, size_t length)
{
    size_t done = 0;
    while (done < length) {
        struct iovec piece = cursor_next(cursor, length - done);
        if (piece.iov_len == 0)
            break;
        done += piece.iov_len;
    }
    return done;
}

unsigned int cursor_segments(struct cursor cursor, struct iovec *ret, unsigned int room)
{
    unsigned int count = 0;
    while (count < room) {
        ret[count] = cursor_next(&cursor, SIZE_MAX);
        if (ret[count].iov_len == 0)
            break;
        count++;
    }
    return count;
}
