/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the driver to the tap, VirtIO 1.2 §5.1.6.2: the header is copied and checked, the frame
 * goes to the kernel straight from the driver's buffers.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/net/net.h"

/* The driver needs the buffers of so few frames back only to free them. */
#define LATE_FRAMES 4u

/* A driver whose ring is full goes on while the worker sends the rest of its frames. */
#define SIGNAL_FRAMES 64u

static struct net_tx {
    bool waiting;       /* the frame in hand waits for room in the tap */
    uint32_t length;    /* of the frame, without the header */
    unsigned int count; /* parts */
    struct iovec parts[CHAIN_SEGMENTS_MAX + 1];
    struct virtio_net_hdr_v1 header;
    struct chain_ref ref;
} tx[NET_PAIRS_MAX];

/* Copy the header from the front of the chain. The parts are that copy and the rest of the
 * chain. */
static void split(struct net_tx *queue, const struct chain *chain)
{
    struct cursor frame = chain_readable(chain);
    cursor_read(&frame, &queue->header, NET_HEADER_SIZE);
    queue->parts[0] = (struct iovec){&queue->header, NET_HEADER_SIZE};
    queue->count = 1 + cursor_segments(&frame, queue->parts + 1, CHAIN_SEGMENTS_MAX);
}

static void complete(struct turn *turn, const struct net_tx *queue)
{
    virtqueue_push(turn->vq, queue->ref, 0);
    device_count(&turn->dev->state->counters.requests, 1);
    turn->bytes += queue->length;
}

/* The chain that has been taken becomes the frame in hand. Returns why the frame may not be sent,
 * or NET_OK. */
static enum net_check take_frame(struct net_tx *queue, const struct chain *chain)
{
    queue->ref = chain->ref;
    queue->length = 0;
    if (chain->readable_length < NET_HEADER_SIZE)
        return NET_SHORT;
    queue->length = chain->readable_length - NET_HEADER_SIZE;
    split(queue, chain);
    return net_header_from_driver(&queue->header, net.features, net_driver_mtu(), queue->length);
}

/* If the tap has no room, its event says when to try again. */
static enum serve send_frame(struct turn *turn, struct net_tx *queue, unsigned int pair)
{
    struct state_counters *counters = &turn->dev->state->counters;
    ssize_t sent = writev(net_tap(pair), queue->parts, (int)queue->count);
    queue->waiting = sent < 0 && errno == EAGAIN;
    if (queue->waiting)
        return SERVE_WAIT_BACKEND;
    if (sent >= 0)
        device_count(&counters->bytes_out, queue->length);
    else
        /* The link is down, or the kernel found an error in the frame's headers that we did not
         * find. */
        device_count(&counters->dropped_out, 1);
    complete(turn, queue);
    return SERVE_DONE;
}

static enum serve serve(struct turn *turn)
{
    static struct chain chain;
    unsigned int pair = turn->vq->index / 2;
    struct net_tx *queue = &tx[pair];
    if (queue->waiting)
        return send_frame(turn, queue, pair);
    enum serve r = turn_take(turn, &chain, 0, 0);
    if (r != SERVE_DONE)
        return r;
    enum net_check check = take_frame(queue, &chain);
    if (check == NET_OK)
        return send_frame(turn, queue, pair);
    net_dropped(turn->dev, turn->vq->index, queue->length, check);
    complete(turn, queue);
    return SERVE_DONE;
}

enum serve net_tx_turn(struct device *dev, unsigned int pair, struct guest_fault *ret_fault)
{
    const unsigned int queue = 2 * pair + 1;
    const struct turn_rules rules = net_rules(dev, queue,
                                              (struct turn_rules){
                                                  .steps = NET_TURN_FRAMES,
                                                  .bytes = NET_TURN_BYTES,
                                                  .signal_chains = SIGNAL_FRAMES,
                                                  .late_chains = LATE_FRAMES,
                                                  .late_ticks = dev->irq_delay,
                                              });
    return turn_run(dev, queue, &rules, serve, ret_fault);
}

bool net_tx_waits(unsigned int pair)
{
    return tx[pair].waiting;
}

void net_tx_stop(unsigned int pair)
{
    tx[pair].waiting = false;
}
