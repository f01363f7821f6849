/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event queue of a socket device, VirtIO 1.2 §5.10.6.7. Every data plane serves it with this
 * file. Its only event says that all connections are gone.
 */
#ifndef WORKER_VSOCK_EVENT_H
#define WORKER_VSOCK_EVENT_H

#include <stdbool.h>

#include "worker/device.h"

enum vsock_queue { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };

/*
 * A turn of the event queue, as device_ops.turn: if *reset_pending is set, put
 * VIRTIO_VSOCK_EVENT_TRANSPORT_RESET into a buffer and clear *reset_pending. Buffers stay in the
 * ring until there is an event.
 */
enum serve vsock_event_turn(struct device *dev, bool *reset_pending, struct guest_fault *ret_fault);

#endif
