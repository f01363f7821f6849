/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interface between virtqueue.c and the two ring formats: what differs between them, and what
 * both need. The contracts are those of the functions with the same name in virtqueue.h; the
 * comments here add to them. A branch chooses the format, and not a table of functions: so no
 * memory that a guest could make the worker overwrite holds an address of code.
 */
#ifndef WORKER_VIRTQUEUE_FORMAT_H
#define WORKER_VIRTQUEUE_FORMAT_H

#include <errno.h>
#include <stddef.h>

#include "worker/virtqueue/virtqueue.h"

/* ---- What both formats need ---- */

/* Set *ret_fault, return -EBADMSG. */
static inline int ring_fault(struct guest_fault *ret_fault, enum log_code code, uint64_t a,
                             uint64_t b, uint64_t c)
{
    *ret_fault = (struct guest_fault){.code = code, .args = {a, b, c}};
    return -EBADMSG;
}

/* Is a part of the ring aligned, and entirely in the window? */
static inline bool ring_part_valid(const struct window *window, uint64_t addr, uint64_t alignment,
                                   uint64_t length)
{
    return addr % alignment == 0 &&
           window_translate(window, (struct guest_addr){addr}, length) != NULL;
}

/* Make the chain empty: no segments yet. */
static inline void chain_clear(struct chain *chain)
{
    chain->readable_count = 0;
    chain->writable_count = 0;
    chain->readable_length = 0;
    chain->writable_length = 0;
}

/* Append the buffer of a descriptor that has been copied; chain->segments has room for it. */
static inline enum ring_check chain_add(const struct virtqueue *vq, struct chain *chain,
                                        uint64_t addr, uint32_t length, bool writable)
{
    if (!writable && chain->writable_count > 0)
        return CHECK_ORDER;
    if (length == 0)
        return CHECK_OK; /* nothing to translate: the address of an empty buffer has no meaning */
    if (length > UINT32_MAX - chain->readable_length - chain->writable_length)
        return CHECK_LENGTH;
    void *buffer = window_translate(vq->window, (struct guest_addr){addr}, length);
    if (!buffer)
        return CHECK_ADDRESS;
    unsigned int count = chain->readable_count + chain->writable_count;
    chain->segments[count] = (struct iovec){.iov_base = buffer, .iov_len = length};
    if (writable) {
        chain->writable_count++;
        chain->writable_length += length;
    } else {
        chain->readable_count++;
        chain->readable_length += length;
    }
    return CHECK_OK;
}

/* The indirect table at `addr`, of `length` bytes (§2.7.5.3, §2.8.7); the descriptors of both
 * formats have the same size. The caller has copied both values. */
static inline enum ring_check indirect_table(const struct virtqueue *vq, uint64_t addr,
                                             uint32_t length, const unsigned char **ret_base,
                                             uint32_t *ret_descriptors)
{
    if (length == 0 || length % sizeof(struct vring_desc) != 0)
        return CHECK_INDIRECT_LENGTH;
    const unsigned char *base = window_translate(vq->window, (struct guest_addr){addr}, length);
    if (!base)
        return CHECK_INDIRECT_ADDRESS;
    *ret_base = base;
    *ret_descriptors = length / (uint32_t)sizeof(struct vring_desc);
    return CHECK_OK;
}

/* ---- What differs ---- */

bool split_usable(const struct state_queue *state, const struct window *window);
bool split_indices_valid(const struct state_queue *state);
/* Everything in *vq is set, except the format's own part. */
int split_start(struct virtqueue *vq, struct guest_fault *ret_fault);
int split_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault);
/* vq->filled is not 0. */
void split_publish(struct virtqueue *vq);
/* `old`: vq->next_used at the last decision. The caller has made the barrier before. */
bool split_interrupt_wanted(const struct virtqueue *vq, uint16_t old);
/* Write the field at which the driver looks before it kicks. */
void split_notify_off(struct virtqueue *vq);
void split_notify_on(struct virtqueue *vq);

bool packed_usable(const struct state_queue *state, const struct window *window);
bool packed_indices_valid(const struct state_queue *state);
void packed_start(struct virtqueue *vq);
int packed_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault);
void packed_publish(struct virtqueue *vq);
bool packed_interrupt_wanted(struct virtqueue *vq);
void packed_notify_off(struct virtqueue *vq);
void packed_notify_on(struct virtqueue *vq);

#endif
