/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, VirtIO 1.2 §4.2.2: the registers of a device. Every access at any offset, of any
 * width and with any value is answered; none is fatal. All state is in the state page, and
 * each write can be repeated by a successor without harm, since a worker may die between
 * carrying one out and saying so.
 */
#ifndef WORKER_TRANSPORT_H
#define WORKER_TRANSPORT_H

#include <stdint.h>

struct device;

#define TRANSPORT_VENDOR_ID 0x564f4142u /* "BAOV" */

/* A register access; `width` is in bytes. Unknown registers and widths read as 0. */
uint64_t transport_read(const struct device *dev, uint32_t offset, unsigned int width);
void transport_write(struct device *dev, uint32_t offset, unsigned int width, uint64_t value);

/*
 * Carry out the access that waits in the mailbox, if there is one.
 *
 * System calls: write on WORKER_FD_REPLY.
 */
void transport_serve_mailbox(struct device *dev);

#endif
