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

/* Tell the driver of what the turn has completed, at once or a little later. */
static void tell(const struct turn *turn, const struct turn_rules *rules, enum serve last)
{
    struct device *dev = turn->dev;
    const bool few = virtqueue_since_decision(turn->vq) <= rules->late_chains;
    if (few && rules->late_ticks > 0 && last != SERVE_FAULT)
        device_signal_late(dev, turn->vq, rules->late_ticks);
    else if (few && rules->late_polling && last == SERVE_WAIT_ROOM && polling_pays(&dev->polling))
        device_signal_while_polling(dev, turn->vq);
    else
        device_signal(dev, turn->vq);
}

enum serve turn_end(struct turn *turn, const struct turn_rules *rules, enum serve last)
{
    struct device *dev = turn->dev;
    tell(turn, rules, last);
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
