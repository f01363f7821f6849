/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between virtqueue.c and the two ring formats: what differs between them, and what both need.
 * Contracts are those of the functions of the same name in virtqueue.h; what is said here comes
 * in addition. Chosen by a branch and not by a table of functions: nothing that a guest could
 * make the worker overwrite holds an address of code.
 */
#ifndef WORKER_VIRTQUEUE_FORMAT_H
#define WORKER_VIRTQUEUE_FORMAT_H

#include "worker/virtqueue.h"

/* Set *ret_fault, return -EBADMSG. */
int ring_fault(struct guest_fault *ret_fault, enum log_code code, uint64_t a, uint64_t b,
               uint64_t c);

/* Is a part of the ring aligned, and entirely in the window? */
bool ring_part_valid(const struct window *window, uint64_t addr, uint64_t alignment,
                     uint64_t length);

/* No segments yet. */
static inline void chain_clear(struct chain *chain)
{
    chain->readable_count = 0;
    chain->writable_count = 0;
    chain->readable_length = 0;
    chain->writable_length = 0;
}

/* Append the buffer of a descriptor that has been copied; chain->segments has room for it. */
enum ring_check chain_add(const struct virtqueue *vq, struct chain *chain, uint64_t addr,
                          uint32_t length, bool writable);

/* The indirect table at `addr`, of `length` bytes (§2.7.5.3, §2.8.7); both formats' descriptors
 * are of one size. The caller has copied the two. */
enum ring_check indirect_table(const struct virtqueue *vq, uint64_t addr, uint32_t length,
                               const unsigned char **ret_base, uint32_t *ret_descriptors);

bool split_usable(const struct state_queue *state, const struct window *window);
bool split_indices_valid(const struct state_queue *state);
/* Everything of *vq but the format's own is set. */
int split_start(struct virtqueue *vq, struct guest_fault *ret_fault);
/* Counts nothing. */
int split_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault);
/* The vq->filled > 0 chains of state->batch; counts nothing. */
void split_publish(struct virtqueue *vq);
/* `old`: vq->next_used when it was decided last. The barrier is behind the caller. */
bool split_interrupt_wanted(const struct virtqueue *vq, uint16_t old);
/* Write what the driver looks at before it kicks. */
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
