/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console driver as small systems have them, after the habits of the one in Bao's demonstration
 * with FreeRTOS: it takes for granted what Linux asks for. It never writes QueueNum, and uses rings
 * of 1024 entries; it fills the receive queue before the queue is ready, and never kicks it; it
 * wants exactly two features, compares Status with what it wrote, uses each descriptor for itself,
 * and does not look at used lengths.
 */
#ifndef TESTS_STANDIN_GUEST_FREERTOS_H
#define TESTS_STANDIN_GUEST_FREERTOS_H

#include "tests/standin/guest.h"

#define GUEST_FREERTOS_ENTRIES 1024u
#define GUEST_FREERTOS_BUFFER 64u

struct guest_freertos_queue {
    struct vring_desc *desc;
    struct vring_avail *avail;
    struct vring_used *used;
    uint8_t *buffers; /* one of GUEST_FREERTOS_BUFFER bytes for each descriptor */
    uint64_t desc_addr, avail_addr, used_addr, buffers_addr;
    uint16_t used_index;
};

struct guest_freertos {
    struct guest guest;
    struct guest_freertos_queue rx, tx;
};

/* Bring the console up; `console->guest` is initialised. Returns 0; -ENODEV, -ENOTSUP (a feature is
 * missing), -EPROTO (a register does not read as it was written) or guest->error. */
int guest_freertos_start(struct guest_freertos *console);

/* Send a message of up to GUEST_FREERTOS_BUFFER bytes, with a kick. -ENOSPC: the ring is full. */
int guest_freertos_send(struct guest_freertos *console, const char *text);

/* As an interrupt handler: read InterruptStatus, acknowledge it. Returns the bits. */
uint32_t guest_freertos_interrupt(struct guest_freertos *console);

/* Take what came, as text, into `text` (NUL-terminated, `size` bytes), and give the buffers back
 * without a kick. Returns how many buffers came. */
unsigned int guest_freertos_take(struct guest_freertos *console, char *text, size_t size);

/* Messages that the device has yet to complete. */
unsigned int guest_freertos_unsent(const struct guest_freertos *console);

#endif
