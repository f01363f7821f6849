/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a virtqueue, VirtIO 1.2 §2.7 (split) and §2.8 (packed), for devices that
 * complete their chains in the order in which they were made available (VIRTIO_F_IN_ORDER). The
 * accepted features say which format a queue has; the caller need not know it.
 *
 * Completed chains gather in the state page and reach the driver as one batch, by one release
 * store: of used->idx, or of the first used descriptor's flags. Whether the driver is interrupted
 * is decided separately, for any number of batches at once: a driver that is at work sees them
 * without an interrupt. Allocates nothing and makes no system call.
 *
 * Restart: state->next_used is what the driver has seen, batch_end what it is about to see.
 * virtqueue_start finds out from the two, and from the ring, which of the chains that a
 * predecessor took are done; the others are taken again (split.c, packed.c).
 */
#ifndef WORKER_VIRTQUEUE_H
#define WORKER_VIRTQUEUE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/device_kind.h"
#include "common/log_code.h"
#include "common/state.h"
#include "worker/virtqueue/cursor.h"
#include "worker/virtqueue/window.h"

/* The driver sees up to this many chains at once, if they were completed before one
 * virtqueue_publish. */
#define VIRTQUEUE_BATCH_MAX STATE_BATCH_MAX
/* Buffers of one chain, including those of an indirect table. */
#define CHAIN_SEGMENTS_MAX 256u

/* What a chain or a descriptor violated: the `check` of LOG_DESC_INVALID and LOG_CHAIN_INVALID. */
enum ring_check {
    CHECK_OK = 0,
    CHECK_HEAD,               /* §2.7.6: a head lies outside the descriptor table */
    CHECK_NEXT,               /* §2.7.5: `next` lies outside the table */
    CHECK_ADDRESS,            /* §2.7.5: a buffer is not entirely in the window */
    CHECK_LOOP,               /* §2.7.5.1: more descriptors than the table has, so it loops */
    CHECK_SEGMENTS,           /* §2.7.4.1: more buffers than CHAIN_SEGMENTS_MAX */
    CHECK_LENGTH,             /* §2.7.5.1: 2^32 bytes or more in total */
    CHECK_ORDER,              /* §2.7.4.2: a device-readable buffer after a device-writable one */
    CHECK_INDIRECT_FEATURE,   /* §2.7.5.3.1: VIRTIO_F_INDIRECT_DESC was not negotiated */
    CHECK_INDIRECT_NESTED,    /* §2.7.5.3.1: an indirect table within an indirect table */
    CHECK_INDIRECT_WITH_NEXT, /* §2.7.5.3.1: both flags in one descriptor */
    CHECK_INDIRECT_LENGTH,    /* §2.7.5.3: the table's length is 0 or no multiple of 16 */
    CHECK_INDIRECT_ADDRESS,   /* §2.7.5.3: the table is not entirely in the window */
    CHECK_NO_ROOM,            /* §5.2.6, §5.10.6.7: too short for a request, or for its answer */
    CHECK_AVAILABLE,          /* §2.8.6: a descriptor of a packed chain is not marked available */
};

/* A message about what the guest did wrong. */
struct guest_fault {
    enum log_code code;
    uint64_t args[4];
};

/* What is needed to complete a chain; it can be kept after the rest is forgotten. */
struct chain_ref {
    uint16_t id;          /* split: the head's index; packed: the Buffer ID */
    uint16_t descriptors; /* how many it takes in the ring; split: 0 */
};

/* One chain. Its fields are checked copies; the buffers that they point to are the guest's. */
struct chain {
    struct chain_ref ref;
    unsigned int readable_count; /* segments[0 ..]: device-readable */
    unsigned int writable_count; /* those that follow: device-writable */
    uint32_t readable_length;    /* bytes */
    uint32_t writable_length;
    struct iovec segments[CHAIN_SEGMENTS_MAX]; /* none of length 0 */
};

/* What the device may read of a chain, and what it may write to. */
static inline struct cursor chain_readable(const struct chain *chain)
{
    return cursor_over(chain->segments, chain->readable_count, chain->readable_length);
}

static inline struct cursor chain_writable(const struct chain *chain)
{
    return cursor_over(chain->segments + chain->readable_count, chain->writable_count,
                       chain->writable_length);
}

/* The last byte that the device may write to. There must be one: writable_length is not 0. */
static inline unsigned char *chain_last_byte(const struct chain *chain)
{
    const struct iovec *last = &chain->segments[chain->readable_count + chain->writable_count - 1];
    return (unsigned char *)last->iov_base + last->iov_len - 1;
}

/* §2.7 */
struct split_ring {
    const struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx; /* the driver's avail->idx when last read, checked */
};

/* §2.8; positions as in struct state_queue. */
struct packed_ring {
    struct vring_packed_desc *desc;
    const uint32_t *driver_event; /* struct vring_packed_desc_event each, always as a whole */
    uint32_t *device_event;
    uint16_t avail_position; /* position of the next chain to be taken */
    uint16_t used_position;  /* position of the next used descriptor to be published */
    uint32_t undecided;      /* descriptors published since virtqueue_interrupt_due was asked */
};

/* Where the next chain is. */
struct virtqueue_place {
    uint16_t next_avail;
    uint16_t avail_idx;      /* split */
    uint16_t avail_position; /* packed */
};

struct virtqueue {
    const struct window *window;
    struct state_queue *state;
    unsigned int index;
    bool running;
    bool is_packed;     /* VIRTIO_F_RING_PACKED negotiated */
    bool event_idx;     /* VIRTIO_F_EVENT_IDX negotiated */
    bool indirect;      /* VIRTIO_F_INDIRECT_DESC negotiated */
    bool notify_off;    /* the driver has been asked not to kick */
    bool signal_always; /* it is not known here what the driver knows of the last interrupt */
    uint16_t size;
    uint16_t next_avail;          /* free-running: chains taken */
    uint16_t next_used;           /* free-running: chains published */
    uint16_t decided;             /* next_used when it was last asked whether an interrupt is due */
    uint16_t signalled;           /* next_used when an interrupt was last due */
    uint16_t filled;              /* elements in state->batch, not yet published */
    struct virtqueue_place ahead; /* behind the last chain that virtqueue_ahead has shown */
    uint16_t taken[QUEUE_SIZE_MAX]; /* ids of the chains that are outstanding, by next_avail */
    union {
        struct split_ring split;
        struct packed_ring packed;
    };
};

/*
 * Is the ring usable, in the format that `features` choose: its size (split: a power of two) at
 * most size_max, each part aligned and entirely in the window (§2.7, §2.8.10.1)? Reads `state`,
 * not the ring.
 */
bool virtqueue_usable(const struct state_queue *state, const struct window *window,
                      uint32_t size_max, uint64_t features);

/* Do the indices of a ring that is usable agree with each other, and with the batch that was
 * being published? Reads `state`, not the ring. */
bool virtqueue_indices_valid(const struct state_queue *state, uint64_t features);

/* Is the ring at its start, as in a queue that has just become ready? In either format, for any
 * size. */
bool virtqueue_untouched(const struct state_queue *state);

/*
 * Serve the ring that `state` describes, from the position in it. `window` and `state` are borrowed
 * until virtqueue_stop. Returns 0; -EBADMSG with *ret_fault, if the ring is not usable, its indices
 * are not valid, or (split) used->idx agrees with neither end of an interrupted batch.
 */
int virtqueue_start(struct virtqueue *vq, unsigned int index, const struct window *window,
                    struct state_queue *state, uint32_t size_max, uint64_t features,
                    struct guest_fault *ret_fault);

void virtqueue_stop(struct virtqueue *vq);

/*
 * Take the next chain. Returns 1; 0 if there is none; -EBADMSG with *ret_fault, after which
 * the queue must not be used until it is started again.
 */
int virtqueue_pop(struct virtqueue *vq, struct chain *ret_chain, struct guest_fault *ret_fault);

/*
 * Look at a chain that waits in the ring, without taking it: each call shows the next one that was
 * not shown before. The driver may still change it, so what it says is a hint. Returns false if
 * there is none, or if it is broken: virtqueue_pop finds that out when it is due.
 */
bool virtqueue_ahead(struct virtqueue *vq, struct chain *ret_chain);

/* Has virtqueue_ahead shown the chain that was taken last? */
static inline bool virtqueue_was_shown(const struct virtqueue *vq)
{
    return (int16_t)(vq->ahead.next_avail - vq->next_avail) >= 0;
}

/*
 * Complete the oldest chain taken. `length` bytes of its device-writable part were written, from
 * its start on. Completing another chain ends the worker: a successor continues by counting, and
 * has no record of each chain. The driver sees the chain with the next virtqueue_publish; at the
 * latest when VIRTQUEUE_BATCH_MAX others have been completed.
 */
void virtqueue_push(struct virtqueue *vq, struct chain_ref ref, uint32_t length);

/* Let the driver see everything completed so far. */
void virtqueue_publish(struct virtqueue *vq);

/*
 * §2.8.1: do the flags of the descriptor at `position` say that it is available? AVAIL is then
 * equal to the driver's wrap counter at this position, and USED is not.
 */
static inline bool packed_available(uint16_t flags, uint16_t position)
{
    const uint16_t both = 1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
    const uint16_t available = (position & STATE_POSITION_LAP) == 0
                                   ? 1u << VRING_PACKED_DESC_F_AVAIL
                                   : 1u << VRING_PACKED_DESC_F_USED;
    return (flags & both) == available;
}

/* Has the driver made more chains available than were taken? This is a hint: virtqueue_pop looks
 * again, with acquire. */
static inline bool virtqueue_available(const struct virtqueue *vq)
{
    if (!vq->is_packed)
        return guest_load16(&vq->split.avail->idx) != vq->next_avail;
    uint16_t position = vq->packed.avail_position;
    uint16_t offset = position & STATE_POSITION_OFFSET;
    return packed_available(guest_load16(&vq->packed.desc[offset].flags), position);
}

/* Are chains published for which it is not decided yet whether an interrupt is due? */
static inline bool virtqueue_undecided(const struct virtqueue *vq)
{
    return vq->decided != vq->next_used;
}

/* How many those are, modulo 2^16. */
static inline uint16_t virtqueue_since_decision(const struct virtqueue *vq)
{
    return (uint16_t)(vq->next_used - vq->decided);
}

/* Decide it, §2.7.7, §2.8.10: true if the driver is to be interrupted. */
bool virtqueue_interrupt_due(struct virtqueue *vq);

/* Chains published since the last interrupt, modulo 2^16. */
static inline uint16_t virtqueue_since_interrupt(const struct virtqueue *vq)
{
    return (uint16_t)(vq->next_used - vq->signalled);
}

/* Ask the driver not to kick: the queue is being served. */
void virtqueue_disable_notify(struct virtqueue *vq);

/*
 * Ask the driver to kick. Returns false if it made more chains available meanwhile: it may not
 * kick for those, so they must be served before sleeping.
 */
bool virtqueue_enable_notify(struct virtqueue *vq);

#endif
