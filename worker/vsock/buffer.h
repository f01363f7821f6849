/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Here lies what a guest has sent and the host's socket does not take yet. Each connection has a
 * ring of VSOCK_BUFFER_SIZE bytes. The connection's own counts of bytes address it, so that the
 * ring has no state but its bytes. The credit keeps the guest from overrunning it
 * (worker/vsock/table.h).
 *
 * Seqpacket: a bit for each byte says whether a message ends with that byte, so that there is room
 * for any number of messages. An empty message does not count as a message: it has no byte.
 */
#ifndef WORKER_VSOCK_BUFFER_H
#define WORKER_VSOCK_BUFFER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "worker/virtqueue/cursor.h"
#include "worker/vsock/table.h"

struct vsock_buffer {
    uint64_t ends[VSOCK_BUFFER_SIZE / 64]; /* bit i: a message ends with bytes[i] */
    unsigned char bytes[VSOCK_BUFFER_SIZE];
};

/* For a new connection: no message ends anywhere. */
void vsock_buffer_clear(struct vsock_buffer *buffer);

/*
 * Copy all of `payload`, which is guest memory, to the place of byte number `at`. The caller knows
 * that there is room.
 */
void vsock_buffer_put(struct vsock_buffer *buffer, uint32_t at, struct cursor payload);

/* Note that a message ends with the byte before number `at`. */
void vsock_buffer_end_message(struct vsock_buffer *buffer, uint32_t at);

/* The bytes from number `from` up to `to`, in one or two parts; returns how many parts. The range
 * is not empty. */
unsigned int vsock_buffer_get(struct vsock_buffer *buffer, uint32_t from, uint32_t to,
                              struct iovec ret[2]);

/* Find where the first message between `from` and `to` ends. Returns false if none ends there. */
bool vsock_buffer_message(const struct vsock_buffer *buffer, uint32_t from, uint32_t to,
                          uint32_t *ret_end);

/* Forget the end of the message that ends before number `at`: the message has been taken. */
void vsock_buffer_drop_end(struct vsock_buffer *buffer, uint32_t at);

#endif
