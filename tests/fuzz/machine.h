/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's device in this process, without a sandbox, under observation. watch.c sees each access
 * to the window as it happens. So the guest can change memory between two reads, and the worker can
 * die between two instructions. Every action checks what the worker must never do. A violation ends
 * the process with a line that says what was wrong.
 */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/state.h"
#include "tests/fuzz/violated.h"
#include "worker/device.h"

#define WINDOW_BASE 0x80000000ull /* guest-physical */
#define WINDOW_SIZE 0x10000u
#define RING_STRIDE 0x2000u     /* queue q's ring is at q * RING_STRIDE in the window */
#define RING_AVAIL 0x1000u      /* from the start of a ring */
#define RING_USED 0x1400u       /* from the start of a ring */
#define TABLES_OFFSET 0x6000u   /* indirect tables */
#define BUFFERS_OFFSET 0x8000u  /* buffers */
#define IMAGE_SECTORS 2048u     /* of the block device */
#define IMAGE_GUARD_SECTORS 64u /* sectors of the file behind it: they must never be touched */
#define SECTOR_SIZE 512u
#define DIRECT_BLOCK 4096u /* the alignment that O_DIRECT needs, if it is on */
#define DIRECT_MEMORY 512u

/* An action of the guest or of the broker that makes the worker run. */
enum action_kind {
    ACTION_READ,    /* a register access */
    ACTION_WRITE,   /* a register access */
    ACTION_MAILBOX, /* the same through mailbox and loop */
    ACTION_NOTIFY,  /* an eventfd is written (a kick, or the backend's), then a round of the loop */
    ACTION_ROUND,   /* a round of the loop */
    ACTION_RESUME,  /* a worker takes over the state page */
};

struct action {
    enum action_kind kind;
    uint32_t offset; /* of the register; or number of the eventfd, counted from WORKER_FD_BACKEND */
    unsigned int width;
    bool is_write; /* ACTION_MAILBOX */
    uint64_t value;
};

/* What fault injection does to an I/O call. */
enum io_fault { IO_WELL, IO_EIO, IO_EAGAIN, IO_EINTR, IO_EOPNOTSUPP, IO_SHORT, IO_NOTHING };

/* A change of the window in the middle of an action. */
struct race {
    uint32_t countdown; /* memory accesses until it happens; 0: never */
    bool last;          /* `offset` counts from the place that the worker read last */
    uint16_t offset;
    uint16_t flip; /* XORed */
};

extern unsigned char *machine_window;
extern struct state_page *machine_state;
extern struct device machine_device;

/* Call once: sets up the fds at their fixed numbers, the image, and the window between guard pages.
 */
void machine_init(void);

/* A fresh device of a kind: all memory is zero, and nothing is armed. `options` may be NULL. */
void machine_clear(enum device_kind kind, const struct message_start *options);

/* START as a broker would fill it. */
struct message_start machine_start(enum device_kind kind);

/* Whether the worker believes that the image is opened with O_DIRECT. */
bool machine_direct(void);

/* The guest writes to the window. What is outside the window is not written. */
void machine_poke(uint32_t offset, const void *from, size_t length);

/* Let the worker act. If it dies on the way, a successor takes over. Returns what was read. */
uint64_t machine_do(struct action action);

/* Run rounds of the loop until there is nothing left to do. */
void machine_settle(void);

/* A new worker on the state page, whatever the page holds. */
void machine_successor(void);

/* Arm these for the next actions. */
void machine_race(struct race race);
void machine_die_after(uint32_t accesses);                  /* 0: it does not die */
void machine_io_fault(enum io_fault fault, uint32_t calls); /* the calls-th call fails; 0: none */

/* A predecessor that was taken over writes to the state page. The next action must be a successor.
 */
void machine_corrupt(uint32_t offset, const void *from, size_t length);

/* Fill `to` with the bytes that the image had at the start. length is in bytes. */
void machine_image_original(uint64_t offset, unsigned char *to, size_t length);
/* The contents of the image now. */
const unsigned char *machine_image(void);

/* At an input's end, checks that the input was watched at all, the log messages that the worker
 * sent, and the image's guard. */
void machine_check_end(void);

/* ---- The tap of a net device (tap.c) ---- */

/* Forget what the tap holds and has got. */
void tap_clear(void);
/* A frame of `length` bytes (computed from `seed`) for the driver, with these fields in its header.
 */
void tap_frame(uint32_t length, uint8_t seed, uint8_t flags, uint8_t gso_type);
/* The number of frames that the device has sent. The last one must be `length` bytes computed from
 * `seed`. */
unsigned int tap_sent(uint32_t length, uint8_t seed);
uint8_t tap_byte(uint8_t seed, uint32_t i);

#endif
