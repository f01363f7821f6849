/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device's side of a split virtqueue, VirtIO 1.2 §2.7, for devices that complete their
 * chains in the order in which they were made available.
 *
 * Used elements gather in process memory and reach the driver as one batch, by one release
 * store of used->idx. Whether it is interrupted is decided apart from that, for any number of
 * batches at once: a driver that is at work sees them without. Allocates nothing and makes no
 * system call.
 *
 * Restart: state->next_used is what the driver has seen, batch_end what it is about to see.
 * virtqueue_start finds out from the two, and from used->idx, which of the chains that a
 * predecessor took are done; the others are taken again.
 */
#ifndef WORKER_VIRTQUEUE_H
#define WORKER_VIRTQUEUE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/log_code.h"
#include "common/state.h"
#include "worker/window.h"

#define VIRTQUEUE_SIZE_MAX 256u
/* Buffers of one chain, those of an indirect table included. */
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
    CHECK_NO_ROOM,            /* §5.2.6, §5.10.6.7: too short for the device's answer */
};

/* A message about what the guest did wrong. */
struct guest_fault {
    enum log_code code;
    uint64_t args[4];
};

/* What completing a chain takes; can be kept after the rest is forgotten. */
struct chain_ref {
    uint16_t id;          /* split: the head's index; packed: the Buffer ID */
    uint16_t descriptors; /* of the ring that it takes; split: not used */
};

/* One chain: copies, checked; the buffers behind them are the guest's. */
struct chain {
    struct chain_ref ref;
    unsigned int readable_count; /* segments[0 ..]: device-readable */
    unsigned int writable_count; /* those that follow: device-writable */
    uint32_t readable_length;    /* bytes */
    uint32_t writable_length;
    struct iovec segments[CHAIN_SEGMENTS_MAX]; /* none of length 0 */
};

struct virtqueue {
    const struct window *window;
    struct state_queue *state;
    unsigned int index;
    bool running;
    bool event_idx;     /* VIRTIO_F_EVENT_IDX negotiated */
    bool indirect;      /* VIRTIO_F_INDIRECT_DESC negotiated */
    bool notify_off;    /* VRING_USED_F_NO_NOTIFY is set */
    bool signal_always; /* what the driver knows of the last interrupt is not known here */
    uint16_t size;
    uint16_t avail_idx;  /* the driver's avail->idx when last read, checked */
    uint16_t next_avail; /* free-running: chains taken */
    uint16_t next_used;  /* free-running: chains published */
    uint16_t decided;    /* next_used when it was last asked whether an interrupt is due */
    uint16_t signalled;  /* next_used when one was */
    uint16_t filled;     /* elements in `used_elements`, not yet published */
    const struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    struct vring_used_elem used_elements[VIRTQUEUE_SIZE_MAX];
};

/*
 * Is the ring usable: size a power of two and at most size_max, each part aligned and
 * entirely in the window (§2.7)? Reads `state`, not the ring.
 */
bool virtqueue_valid(const struct state_queue *state, const struct window *window,
                     uint32_t size_max);

/*
 * Serve the ring that `state` describes, from where it says. `window` and `state` are borrowed
 * until virtqueue_stop. Returns 0; -EBADMSG with *ret_fault, if the ring is not usable or
 * used->idx agrees with neither end of an interrupted batch.
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
 * Complete the oldest chain taken, `length` bytes of whose device-writable part, from its
 * start on, were written. The driver sees it with the next virtqueue_publish.
 */
void virtqueue_push(struct virtqueue *vq, struct chain_ref ref, uint32_t length);

/* Let the driver see everything completed so far. */
void virtqueue_publish(struct virtqueue *vq);

/* Has the driver made more available than was taken? A hint: virtqueue_pop looks again, with
 * acquire. */
static inline bool virtqueue_available(const struct virtqueue *vq)
{
    return guest_load16(&vq->avail->idx) != vq->next_avail;
}

/* Is something published for which it is not decided yet whether an interrupt is due? */
static inline bool virtqueue_undecided(const struct virtqueue *vq)
{
    return vq->decided != vq->next_used;
}

/* Decide it, §2.7.7: true if the driver is to be interrupted. */
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
