/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest_vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/standin/clock.h"

#define SOCKET_DEVICE_ID 19
#define HOST_CID 2u
#define HEADER sizeof(struct virtio_vsock_hdr)
#define FIRST_PORT 50000u
#define RINGS_SIZE                                                                                 \
    ((GUEST_PACKETS + GUEST_MESSAGES) * sizeof(uint32_t)) /* behind a socket's data */

static void violated(struct guest_vsock *vsock, const char *what,
                     const struct virtio_vsock_hdr *header)
{
    vsock->violations++;
    fprintf(stderr, "\nsocket device: %s: op %u, port %u to %u, length %u\n", what, header->op,
            header->src_port, header->dst_port, header->len);
}

static int allocate(struct guest *guest, struct guest_vsock_buffer *buffers, unsigned int count,
                    uint32_t size)
{
    for (unsigned int i = 0; i < count; i++) {
        buffers[i].at = guest_alloc(guest, size, 16, &buffers[i].addr);
        buffers[i].busy = false;
        if (!buffers[i].at)
            return -ENOMEM;
    }
    return 0;
}

static int offer(struct guest_queue *queue, struct guest_vsock_buffer *buffer, uint32_t size)
{
    const struct guest_segment segment = {buffer->addr, size, true};
    return guest_queue_add(queue, &segment, 1, buffer);
}

static int start_queues(struct guest_vsock *vsock)
{
    struct guest *guest = &vsock->guest;
    int r = guest_queue_start(guest, &vsock->rx, 0, GUEST_RX_BUFFERS);
    if (r == 0)
        r = guest_queue_start(guest, &vsock->tx, 1, 0);
    if (r == 0)
        r = guest_queue_start(guest, &vsock->event, 2, 8);
    if (r == 0)
        r = allocate(guest, vsock->rx_buffers, GUEST_RX_BUFFERS, GUEST_RX_SIZE);
    if (r == 0)
        r = allocate(guest, vsock->tx_buffers, GUEST_TX_BUFFERS, HEADER + GUEST_TX_SIZE);
    if (r == 0)
        r = allocate(guest, vsock->event_buffers, GUEST_EVENT_BUFFERS, 16);
    return r;
}

int guest_vsock_start(struct guest_vsock *vsock, uint64_t features)
{
    guest_vsock_free(vsock);
    int r = guest_probe(&vsock->guest, SOCKET_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(&vsock->guest, features);
    if (r == 0)
        r = start_queues(vsock);
    if (r == 0)
        r = guest_driver_ok(&vsock->guest);
    for (unsigned int i = 0; r == 0 && i < GUEST_RX_BUFFERS; i++)
        r = offer(&vsock->rx, &vsock->rx_buffers[i], GUEST_RX_SIZE);
    for (unsigned int i = 0; r == 0 && i < GUEST_EVENT_BUFFERS; i++)
        r = offer(&vsock->event, &vsock->event_buffers[i], 16);
    guest_queue_kick(&vsock->rx);
    guest_queue_kick(&vsock->event);
    vsock->next_port = FIRST_PORT;
    return r;
}

void guest_vsock_forget(struct guest_socket *socket)
{
    free(socket->data);
    *socket = (struct guest_socket){0};
}

void guest_vsock_free(struct guest_vsock *vsock)
{
    guest_queue_free(&vsock->rx);
    guest_queue_free(&vsock->tx);
    guest_queue_free(&vsock->event);
    for (unsigned int i = 0; i < GUEST_SOCKETS; i++)
        guest_vsock_forget(&vsock->sockets[i]);
}

/* ---- To the device ---- */

static void reclaim(struct guest_vsock *vsock)
{
    struct guest_vsock_buffer *buffer;
    uint32_t length;
    while ((buffer = guest_queue_get(&vsock->tx, &length)))
        buffer->busy = false;
}

bool guest_vsock_all_taken(struct guest_vsock *vsock)
{
    reclaim(vsock);
    for (unsigned int i = 0; i < GUEST_TX_BUFFERS; i++) {
        if (vsock->tx_buffers[i].busy)
            return false;
    }
    return true;
}

static struct guest_vsock_buffer *free_buffer(struct guest_vsock *vsock)
{
    for (unsigned int tries = 0; tries < 2000 && vsock->guest.error == 0; tries++) {
        reclaim(vsock);
        for (unsigned int i = 0; i < GUEST_TX_BUFFERS; i++) {
            if (!vsock->tx_buffers[i].busy)
                return &vsock->tx_buffers[i];
        }
        guest_vsock_poll(vsock, 1);
    }
    return NULL;
}

static struct guest_socket *find(struct guest_vsock *vsock, uint32_t port, uint32_t peer_port)
{
    for (unsigned int i = 0; i < GUEST_SOCKETS; i++) {
        struct guest_socket *socket = &vsock->sockets[i];
        bool live = socket->state == SOCKET_CONNECTING || socket->state == SOCKET_CONNECTED;
        if (live && socket->port == port && socket->peer_port == peer_port)
            return socket;
    }
    return NULL;
}

/* §5.10.6.3: the bytes on their way and the unread bytes together must not exceed the other side's
 * buffer. */
static void count_sent(struct guest_vsock *vsock, const struct virtio_vsock_hdr *header,
                       uint32_t length)
{
    struct guest_socket *socket = find(vsock, header->src_port, header->dst_port);
    if (!socket || header->op != VIRTIO_VSOCK_OP_RW)
        return;
    socket->sent += length;
    if (socket->sent - socket->peer_forwarded > socket->peer_alloc)
        socket->overdrawn = true;
}

int guest_vsock_packet(struct guest_vsock *vsock, const struct virtio_vsock_hdr *header,
                       const void *data, uint32_t length)
{
    struct guest_vsock_buffer *buffer = free_buffer(vsock);
    if (!buffer)
        return -ETIMEDOUT;
    memcpy(buffer->at, header, HEADER);
    if (length > 0 && !vsock->no_copies)
        memcpy(buffer->at + HEADER, data, length);
    const struct guest_segment segments[] = {
        {buffer->addr, HEADER, false},
        {buffer->addr + HEADER, length, false},
    };
    buffer->busy = true;
    int r = guest_queue_add(&vsock->tx, segments, length > 0 ? 2 : 1, buffer);
    if (r < 0) {
        buffer->busy = false;
        return r;
    }
    vsock->packets_out++;
    count_sent(vsock, header, length);
    guest_queue_kick(&vsock->tx);
    return 0;
}

struct virtio_vsock_hdr guest_vsock_header(struct guest_vsock *vsock, struct guest_socket *socket,
                                           uint16_t op)
{
    (void)vsock;
    socket->announced = socket->forwarded;
    return (struct virtio_vsock_hdr){
        .src_cid = GUEST_VSOCK_CID,
        .dst_cid = HOST_CID,
        .src_port = socket->port,
        .dst_port = socket->peer_port,
        .type = socket->type,
        .op = op,
        .buf_alloc = socket->buf_alloc,
        .fwd_cnt = socket->forwarded,
    };
}

int guest_vsock_control(struct guest_vsock *vsock, struct guest_socket *socket, uint16_t op,
                        uint32_t flags)
{
    struct virtio_vsock_hdr header = guest_vsock_header(vsock, socket, op);
    header.flags = flags;
    return guest_vsock_packet(vsock, &header, NULL, 0);
}

static struct guest_socket *new_socket(struct guest_vsock *vsock, uint16_t type, uint32_t port,
                                       uint32_t peer_port)
{
    for (unsigned int i = 0; i < GUEST_SOCKETS; i++) {
        struct guest_socket *socket = &vsock->sockets[i];
        if (socket->state != SOCKET_FREE)
            continue;
        *socket = (struct guest_socket){
            .type = type,
            .port = port,
            .peer_port = peer_port,
            .buf_alloc = vsock->buf_alloc > 0 ? vsock->buf_alloc : GUEST_SOCKET_BUFFER,
            /* Not zeroed: that takes longer than the device needs for a connection. */
            .data = malloc(GUEST_SOCKET_BUFFER_MAX + RINGS_SIZE),
        };
        if (!socket->data)
            return NULL;
        socket->packet_ends = (uint32_t *)(void *)(socket->data + GUEST_SOCKET_BUFFER_MAX);
        socket->message_ends = socket->packet_ends + GUEST_PACKETS;
        return socket;
    }
    return NULL;
}

struct guest_socket *guest_vsock_connect(struct guest_vsock *vsock, uint16_t type, uint32_t port)
{
    struct guest_socket *socket = new_socket(vsock, type, vsock->next_port++, port);
    if (!socket)
        return NULL;
    socket->state = SOCKET_CONNECTING;
    guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_REQUEST, 0);
    return socket;
}

int guest_vsock_send(struct guest_vsock *vsock, struct guest_socket *socket, const void *data,
                     uint32_t length, uint32_t flags)
{
    uint32_t window =
        socket->peer_alloc < socket->buf_alloc ? socket->peer_alloc : socket->buf_alloc;
    uint32_t unread = socket->sent - socket->peer_forwarded;
    uint32_t room = unread < window ? window - unread : 0;
    uint32_t part = length < room ? length : room;
    if (part > GUEST_TX_SIZE)
        part = GUEST_TX_SIZE;
    if (part == 0)
        return 0;
    struct virtio_vsock_hdr header = guest_vsock_header(vsock, socket, VIRTIO_VSOCK_OP_RW);
    header.len = part;
    header.flags = part == length ? flags : 0;
    int r = guest_vsock_packet(vsock, &header, data, part);
    return r < 0 ? r : (int)part;
}

void guest_vsock_close(struct guest_vsock *vsock, struct guest_socket *socket)
{
    guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_SHUTDOWN,
                        VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
}

/* ---- From the device ---- */

static void refuse(struct guest_vsock *vsock, const struct virtio_vsock_hdr *header)
{
    const struct virtio_vsock_hdr reply = {
        .src_cid = GUEST_VSOCK_CID,
        .dst_cid = HOST_CID,
        .src_port = header->dst_port,
        .dst_port = header->src_port,
        .type = header->type,
        .op = VIRTIO_VSOCK_OP_RST,
    };
    guest_vsock_packet(vsock, &reply, NULL, 0);
}

static void forget_packets(struct guest_socket *socket)
{
    while (socket->packet_count > 0 &&
           socket->received - socket->packet_ends[socket->packet_first] >=
               socket->received - socket->forwarded) {
        socket->packet_first = (socket->packet_first + 1) % GUEST_PACKETS;
        socket->packet_count--;
    }
}

/* Linux keeps a structure for each packet until the packet is read. It leaves some room for the
 * last packets. */
static void count_packet(struct guest_vsock *vsock, struct guest_socket *socket,
                         const struct virtio_vsock_hdr *header)
{
    forget_packets(socket);
    if (socket->packet_count == GUEST_PACKETS) {
        violated(vsock, "more packets than can be counted", header);
        return;
    }
    unsigned int at = (socket->packet_first + socket->packet_count++) % GUEST_PACKETS;
    socket->packet_ends[at] = socket->received;
    if (socket->packet_count > vsock->most_unread_packets)
        vsock->most_unread_packets = socket->packet_count;
    if (socket->packet_count > 2 && socket->packet_count * GUEST_PACKET_COST > socket->buf_alloc)
        violated(vsock, "more packets than the kernel keeps", header);
}

static void take_data(struct guest_vsock *vsock, struct guest_socket *socket,
                      const struct virtio_vsock_hdr *header, const uint8_t *data)
{
    if (header->len > socket->buf_alloc - (socket->received - socket->announced)) {
        violated(vsock, "more than its credit", header);
        return;
    }
    for (uint32_t done = 0, part; !vsock->no_copies && done < header->len; done += part) {
        uint32_t at = (socket->received + done) % GUEST_SOCKET_BUFFER_MAX;
        part = header->len - done;
        part = part < GUEST_SOCKET_BUFFER_MAX - at ? part : GUEST_SOCKET_BUFFER_MAX - at;
        memcpy(socket->data + at, data + done, part);
    }
    socket->received += header->len;
    socket->came_at = vsock->packets_in;
    count_packet(vsock, socket, header);
    if (socket->type == VIRTIO_VSOCK_TYPE_SEQPACKET && (header->flags & VIRTIO_VSOCK_SEQ_EOM)) {
        unsigned int at = (socket->message_first + socket->message_count++) % GUEST_MESSAGES;
        socket->message_ends[at] = socket->received;
    }
}

static void connected(struct guest_vsock *vsock, struct guest_socket *socket,
                      const struct virtio_vsock_hdr *header, const uint8_t *data)
{
    socket->peer_alloc = header->buf_alloc;
    socket->peer_forwarded = header->fwd_cnt;
    if (header->op != VIRTIO_VSOCK_OP_RST && (int32_t)(header->fwd_cnt - socket->sent) > 0)
        violated(vsock, "it has taken more than it was sent", header);
    if (header->op != VIRTIO_VSOCK_OP_RST && !socket->overdrawn &&
        (int32_t)(socket->sent - header->fwd_cnt) > (int32_t)header->buf_alloc)
        violated(vsock, "it takes back room that it had told of", header);
    switch (header->op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        if (socket->state != SOCKET_CONNECTING)
            violated(vsock, "a RESPONSE to no REQUEST", header);
        socket->state = SOCKET_CONNECTED;
        break;
    case VIRTIO_VSOCK_OP_RST:
        socket->state = SOCKET_RESET;
        break;
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        socket->peer_shutdown |= header->flags;
        break;
    case VIRTIO_VSOCK_OP_RW:
        if ((socket->peer_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0)
            violated(vsock, "data after SHUTDOWN", header);
        take_data(vsock, socket, header, data);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        vsock->credit_requests++;
        guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
        break;
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
    default:
        violated(vsock, "an operation that there is not", header);
    }
}

static void take_packet(struct guest_vsock *vsock, const uint8_t *packet, uint32_t length)
{
    struct virtio_vsock_hdr header;
    memcpy(&header, packet, HEADER);
    vsock->packets_in++;
    if (length != HEADER + header.len || header.dst_cid != GUEST_VSOCK_CID)
        violated(vsock, "a length or a CID that is wrong", &header);
    if (header.op != VIRTIO_VSOCK_OP_RST && header.src_cid != HOST_CID)
        violated(vsock, "a source that is not the host", &header);
    if (header.op == VIRTIO_VSOCK_OP_RST) {
        vsock->resets++;
        vsock->last_reset = header;
    }
    struct guest_socket *socket = find(vsock, header.dst_port, header.src_port);
    if (!socket && header.op == VIRTIO_VSOCK_OP_REQUEST && header.dst_port == vsock->listening) {
        socket = new_socket(vsock, header.type, header.dst_port, header.src_port);
        if (socket) {
            socket->state = SOCKET_CONNECTED;
            socket->peer_alloc = header.buf_alloc;
            guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_RESPONSE, 0);
            return;
        }
    }
    if (socket)
        connected(vsock, socket, &header, packet + HEADER);
    else if (header.op != VIRTIO_VSOCK_OP_RST)
        refuse(vsock, &header);
}

static void transport_reset(struct guest_vsock *vsock)
{
    vsock->transport_resets++;
    for (unsigned int i = 0; i < GUEST_SOCKETS; i++) {
        if (vsock->sockets[i].state != SOCKET_FREE)
            vsock->sockets[i].state = SOCKET_RESET;
    }
}

static int drain(struct guest_vsock *vsock)
{
    struct guest_vsock_buffer *buffer;
    uint32_t length;
    int taken = 0;
    reclaim(vsock);
    while ((buffer = guest_queue_get(&vsock->event, &length))) {
        transport_reset(vsock);
        offer(&vsock->event, buffer, 16);
        guest_queue_kick(&vsock->event);
        taken++;
    }
    while (!vsock->hold_rx && (buffer = guest_queue_get(&vsock->rx, &length))) {
        take_packet(vsock, buffer->at, length); /* it may take further buffers meanwhile */
        offer(&vsock->rx, buffer, GUEST_RX_SIZE);
        taken++;
    }
    if (taken > 0)
        guest_queue_kick(&vsock->rx);
    return taken;
}

static int drain_all(struct guest_vsock *vsock)
{
    int taken = 0;
    do {
        guest_queue_disable_interrupts(&vsock->rx);
        taken += drain(vsock);
    } while (!guest_queue_enable_interrupts(&vsock->rx) && !vsock->hold_rx &&
             vsock->guest.error == 0);
    return taken;
}

int guest_vsock_poll(struct guest_vsock *vsock, int timeout_ms)
{
    int taken = drain_all(vsock);
    if (taken > 0 || vsock->guest.error < 0)
        return vsock->guest.error < 0 ? vsock->guest.error : taken;
    int bits = standin_wait_irq(vsock->guest.standin, vsock->guest.id, timeout_ms);
    if (bits == -ETIMEDOUT)
        return drain_all(vsock);
    if (bits < 0)
        return bits;
    vsock->guest.interrupts += (unsigned int)bits;
    uint64_t status = guest_read(&vsock->guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
    guest_write(&vsock->guest, VIRTIO_MMIO_INTERRUPT_ACK, 4, status);
    return drain_all(vsock);
}

int guest_vsock_wait(struct guest_vsock *vsock, struct guest_socket *socket, int timeout_ms)
{
    uint64_t end = now_ms() + (uint64_t)timeout_ms;
    while (socket->state == SOCKET_CONNECTING && now_ms() < end) {
        int r = guest_vsock_poll(vsock, 10);
        if (r < 0)
            return r;
    }
    return socket->state == SOCKET_CONNECTING ? -ETIMEDOUT : (int)socket->state;
}

struct guest_socket *guest_vsock_accepted(struct guest_vsock *vsock, uint32_t peer_port)
{
    for (unsigned int i = 0; i < GUEST_SOCKETS; i++) {
        struct guest_socket *socket = &vsock->sockets[i];
        if (socket->state == SOCKET_CONNECTED && socket->port == vsock->listening &&
            (peer_port == 0 || socket->peer_port == peer_port))
            return socket;
    }
    return NULL;
}

uint32_t guest_vsock_receive(struct guest_vsock *vsock, struct guest_socket *socket, void *data,
                             uint32_t length)
{
    uint32_t there = socket->received - socket->forwarded;
    if (socket->type == VIRTIO_VSOCK_TYPE_SEQPACKET) {
        if (socket->message_count == 0)
            return 0;
        there = socket->message_ends[socket->message_first] - socket->forwarded;
        socket->message_first = (socket->message_first + 1) % GUEST_MESSAGES;
        socket->message_count--;
    }
    uint32_t part = there < length ? there : length;
    for (uint32_t done = 0, piece; !vsock->no_copies && done < part; done += piece) {
        uint32_t at = (socket->forwarded + done) % GUEST_SOCKET_BUFFER_MAX;
        piece =
            part - done < GUEST_SOCKET_BUFFER_MAX - at ? part - done : GUEST_SOCKET_BUFFER_MAX - at;
        memcpy((uint8_t *)data + done, socket->data + at, piece);
    }
    socket->forwarded += socket->type == VIRTIO_VSOCK_TYPE_SEQPACKET ? there : part;
    uint32_t untold = socket->forwarded - socket->announced;
    if (socket->state == SOCKET_CONNECTED && untold > 0 &&
        (socket->type == VIRTIO_VSOCK_TYPE_SEQPACKET || untold + 65536 > socket->buf_alloc))
        guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
    return part;
}
