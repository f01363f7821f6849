/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor: a sequence of bytes that lies in several segments, and how far it has been used up.
 * VirtIO 1.2 §2.7.4 leaves it to the driver where one buffer ends and the next begins, so devices
 * see a chain as two such sequences (chain_readable, chain_writable) and never count segments.
 *
 * A cursor is a value. A copy is independent: reading through it moves no other cursor. A cursor
 * does not change the segments themselves, and must not outlive them.
 *
 * A cursor can't leave its segments. A function that is asked for more bytes than there are does
 * what it can, and returns how many bytes that was. A caller who needs all of them compares, or has
 * compared `left` before.
 *
 * Segments point to guest memory, or to the worker's own. cursor_read copies guest memory once; a
 * caller checks the copy.
 */
#ifndef WORKER_VIRTQUEUE_CURSOR_H
#define WORKER_VIRTQUEUE_CURSOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/virtqueue/window.h"

/* Callers read `left`, and leave the rest to the functions below. */
struct cursor {
    const struct iovec *segments; /* the first segment that is not used up */
    unsigned int count;           /* segments from there on */
    size_t offset;                /* bytes of the first one that are used up */
    size_t left;                  /* bytes in all; with cursor_cut fewer than the segments hold */
};

/* All bytes of `count` segments; `length` is the number of bytes, which the caller knows. */
static inline struct cursor cursor_over(const struct iovec *segments, unsigned int count,
                                        size_t length)
{
    return (struct cursor){.segments = segments, .count = count, .left = length};
}

/* The same, for a caller that does not know the length. */
struct cursor cursor_of(const struct iovec *segments, unsigned int count);

/*
 * Use up the next bytes that lie together, at most `most` of them, and return where they are. If
 * nothing is left, or `most` is 0, the result's iov_len is 0.
 */
static inline struct iovec cursor_next(struct cursor *cursor, size_t most)
{
    while (cursor->count > 0 && cursor->offset == cursor->segments->iov_len) {
        cursor->segments++;
        cursor->count--;
        cursor->offset = 0;
    }
    if (cursor->count == 0) {
        cursor->left = 0;
        return (struct iovec){NULL, 0};
    }
    size_t part = cursor->segments->iov_len - cursor->offset;
    if (part > cursor->left)
        part = cursor->left;
    if (part > most)
        part = most;
    struct iovec piece = {(unsigned char *)cursor->segments->iov_base + cursor->offset, part};
    cursor->offset += part;
    cursor->left -= part;
    return piece;
}

/*
 * Copy the next `length` bytes to `to`, or from `from`, and use them up. Return how many. These
 * functions and cursor_skip are here to be inlined: most of what devices ask for lies in one
 * segment.
 */
static inline size_t cursor_read(struct cursor *cursor, void *to, size_t length)
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

static inline size_t cursor_write(struct cursor *cursor, const void *from, size_t length)
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

/* Use up the next `length` bytes. Returns how many. */
static inline size_t cursor_skip(struct cursor *cursor, size_t length)
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

/* Keep the first `length` bytes of what is left, and forget those behind them. */
static inline void cursor_cut(struct cursor *cursor, size_t length)
{
    if (length < cursor->left)
        cursor->left = length;
}

/*
 * What is left as an array for readv and similar calls: at most `room` elements, none of them
 * empty. Returns how many. Segments for which there is no room are left out.
 */
unsigned int cursor_segments(const struct cursor *cursor, struct iovec *ret, unsigned int room);

#endif
