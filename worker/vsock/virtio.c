/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket device, VirtIO 1.2 §5.10, in user space: the guest's streams and seqpackets end in Unix
 * sockets of the host. Moves data between the rings and host.c, as table.c says.
 *
 * The guest's packets are completed at once, whatever the host's reader does: what its socket does
 * not take lies in the connection's buffer, within the credit. The host's data stay in the
 * socket until there are both a buffer of the guest's and credit; they go straight into it.
 *
 * The worker makes no connection. It asks the broker by MSG_CONNECT (sendto on WORKER_FD_CONTROL),
 * which hands it sockets by MSG_CONNECTION (recvmsg on the same).
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/log.h"
#include "worker/virtqueue/segments.h"
#include "worker/vsock/event.h"
#include "worker/vsock/host.h"
#include "worker/vsock/table.h"

#define VSOCK_F_STREAM 0 /* §5.10.3; not in <linux/virtio_vsock.h> */

/* A turn ends after so many packets or bytes, so that a register access never waits long. */
#define TURN_PACKETS 128u
#define TURN_BYTES 0x80000u /* 512 KiB */
#define SIGNAL_PACKETS 8u   /* as in worker/block/block.c */

static struct {
    uint32_t device; /* index, for messages to the broker */
    uint64_t guest_cid;
    bool reset_pending; /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
    bool tx_waits;      /* for room for replies */
    bool rx_held;       /* rx is a buffer taken off the ring, and still to be filled */
    uint32_t next_slot; /* whose turn it is to send to the guest */
    uint64_t busy;      /* bit s: slot s may have something for the guest */
    uint64_t undialled; /* bit s: for slot s the broker is still to be asked */
    /* Of all connections ever asked for, since the answers to those of before a reset come after
     * it: how many answers are awaited, the last number, and each slot's. */
    uint32_t unanswered, last_request, requests[VSOCK_CONNECTIONS_MAX];
    struct vsock_table table;
    struct chain rx;
} vsock;

_Static_assert(VSOCK_CONNECTIONS_MAX <= 64, "one bit each");

static int vsock_init_device(struct device *dev, const struct message_start *start)
{
    const struct virtio_vsock_config config = {.guest_cid = start->vsock.guest_cid};
    memset(&vsock, 0, sizeof(vsock));
    vsock.device = start->header.device;
    vsock.guest_cid = start->vsock.guest_cid;
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = sizeof(config);
    dev->features = 1ull << VSOCK_F_STREAM | 1ull << VIRTIO_VSOCK_F_SEQPACKET;
    dev->user_queues = 1u << QUEUE_RX | 1u << QUEUE_TX | 1u << QUEUE_EVENT;
    return vsock_host_init();
}

static struct vsock_connection *connection_of(uint32_t slot)
{
    return &vsock.table.connections[slot];
}

/* The slot may have a packet for the guest. */
static void stir(struct device *dev, uint32_t slot)
{
    vsock.busy |= 1ull << slot;
    dev->work |= 1u << QUEUE_RX;
}

/* ---- What becomes of a connection ---- */

static void drop(struct device *dev, uint32_t slot, bool reset)
{
    vsock_host_close(slot);
    vsock_host_gone(&vsock.table, slot, reset);
    stir(dev, slot);
}

static void refuse_message(struct device *dev, uint32_t slot)
{
    const struct vsock_connection *connection = connection_of(slot);
    log_event(LOG_VSOCK_MESSAGE, connection->guest_port, connection->host_port, VSOCK_MESSAGE_MAX);
    drop(dev, slot, true);
}

/* After data or an end of either side: is there anything left for this connection to do? */
static void settle(struct device *dev, uint32_t slot)
{
    const struct vsock_connection *connection = connection_of(slot);
    const uint8_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    if (!vsock_host_is_open(slot))
        return;
    vsock_host_shut(&vsock.table, slot);
    bool flushed = vsock_buffered(connection) == 0;
    bool guest_done = connection->state == VSOCK_DRAINING || connection->guest_shutdown == both;
    bool guest_deaf = (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0;
    if ((guest_done && flushed) || (guest_deaf && vsock_host_hung_up(slot)))
        drop(dev, slot, false);
    else
        stir(dev, slot);
}

static void flush(struct device *dev, uint32_t slot)
{
    if (vsock_host_flush(&vsock.table, slot) < 0)
        refuse_message(dev, slot);
    else
        settle(dev, slot);
}

static void greet(struct device *dev, uint32_t slot)
{
    uint32_t port;
    int r = vsock_host_greeting(slot, connection_of(slot)->type, &port);
    if (r == 0)
        return;
    if (r == -EPROTO)
        log_event(LOG_VSOCK_GREETING, 0);
    if (r < 0) {
        drop(dev, slot, false);
        return;
    }
    vsock_request(&vsock.table, slot, port);
    stir(dev, slot);
}

static void vsock_connection_event(struct device *dev, unsigned int slot, uint32_t events)
{
    if (!vsock_host_is_open(slot))
        return; /* closed since, in this very round */
    vsock_host_event(slot, events);
    switch (connection_of(slot)->state) {
    case VSOCK_GREETING:
        greet(dev, slot);
        break;
    case VSOCK_REQUESTED:
        if (vsock_host_hung_up(slot))
            drop(dev, slot, true);
        break;
    case VSOCK_OPEN:
    case VSOCK_DRAINING:
        flush(dev, slot);
        break;
    case VSOCK_FREE:
    case VSOCK_DIALLING:
    case VSOCK_CLOSING:
        break; /* have no socket */
    }
}

/* ---- The broker ---- */

static bool ask_broker(uint32_t slot)
{
    const struct vsock_connection *connection = connection_of(slot);
    vsock.last_request = (vsock.last_request + 1) & INT32_MAX;
    vsock.requests[slot] = vsock.last_request;
    const struct message_connect message = {
        .header = {.type = MSG_CONNECT, .version = MESSAGE_VERSION, .device = vsock.device},
        .port = connection->host_port,
        .type = connection->type,
        .request = vsock.last_request,
    };
    return send(WORKER_FD_CONTROL, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static uint32_t oldest_undialled(void)
{
    uint32_t oldest = VSOCK_NONE;
    for (uint64_t left = vsock.undialled; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        if (oldest == VSOCK_NONE || connection_of(slot)->age < connection_of(oldest)->age)
            oldest = slot;
    }
    return oldest;
}

/* The broker ends a worker that asks for more at once than it may, so the guest's further wishes
 * wait here; it may have given up on some. */
static void dial(struct device *dev)
{
    while (vsock.undialled != 0 && vsock.unanswered < CONNECTIONS_AT_ONCE) {
        uint32_t slot = oldest_undialled();
        vsock.undialled &= ~(1ull << slot);
        if (connection_of(slot)->state != VSOCK_DIALLING)
            continue;
        if (ask_broker(slot))
            vsock.unanswered++;
        else
            drop(dev, slot, true); /* it has not taken what was said before */
    }
}

static void host_connects(struct device *dev, uint16_t type, int fd)
{
    bool evicted = false, usable = type == VIRTIO_VSOCK_TYPE_STREAM || vsock.table.seqpacket;
    uint32_t slot = VSOCK_NONE;
    if (device_live(dev) && usable)
        slot = vsock_take(&vsock.table, VSOCK_GREETING, type, &evicted);
    if (evicted)
        vsock_host_close(slot);
    if (slot == VSOCK_NONE)
        close(fd);
    else if (vsock_host_open(slot, type, fd))
        greet(dev, slot);
    else
        drop(dev, slot, false);
    dev->work |= 1u << QUEUE_RX; /* the guest may be owed the end of the one that gave way */
}

static uint32_t find_request(uint32_t request)
{
    for (uint32_t slot = 0; slot < VSOCK_CONNECTIONS_MAX; slot++) {
        const struct vsock_connection *connection = connection_of(slot);
        bool asked = (vsock.undialled >> slot & 1) == 0;
        if (connection->state == VSOCK_DIALLING && asked && vsock.requests[slot] == request)
            return slot;
    }
    return VSOCK_NONE;
}

/* `fd` is -1 if there is nobody at that port. The guest may have given up meanwhile. */
static void host_answers(struct device *dev, uint32_t request, int fd)
{
    uint32_t slot = find_request(request);
    if (vsock.unanswered > 0)
        vsock.unanswered--;
    dial(dev);
    if (slot == VSOCK_NONE) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (fd < 0 || !vsock_host_open(slot, connection_of(slot)->type, fd)) {
        drop(dev, slot, true);
        return;
    }
    vsock_accepted(&vsock.table, slot);
    stir(dev, slot);
}

static bool vsock_message(struct device *dev, const union message *message, const int *fds,
                          size_t fd_count)
{
    const struct message_connection *connection = &message->connection;
    if (message->header.type != MSG_CONNECTION)
        return false;
    int fd = fd_count > 0 ? fds[0] : -1;
    if (connection->request != CONNECTION_FROM_HOST)
        host_answers(dev, connection->request, fd);
    else if (fd >= 0)
        host_connects(dev, (uint16_t)connection->type, fd);
    return true;
}

/* ---- From the guest ---- */

static void take_payload(struct device *dev, uint32_t slot, const struct virtio_vsock_hdr *header,
                         const struct chain *chain)
{
    static struct iovec payload[CHAIN_SEGMENTS_MAX];
    unsigned int count =
        segments_cut(chain->segments, chain->readable_count, sizeof(*header), header->len, payload);
    bool end = (header->flags & VIRTIO_VSOCK_SEQ_EOM) != 0;
    device_count(&dev->state->counters.bytes_out, header->len);
    if (vsock_host_deliver(&vsock.table, slot, payload, count, header->len, end) < 0)
        refuse_message(dev, slot);
    else
        settle(dev, slot);
}

static void act(struct device *dev, enum vsock_verdict verdict, uint32_t slot,
                const struct virtio_vsock_hdr *header, const struct chain *chain)
{
    switch (verdict) {
    case VSOCK_NOTHING:
        break;
    case VSOCK_CONNECT:
        vsock.undialled |= 1ull << slot;
        dial(dev);
        break;
    case VSOCK_ANSWERED:
        if (vsock_host_welcome(slot, header->dst_port) < 0)
            drop(dev, slot, true);
        break;
    case VSOCK_PAYLOAD:
        take_payload(dev, slot, header, chain);
        break;
    case VSOCK_SHUTDOWN:
    case VSOCK_GONE:
        flush(dev, slot);
        break;
    case VSOCK_BROKEN:
        log_event(LOG_VSOCK_BROKEN, header->src_port, header->dst_port, header->op);
        device_count(&dev->state->counters.guest_errors, 1);
        vsock_host_close(slot);
        break;
    }
}

static int take_packet(struct device *dev, const struct chain *chain, struct guest_fault *ret_fault)
{
    struct virtio_vsock_hdr header;
    uint32_t slot = VSOCK_NONE;
    bool evicted;
    if (chain->readable_length < sizeof(header)) {
        *ret_fault =
            (struct guest_fault){LOG_CHAIN_INVALID, {QUEUE_TX, chain->ref.id, CHECK_NO_ROOM}};
        return -EBADMSG;
    }
    segments_read(chain->segments, &header, sizeof(header));
    uint32_t payload = chain->readable_length - (uint32_t)sizeof(header);
    enum vsock_verdict verdict = vsock_receive(&vsock.table, &header, payload, &slot, &evicted);
    if (evicted)
        vsock_host_close(slot);
    act(dev, verdict, slot, &header, chain);
    if (slot != VSOCK_NONE)
        stir(dev, slot);
    dev->work |= 1u << QUEUE_RX; /* for a reply without a slot */
    return 0;
}

static int tx_turn(struct device *dev, struct guest_fault *ret_fault)
{
    static struct chain chain;
    struct virtqueue *vq = &dev->queues[QUEUE_TX];
    uint32_t bytes = 0;
    int r = 1;
    virtqueue_disable_notify(vq);
    for (unsigned int i = 0; i < TURN_PACKETS && bytes < TURN_BYTES; i++) {
        vsock.tx_waits = !vsock_reply_room(&vsock.table);
        if (vsock.tx_waits)
            break;
        r = virtqueue_pop(vq, &chain, ret_fault);
        if (r <= 0)
            break;
        bytes += chain.readable_length;
        r = take_packet(dev, &chain, ret_fault);
        if (r < 0)
            break;
        r = 1;
        virtqueue_push(vq, chain.ref, 0);
        virtqueue_publish(vq);
        device_count(&dev->state->counters.requests, 1);
        if (virtqueue_since_interrupt(vq) >= SIGNAL_PACKETS)
            device_signal(dev, vq);
    }
    device_signal(dev, vq);
    if (r < 0)
        return r;
    if (vsock.tx_waits)
        return 0; /* rx_turn will say when to go on */
    return r == 0 && virtqueue_enable_notify(vq) ? 0 : 1;
}

/* ---- To the guest ---- */

/* Data of an open connection, into the buffer behind the header. Returns true if there is a packet
 * now. */
static bool next_data(struct device *dev, uint32_t slot, struct virtio_vsock_hdr *ret_header)
{
    static struct iovec room[CHAIN_SEGMENTS_MAX];
    const struct vsock_connection *connection = connection_of(slot);
    if (connection->state != VSOCK_OPEN || !vsock_host_readable(slot) ||
        (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0)
        return false;
    uint32_t credit = vsock_credit(connection);
    if (credit == 0) {
        vsock_ask_credit(&vsock.table, slot);
        return vsock_next_packet(&vsock.table, slot, ret_header);
    }
    const struct chain *chain = &vsock.rx;
    unsigned int count = segments_cut(chain->segments + chain->readable_count,
                                      chain->writable_count, sizeof(*ret_header), credit, room);
    bool end;
    ssize_t moved = vsock_host_read(slot, connection->type, room, count, credit, &end);
    if (moved > 0) {
        uint32_t flags = end ? VIRTIO_VSOCK_SEQ_EOM : 0;
        vsock_data_packet(&vsock.table, slot, (uint32_t)moved, flags, ret_header);
        device_count(&dev->state->counters.bytes_in, (uint64_t)moved);
        return true;
    }
    if (moved == -EAGAIN)
        return false;
    if (moved == -EMSGSIZE)
        refuse_message(dev, slot);
    else if (moved < 0 || vsock_host_hung_up(slot))
        drop(dev, slot, moved < 0);
    else
        vsock_host_shutdown(&vsock.table, slot, VIRTIO_VSOCK_SHUTDOWN_SEND);
    return vsock_next_packet(&vsock.table, slot, ret_header);
}

/* The next packet for the guest, one of each connection in turn. Returns false if there is none. */
static bool next_packet(struct device *dev, struct virtio_vsock_hdr *ret_header)
{
    if (vsock_next_reply(&vsock.table, ret_header))
        return true;
    while (vsock.busy != 0) {
        uint64_t later = vsock.busy >> vsock.next_slot << vsock.next_slot;
        uint32_t slot = (uint32_t)__builtin_ctzll(later != 0 ? later : vsock.busy);
        vsock.next_slot = (slot + 1) % VSOCK_CONNECTIONS_MAX;
        if (vsock_next_packet(&vsock.table, slot, ret_header) || next_data(dev, slot, ret_header))
            return true;
        vsock.busy &= ~(1ull << slot);
    }
    return false;
}

/* A buffer for the next packet. Returns 1, 0 if the guest has none there, -EBADMSG. */
static int hold_rx(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    if (vsock.rx_held)
        return 1;
    int r = virtqueue_pop(vq, &vsock.rx, ret_fault);
    if (r <= 0)
        return r;
    /* §5.10.6.4: with no more room than for the header, it could never take data. */
    if (vsock.rx.writable_length <= sizeof(struct virtio_vsock_hdr)) {
        *ret_fault =
            (struct guest_fault){LOG_CHAIN_INVALID, {QUEUE_RX, vsock.rx.ref.id, CHECK_NO_ROOM}};
        return -EBADMSG;
    }
    vsock.rx_held = true;
    return 1;
}

static uint32_t complete_rx(struct device *dev, const struct virtio_vsock_hdr *header)
{
    struct virtqueue *vq = &dev->queues[QUEUE_RX];
    uint32_t length = (uint32_t)sizeof(*header) + header->len;
    segments_write(vsock.rx.segments + vsock.rx.readable_count, header, sizeof(*header));
    virtqueue_push(vq, vsock.rx.ref, length);
    virtqueue_publish(vq);
    vsock.rx_held = false;
    device_count(&dev->state->counters.requests, 1);
    if (virtqueue_since_interrupt(vq) >= SIGNAL_PACKETS)
        device_signal(dev, vq);
    return length;
}

static int rx_turn(struct device *dev, struct guest_fault *ret_fault)
{
    struct virtqueue *vq = &dev->queues[QUEUE_RX];
    struct virtio_vsock_hdr header;
    uint32_t bytes = 0;
    bool more = true;
    int r = 1;
    virtqueue_disable_notify(vq);
    for (unsigned int i = 0; i < TURN_PACKETS && bytes < TURN_BYTES; i++) {
        more = vsock.busy != 0 || vsock.table.reply_count > 0;
        if (more)
            r = hold_rx(vq, ret_fault);
        if (!more || r <= 0)
            break;
        more = next_packet(dev, &header);
        if (!more)
            break;
        bytes += complete_rx(dev, &header);
    }
    device_signal(dev, vq);
    if (r < 0)
        return r;
    if (vsock.tx_waits && vsock_reply_room(&vsock.table))
        dev->work |= 1u << QUEUE_TX;
    if (!more)
        return 0; /* buffers that come now are of no interest */
    return r == 0 && virtqueue_enable_notify(vq) ? 0 : 1;
}

static int vsock_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    switch (queue) {
    case QUEUE_RX:
        return rx_turn(dev, ret_fault);
    case QUEUE_TX:
        return tx_turn(dev, ret_fault);
    default:
        return vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
    }
}

/* ---- Starting and stopping ---- */

static int vsock_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    uint64_t features = dev->state->transport.driver_features;
    vsock_init(&vsock.table, vsock.guest_cid, (features >> VIRTIO_VSOCK_F_SEQPACKET & 1) != 0);
    /* §5.10.6.7: the connections of a predecessor are gone, and the guest's sockets shall fail at
     * once. At once, too, so that it does not take the next ones for those. */
    vsock.reset_pending = resumed;
    if (!resumed || !dev->queues[QUEUE_EVENT].running)
        return 0;
    int r = vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
    return r < 0 ? r : 0;
}

static void vsock_stop(struct device *dev)
{
    (void)dev;
    vsock_host_reset();
    vsock.reset_pending = false;
    vsock.tx_waits = false;
    vsock.rx_held = false;
    vsock.busy = 0;
    vsock.undialled = 0;
}

static void vsock_queue_stop(struct device *dev, unsigned int queue)
{
    (void)dev;
    if (queue == QUEUE_RX)
        vsock.rx_held = false;
}

const struct device_ops vsock_virtio_ops = {
    .init = vsock_init_device,
    .start = vsock_start,
    .stop = vsock_stop,
    .queue_stop = vsock_queue_stop,
    .turn = vsock_turn,
    .message = vsock_message,
    .connection_event = vsock_connection_event,
};
