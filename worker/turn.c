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

/* May the driver hear of what the turn has completed a little later? Only while the worker polls,
 * so that it comes back before it sleeps, and only of a few chains. */
static bool may_be_late(const struct turn *turn, const struct turn_rules *rules, enum serve last)
{
    return last == SERVE_WAIT_ROOM && polling_pays(&turn->dev->polling) &&
           virtqueue_since_decision(turn->vq) <= rules->late_chains;
}

enum serve turn_end(struct turn *turn, const struct turn_rules *rules, enum serve last)
{
    struct device *dev = turn->dev;
    if (may_be_late(turn, rules, last))
        device_signal_late(dev, turn->vq);
    else
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
