/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state page of a device: a sealed memfd, made by the broker, that outlives every worker. The
 * device's VirtIO state is here and not in a process, so that a successor continues where its
 * predecessor died.
 *
 * Who trusts what: of this page the broker believes only the mailbox's answer, and that an
 * interrupt is wanted. If a worker starts on a page that another worker has used, it checks every
 * value like one from a guest (worker/state_check.h): the other worker may have been taken over.
 *
 * All integers are little-endian, the only byte order of the supported architectures. Each field is
 * written by one side unless said otherwise; the few words that both write are atomic.
 */
#ifndef COMMON_STATE_H
#define COMMON_STATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/of_kind.h"

#define STATE_MAGIC 0x6574617473647662ull /* "bvdstate" */
#define STATE_VERSION 8u                  /* changes with every change of this file's structures */
#define STATE_QUEUES_MAX 16u
#define STATE_BATCH_MAX 256u /* maximum number of chains that are published at once */

/*
 * The mailbox: one register access at a time, from the broker's relay thread to the worker.
 *
 *   broker: write offset, op, width, value; store request_seq + 1 (release); signal REQUEST eventfd
 *   worker: load request_seq (acquire); if it differs from response_seq, copy the request once,
 *           check it, carry it out, write answer; store response_seq = request_seq (release);
 *           signal REPLY eventfd
 *   broker: load response_seq (acquire); equal to request_seq: take answer, mask it, complete.
 *
 * If a worker did not answer a request, the request is there again for the successor, however far
 * the worker came with it: every register access can be carried out twice without harm.
 */
struct state_mailbox {
    _Atomic uint32_t request_seq; /* broker */
    uint32_t offset;              /* broker: register offset from the device's base, < 0x200 */
    uint64_t value;               /* broker: for a write, already masked to width */
    uint8_t is_write;             /* broker */
    uint8_t width;                /* broker: 1, 2, 4 or 8 */
    uint8_t reserved[46];
    _Atomic uint32_t response_seq; /* worker */
    uint32_t reserved2;
    uint64_t answer; /* worker: for a read */
    uint8_t reserved3[48];
};

/*
 * Interrupts: the protocol between worker and broker (broker/gate.h). InterruptStatus itself is not
 * here; only the broker has it.
 *
 *   worker: set bits in pending; load raised; unless it is 1, signal the CALL eventfd
 *   broker: take bits from pending, raise an interrupt, raised = 1; at the driver's InterruptACK
 *           raised = 0, and look at pending again
 */
struct state_interrupt {
    _Atomic uint32_t pending; /* worker and broker: VIRTIO_MMIO_INT_* of which the driver has not
                                 been told yet */
    _Atomic uint32_t raised;  /* broker: 1: an interrupt is outstanding */
    uint32_t reserved[14];
};

/* virtio-mmio registers, VirtIO 1.2 §4.2.2; worker-written. */
struct state_transport {
    uint32_t status;                 /* device status, §2.1 */
    uint32_t driver_features_beyond; /* 1: the driver accepted a bit above 63; none is offered */
    uint64_t driver_features;        /* as the driver wrote them; final once FEATURES_OK is set */
    uint32_t device_features_sel;
    uint32_t driver_features_sel;
    uint32_t queue_sel;
    uint32_t shm_sel;
    uint32_t config_generation;
    uint32_t reserved[7];
};

/* A completed chain. */
struct state_used {
    uint16_t id;          /* split: the head's index; packed: the Buffer ID */
    uint16_t descriptors; /* packed: how many it takes in the ring */
    uint32_t length;      /* bytes written */
};

/*
 * A position in a packed ring: the offset of the descriptor, and the lap. Bit 15 is the inverse of
 * the Ring Wrap Counter (§2.8.1), so that 0 is the start in both formats.
 */
#define STATE_POSITION_OFFSET 0x7fffu
#define STATE_POSITION_LAP 0x8000u

/* One virtqueue, §2.6, §4.2.2; worker-written. */
struct state_queue {
    uint32_t size;  /* QueueNum: a power of two for the split ring; 0: not written since the reset;
                       then it counts as QueueNumMax once the queue is ready */
    uint32_t ready; /* QueueReady: 0 or 1 */
    uint64_t desc;  /* guest-physical addresses */
    uint64_t driver;
    uint64_t device;
    /* Split: free-running counts of chains. Packed: positions. */
    uint16_t next_used;   /* completed and published to the driver */
    uint16_t batch_end;   /* next_used after the batch that is being published */
    uint16_t next_avail;  /* taken */
    uint16_t batch_count; /* packed: number of chains in that batch, at the start of `batch` */
    uint8_t reserved[24];
    /* The chains that were completed since then, in order. A packed ring's batch can't be read from
     * the ring again once its publication has begun, so a successor uses this copy to finish it. */
    struct state_used batch[STATE_BATCH_MAX];
};

/* Counters. Only the worker changes them, and it only increments them; anyone may read them. */
struct state_counters {
    uint64_t requests;
    uint64_t bytes_in;  /* device-writable bytes filled */
    uint64_t bytes_out; /* device-readable bytes taken */
    uint64_t kicks;
    uint64_t interrupts_sent; /* requested by the worker: several may become one interrupt */
    uint64_t interrupts_suppressed;
    uint64_t register_accesses;
    uint64_t guest_errors;
    uint64_t dropped_in;  /* net: frames that did not reach the driver, not counting filters */
    uint64_t dropped_out; /* net: frames of the driver that did not reach the tap */
    uint64_t reserved[6];
};

/* What the broker has found out about the backend, for the worker while it runs. */
struct state_backend {
    _Atomic uint32_t changes; /* broker: + 1 after each change of the fields below, and then a
                                 signal on REQUEST; 0: there was no change yet */
    _Atomic uint32_t link_up; /* broker: net: 1 if the tap is up and has a carrier */
    _Atomic uint32_t size;    /* broker: console: columns << 16 | rows of port 0's terminal; 0: not
                                 known */
    uint32_t reserved[13];
};

/*
 * How workers died; worker-written. If one worker after the other dies on the same request, that
 * request is not served for ever: see worker/virtqueue/poison.h.
 */
struct state_deaths {
    uint32_t turn;      /* 1 + the queue that is being served; 0: no queue is */
    uint32_t queue;     /* of the last death in a turn: the queue, */
    uint32_t next_used; /* its next_used, */
    uint32_t count;     /* and how many deaths in a row came no further; 0: there was none */
};

/* Is a worker alive? The broker asks now and then with a signal on REQUEST. */
struct state_watch {
    _Atomic uint32_t asked;    /* broker: + 1 */
    _Atomic uint32_t answered; /* worker: the value of `asked` in its last round */
    _Atomic uint32_t in_io; /* worker: 1 during a call that waits for a disk, however slow it is */
    uint32_t reserved;
};

struct state_page {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;        /* enum device_kind */
    uint32_t queue_count; /* <= STATE_QUEUES_MAX */
    struct state_deaths deaths;
    struct state_watch watch;
    uint32_t reserved[3];
    struct state_mailbox mailbox;
    struct state_interrupt interrupt;
    struct state_transport transport;
    struct state_counters counters;
    struct state_queue queues[STATE_QUEUES_MAX];
    struct state_backend backend;
    union state_kind of_kind;
};

/*
 * Do what a reset by the driver does to the registers, the queues and what the kind keeps, §2.4.
 * They become 0, but status becomes `status`, and ConfigGeneration stays. Pending interrupts stay
 * as well: the caller knows whether they are to go. If a worker dies in this function, its
 * successor can use the page. For this, the queues stop first, since positions are checked against
 * status and features only if a queue is ready. Then the status changes, and only then the rest.
 */
void state_reset(struct state_page *state, uint32_t status);

/* Call this after state_reset of a page that was fresh or invalid: it becomes a page of this
 * version. */
void state_finish(struct state_page *state, uint32_t kind, uint32_t queue_count);

_Static_assert(sizeof(struct state_mailbox) == 128, "two cache lines, one a writer");
_Static_assert(sizeof(struct state_interrupt) == 64, "one cache line");
_Static_assert(sizeof(struct state_transport) == 64, "one cache line");
_Static_assert(sizeof(struct state_counters) == 128, "two cache lines");
_Static_assert(offsetof(struct state_queue, batch) == 64, "one cache line");
_Static_assert(sizeof(struct state_queue) % 64 == 0, "whole cache lines");
_Static_assert(sizeof(struct state_backend) == 64, "one cache line");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "virtio's byte order is used as is");

#define STATE_SIZE 0x9000u /* size of the memfd; a multiple of the page size is mapped */
_Static_assert(sizeof(struct state_page) <= STATE_SIZE, "it fits");

#endif
