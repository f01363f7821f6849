/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/event.h"

#include <linux/virtio_vsock.h>

#include "worker/turn.h"

static bool *pending; /* belongs to the caller of the turn */

static enum serve serve(struct turn *turn)
{
    static struct chain chain;
    const struct virtio_vsock_event event = {.id = VIRTIO_VSOCK_EVENT_TRANSPORT_RESET};
    if (!*pending)
        return SERVE_WAIT_BACKEND;
    enum serve r = turn_take(turn, &chain, 0, sizeof(event));
    if (r != SERVE_DONE)
        return r;
    struct cursor room = chain_writable(&chain);
    cursor_write(&room, &event, sizeof(event));
    virtqueue_push(turn->vq, chain.ref, sizeof(event));
    *pending = false;
    return SERVE_DONE;
}

enum serve vsock_event_turn(struct device *dev, bool *reset_pending, struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = 2}; /* the second step finds nothing to say */
    pending = reset_pending;
    return turn_run(dev, QUEUE_EVENT, &rules, serve, ret_fault);
}
