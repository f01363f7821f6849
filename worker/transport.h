/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, VirtIO 1.2 §4.2.2: the registers of a device. Every access at any offset, of any
 * width and with any value is answered; none is fatal. All state is in the state page. A successor
 * can repeat each write without harm: a worker may die after it has carried a write out and before
 * it has answered.
 */
#ifndef WORKER_TRANSPORT_H
#define WORKER_TRANSPORT_H

#include <linux/virtio_config.h>
#include <stdbool.h>
#include <stdint.h>

struct device;

#define TRANSPORT_VENDOR_ID 0x564f4142u /* "BAOV" */

/* The status bits that the driver may set, §2.1. */
#define TRANSPORT_STATUS_DRIVER                                                                    \
    ((uint32_t)(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | \
                VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED))

/* A register access; `width` is in bytes. Unknown registers and widths read as 0. */
uint64_t transport_read(const struct device *dev, uint32_t offset, unsigned int width);
void transport_write(struct device *dev, uint32_t offset, unsigned int width, uint64_t value);

/* §2.2: has the driver accepted VIRTIO_F_VERSION_1, and nothing that is not offered? */
bool transport_features_valid(const struct device *dev);

/*
 * Carry out the access that waits in the mailbox, if there is one.
 *
 * System calls: write on WORKER_FD_REPLY.
 */
void transport_serve_mailbox(struct device *dev);

#endif
