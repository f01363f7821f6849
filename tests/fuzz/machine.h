/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's device in this process, without a sandbox, under observation: what it reads and
 * writes of the window is seen as it happens (watch.c), so that the guest can change memory
 * between two reads, and the worker can die between two instructions. What it must never do is
 * checked in every action; a violation ends the process with a line that says what was wrong.
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
#define RING_STRIDE 0x2000u     /* queue q's ring lies at q * RING_STRIDE in the window */
#define RING_AVAIL 0x1000u      /* from the start of a ring */
#define RING_USED 0x1400u       /* likewise */
#define TABLES_OFFSET 0x6000u   /* indirect tables */
#define BUFFERS_OFFSET 0x8000u  /* buffers */
#define IMAGE_SECTORS 2048u     /* of the block device */
#define IMAGE_GUARD_SECTORS 64u /* of the file behind it: never to be touched */
#define SECTOR_SIZE 512u
#define DIRECT_BLOCK 4096u /* what O_DIRECT asks for, where it is on */
#define DIRECT_MEMORY 512u

/* An action of the guest or of the broker that makes the worker run. */
enum action_kind {
    ACTION_READ,    /* a register access */
    ACTION_WRITE,   /* likewise */
    ACTION_MAILBOX, /* the same through mailbox and loop */
    ACTION_NOTIFY, /* an eventfd is written to: a kick, or the backend's; and a round of the loop */
    ACTION_ROUND,  /* a round of the loop */
    ACTION_RESUME, /* a worker takes the state page over */
};

struct action {
    enum action_kind kind;
    uint32_t offset; /* of the register; of the eventfd, from WORKER_FD_BACKEND */
    unsigned int width;
    bool is_write; /* ACTION_MAILBOX */
    uint64_t value;
};

/* What fault injection does to an input or output call. */
enum io_fault { IO_WELL, IO_EIO, IO_EAGAIN, IO_EINTR, IO_EOPNOTSUPP, IO_SHORT, IO_NOTHING };

/* A change of the window in the midst of an action. */
struct race {
    uint32_t countdown; /* memory accesses until it happens; 0: never */
    bool last;          /* `offset` is from where the worker read last, not in the window */
    uint16_t offset;
    uint16_t flip; /* XORed */
};

extern unsigned char *machine_window;
extern struct state_page *machine_state;
extern struct device machine_device;

/* Once: the fds at their fixed numbers, the image, the window between guard pages. */
void machine_init(void);

/* A fresh device of a kind, all memory zero, nothing armed. `options` may be NULL. */
void machine_clear(enum device_kind kind, const struct message_start *options);

/* START as a broker would send it. */
struct message_start machine_start(enum device_kind kind);

/* Is the image opened with O_DIRECT, as far as the worker knows? */
bool machine_direct(void);

/* The guest writes to the window; what lies outside is left out. */
void machine_poke(uint32_t offset, const void *from, size_t length);

/* Let the worker act; if it dies on the way, a successor takes over. Returns what was read. */
uint64_t machine_do(struct action action);

/* Rounds of the loop until nothing is left to do. */
void machine_settle(void);

/* A new worker on the state page, whatever that holds. */
void machine_successor(void);

/* Arm, for the next actions. */
void machine_race(struct race race);
void machine_die_after(uint32_t accesses);                  /* 0: not */
void machine_io_fault(enum io_fault fault, uint32_t calls); /* the calls-th call; 0: none */

/* A predecessor that was taken over writes to the state page; a successor must be next. */
void machine_corrupt(uint32_t offset, const void *from, size_t length);

/* Fill `to` with what the image was given at the start; length is in bytes. */
void machine_image_original(uint64_t offset, unsigned char *to, size_t length);
/* What the image holds now. */
const unsigned char *machine_image(void);

/* At an input's end: that it was watched at all, the log messages that the worker sent, and the
 * image's guard. */
void machine_check_end(void);

/* ---- The tap of a net device (tap.c) ---- */

/* Forget what it holds and has got. */
void tap_clear(void);
/* A frame of `length` bytes (from `seed`) for the driver, with that much of a header. */
void tap_frame(uint32_t length, uint8_t seed, uint8_t flags, uint8_t gso_type);
/* Frames that the device has sent, and whether the last was `length` bytes from `seed`. */
unsigned int tap_sent(uint32_t length, uint8_t seed);
uint8_t tap_byte(uint8_t seed, uint32_t i);

#endif
