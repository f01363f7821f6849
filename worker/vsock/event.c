/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/event.h"

#include <errno.h>
#include <linux/virtio_vsock.h>

int vsock_event_turn(struct device *dev, bool *reset_pending, struct guest_fault *ret_fault)
{
    static struct chain chain;
    const struct virtio_vsock_event event = {.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET};
    struct virtqueue *vq = &dev->queues[QUEUE_EVENT];
    virtqueue_disable_notify(vq);
    if (!*reset_pending)
        return 0;
    int r = virtqueue_pop(vq, &chain, ret_fault);
    if (r < 0)
        return r;
    if (r == 0)
        return virtqueue_enable_notify(vq) ? 0 : 1;
    if (chain.writable_length < sizeof(event)) {
        *ret_fault =
            (struct guest_fault){LOG_CHAIN_INVALID, {QUEUE_EVENT, chain.ref.id, CHECK_NO_ROOM}};
        return -EBADMSG;
    }
    struct cursor room = chain_writable(&chain);
    cursor_write(&room, &event, sizeof(event));
    virtqueue_push(vq, chain.ref, sizeof(event));
    *reset_pending = false;
    virtqueue_publish(vq);
    device_signal(dev, vq);
    return 0;
}
