/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker's code does while it runs in machine_do. Each load and store of the device
 * library, and each system call that matters, passes through watch.c before it happens. The
 * compiler inserts calls for loads and stores (-fsanitize-coverage=trace-loads,trace-stores), and
 * the linker replaces functions of the C library (--wrap). So the worker's sources need no change.
 */
#ifndef TESTS_FUZZ_WATCH_H
#define TESTS_FUZZ_WATCH_H

#include <setjmp.h>

#include "tests/fuzz/machine.h"

/* What the guest has given to the device, for each byte of the window. */
enum mark {
    MARK_READABLE = 1, /* in a device-readable buffer of a descriptor that the worker read */
    MARK_WRITABLE = 2, /* the same, device-writable */
    MARK_TABLE = 4,    /* in a descriptor table */
    MARK_USED = 8,     /* in a used ring, a packed ring, or a device area */
};

/* What the worker may do to a queue: it follows from what it was seen to read. */
struct watched_queue {
    bool active;
    bool accessible;    /* the worker may access its ring in this action */
    bool published;     /* the word that makes a batch visible was written in this action */
    uint64_t used;      /* chains (packed: descriptors) completed since it became ready */
    uint64_t available; /* the same for chains made available, as far as the worker has looked */
    uint16_t next_used; /* of the state page, when it was last read */
    bool head_known[QUEUE_SIZE_MAX];
    uint16_t heads[QUEUE_SIZE_MAX]; /* read from this slot of avail->ring; packed: the Buffer
                                           ID of the chain that starts here */
    /* Packed: descriptors of that chain; and of the chain that is being read, where it started
     * and where it goes on. */
    uint16_t lengths[QUEUE_SIZE_MAX];
    bool in_chain;
    uint32_t chain_start, chain_next;
};

struct watch {
    bool on;           /* the worker runs */
    jmp_buf death;     /* where execution continues when it dies */
    bool raced;        /* memory was changed in this action */
    bool page_hostile; /* the state page was invented: its indices mean nothing */
    bool io_failed;    /* an I/O call was made to fail */
    struct race race;
    uint32_t die_after;
    enum io_fault io_fault;
    uint32_t io_calls;
    uint64_t io_bytes;
    uint32_t last_offset; /* in the window: the place that the worker read last */
    uint32_t stores;      /* number of stores seen so far */
    bool image_changed;
    bool marked;
    unsigned char marks[WINDOW_SIZE]; /* of buffers and indirect tables */
    struct watched_queue queues[STATE_QUEUES_MAX];
};

extern struct watch watch;

/* vhost-vsock, as its user sees it. */
struct vhost {
    bool owned; /* VHOST_SET_OWNER was called; without it every other call fails */
    bool has_memory;
    bool running;
    bool addressed[2];
    uint32_t num[2];
};

extern struct vhost vhost;

/* Whether VIRTIO_F_RING_PACKED was accepted. */
bool watch_packed(void);

/* The distance from one position (struct state_queue) to another, in descriptors. Packed rings. */
uint32_t watch_distance(const struct state_queue *state, uint16_t from, uint16_t to);

/* The guest-physical address of the word that makes the next batch visible: used->idx, or the flags
 * of the next used descriptor. */
uint64_t watch_publishing_word(const struct state_queue *state);

/* An I/O call begins. Returns what is to happen to it. The second function returns -1 with errno
 * for an error, and 0 for a call that moves nothing. */
enum io_fault watch_next_fault(void);
ssize_t watch_fail_with(enum io_fault fault);

/* Asserts that all of it is in the window, and that the guest has given it to the device for this
 * use. */
void watch_check_part(const struct iovec *part, unsigned char marks);
bool watch_in_window(const void *at);

/* TUNSETOFFLOAD on the tap (tap.c). */
int tap_set_offloads(unsigned long offloads);

/* Whether the queue is ready, and the device is running. */
bool watch_queue_live(unsigned int queue);

/* All marks that a byte of the window has; 0: none. */
unsigned char watch_marks(uint32_t offset);
void watch_clear_marks(void);

#endif
