/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event queue of a socket device, VirtIO 1.2 §5.10.6.7, which every data plane serves here.
 * Its only event says that all connections are gone.
 */
#ifndef WORKER_VSOCK_EVENT_H
#define WORKER_VSOCK_EVENT_H

#include <stdbool.h>

#include "worker/device.h"

enum vsock_queue { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };

/*
 * A turn of the event queue, as of device_ops.turn: if *reset_pending, put
 * VIRTIO_VSOCK_EVENT_TRANSPORT_RESET into a buffer and clear it. Buffers stay where they are until
 * there is an event.
 */
enum serve vsock_event_turn(struct device *dev, bool *reset_pending, struct guest_fault *ret_fault);

#endif
