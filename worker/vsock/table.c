/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/vsock/table.h"

#include <string.h>

#include <sys/socket.h>

#include <linux/vm_sockets.h> /* some versions need <sys/socket.h> before it */

#define SHUTDOWN_BOTH ((uint8_t)(VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND))
#define HOST_PORTS 0x40000000u /* ports of the host's clients begin here; no server has one */

#define PACKETS_MAX 4096u /* a bound for any size of the guest's buffer; fits a uint16_t */

#define DUE(op) ((uint16_t)(1u << VIRTIO_VSOCK_OP_##op))

/* What lies beyond the limit is never touched, so it takes no memory. */
void vsock_init(struct vsock_table *table, uint64_t guest_cid, uint32_t limit, bool seqpacket)
{
    memset(table->connections, 0, limit * sizeof(table->connections[0]));
    table->guest_cid = guest_cid;
    table->limit = limit;
    table->seqpacket = seqpacket;
    table->next_port = HOST_PORTS;
    table->next_age = 0;
    table->reply_first = 0;
    table->reply_count = 0;
}

/* ---- Places ---- */

static void add_reply(struct vsock_table *table, const struct vsock_reply *reply)
{
    table->replies[(table->reply_first + table->reply_count++) % VSOCK_REPLIES_MAX] = *reply;
}

static bool has_guest_end(const struct vsock_connection *connection)
{
    return connection->state >= VSOCK_REQUESTED && connection->state != VSOCK_DRAINING;
}

/*
 * How readily a connection gives way to a new one; 0: it does not give way. A guest that closes a
 * socket and opens another can do both before it takes a packet: nobody uses the old connection any
 * more, and its RST needs no connection.
 */
static unsigned int dispensable(const struct vsock_table *table,
                                const struct vsock_connection *connection)
{
    switch (connection->state) {
    case VSOCK_GREETING: /* anybody can connect and say nothing */
        return 3;
    case VSOCK_CLOSING:
        if ((connection->due & DUE(RST)) != 0)
            return vsock_reply_room(table) ? 4 : 0;
        /* The guest has been told, and takes its time. */
        return connection->due == 0 && connection->told_shutdown == SHUTDOWN_BOTH ? 2 : 0;
    case VSOCK_DRAINING: /* the host's reader takes its time */
        return 1;
    case VSOCK_REQUESTED: /* the guest takes its time, and nobody waits for it */
    case VSOCK_DIALLING:  /* the host's server takes its time */
        return connection->idle ? 1 : 0;
    case VSOCK_FREE:
    case VSOCK_OPEN:
        break;
    }
    return 0;
}

static uint32_t find_place(const struct vsock_table *table, bool *ret_evicted)
{
    uint32_t best = VSOCK_NONE;
    unsigned int best_rank = 0;
    *ret_evicted = false;
    for (uint32_t i = 0; i < table->limit; i++) {
        const struct vsock_connection *connection = &table->connections[i];
        if (connection->state == VSOCK_FREE)
            return i;
        unsigned int rank = dispensable(table, connection);
        bool older = best != VSOCK_NONE && connection->age < table->connections[best].age;
        if (rank > best_rank || (rank == best_rank && rank > 0 && older)) {
            best = i;
            best_rank = rank;
        }
    }
    *ret_evicted = best != VSOCK_NONE;
    return best;
}

/* §5.10.6.5: a socket that does not answer to SHUTDOWN is disconnected forcibly. Any other
 * connection that gives way is, too, if the guest knows of it. */
static void disconnect(struct vsock_table *table, const struct vsock_connection *connection)
{
    bool known = has_guest_end(connection) && (connection->due & DUE(REQUEST)) == 0;
    if (known && vsock_reply_room(table))
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

static bool is_between(const struct vsock_connection *connection, uint32_t guest_port,
                       uint32_t host_port)
{
    return has_guest_end(connection) && connection->guest_port == guest_port &&
           connection->host_port == host_port;
}

/* A hint only says where to look first. It can be that of another connection, or of one that has
 * ended. */
static uint32_t find(struct vsock_table *table, uint32_t guest_port, uint32_t host_port)
{
    uint32_t hash = (guest_port * 0x9e3779b1u ^ host_port * 0x85ebca6bu) >> 16;
    uint16_t *hint = &table->hints[hash % VSOCK_HINTS];
    if (*hint < table->limit && is_between(&table->connections[*hint], guest_port, host_port))
        return *hint;
    for (uint32_t i = 0; i < table->limit; i++) {
        if (is_between(&table->connections[i], guest_port, host_port)) {
            *hint = (uint16_t)i;
            return i;
        }
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

void vsock_set_idle(struct vsock_table *table, uint32_t slot)
{
    table->connections[slot].idle = true;
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
    /* Nobody takes what the guest still sends. */
    connection->forwarded = connection->received;
    connection->host_shutdown = SHUTDOWN_BOTH;
    /* Only a connected socket can be told by SHUTDOWN. A socket that has said by SHUTDOWN that it
     * is done waits for the RST (§5.10.6.5). */
    reset |= connection->state != VSOCK_OPEN || connection->guest_shutdown == SHUTDOWN_BOTH;
    connection->state = VSOCK_CLOSING;
    if (reset)
        connection->due = DUE(RST);
}

/* ---- Packets from the guest ---- */

/* An RST is never answered by an RST. */
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

/* Packets count until the guest says that it has read the last of their group. */
static void forget_read_packets(struct vsock_connection *connection)
{
    while (connection->groups > 0) {
        const struct vsock_packet_group *group = &connection->unread[connection->first_group];
        uint32_t unread = connection->sent - connection->peer_forwarded;
        if (unread > connection->sent - group->end)
            return;
        connection->unread_packets -= group->packets;
        connection->first_group = (connection->first_group + 1) % VSOCK_PACKET_GROUPS;
        connection->groups--;
    }
}

static void note_credit(struct vsock_connection *connection, const struct virtio_vsock_hdr *header)
{
    connection->peer_alloc = header->buf_alloc;
    connection->peer_forwarded = header->fwd_cnt;
    forget_read_packets(connection);
    if (vsock_credit(connection) > 0 && vsock_packet_credit(connection) > 0)
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

/*
 * Tell the guest what is forwarded before it could wait for that. The guest takes all that was
 * received since it was told last as still using room. That room is the smaller of this buffer and
 * its own buffer (Linux). The guest can wait until there is room for the whole length of a packet
 * or of a message. So it is told when it must think that half of that room is taken, and that is no
 * longer so. It does not matter which came last: the guest's bytes, or the host's call that took
 * them.
 */
static void tell_credit(struct vsock_connection *connection)
{
    uint32_t room =
        connection->peer_alloc < VSOCK_BUFFER_SIZE ? connection->peer_alloc : VSOCK_BUFFER_SIZE;
    if (has_guest_end(connection) && connection->forwarded != connection->announced &&
        connection->received - connection->announced > room / 2)
        connection->due |= DUE(CREDIT_UPDATE);
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
    if (connection->state == VSOCK_OPEN) {
        tell_credit(connection);
        return VSOCK_PAYLOAD;
    }
    /* The guest may not know yet that the host's end is gone. */
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
    case VIRTIO_VSOCK_OP_REQUEST: /* the guest's driver has lost patience, and tries again */
        return connection->state == VSOCK_DIALLING ? VSOCK_NOTHING : broken(table, slot);
    case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        if (connection->state == VSOCK_OPEN)
            connection->due |= DUE(CREDIT_UPDATE);
        return VSOCK_NOTHING;
    default: /* INVALID, and numbers that are no operation */
        return broken(table, slot);
    }
}

/*
 * A REQUEST for ports that are in use. If the old connection's RST is awaited, or owed to the
 * guest, the guest no longer uses that connection: the new one takes its place (VSOCK_NONE). If the
 * host has not answered the old request yet, the guest has given it up and tries again: the answer
 * is for both.
 */
static uint32_t asked_again(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    if (connection->state != VSOCK_CLOSING)
        return slot;
    connection->state = VSOCK_FREE;
    connection->due = 0;
    return VSOCK_NONE;
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
    /* §5.10.6.4: the source is the guest's own CID. There is nobody else whom an answer could
     * reach. */
    if (header->src_cid != table->guest_cid)
        return VSOCK_NOTHING;
    uint32_t slot = VSOCK_NONE;
    if (header->dst_cid == VMADDR_CID_HOST && known_type(table, header->type)) {
        slot = find(table, header->src_port, header->dst_port);
        if (slot != VSOCK_NONE && header->op == VIRTIO_VSOCK_OP_REQUEST)
            slot = asked_again(table, slot);
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

void vsock_forwarded(struct vsock_table *table, uint32_t slot, uint32_t length)
{
    struct vsock_connection *connection = &table->connections[slot];
    connection->forwarded += length;
    tell_credit(connection);
}

void vsock_run_empty(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    if (has_guest_end(connection) && connection->forwarded != connection->announced)
        connection->due |= DUE(CREDIT_UPDATE);
}

/* ---- Packets to the guest ---- */

/* §5.10.6.3. A guest has no room if it claims to have taken more than it was sent, or if it takes
 * back space that is in use. */
uint32_t vsock_credit(const struct vsock_connection *connection)
{
    uint32_t unread = connection->sent - connection->peer_forwarded;
    return unread < connection->peer_alloc ? connection->peer_alloc - unread : 0;
}

static uint32_t packets_max(const struct vsock_connection *connection)
{
    uint32_t packets = connection->peer_alloc / VSOCK_PACKET_COST;
    return packets < PACKETS_MAX ? packets : PACKETS_MAX;
}

/* Without this rule a message that is under way would wait for its own end. */
static bool only_this_unread(const struct vsock_connection *connection)
{
    uint32_t unread = connection->sent - connection->peer_forwarded;
    return connection->unread_packets == 0 ||
           (connection->type == VIRTIO_VSOCK_TYPE_SEQPACKET &&
            unread <= connection->sent - connection->message_start);
}

uint32_t vsock_packet_credit(const struct vsock_connection *connection)
{
    uint32_t most = packets_max(connection);
    if (most > connection->unread_packets)
        return most - connection->unread_packets;
    return only_this_unread(connection) ? 1 : 0;
}

void vsock_ask_credit(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    if (connection->credit_asked)
        return;
    connection->credit_asked = true;
    connection->due |= DUE(CREDIT_REQUEST);
}

bool vsock_ask_again(struct vsock_table *table, uint32_t slot)
{
    struct vsock_connection *connection = &table->connections[slot];
    if (connection->state != VSOCK_OPEN || !connection->credit_asked)
        return false;
    connection->due |= DUE(CREDIT_REQUEST);
    return true;
}

/* A group is full when it has its share of what may be unread. So there are few groups, and each is
 * soon read. Returns true if a new group begins. */
static bool count_packet(struct vsock_connection *connection)
{
    uint32_t share = packets_max(connection) / VSOCK_PACKET_GROUPS;
    unsigned int last = (connection->first_group + connection->groups + VSOCK_PACKET_GROUPS - 1) %
                        VSOCK_PACKET_GROUPS;
    bool full = connection->groups == 0 || connection->unread[last].packets >= share;
    if (full && connection->groups < VSOCK_PACKET_GROUPS) {
        last = (connection->first_group + connection->groups++) % VSOCK_PACKET_GROUPS;
        connection->unread[last].packets = 0;
    }
    connection->unread[last].packets++;
    connection->unread[last].end = connection->sent;
    connection->unread_packets++;
    return connection->unread[last].packets == 1;
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
    /* An answer comes before what follows from it. */
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
    struct vsock_connection *connection = &table->connections[slot];
    *ret = packet(table, slot, VIRTIO_VSOCK_OP_RW);
    ret->len = length;
    ret->flags = flags;
    connection->sent += length;
    if ((flags & VIRTIO_VSOCK_SEQ_EOM) != 0)
        connection->message_start = connection->sent;
    /* Ask early, so that the answer is there when the last of the room is used: a guest whose
     * program reads many small packets may not report it by itself. A guest with very little room
     * is asked in any case when the room is used up. */
    uint32_t most = packets_max(connection);
    if (count_packet(connection) && most >= VSOCK_PACKET_GROUPS &&
        connection->unread_packets > most / 2)
        vsock_ask_credit(table, slot);
}
