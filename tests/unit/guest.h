/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest for the worker's unit tests: a window of memory, a driver for one split ring that can
 * also write nonsense into it, and a device whose fds have their fixed numbers. There is one at a
 * time.
 */
#ifndef TESTS_UNIT_GUEST_H
#define TESTS_UNIT_GUEST_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"
#include "worker/device.h"

#define GUEST_BASE 0x80000000ull  /* guest-physical */
#define GUEST_SIZE (1ull << 30)   /* reserved, not committed */
#define GUEST_BUFFERS 0x100000ull /* offset in the window: free for the tests' buffers */
#define GUEST_RING_STRIDE 0x4000ull

struct guest_ring {
    uint16_t size;
    uint64_t desc_addr, avail_addr, used_addr; /* guest-physical */
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t avail_idx; /* what the driver has made available so far */
    uint16_t used_seen;
};

/* The window, zeroed. Call it once. */
extern unsigned char *guest_memory;
extern struct window guest_window;
void guest_window_init(void);

void *guest_at(uint64_t addr);

/* Lay out ring `number` in its own part of the window, zeroed. */
void guest_ring_init(struct guest_ring *ring, unsigned int number, uint16_t size);
/* The same ring as the device's registers would describe it. */
struct state_queue guest_ring_state(const struct guest_ring *ring);

void guest_desc(struct guest_ring *ring, unsigned int index, uint64_t addr, uint32_t len,
                uint16_t flags, uint16_t next);
void guest_offer(struct guest_ring *ring, uint16_t head);
/* Get the next used element; false if there is none. */
bool guest_used(struct guest_ring *ring, struct vring_used_elem *ret);

/* A random number. The sequence is the same in every run. */
uint64_t guest_random(void);

/* ---- A whole device ---- */

extern struct device guest_device;
extern struct state_page guest_state;
extern int guest_control; /* the broker's end of the control socket */

/* fds 3 to 7 and the kick eventfds; `backend` (-1, or 64 and above) is duplicated to
 * WORKER_FD_BACKEND. */
void guest_fds(enum device_kind kind, int backend);

/* START for a device of a kind, as the broker would fill it. */
struct message_start guest_start(enum device_kind kind);

/* A new worker on guest_state. It comes as far as loop_run would come before it waits. */
void guest_worker(const struct message_start *start);

uint32_t guest_read(uint32_t offset);
void guest_write(uint32_t offset, uint32_t value);

/* §3.1.1 up to FEATURES_OK; returns the status read back. */
uint32_t guest_negotiate(uint64_t features);
void guest_queue_setup(unsigned int queue, const struct guest_ring *ring);
void guest_driver_ok(void);

/* Kick by eventfd and let the loop run until it has nothing left to do. */
void guest_kick(unsigned int queue);
void guest_run(void);

/* How often the interrupt was raised since the last call. */
uint64_t guest_interrupts(void);

/* How many log messages with this code the broker got since the last call. */
unsigned int guest_logged(enum log_code code);

#endif
