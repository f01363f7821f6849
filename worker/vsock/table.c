/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/table.h"

#include <string.h>

#include <sys/socket.h>

#include <linux/vm_sockets.h> /* some versions need <sys/socket.h> before it */

#define SHUTDOWN_BOTH ((uint8_t)(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND))
#define HOST_PORTS 0x40000000u /* where ports of the host's clients begin: not a server's */

#define DUE(op) ((uint16_t)(1u << VIRTIO_VSOCK_OP_##op))

void vsock_init(struct vsock_table *table, uint64_t guest_cid, bool seqpacket)
{
    memset(table, 0, sizeof(*table));
    table->guest_cid = guest_cid;
    table->seqpacket = seqpacket;
    table->next_port = HOST_PORTS;
}

/* ---- Places ---- */

static void add_reply(struct vsock_table *table, const struct vsock_reply *reply)
{
    table->replies[(table->reply_first + table->reply_count++) % VSOCK_REPLIES_MAX] = *reply;
}

/* How readily a connection gives way to a new one; 0: not at all. */
static unsigned int dispensable(const struct vsock_connection *connection)
{
    switch (connection->state) {
    case VSOCK_GREETING: /* anybody can connect and say nothing */
        return 3;
    case VSOCK_CLOSING: /* the guest has been told, and takes its time */
        return connection->due == 0 && connection->told_shutdown == SHUTDOWN_BOTH ? 2 : 0;
    case VSOCK_DRAINING: /* the host's reader takes its time */
        return 1;
    case VSOCK_FREE:
    case VSOCK_REQUESTED:
    case VSOCK_DIALLING:
    case VSOCK_OPEN:
        break;
    }
    return 0;
}

static uint32_t find_place(const struct vsock_table *table, bool *ret_evicted)
{
    uint32_t best = VSOCK_NONE;
    *ret_evicted = false;
    for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
        const struct vsock_connection *connection = &table->connections[i];
        if (connection->state == VSOCK_FREE) {
            *ret_evicted = false;
            return i;
        }
        unsigned int rank = dispensable(connection);
        if (rank == 0)
            continue;
        const struct vsock_connection *other =
            best == VSOCK_NONE ? NULL : &table->connections[best];
        if (!other || rank > dispensable(other) ||
            (rank == dispensable(other) && connection->age < other->age))
            best = i;
    }
    *ret_evicted = best != VSOCK_NONE;
    return best;
}

/* §5.10.6.5: a socket that does not answer to SHUTDOWN is disconnected forcibly. */
static void disconnect(struct vsock_table *table, const struct vsock_connection *connection)
{
    if (connection->state == VSOCK_CLOSING && vsock_reply_room(table))
        add_reply(table, &(struct vsock_reply){
                             .host_cid = VMADDR_CID_HOST,
                             .guest_port = connection->guest_port,
                             .host_port = connection->host_port,
                             .type = connection->type,
                         });
}

uint32_t vsock_take(struct vsock_table *table, enum vsock_state state, uint16_t type,
                    bool *ret_evicted)
{
    uint32_t slot = find_place(table, ret_evicted);
    if (*ret_evicted)
        disconnect(table, &table->connections[slot]);
    if (slot != VSOCK_NONE)
        table->connections[slot] =
            (struct vsock_connection){.state = state, .type = type, .age = table->next_age++};
    return slot;
}

static bool has_guest_end(const struct vsock_connection *connection)
{
    return connection->state >= VSOCK_REQUESTED && connection->state != VSOCK_DRAINING;
}

static uint32_t find(const struct vsock_table *table, uint32_t guest_port, uint32_t host_port)
{
    for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
        const struct vsock_connection *connection = &table->connections[i];
        if (has_guest_end(connection) && connection->guest_port == guest_port &&
            connection->host_port == host_port)
            return i;
    }
    return VSOCK_NONE;
}

/* ---- The host's end ---- */

/* A port that no connection has: there are more ports than connections, so the loop ends. */
static uint32_t new_host_port(struct vsock_table *table, uint32_t guest_port)
{
    uint32_t port;
    do {
        port = table->next_port++;
        if (table->next_port == 2 * HOST_PORTS)
            table->next_port = HOST_PORTS;
    } while (find(table, guest_port, port) != VSOCK_NONE);
    return port;
}

void vsock_request(struct vsock_table *table, uint32_t slot, uint32_t guest_port)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->host_port = new_host_port(table, guest_port);
    connection->guest_port = guest_port;
    connection->state = VSOCK_REQUESTED;
    connection->due = DUE(REQUEST);
}

void vsock_accepted(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->state = VSOCK_OPEN;
    connection->due = DUE(RESPONSE);
}

void vsock_host_shutdown(struct vsock_table *table, uint32_t slot, uint8_t flags)
{
    table->connections[slot].host_shutdown |= flags;
}

void vsock_host_gone(struct vsock_table *table, uint32_t slot, bool reset)
{
    struct vsock_connection *connection = &table->connections[slot];
    bool unknown = connection->state == VSOCK_REQUESTED && (connection->due & DUE(REQUEST)) != 0;
    if (!has_guest_end(connection) || unknown) {
        connection->state = VSOCK_FREE;
        return;
    }
    /* What it still sends is nobody's. */
    connection->forwarded = connection->received;
    connection->host_shutdown = SHUTDOWN_BOTH;
    /* Only a socket that is connected can be told by SHUTDOWN; and one that has said by SHUTDOWN
     * that it is done waits for the RST (§5.10.6.5). */
    reset |= connection->state != VSOCK_OPEN || connection->guest_shutdown == SHUTDOWN_BOTH;
    connection->state = VSOCK_CLOSING;
    if (reset)
        connection->due = DUE(RST);
}

/* ---- Packets from the guest ---- */

/* An RST is never answered by one. */
static void reply_reset(struct vsock_table *table, const struct virtio_vsock_hdr *header)
{
    if (header->op == VIRTIO_VSOCK_OP_RST)
        return;
    add_reply(table, &(struct vsock_reply){
                         .host_cid = header->dst_cid,
                         .guest_port = header->src_port,
                         .host_port = header->dst_port,
                         .type = header->type,
                     });
}

static enum vsock_verdict broken(struct vsock_table *table, uint32_t slot)
{
    vsock_host_gone(table, slot, true);
    return VSOCK_BROKEN;
}

static void note_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header)
{
    connection->peer_alloc = header->buf_alloc;
    connection->peer_forwarded = header->fwd_cnt;
    if (vsock_credit(connection) > 0)
        connection->credit_asked = false;
}

static enum vsock_verdict guest_connects(struct vsock_table *table,
                                         const struct virtio_vsock_hdr *header, uint32_t *ret_slot,
                                         bool *ret_evicted)
{
    uint32_t slot = VSOCK_NONE;
    if (header->dst_port != VMADDR_PORT_ANY)
        slot = vsock_take(table, VSOCK_DIALLING, header->type, ret_evicted);
    if (slot == VSOCK_NONE) {
        reply_reset(table, header);
        return VSOCK_NOTHING;
    }
    struct vsock_connection *connection = &table->connections[slot];
    connection->guest_port = header->src_port;
    connection->host_port = header->dst_port;
    note_credit(connection, header);
    *ret_slot = slot;
    return VSOCK_CONNECT;
}

static enum vsock_verdict guest_sends(struct vsock_table *table, uint32_t slot,
                                      const struct virtio_vsock_hdr *header, uint32_t payload)
{
    struct vsock_connection *connection = &table->connections[slot];
    uint32_t length = header->len;
    bool may = connection->state == VSOCK_OPEN || connection->state == VSOCK_CLOSING;
    if (!may || (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0 ||
        length > payload || length > VSOCK_BUFFER_SIZE - vsock_buffered(connection))
        return broken(table, slot);
    connection->received += length;
    if (connection->state == VSOCK_OPEN)
        return VSOCK_PAYLOAD;
    /* It may not know yet that the host's end is gone. */
    vsock_forwarded(table, slot, length);
    return VSOCK_NOTHING;
}

static enum vsock_verdict guest_shuts_down(struct vsock_table *table, uint32_t slot, uint32_t flags)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->guest_shutdown |= (uint8_t)(flags & SHUTDOWN_BOTH);
    if (connection->state == VSOCK_OPEN)
        return VSOCK_SHUTDOWN;
    if (connection->state != VSOCK_CLOSING)
        return broken(table, slot);
    if (connection->guest_shutdown == SHUTDOWN_BOTH)
        connection->due = DUE(RST); /* §5.10.6.5: both ends are done */
    return VSOCK_NOTHING;
}

static enum vsock_verdict guest_resets(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    bool has_host_end = connection->state == VSOCK_OPEN || connection->state == VSOCK_REQUESTED;
    connection->state = has_host_end ? VSOCK_DRAINING : VSOCK_FREE;
    connection->due = 0;
    return has_host_end ? VSOCK_GONE : VSOCK_NOTHING;
}

static enum vsock_verdict receive_connected(struct vsock_table *table, uint32_t slot,
                                            const struct virtio_vsock_hdr *header, uint32_t payload)
{
    struct vsock_connection *connection = &table->connections[slot];
    note_credit(connection, header);
    switch (header->op) {
    case VIRTIO_VSOCK_OP_RESPONSE:
        if (connection->state != VSOCK_REQUESTED || (connection->due & DUE(REQUEST)) != 0)
            return broken(table, slot);
        connection->state = VSOCK_OPEN;
        return VSOCK_ANSWERED;
    case VIRTIO_VSOCK_OP_RST:
        return guest_resets(table, slot);
    case VIRTIO_VSOCK_OP_SHUTDOWN:
        return guest_shuts_down(table, slot, header->flags);
    case VIRTIO_VSOCK_OP_RW:
        return guest_sends(table, slot, header, payload);
    case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        return VSOCK_NOTHING;
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        if (connection->state == VSOCK_OPEN)
            connection->due |= DUE(CREDIT_UPDATE);
        return VSOCK_NOTHING;
    default: /* REQUEST a second time; INVALID; numbers that are no operation */
        return broken(table, slot);
    }
}

static bool known_type(const struct vsock_table *table, uint16_t type)
{
    return type == VIRTIO_VSOCK_TYPE_STREAM ||
           (type == VIRTIO_VSOCK_TYPE_SEQPACKET && table->seqpacket);
}

enum vsock_verdict vsock_receive(struct vsock_table *table, const struct virtio_vsock_hdr *header,
                                 uint32_t payload, uint32_t *ret_slot, bool *ret_evicted)
{
    *ret_evicted = false;
    /* §5.10.6.4: its own CID is the source. Nobody else is there to be answered. */
    if (header->src_cid != table->guest_cid)
        return VSOCK_NOTHING;
    uint32_t slot = VSOCK_NONE;
    if (header->dst_cid == VMADDR_CID_HOST && known_type(table, header->type)) {
        slot = find(table, header->src_port, header->dst_port);
        if (slot == VSOCK_NONE && header->op == VIRTIO_VSOCK_OP_REQUEST)
            return guest_connects(table, header, ret_slot, ret_evicted);
    }
    if (slot == VSOCK_NONE || table->connections[slot].type != header->type) {
        reply_reset(table, header);
        return VSOCK_NOTHING;
    }
    *ret_slot = slot;
    return receive_connected(table, slot, header, payload);
}

/* The guest is told when it must think that half of the buffer is full though it is not. */
void vsock_forwarded(struct vsock_table *table, uint32_t slot, uint32_t length)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->forwarded += length;
    if (has_guest_end(connection) && connection->forwarded != connection->announced &&
        connection->received - connection->announced > VSOCK_BUFFER_SIZE / 2)
        connection->due |= DUE(CREDIT_UPDATE);
}

/* ---- Packets to the guest ---- */

/* §5.10.6.3. A guest that claims to have taken more than it was sent, or that takes space back
 * which is in use, has no room. */
uint32_t vsock_credit(const struct vsock_connection *connection)
{
    uint32_t unread = connection->sent - connection->peer_forwarded;
    return unread < connection->peer_alloc ? connection->peer_alloc - unread : 0;
}

void vsock_ask_credit(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    if (connection->credit_asked)
        return;
    connection->credit_asked = true;
    connection->due |= DUE(CREDIT_REQUEST);
}

static struct virtio_vsock_hdr packet(struct vsock_table *table, uint32_t slot,
                                      enum virtio_vsock_op op)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->announced = connection->forwarded;
    connection->due &= (uint16_t) ~(DUE(CREDIT_UPDATE) | 1u << op);
    return (struct virtio_vsock_hdr){
        .src_cid = VMADDR_CID_HOST,
        .dst_cid = table->guest_cid,
        .src_port = connection->host_port,
        .dst_port = connection->guest_port,
        .type = connection->type,
        .op = (uint16_t)op,
        .buf_alloc = VSOCK_BUFFER_SIZE,
        .fwd_cnt = connection->forwarded,
    };
}

bool vsock_next_reply(struct vsock_table *table, struct virtio_vsock_hdr *ret)
{
    if (table->reply_count == 0)
        return false;
    const struct vsock_reply *reply = &table->replies[table->reply_first];
    *ret = (struct virtio_vsock_hdr){
        .src_cid = reply->host_cid,
        .dst_cid = table->guest_cid,
        .src_port = reply->host_port,
        .dst_port = reply->guest_port,
        .type = reply->type,
        .op = VIRTIO_VSOCK_OP_RST,
    };
    table->reply_first = (table->reply_first + 1) % VSOCK_REPLIES_MAX;
    table->reply_count--;
    return true;
}

bool vsock_next_packet(struct vsock_table *table, uint32_t slot, struct virtio_vsock_hdr *ret)
{
    /* An answer before what follows from it. */
    static const enum virtio_vsock_op order[] = {VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,
                                                 VIRTIO_VSOCK_OP_CREDIT_UPDATE,
                                                 VIRTIO_VSOCK_OP_CREDIT_REQUEST};
    struct vsock_connection *connection = &table->connections[slot];
    if (connection->state == VSOCK_FREE)
        return false;
    if ((connection->due & DUE(RST)) != 0) {
        *ret = packet(table, slot, VIRTIO_VSOCK_OP_RST);
        connection->state = VSOCK_FREE;
        return true;
    }
    for (unsigned int i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if ((connection->due & 1u << order[i]) != 0) {
            *ret = packet(table, slot, order[i]);
            return true;
        }
    }
    bool connected = connection->state == VSOCK_OPEN || connection->state == VSOCK_CLOSING;
    if (!connected || (connection->host_shutdown & ~connection->told_shutdown) == 0)
        return false;
    *ret = packet(table, slot, VIRTIO_VSOCK_OP_SHUTDOWN);
    ret->flags = connection->host_shutdown;
    connection->told_shutdown = connection->host_shutdown;
    return true;
}

void vsock_data_packet(struct vsock_table *table, uint32_t slot, uint32_t length, uint32_t flags,
                       struct virtio_vsock_hdr *ret)
{
    *ret = packet(table, slot, VIRTIO_VSOCK_OP_RW);
    ret->len = length;
    ret->flags = flags;
    table->connections[slot].sent += length;
}
