/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the driver to the tap, VirtIO 1.2 §5.1.6.2: the header is copied and checked, the frame
 * goes to the kernel straight from the driver's buffers.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/linger.h"
#include "worker/net/net.h"

/* After a turn of so many frames the driver is expected back at once. */
#define LINGER_FRAMES 8u

static struct net_tx {
    bool waiting;       /* for room in the tap, with the frame in hand */
    uint32_t length;    /* of it, without the header */
    unsigned int count; /* parts */
    struct iovec parts[CHAIN_SEGMENTS_MAX + 1];
    struct virtio_net_hdr_v1 header;
    struct chain_ref ref;
} tx[NET_PAIRS_MAX];

/* Copy the header from the chain's front; the parts are that copy, and what lies behind it. */
static void split(struct net_tx *queue, const struct chain *chain)
{
    struct cursor frame = chain_readable(chain);
    cursor_read(&frame, &queue->header, NET_HEADER_SIZE);
    queue->parts[0] = (struct iovec){&queue->header, NET_HEADER_SIZE};
    queue->count = 1 + cursor_segments(frame, queue->parts + 1, CHAIN_SEGMENTS_MAX);
}

static void complete(struct device *dev, struct virtqueue *vq, struct chain_ref ref)
{
    virtqueue_push(vq, ref, 0);
    virtqueue_publish(vq);
    device_count(&dev->state->counters.requests, 1);
}

/* Take the next frame from the ring. Returns 1 with one to be sent; 2 if it was dropped; 0 if
 * there is none; -EBADMSG. */
static int next_frame(struct device *dev, struct net_tx *queue, struct virtqueue *vq,
                      struct guest_fault *ret_fault)
{
    static struct chain chain;
    int r = virtqueue_pop(vq, &chain, ret_fault);
    if (r <= 0)
        return r;
    enum net_check check = NET_SHORT;
    queue->ref = chain.ref;
    queue->length = 0;
    if (chain.readable_length >= NET_HEADER_SIZE) {
        queue->length = chain.readable_length - NET_HEADER_SIZE;
        split(queue, &chain);
        check =
            net_header_from_driver(&queue->header, net.features, net_driver_mtu(), queue->length);
    }
    if (check == NET_OK)
        return 1;
    net_dropped(dev, vq->index, queue->length, check);
    complete(dev, vq, queue->ref);
    return 2;
}

/* Returns false if the tap has no room: its event says when to try again. */
static bool send_frame(struct device *dev, struct net_tx *queue, struct virtqueue *vq,
                       unsigned int pair)
{
    ssize_t sent = writev(net_tap(pair), queue->parts, (int)queue->count);
    if (sent < 0 && errno == EAGAIN) {
        queue->waiting = true;
        return false;
    }
    queue->waiting = false;
    if (sent >= 0)
        device_count(&dev->state->counters.bytes_out, queue->length);
    else
        /* The link is down, or the kernel found more to say against its headers than we did. */
        device_count(&dev->state->counters.dropped_out, 1);
    complete(dev, vq, queue->ref);
    return true;
}

int net_tx_turn(struct device *dev, unsigned int pair, struct guest_fault *ret_fault)
{
    struct net_tx *queue = &tx[pair];
    struct virtqueue *vq = &dev->queues[2 * pair + 1];
    uint16_t first = vq->next_used;
    uint32_t bytes = 0;
    int r = 1;
    virtqueue_disable_notify(vq);
    for (unsigned int n = 0; n < NET_TURN_FRAMES && bytes < NET_TURN_BYTES; n++) {
        r = queue->waiting ? 1 : next_frame(dev, queue, vq, ret_fault);
        if (r <= 0)
            break;
        if (r == 1 && !send_frame(dev, queue, vq, pair))
            break;
        bytes += queue->length;
    }
    device_signal(dev, vq);
    if (r < 0)
        return r;
    if (queue->waiting)
        return 0;
    if (r == 0 && (uint16_t)(vq->next_used - first) >= LINGER_FRAMES &&
        linger(dev->linger_looks, vq, &dev->state->mailbox))
        return 1;
    return r == 0 && virtqueue_enable_notify(vq) ? 0 : 1;
}

bool net_tx_waits(unsigned int pair)
{
    return tx[pair].waiting;
}

void net_tx_stop(unsigned int pair)
{
    tx[pair].waiting = false;
}
