/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receive queue, VirtIO 1.2 §5.10.6.4: collect, fill, flush. The guest's buffers are taken off
 * the ring first. One readv fills as many of them as the guest's credit and the socket's bytes
 * allow, and leaves room for a header in each. Then the headers are written, and all is published
 * at once. Buffers that stay empty are kept for the next packet.
 *
 * Connections have their turns one after the other. A turn is one readv, so a connection that
 * floods the guest can delay the others by HELD_MAX buffers at most.
 */
#include <errno.h>
#include <string.h>

#include "worker/log.h"
#include "worker/vsock/device.h"
#include "worker/vsock/host.h"

#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))

#define HELD_MAX 64u
#define HELD_SEGMENTS 4u /* a Linux driver uses one or two */

/* A buffer that was taken off the ring. */
struct held {
    struct chain_ref ref;
    struct cursor buffer; /* header and payload: in its own segments, or in those of `large` */
    struct iovec own[HELD_SEGMENTS];
};

static struct {
    struct held held[HELD_MAX]; /* a ring */
    uint32_t first, count;
    bool ends_large;    /* the last buffer has its segments in `large`: no other may be taken */
    struct chain large; /* the last chain that was taken */
    uint32_t next_slot; /* whose turn it is */
    uint8_t appetite[VSOCK_CONNECTIONS_MAX]; /* how many buffers the next read may fill */
} rx;

void vsock_rx_stop(void)
{
    rx.first = 0;
    rx.count = 0;
    rx.ends_large = false;
}

static struct held *held_at(uint32_t number)
{
    return &rx.held[(rx.first + number) % HELD_MAX];
}

/* Bytes of payload that the buffer has room for. */
static uint32_t payload_room(const struct held *held)
{
    return (uint32_t)held->buffer.left - HEADER;
}

static void hold(const struct chain *chain)
{
    struct held *held = held_at(rx.count++);
    held->ref = chain->ref;
    held->buffer = chain_writable(chain);
    rx.ends_large = chain->writable_count > HELD_SEGMENTS;
    if (rx.ends_large)
        return;
    unsigned int count = cursor_segments(&held->buffer, held->own, HELD_SEGMENTS);
    held->buffer = cursor_over(held->own, count, chain->writable_length);
}

/* Collect `wanted` buffers, if the guest has made so many available. Returns SERVE_DONE if there is
 * one, SERVE_WAIT_ROOM if there is none, SERVE_FAULT. */
static enum serve collect(struct turn *turn, uint32_t wanted)
{
    while (rx.count < wanted && !rx.ends_large) {
        /* §5.10.6.4: a buffer that has room for the header only could never take data. */
        enum serve r = turn_take(turn, &rx.large, 0, HEADER + 1);
        if (r == SERVE_FAULT)
            return r;
        if (r != SERVE_DONE)
            break;
        hold(&rx.large);
    }
    return rx.count > 0 ? SERVE_DONE : SERVE_WAIT_ROOM;
}

/* The first buffer held is a packet now. */
static void complete(struct device *dev, const struct virtio_vsock_hdr *header)
{
    struct held *held = held_at(0);
    cursor_write(&held->buffer, header, HEADER);
    virtqueue_push(&dev->queues[QUEUE_RX], held->ref, HEADER + header->len);
    rx.first = (rx.first + 1) % HELD_MAX;
    rx.count--;
    if (rx.count == 0)
        rx.ends_large = false;
    device_count(&dev->state->counters.requests, 1);
}

/* The place for `limit` bytes for the guest: the room for payload in the first `buffers`
 * buffers. */
static struct cursor room_for(uint32_t limit, uint32_t buffers)
{
    static struct iovec segments[VSOCK_SEGMENTS_MAX];
    unsigned int count = 0;
    size_t length = 0;
    for (uint32_t i = 0; i < buffers && length < limit; i++) {
        struct cursor room = held_at(i)->buffer;
        cursor_skip(&room, HEADER);
        cursor_cut(&room, limit - length);
        length += room.left;
        count += cursor_segments(&room, segments + count, VSOCK_SEGMENTS_MAX - count);
    }
    return cursor_over(segments, count, length);
}

_Static_assert(HELD_MAX *HELD_SEGMENTS + CHAIN_SEGMENTS_MAX < VSOCK_SEGMENTS_MAX, "room_for");

/* `length` bytes lie in the first buffers: make packets of the slot's connection of them. Returns
 * how many packets. */
static uint32_t flush(struct device *dev, uint32_t slot, uint32_t length, bool message_ends)
{
    uint32_t packets = 0, left = length;
    for (; left > 0; packets++) {
        struct virtio_vsock_hdr header;
        uint32_t room = payload_room(held_at(0)), part = room < left ? room : left;
        left -= part;
        vsock_data_packet(&vsock.table, slot, part,
                          message_ends && left == 0 ? VIRTIO_VSOCK_SEQ_EOM : 0, &header);
        complete(dev, &header);
    }
    device_count(&dev->state->counters.bytes_in, length);
    return packets;
}

/* The next read gets as many buffers as the last one filled, and some more if it filled all. A read
 * of a few bytes costs more with many buffers than with few. */
static void learn(uint32_t slot, uint32_t offered, uint32_t filled)
{
    uint32_t appetite = filled >= offered ? 4 * filled : filled + 1;
    rx.appetite[slot] = (uint8_t)(appetite < HELD_MAX ? appetite : HELD_MAX);
}

/* The socket gave an error, or the end, instead of data. */
static void read_failed(struct device *dev, uint32_t slot, ssize_t result, uint32_t message_max)
{
    if (result == -EMSGSIZE)
        vsock_refuse_message(dev, slot, message_max);
    else if (result == -ECONNRESET || (result == 0 && vsock_host_hung_up(slot)))
        vsock_drop(dev, slot, false); /* ECONNRESET: it has not read all. Its data still count */
    else if (result < 0)
        vsock_drop(dev, slot, true);
    else
        vsock_host_shutdown(&vsock.table, slot, VIRTIO_VSOCK_SHUTDOWN_SEND);
}

/* Send data of an open connection. Returns SERVE_DONE if there was some, or if others have their
 * turn first; SERVE_WAIT_BACKEND if there is none now; SERVE_FAULT. */
static enum serve send_data(struct turn *turn, uint32_t slot)
{
    struct device *dev = turn->dev;
    const struct vsock_connection *connection = vsock_connection(slot);
    if (connection->state != VSOCK_OPEN || !vsock_host_readable(slot) ||
        (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0)
        return SERVE_WAIT_BACKEND;
    uint32_t message_max =
        connection->peer_alloc < VSOCK_MESSAGE_MAX ? connection->peer_alloc : VSOCK_MESSAGE_MAX;
    if (vsock_host_message(slot) > message_max) { /* the guest's buffer has shrunk meanwhile */
        vsock_refuse_message(dev, slot, message_max);
        return SERVE_WAIT_BACKEND;
    }
    uint32_t credit = vsock_credit(connection), packets = vsock_packet_credit(connection);
    if (credit == 0 || packets == 0) {
        vsock_starve(dev, slot);
        return SERVE_WAIT_BACKEND;
    }
    slots_drop(&vsock.starved, slot);
    uint32_t wanted = rx.appetite[slot] > 0 ? rx.appetite[slot] : 1;
    wanted = wanted < packets ? wanted : packets;
    enum serve r = collect(turn, wanted);
    if (r != SERVE_DONE)
        return r;
    wanted = wanted < rx.count ? wanted : rx.count;
    bool message_ends;
    ssize_t moved = vsock_host_read(slot, connection->type, room_for(credit, wanted), message_max,
                                    &message_ends);
    if (moved > 0) {
        uint32_t filled = flush(dev, slot, (uint32_t)moved, message_ends);
        learn(slot, wanted, filled);
        turn->steps += filled - 1;
        turn->bytes += (uint32_t)moved;
        return SERVE_DONE;
    }
    if (moved == -EINTR)
        return SERVE_DONE;
    if (moved != -EAGAIN)
        read_failed(dev, slot, moved, message_max);
    return SERVE_WAIT_BACKEND;
}

static bool send_control(struct device *dev, uint32_t slot)
{
    struct virtio_vsock_hdr header;
    if (!vsock_next_packet(&vsock.table, slot, &header))
        return false;
    complete(dev, &header);
    return true;
}

static bool has_any(void)
{
    return vsock.busy.count > 0 || vsock.table.reply_count > 0;
}

/* Send the next packets, all of one connection. There is a buffer. */
static enum serve send_next(struct turn *turn)
{
    struct device *dev = turn->dev;
    struct virtio_vsock_hdr header;
    if (vsock_next_reply(&vsock.table, &header)) {
        complete(dev, &header);
        return SERVE_DONE;
    }
    while (vsock.busy.count > 0) {
        uint32_t slot = slots_next(&vsock.busy, rx.next_slot);
        rx.next_slot = (slot + 1) % VSOCK_CONNECTIONS_MAX;
        if (send_control(dev, slot))
            return SERVE_DONE;
        enum serve r = send_data(turn, slot);
        if (r != SERVE_WAIT_BACKEND)
            return r;
        if (send_control(dev, slot)) /* a packet that the attempt to send data made necessary */
            return SERVE_DONE;
        slots_drop(&vsock.busy, slot);
    }
    return SERVE_DONE; /* no connection has anything to send */
}

static enum serve serve(struct turn *turn)
{
    if (!has_any())
        return SERVE_WAIT_BACKEND; /* buffers that come now are of no interest */
    enum serve r = collect(turn, 1);
    return r == SERVE_DONE ? send_next(turn) : r;
}

enum serve vsock_rx_turn(struct device *dev, struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {
        .steps = TURN_PACKETS,
        .bytes = TURN_BYTES,
        .signal_chains = SIGNAL_PACKETS,
    };
    struct turn turn = turn_begin(dev, QUEUE_RX, ret_fault);
    enum serve r = turn_serve(&turn, &rules, serve);
    if (r != SERVE_FAULT)
        vsock_count_turn(dev);
    if (vsock.tx_waits && vsock_reply_room(&vsock.table))
        dev->work |= 1u << QUEUE_TX;
    return turn_end(&turn, &rules, r);
}
