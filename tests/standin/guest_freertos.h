/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console driver like those of small systems, with the habits of the driver in Bao's
 * demonstration with FreeRTOS. Where Linux asks the device, it assumes the answer. It never writes
 * QueueNum, and uses rings of 1024 entries. It fills the receive queue before the queue is ready,
 * and never kicks it. It wants exactly two features, and compares Status with what it wrote. It
 * uses each descriptor alone, and does not look at used lengths.
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

/* Like an interrupt handler: read InterruptStatus, and acknowledge it. Returns the bits. */
uint32_t guest_freertos_interrupt(struct guest_freertos *console);

/* Take what came, as text, into `text` (NUL-terminated, `size` bytes), and give the buffers back
 * without a kick. Returns how many buffers came. */
unsigned int guest_freertos_take(struct guest_freertos *console, char *text, size_t size);

/* Number of messages that the device has not completed yet. */
unsigned int guest_freertos_unsent(const struct guest_freertos *console);

#endif
