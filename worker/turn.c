/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/turn.h"

enum serve turn_take(struct turn *turn, struct chain *ret_chain, size_t readable, size_t writable)
{
    int r = virtqueue_pop(turn->vq, ret_chain, turn->ret_fault);
    if (r <= 0)
        return r < 0 ? SERVE_FAULT : SERVE_WAIT_ROOM;
    if (ret_chain->readable_length >= readable && ret_chain->writable_length >= writable)
        return SERVE_DONE;
    *turn->ret_fault = (struct guest_fault){LOG_CHAIN_INVALID,
                                            {turn->vq->index, ret_chain->ref.id, CHECK_NO_ROOM}};
    return SERVE_FAULT;
}

struct turn turn_begin(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    struct virtqueue *vq = &dev->queues[queue];
    virtqueue_disable_notify(vq);
    return (struct turn){
        .dev = dev,
        .vq = vq,
        .ret_fault = ret_fault,
    };
}

enum serve turn_end(struct turn *turn, enum serve last)
{
    struct device *dev = turn->dev;
    device_signal(dev, turn->vq);
    if (last == SERVE_DONE)
        return SERVE_END; /* the turn has taken as much as it may */
    if (last != SERVE_WAIT_ROOM)
        return last;
    if (polling_pays(&dev->polling)) {
        dev->unasked |= 1u << turn->vq->index;
        return SERVE_WAIT_ROOM;
    }
    /* The driver is to kick from now on. Chains that it made available before it knew that are
     * still to be served. */
    return virtqueue_enable_notify(turn->vq) ? SERVE_WAIT_ROOM : SERVE_END;
}
