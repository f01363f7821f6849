/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/buffer.h"

#include <string.h>

_Static_assert((VSOCK_BUFFER_SIZE & (VSOCK_BUFFER_SIZE - 1)) == 0, "counts wrap at its end");

static uint32_t place(uint32_t number)
{
    return number & (VSOCK_BUFFER_SIZE - 1);
}

void vsock_buffer_clear(struct vsock_buffer *buffer)
{
    memset(buffer->ends, 0, sizeof(buffer->ends));
}

void vsock_buffer_put(struct vsock_buffer *buffer, uint32_t at, struct cursor payload)
{
    while (payload.left > 0)
        at += (uint32_t)cursor_read(&payload, buffer->bytes + place(at),
                                    VSOCK_BUFFER_SIZE - place(at));
}

void vsock_buffer_end_message(struct vsock_buffer *buffer, uint32_t at)
{
    uint32_t last = place(at - 1);
    buffer->ends[last / 64] |= 1ull << last % 64;
}

void vsock_buffer_drop_end(struct vsock_buffer *buffer, uint32_t at)
{
    uint32_t last = place(at - 1);
    buffer->ends[last / 64] &= ~(1ull << last % 64);
}

unsigned int vsock_buffer_get(struct vsock_buffer *buffer, uint32_t from, uint32_t to,
                              struct iovec ret[2])
{
    uint32_t length = to - from, first = VSOCK_BUFFER_SIZE - place(from);
    if (first > length)
        first = length;
    ret[0] = (struct iovec){buffer->bytes + place(from), first};
    ret[1] = (struct iovec){buffer->bytes, length - first};
    return first == length ? 1 : 2;
}

bool vsock_buffer_message(const struct vsock_buffer *buffer, uint32_t from, uint32_t to,
                          uint32_t *ret_end)
{
    uint32_t at = from;
    while (at - from < to - from) {
        uint32_t bit = place(at) % 64;
        uint64_t word = buffer->ends[place(at) / 64] >> bit;
        if (word != 0) {
            uint32_t end = at + (uint32_t)__builtin_ctzll(word) + 1;
            if (end - from > to - from)
                return false;
            *ret_end = end;
            return true;
        }
        at += 64 - bit;
    }
    return false;
}
