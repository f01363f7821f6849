/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transmit queue, VirtIO 1.2 §5.10.6.4. Packets are completed whatever the host's reader does:
 * what its socket does not take is kept in the connection's buffer, within the credit.
 *
 * Data packets of one stream that follow each other in the ring are gathered, and reach its socket
 * by one writev. Before any other packet is handled, the gathered ones are written. So all happens
 * in the order in which the guest sent it, and the packets are completed in that order, too.
 */
#include "worker/log.h"
#include "worker/vsock/device.h"
#include "worker/vsock/host.h"

#define GATHERED_MAX 64u

/* The driver needs the buffers of so few packets back only to free them. */
#define LATE_PACKETS 4u

static struct {
    uint32_t slot, bytes; /* valid if packets > 0 */
    unsigned int packets, segments;
    struct chain_ref refs[GATHERED_MAX];
    struct iovec payload[VSOCK_SEGMENTS_MAX];
    struct chain chain; /* the one in hand */
} tx;

static void complete(struct device *dev, struct chain_ref ref)
{
    virtqueue_push(&dev->queues[QUEUE_TX], ref, 0);
    device_count(&dev->state->counters.requests, 1);
}

static void deliver(struct device *dev, uint32_t slot, struct cursor payload, bool message_ends)
{
    device_count(&dev->state->counters.bytes_out, payload.left);
    vsock_delivered(dev, slot, vsock_host_deliver(&vsock.table, slot, payload, message_ends));
    vsock_stir(dev, slot);
}

static void flush_gathered(struct device *dev)
{
    const unsigned int packets = tx.packets;
    if (packets == 0)
        return;
    tx.packets = 0;
    deliver(dev, tx.slot, cursor_over(tx.payload, tx.segments, tx.bytes), false);
    for (unsigned int i = 0; i < packets; i++)
        complete(dev, tx.refs[i]);
    virtqueue_publish(&dev->queues[QUEUE_TX]);
}

/* Does this packet's payload go on where the gathered ones end? A packet that breaks the rules, or
 * that ends anything, does not. */
static bool follows_gathered(const struct virtio_vsock_hdr *header, uint32_t payload)
{
    const struct vsock_connection *connection = vsock_connection(tx.slot);
    return header->op == VIRTIO_VSOCK_OP_RW && header->src_port == connection->guest_port &&
           header->dst_port == connection->host_port && header->type == connection->type &&
           header->len <= payload &&
           header->len <= VSOCK_BUFFER_SIZE - vsock_buffered(connection) &&
           tx.packets < GATHERED_MAX && tx.segments + tx.chain.readable_count <= VSOCK_SEGMENTS_MAX;
}

/* The payload in hand: the first `length` bytes behind the header. */
static struct cursor payload_in_hand(uint32_t length)
{
    struct cursor payload = chain_readable(&tx.chain);
    cursor_skip(&payload, sizeof(struct virtio_vsock_hdr));
    cursor_cut(&payload, length);
    return payload;
}

/* Returns false if the payload in hand can't wait with others: it is then written alone. */
static bool gather(uint32_t slot, uint32_t length)
{
    const struct vsock_connection *connection = vsock_connection(slot);
    if (tx.packets == 0) {
        if (!vsock_host_takes(&vsock.table, slot) || vsock_buffered(connection) != length)
            return false;
        tx.slot = slot;
        tx.bytes = 0;
        tx.segments = 0;
    }
    const struct cursor payload = payload_in_hand(length);
    tx.segments +=
        cursor_segments(&payload, tx.payload + tx.segments, VSOCK_SEGMENTS_MAX - tx.segments);
    tx.bytes += length;
    tx.refs[tx.packets++] = tx.chain.ref;
    return true;
}

/* Returns true if the packet is gathered: it must then not be completed yet. */
static bool act(struct device *dev, enum vsock_verdict verdict, uint32_t slot,
                const struct virtio_vsock_hdr *header)
{
    switch (verdict) {
    case VSOCK_NOTHING:
        break;
    case VSOCK_CONNECT:
        vsock_dial(dev, slot);
        break;
    case VSOCK_ANSWERED:
        /* A client that has left may have written something before. */
        if (vsock_host_welcome(slot, header->dst_port) < 0)
            vsock_host_shutdown(&vsock.table, slot, VIRTIO_VSOCK_SHUTDOWN_RCV);
        break;
    case VSOCK_PAYLOAD:
        if (gather(slot, header->len))
            return true;
        deliver(dev, slot, payload_in_hand(header->len),
                (header->flags & VIRTIO_VSOCK_SEQ_EOM) != 0);
        break;
    case VSOCK_SHUTDOWN:
    case VSOCK_GONE:
        vsock_flush(dev, slot);
        break;
    case VSOCK_BROKEN:
        log_event(LOG_VSOCK_BROKEN, header->src_port, header->dst_port, header->op);
        device_count(&dev->state->counters.guest_errors, 1);
        vsock_host_close(slot);
        break;
    }
    return false;
}

/* Handle the packet in hand, which has a header at least. */
static void take_packet(struct device *dev)
{
    struct virtio_vsock_hdr header = {0};
    uint32_t slot = VSOCK_NONE;
    bool evicted;
    struct cursor packet = chain_readable(&tx.chain);
    cursor_read(&packet, &header, sizeof(header));
    uint32_t payload = (uint32_t)packet.left;
    if (tx.packets > 0 && !follows_gathered(&header, payload))
        flush_gathered(dev);
    enum vsock_verdict verdict = vsock_receive(&vsock.table, &header, payload, &slot, &evicted);
    if (evicted)
        vsock_host_close(slot);
    bool gathered = act(dev, verdict, slot, &header);
    if (slot != VSOCK_NONE)
        vsock_stir(dev, slot);
    dev->work |= 1u << QUEUE_RX; /* for a reply without a slot */
    if (!gathered) {
        flush_gathered(dev);
        complete(dev, tx.chain.ref);
    }
}

static enum serve serve(struct turn *turn)
{
    vsock.tx_waits = !vsock_reply_room(&vsock.table);
    if (vsock.tx_waits)
        return SERVE_WAIT_BACKEND; /* the receive queue's turn will say when to go on */
    enum serve r = turn_take(turn, &tx.chain, sizeof(struct virtio_vsock_hdr), 0);
    if (r != SERVE_DONE)
        return r;
    turn->bytes += tx.chain.readable_length;
    take_packet(turn->dev);
    return SERVE_DONE;
}

enum serve vsock_tx_turn(struct device *dev, struct guest_fault *ret_fault)
{
    const struct turn_rules rules = {
        .steps = TURN_PACKETS,
        .bytes = TURN_BYTES,
        .signal_chains = SIGNAL_PACKETS,
        .late_chains = LATE_PACKETS,
        .late_ticks = dev->irq_delay,
    };
    struct turn turn = turn_begin(dev, QUEUE_TX, ret_fault);
    enum serve r = turn_serve(&turn, &rules, serve);
    flush_gathered(dev);
    if (r != SERVE_FAULT)
        vsock_count_turn(dev);
    return turn_end(&turn, &rules, r);
}
