/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a socket device, case by case: what each packet of the guest means in each
 * state, which connection gives way to which, who is told what by which packet, and what is
 * counted.
 */
#include "tests/cunit_main.h"
#include "tests/unit/vsock_packet.h"
#include "worker/vsock/table.h"

#include <sys/socket.h>

#include <linux/vm_sockets.h> /* some versions need <sys/socket.h> before it */
#include <string.h>

#define OP(op) VIRTIO_VSOCK_OP_##op
#define DUE(op) (1u << VIRTIO_VSOCK_OP_##op)
#define NO_OP 9u
#define PORT 7u
#define SERVER 80u

static struct vsock_table table;
static struct virtio_vsock_hdr header;
static uint32_t slot;
static bool evicted;

static enum vsock_verdict receive(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    header = from_guest(op, guest_port, host_port);
    header.flags = op == OP(SHUTDOWN) ? BOTH : 0;
    slot = VSOCK_NONE;
    return vsock_receive(&table, &header, 0, &slot, &evicted);
}

/* The guest's connection to the host's server, in the state DIALLING. */
static uint32_t dialling(uint32_t guest_port)
{
    CU_ASSERT_EQUAL_FATAL(receive(OP(REQUEST), guest_port, SERVER), VSOCK_CONNECT);
    return slot;
}

static uint32_t opened(uint32_t guest_port)
{
    uint32_t open = dialling(guest_port);
    vsock_accepted(&table, open);
    CU_ASSERT_TRUE(vsock_next_packet(&table, open, &header));
    CU_ASSERT_EQUAL(header.op, OP(RESPONSE));
    return open;
}

static uint32_t closing(uint32_t guest_port)
{
    uint32_t closed = opened(guest_port);
    vsock_host_gone(&table, closed, false);
    CU_ASSERT_TRUE(vsock_next_packet(&table, closed, &header));
    CU_ASSERT_EQUAL(header.op, OP(SHUTDOWN));
    return closed;
}

/* A client of the host that has asked for the guest's port. */
static uint32_t requested(uint32_t guest_port, bool sent)
{
    uint32_t asked = vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
    vsock_request(&table, asked, guest_port);
    if (sent) {
        CU_ASSERT_TRUE(vsock_next_packet(&table, asked, &header));
        CU_ASSERT_EQUAL(header.op, OP(REQUEST));
    }
    return asked;
}

static uint32_t draining(uint32_t guest_port)
{
    uint32_t gone = opened(guest_port);
    CU_ASSERT_EQUAL(receive(OP(RST), guest_port, SERVER), VSOCK_GONE);
    return gone;
}

/* ---- Each packet in each state ---- */

enum before { NONE, UNSENT, REQUESTED, DIALLING, OPEN, CLOSING, DRAINING, BEFORES };

static uint32_t make(enum before before)
{
    vsock_init(&table, CID, 8, true);
    switch (before) {
    case UNSENT:
    case REQUESTED:
        return requested(PORT, before == REQUESTED);
    case DIALLING:
        return dialling(PORT);
    case OPEN:
        return opened(PORT);
    case CLOSING:
        return closing(PORT);
    case DRAINING:
        return draining(PORT);
    default:
        return 0;
    }
}

#define ANSWER                                                                                     \
    {                                                                                              \
        VSOCK_NOTHING, VSOCK_FREE, 0, 1                                                            \
    } /* an RST without a connection */
#define IGNORED(state)                                                                             \
    {                                                                                              \
        VSOCK_NOTHING, VSOCK_##state, 0, 0                                                         \
    }
#define BREAKS                                                                                     \
    {                                                                                              \
        VSOCK_BROKEN, VSOCK_CLOSING, DUE(RST), 0                                                   \
    }
#define NEW                                                                                        \
    {                                                                                              \
        VSOCK_CONNECT, VSOCK_DIALLING, 0, 0                                                        \
    }

/* clang-format off */
static const struct outcome {
    enum vsock_verdict verdict;
    enum vsock_state state;
    uint16_t due;
    uint32_t replies;
} outcomes[BEFORES][NO_OP + 1] = {
    [NONE] = {
        [OP(INVALID)] = ANSWER, [OP(REQUEST)] = NEW, [OP(RESPONSE)] = ANSWER,
        [OP(RST)] = IGNORED(FREE), [OP(SHUTDOWN)] = ANSWER, [OP(RW)] = ANSWER,
        [OP(CREDIT_UPDATE)] = ANSWER, [OP(CREDIT_REQUEST)] = ANSWER, [NO_OP] = ANSWER},
    [UNSENT] = { /* the guest has not been asked yet, so it is owed nothing */
        [OP(INVALID)] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0},
        [OP(REQUEST)] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0},
        [OP(RESPONSE)] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0},
        [OP(RST)] = {VSOCK_GONE, VSOCK_DRAINING, 0, 0},
        [OP(SHUTDOWN)] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0},
        [OP(RW)] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0},
        [OP(CREDIT_UPDATE)] = {VSOCK_NOTHING, VSOCK_REQUESTED, DUE(REQUEST), 0},
        [OP(CREDIT_REQUEST)] = {VSOCK_NOTHING, VSOCK_REQUESTED, DUE(REQUEST), 0},
        [NO_OP] = {VSOCK_BROKEN, VSOCK_FREE, DUE(REQUEST), 0}},
    [REQUESTED] = {
        [OP(INVALID)] = BREAKS, [OP(REQUEST)] = BREAKS,
        [OP(RESPONSE)] = {VSOCK_ANSWERED, VSOCK_OPEN, 0, 0},
        [OP(RST)] = {VSOCK_GONE, VSOCK_DRAINING, 0, 0},
        [OP(SHUTDOWN)] = BREAKS, [OP(RW)] = BREAKS, [OP(CREDIT_UPDATE)] = IGNORED(REQUESTED),
        [OP(CREDIT_REQUEST)] = IGNORED(REQUESTED), [NO_OP] = BREAKS},
    [DIALLING] = {
        [OP(INVALID)] = BREAKS, [OP(REQUEST)] = IGNORED(DIALLING), [OP(RESPONSE)] = BREAKS,
        [OP(RST)] = IGNORED(FREE), [OP(SHUTDOWN)] = BREAKS, [OP(RW)] = BREAKS,
        [OP(CREDIT_UPDATE)] = IGNORED(DIALLING), [OP(CREDIT_REQUEST)] = IGNORED(DIALLING),
        [NO_OP] = BREAKS},
    [OPEN] = {
        [OP(INVALID)] = BREAKS, [OP(REQUEST)] = BREAKS, [OP(RESPONSE)] = BREAKS,
        [OP(RST)] = {VSOCK_GONE, VSOCK_DRAINING, 0, 0},
        [OP(SHUTDOWN)] = {VSOCK_SHUTDOWN, VSOCK_OPEN, 0, 0},
        [OP(RW)] = {VSOCK_PAYLOAD, VSOCK_OPEN, 0, 0}, [OP(CREDIT_UPDATE)] = IGNORED(OPEN),
        [OP(CREDIT_REQUEST)] = {VSOCK_NOTHING, VSOCK_OPEN, DUE(CREDIT_UPDATE), 0},
        [NO_OP] = BREAKS},
    [CLOSING] = {
        [OP(INVALID)] = BREAKS, [OP(REQUEST)] = NEW, [OP(RESPONSE)] = BREAKS,
        [OP(RST)] = IGNORED(FREE), [OP(SHUTDOWN)] = {VSOCK_NOTHING, VSOCK_CLOSING, DUE(RST), 0},
        [OP(RW)] = IGNORED(CLOSING), [OP(CREDIT_UPDATE)] = IGNORED(CLOSING),
        [OP(CREDIT_REQUEST)] = IGNORED(CLOSING), [NO_OP] = BREAKS},
    [DRAINING] = { /* the guest's end is gone: its ports are free for another connection */
        [OP(INVALID)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1},
        [OP(REQUEST)] = {VSOCK_CONNECT, VSOCK_DRAINING, 0, 0},
        [OP(RESPONSE)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1}, [OP(RST)] = IGNORED(DRAINING),
        [OP(SHUTDOWN)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1},
        [OP(RW)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1},
        [OP(CREDIT_UPDATE)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1},
        [OP(CREDIT_REQUEST)] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1},
        [NO_OP] = {VSOCK_NOTHING, VSOCK_DRAINING, 0, 1}},
};
/* clang-format on */

static void test_each_packet_in_each_state(void)
{
    for (enum before before = NONE; before < BEFORES; before++) {
        for (uint16_t op = 0; op <= NO_OP; op++) {
            if (op == NO_OP - 1)
                continue; /* there is no such row */
            const uint32_t its = make(before);
            const struct outcome *expected = &outcomes[before][op];
            const struct vsock_connection *connection = &table.connections[its];
            const uint32_t host_port = before == NONE ? SERVER : connection->host_port;
            enum vsock_verdict verdict = receive(op, PORT, host_port);
            bool right = verdict == expected->verdict && connection->state == expected->state &&
                         connection->due == expected->due && table.reply_count == expected->replies;
            if (!right)
                printf("\n    before %d, op %u: verdict %d, state %d, due %#x, replies %u\n",
                       before, op, verdict, connection->state, connection->due, table.reply_count);
            CU_ASSERT(right);
            CU_ASSERT(before != DRAINING || verdict != VSOCK_CONNECT || slot != its);
        }
    }
}

/* ---- Packets that are for no connection ---- */

static void test_whom_a_packet_names(void)
{
    make(OPEN);
    header = from_guest(OP(RST), PORT, SERVER);
    header.src_cid = CID + 1; /* not this guest: there is nobody to answer */
    CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
    header.op = OP(RW);
    CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(table.reply_count, 0);
    static const struct {
        uint64_t host_cid;
        uint16_t type;
    } others[] = {{1, STREAM}, {HOST + 1, STREAM}, {HOST, 0}, {HOST, 3}, {HOST, SEQPACKET}};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        header = from_guest(OP(RW), PORT, SERVER);
        header.dst_cid = others[i].host_cid;
        header.type = others[i].type;
        CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
        CU_ASSERT_TRUE_FATAL(vsock_next_reply(&table, &header));
        CU_ASSERT_EQUAL(header.op, OP(RST));
        CU_ASSERT_EQUAL(header.src_cid, others[i].host_cid);
        CU_ASSERT_EQUAL(header.dst_cid, CID);
        CU_ASSERT_EQUAL(header.src_port, SERVER);
        CU_ASSERT_EQUAL(header.dst_port, PORT);
        CU_ASSERT_EQUAL(header.type, others[i].type);
        CU_ASSERT(header.len == 0 && header.buf_alloc == 0 && header.fwd_cnt == 0);
        CU_ASSERT_EQUAL(table.connections[0].state, VSOCK_OPEN);
    }
    CU_ASSERT_FALSE(vsock_next_reply(&table, &header));
}

static void test_a_type_that_was_not_negotiated(void)
{
    for (unsigned int seqpacket = 0; seqpacket < 2; seqpacket++) {
        vsock_init(&table, CID, 8, seqpacket == 1);
        header = from_guest(OP(REQUEST), PORT, SERVER);
        header.type = SEQPACKET;
        CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted),
                        seqpacket == 1 ? VSOCK_CONNECT : VSOCK_NOTHING);
        CU_ASSERT_EQUAL(table.reply_count, 1 - seqpacket);
    }
    CU_ASSERT_EQUAL(table.connections[slot].type, SEQPACKET);
    /* No server has this port. */
    CU_ASSERT_EQUAL(receive(OP(REQUEST), PORT, VMADDR_PORT_ANY), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(table.reply_count, 1);
}

/* Replies come in the order of their packets, and there is a number of places for them. */
static void test_replies_keep_their_order(void)
{
    uint32_t in = 0, out = 0;
    vsock_init(&table, CID, 8, true);
    for (unsigned int round = 0; round < 5; round++) {
        while (vsock_reply_room(&table))
            CU_ASSERT_EQUAL(receive(OP(RW), in++, SERVER), VSOCK_NOTHING);
        CU_ASSERT_EQUAL(in - out, VSOCK_REPLIES_MAX);
        for (unsigned int i = 0; i < 37; i++, out++) {
            CU_ASSERT_TRUE_FATAL(vsock_next_reply(&table, &header));
            CU_ASSERT_EQUAL(header.dst_port, out);
        }
    }
    vsock_init(&table, CID, 8, true);
    CU_ASSERT_FALSE(vsock_next_reply(&table, &header));
    CU_ASSERT_EQUAL(receive(OP(RW), 5, SERVER), VSOCK_NOTHING);
    CU_ASSERT_TRUE(vsock_next_reply(&table, &header));
    CU_ASSERT_EQUAL(header.dst_port, 5);
}

/* ---- Who gives way ---- */

/* From the one that goes first to the ones that stay. */
static void test_the_order_in_which_connections_give_way(void)
{
    vsock_init(&table, CID, 8, false);
    uint32_t order[5];
    opened(1);
    dialling(2);
    requested(3, true);
    order[2] = draining(4);
    order[3] = dialling(5);
    vsock_set_idle(&table, order[3]);
    order[4] = requested(6, true);
    vsock_set_idle(&table, order[4]);
    order[1] = closing(7);
    order[0] = vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
    CU_ASSERT_FALSE(evicted);
    static const bool known[] = {false, true, false, true, true}; /* the guest has its end of it */
    for (unsigned int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), order[i]);
        CU_ASSERT_TRUE(evicted);
        CU_ASSERT_EQUAL(vsock_next_reply(&table, &header), known[i]);
    }
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), VSOCK_NONE);
    CU_ASSERT_FALSE(evicted);
    /* A free place is taken, even if one could give way. */
    table.connections[0].state = VSOCK_GREETING;
    table.connections[5].state = VSOCK_FREE;
    evicted = true;
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), 5);
    CU_ASSERT_FALSE(evicted);
}

static void test_of_equals_the_oldest_gives_way(void)
{
    vsock_init(&table, CID, 4, false);
    for (uint32_t i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), i);
    for (uint32_t i = 0; i < 9; i++) {
        CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), i % 4);
        CU_ASSERT_TRUE(evicted);
    }
    CU_ASSERT_FALSE(vsock_next_reply(&table, &header)); /* the guest knows none of them */
}

/* The guest is told of the end of a connection only if there is a place for that. */
static void test_a_connection_gives_way_without_a_place_for_a_reply(void)
{
    vsock_init(&table, CID, 1, false);
    closing(PORT);
    while (vsock_reply_room(&table))
        (void)receive(OP(RW), 100, SERVER);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), 0);
    CU_ASSERT_TRUE(evicted);
    CU_ASSERT_EQUAL(table.reply_count, VSOCK_REPLIES_MAX);
    /* One that the guest has not heard of is not among those that it is told of. */
    vsock_init(&table, CID, 1, false);
    requested(PORT, false);
    vsock_set_idle(&table, 0);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_GREETING, STREAM, &evicted), 0);
    CU_ASSERT_EQUAL(table.reply_count, 0);
}

/* The guest closes a socket and opens another before it takes a packet: it has a place for one. */
static void test_one_that_is_owed_its_reset_gives_way_first(void)
{
    vsock_init(&table, CID, 3, false);
    (void)vsock_take(&table, VSOCK_GREETING, STREAM, &evicted);
    uint32_t done = opened(7), other = opened(8);
    vsock_host_gone(&table, other, true);
    vsock_host_gone(&table, done, true);
    CU_ASSERT_EQUAL(receive(OP(REQUEST), 9, SERVER), VSOCK_CONNECT);
    CU_ASSERT_EQUAL(slot, done); /* the older of the two */
    CU_ASSERT_TRUE(evicted);
    CU_ASSERT_FALSE(vsock_next_packet(&table, slot, &header)); /* it owes the new one nothing yet */
    CU_ASSERT_TRUE(vsock_next_reply(&table, &header));
    CU_ASSERT_EQUAL(header.op, OP(RST));
    CU_ASSERT_EQUAL(header.dst_port, 7);
    CU_ASSERT_EQUAL(header.src_port, SERVER);
    /* Without a place for the RST it stays. The silent client goes. */
    while (vsock_reply_room(&table))
        (void)receive(OP(RW), 100, SERVER);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), 0);
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), VSOCK_NONE);
    CU_ASSERT_TRUE(vsock_next_packet(&table, other, &header));
    CU_ASSERT_EQUAL(header.op, OP(RST));
    CU_ASSERT_EQUAL(vsock_take(&table, VSOCK_OPEN, STREAM, &evicted), other);
    CU_ASSERT_FALSE(evicted);
}

/* ---- Ports ---- */

/* A port of a client that is still in use is passed over, but only for the same port of the guest.
 */
static void test_a_port_is_not_given_twice(void)
{
    vsock_init(&table, CID, 8, false);
    uint32_t first = requested(PORT, true), second = requested(PORT, true);
    CU_ASSERT_EQUAL(table.connections[first].host_port, 0x40000000);
    CU_ASSERT_EQUAL(table.connections[second].host_port, 0x40000001);
    table.next_port = 0x40000000;
    uint32_t third = requested(PORT, true);
    CU_ASSERT_EQUAL(table.connections[third].host_port, 0x40000002);
    table.next_port = 0x40000000;
    uint32_t fourth = requested(PORT + 1, true);
    CU_ASSERT_EQUAL(table.connections[fourth].host_port, 0x40000000);
    CU_ASSERT_EQUAL(receive(OP(RESPONSE), PORT + 1, 0x40000000), VSOCK_ANSWERED);
    CU_ASSERT_EQUAL(slot, fourth);
    CU_ASSERT_EQUAL(receive(OP(RESPONSE), PORT, 0x40000000), VSOCK_ANSWERED);
    CU_ASSERT_EQUAL(slot, first);
}

/* Where a connection was found last is only a hint. */
static void test_a_hint_that_is_wrong(void)
{
    vsock_init(&table, CID, 8, false);
    for (uint32_t i = 0; i < 8; i++)
        opened(i);
    for (uint32_t hint = 0; hint < 10; hint++) {
        for (uint32_t i = 0; i < 8; i++) {
            for (uint32_t k = 0; k < VSOCK_HINTS; k++)
                table.hints[k] = (uint16_t)(hint == 9 ? UINT16_MAX : hint);
            CU_ASSERT_EQUAL(receive(OP(CREDIT_UPDATE), i, SERVER), VSOCK_NOTHING);
            CU_ASSERT_EQUAL(slot, i);
            CU_ASSERT_EQUAL(receive(OP(CREDIT_UPDATE), i, SERVER), VSOCK_NOTHING);
            CU_ASSERT_EQUAL(slot, i);
        }
    }
    /* Beyond the limit there is no connection, whatever lies there. */
    table.limit = 4;
    for (uint32_t k = 0; k < VSOCK_HINTS; k++)
        table.hints[k] = 4;
    CU_ASSERT_EQUAL(receive(OP(RST), 4, SERVER), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(slot, VSOCK_NONE);
}

/* ---- Ends ---- */

/* How the guest hears that the host's end is closed. */
static void test_how_an_end_is_told(void)
{
    static const struct {
        enum before before;
        uint8_t guest_shutdown;
        bool reset;
        enum vsock_state state;
        uint16_t due;
    } cases[] = {
        {DRAINING, 0, true, VSOCK_FREE, 0},
        {UNSENT, 0, true, VSOCK_FREE, DUE(REQUEST)},
        {REQUESTED, 0, false, VSOCK_CLOSING, DUE(RST)},
        {DIALLING, 0, false, VSOCK_CLOSING, DUE(RST)},
        {OPEN, 0, false, VSOCK_CLOSING, 0},
        {OPEN, VIRTIO_VSOCK_SHUTDOWN_RCV, false, VSOCK_CLOSING, 0},
        {OPEN, BOTH, false, VSOCK_CLOSING, DUE(RST)},
        {OPEN, 0, true, VSOCK_CLOSING, DUE(RST)},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t its = make(cases[i].before);
        struct vsock_connection *connection = &table.connections[its];
        connection->guest_shutdown = cases[i].guest_shutdown;
        connection->received = 100;
        vsock_host_gone(&table, its, cases[i].reset);
        CU_ASSERT_EQUAL(connection->state, cases[i].state);
        CU_ASSERT_EQUAL(connection->due, cases[i].due);
        if (cases[i].state != VSOCK_CLOSING)
            continue;
        CU_ASSERT_EQUAL(vsock_buffered(connection), 0); /* nobody takes it */
        CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
        CU_ASSERT_EQUAL(header.op, cases[i].due == 0 ? OP(SHUTDOWN) : OP(RST));
        CU_ASSERT_EQUAL(connection->state, cases[i].due == 0 ? VSOCK_CLOSING : VSOCK_FREE);
        CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header));
    }
}

/* A shutdown is told once it can be, and each direction once. */
static void test_how_a_shutdown_is_told(void)
{
    uint32_t its = make(DIALLING);
    vsock_host_shutdown(&table, its, VIRTIO_VSOCK_SHUTDOWN_RCV);
    CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header));
    vsock_accepted(&table, its);
    CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
    CU_ASSERT_EQUAL(header.op, OP(RESPONSE));
    CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
    CU_ASSERT_EQUAL(header.op, OP(SHUTDOWN));
    CU_ASSERT_EQUAL(header.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
    vsock_host_shutdown(&table, its, VIRTIO_VSOCK_SHUTDOWN_RCV);
    CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header));
    vsock_host_shutdown(&table, its, VIRTIO_VSOCK_SHUTDOWN_SEND);
    CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
    CU_ASSERT_EQUAL(header.flags, BOTH);
    CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header));
}

/* §5.10.6.5: when both have said that they are done, the guest gets its RST. */
static void test_both_sides_are_done(void)
{
    uint32_t its = make(CLOSING);
    header = from_guest(OP(SHUTDOWN), PORT, SERVER);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND | 0x100; /* and a bit that means nothing */
    CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(table.connections[its].guest_shutdown, VIRTIO_VSOCK_SHUTDOWN_SEND);
    CU_ASSERT_EQUAL(table.connections[its].due, 0);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_RCV;
    CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
    CU_ASSERT_EQUAL(table.connections[its].due, DUE(RST));
}

/* ---- What is owed ---- */

/* An answer comes before what follows from it; any packet tells the credit. */
static void test_the_order_of_packets(void)
{
    uint32_t its = make(OPEN);
    struct vsock_connection *connection = &table.connections[its];
    connection->received = connection->forwarded = 50;
    connection->due = DUE(CREDIT_REQUEST) | DUE(RESPONSE) | DUE(REQUEST) | DUE(CREDIT_UPDATE);
    static const uint16_t order[] = {OP(REQUEST), OP(RESPONSE), OP(CREDIT_REQUEST)};
    for (size_t i = 0; i < 3; i++) { /* the first one has made an update superfluous */
        CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
        CU_ASSERT_EQUAL(header.op, order[i]);
        CU_ASSERT_EQUAL(header.fwd_cnt, 50);
        CU_ASSERT_EQUAL(header.buf_alloc, VSOCK_BUFFER_SIZE);
        CU_ASSERT(header.src_cid == HOST && header.dst_cid == CID);
        CU_ASSERT(header.src_port == SERVER && header.dst_port == PORT);
        CU_ASSERT_EQUAL(header.type, STREAM);
        CU_ASSERT_EQUAL(header.len, 0);
    }
    CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header));
    connection->due = DUE(CREDIT_UPDATE) | DUE(CREDIT_REQUEST);
    CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
    CU_ASSERT_EQUAL(header.op, OP(CREDIT_UPDATE));
    connection->due |= DUE(RST);
    CU_ASSERT_TRUE(vsock_next_packet(&table, its, &header));
    CU_ASSERT_EQUAL(header.op, OP(RST));
    CU_ASSERT_FALSE(vsock_next_packet(&table, its, &header)); /* it is free: nothing is owed */
}

static void test_who_is_told_that_nothing_waits(void)
{
    static const struct {
        enum before before;
        uint32_t forwarded;
        uint16_t due;
    } cases[] = {{OPEN, 0, 0},
                 {OPEN, 1, DUE(CREDIT_UPDATE)},
                 {CLOSING, 1, DUE(CREDIT_UPDATE)},
                 {DRAINING, 1, 0}};
    for (size_t i = 0; i < 4; i++) {
        uint32_t its = make(cases[i].before);
        table.connections[its].forwarded = table.connections[its].received = cases[i].forwarded;
        vsock_run_empty(&table, its);
        CU_ASSERT_EQUAL(table.connections[its].due, cases[i].due);
    }
}

/* Whose end is gone is owed nothing, however much of its data is forwarded. */
static void test_nobody_is_told_of_credit(void)
{
    uint32_t its = make(DRAINING);
    table.connections[its].received = VSOCK_BUFFER_SIZE;
    vsock_forwarded(&table, its, VSOCK_BUFFER_SIZE);
    CU_ASSERT_EQUAL(table.connections[its].due, 0);
    its = make(OPEN);
    table.connections[its].received = VSOCK_BUFFER_SIZE;
    vsock_forwarded(&table, its, VSOCK_BUFFER_SIZE);
    CU_ASSERT_EQUAL(table.connections[its].due, DUE(CREDIT_UPDATE));
}

/* A question for credit stays open until there is room for a byte and for a packet. */
static void test_when_a_question_is_answered(void)
{
    static const struct {
        uint32_t alloc, forwarded;
        bool open;
    } answers[] = {{3000, 0, true}, {3100, 0, true}, {3000, 3000, false}};
    for (size_t i = 0; i < 3; i++) {
        uint32_t its = make(OPEN);
        struct vsock_connection *connection = &table.connections[its];
        connection->peer_alloc = 3000; /* two packets */
        for (unsigned int k = 0; k < 3; k++)
            vsock_data_packet(&table, its, 1000, 0, &header);
        CU_ASSERT_EQUAL(connection->unread_packets, 3);
        vsock_ask_credit(&table, its);
        header = from_guest(OP(CREDIT_UPDATE), PORT, SERVER);
        header.buf_alloc = answers[i].alloc;
        header.fwd_cnt = answers[i].forwarded;
        CU_ASSERT_EQUAL(vsock_receive(&table, &header, 0, &slot, &evicted), VSOCK_NOTHING);
        CU_ASSERT_EQUAL(connection->credit_asked, answers[i].open);
    }
    uint32_t its = make(CLOSING);
    table.connections[its].credit_asked = true;
    CU_ASSERT_FALSE(vsock_ask_again(&table, its));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each packet in each state", test_each_packet_in_each_state},
        {"whom a packet names", test_whom_a_packet_names},
        {"a type that was not negotiated", test_a_type_that_was_not_negotiated},
        {"replies keep their order", test_replies_keep_their_order},
        {"the order in which connections give way", test_the_order_in_which_connections_give_way},
        {"of equals the oldest gives way", test_of_equals_the_oldest_gives_way},
        {"a connection gives way without a place for a reply",
         test_a_connection_gives_way_without_a_place_for_a_reply},
        {"one that is owed its reset gives way first",
         test_one_that_is_owed_its_reset_gives_way_first},
        {"a port is not given twice", test_a_port_is_not_given_twice},
        {"a hint that is wrong", test_a_hint_that_is_wrong},
        {"how an end is told", test_how_an_end_is_told},
        {"how a shutdown is told", test_how_a_shutdown_is_told},
        {"both sides are done", test_both_sides_are_done},
        {"the order of packets", test_the_order_of_packets},
        {"who is told that nothing waits", test_who_is_told_that_nothing_waits},
        {"nobody is told of credit", test_nobody_is_told_of_credit},
        {"when a question is answered", test_when_a_question_is_answered},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "connections of a socket device, case by case", tests);
}
