/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device in user space against a driver that breaks the rules. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/vsock_fixture.h"

#define CONNECTIONS 64
#define BEHIND_PORT 1001
#define RESET_LOOKS 400 /* of 5 ms each */

/* A packet that belongs to no connection. The tests change one thing in it. */
static struct virtio_vsock_hdr stray(uint16_t op)
{
    return (struct virtio_vsock_hdr){
        .src_cid = GUEST_VSOCK_CID,
        .dst_cid = 2,
        .src_port = 1000,
        .dst_port = 2000,
        .type = STREAM,
        .op = op,
        .buf_alloc = 65536,
    };
}

/* The device answers each packet before the next one. So the test sends another packet behind one
 * that must not be reset, from a port of its own. If there is a reset for the first, it comes
 * before the other's. */
static void assert_reset(struct vsock_fixture *test, const struct virtio_vsock_hdr *header,
                         bool wanted)
{
    struct virtio_vsock_hdr behind = stray(VIRTIO_VSOCK_OP_RW);
    uint64_t before = test->vsock.resets;
    behind.src_port = BEHIND_PORT;
    CU_ASSERT_EQUAL(guest_vsock_packet(&test->vsock, header, NULL, 0), 0);
    if (!wanted)
        CU_ASSERT_EQUAL(guest_vsock_packet(&test->vsock, &behind, NULL, 0), 0);
    for (unsigned int i = 0; i < RESET_LOOKS && test->vsock.resets == before; i++)
        guest_run(test, 5);
    CU_ASSERT_EQUAL(test->vsock.resets - before, 1);
    CU_ASSERT_EQUAL(test->vsock.last_reset.dst_port, wanted ? header->src_port : behind.src_port);
}

/* §5.10.6.4: a packet to an unknown destination is answered with RST, unless it is an RST itself.
 */
static void strays_are_reset(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    for (uint16_t op = 0; op < 10; op++) {
        if (op == VIRTIO_VSOCK_OP_REQUEST)
            continue;
        struct virtio_vsock_hdr header = stray(op);
        assert_reset(&test, &header, op != VIRTIO_VSOCK_OP_RST);
    }
    struct virtio_vsock_hdr header = stray(0xffff);
    assert_reset(&test, &header, true);
    CU_ASSERT_EQUAL(test.vsock.last_reset.src_port, 2000);
    CU_ASSERT_EQUAL(test.vsock.last_reset.dst_port, 1000);
    static const uint16_t types[] = {0, 3, 0x100, 0xffff};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        header = stray(VIRTIO_VSOCK_OP_REQUEST);
        header.type = types[i];
        assert_reset(&test, &header, true);
    }
    static const uint64_t cids[] = {0, 1, 3, 4, 0xffffffff, 0x100000002};
    for (size_t i = 0; i < sizeof(cids) / sizeof(cids[0]); i++) {
        header = stray(VIRTIO_VSOCK_OP_REQUEST);
        header.dst_cid = cids[i];
        assert_reset(&test, &header, true);
        CU_ASSERT_EQUAL(test.vsock.last_reset.src_cid, cids[i]);
        /* The source is not this guest: there is nobody to tell. */
        header = stray(VIRTIO_VSOCK_OP_REQUEST);
        header.src_cid = cids[i];
        assert_reset(&test, &header, cids[i] == GUEST_VSOCK_CID);
    }
    header = stray(VIRTIO_VSOCK_OP_REQUEST);
    header.dst_port = 0xffffffff;
    assert_reset(&test, &header, true);
    vsock_stop(&test, false);
}

/* Without VIRTIO_VSOCK_F_SEQPACKET this type does not exist. */
static void seqpacket_has_to_be_negotiated(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    CU_ASSERT_EQUAL(guest_reset(&test.vsock.guest), 0);
    CU_ASSERT_EQUAL(
        guest_vsock_start(&test.vsock, GUEST_VSOCK_FEATURES & ~(1ull << VIRTIO_VSOCK_F_SEQPACKET)),
        0);
    struct virtio_vsock_hdr header = stray(VIRTIO_VSOCK_OP_REQUEST);
    header.type = SEQPACKET;
    assert_reset(&test, &header, true);
    int client = host_connect(&test, "v.sock_seqpacket", SOCK_SEQPACKET);
    CU_ASSERT_TRUE(host_at_end(&test, client));
    close(client);
    vsock_stop(&test, false);
}

/* Each of these costs the connection, and nothing else. */
static void what_breaks_the_protocol_costs_the_connection(void)
{
    static const struct {
        uint16_t op;
        uint32_t length, claimed;
        uint16_t before; /* an operation that comes first; 0: none */
    } cases[] = {
        {VIRTIO_VSOCK_OP_REQUEST, 0, 0, 0},
        {VIRTIO_VSOCK_OP_RESPONSE, 0, 0, 0},
        {VIRTIO_VSOCK_OP_INVALID, 0, 0, 0},
        {8, 0, 0, 0},
        {0xffff, 0, 0, 0},
        {VIRTIO_VSOCK_OP_RW, 10, 11, 0},         /* more than was received */
        {VIRTIO_VSOCK_OP_RW, 10, 0xffffffff, 0}, /* the same */
        {VIRTIO_VSOCK_OP_RW, 10, 10, VIRTIO_VSOCK_OP_SHUTDOWN},
    };
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair other = pair_by_guest(&test);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pair pair = pair_by_guest(&test);
        assert_talks(&test, &pair);
        if (cases[i].before != 0)
            guest_vsock_control(&test.vsock, pair.guest, cases[i].before,
                                VIRTIO_VSOCK_SHUTDOWN_SEND);
        struct virtio_vsock_hdr header = guest_vsock_header(&test.vsock, pair.guest, cases[i].op);
        header.len = cases[i].claimed;
        CU_ASSERT_EQUAL(guest_vsock_packet(&test.vsock, &header, "0123456789", cases[i].length), 0);
        CU_ASSERT_TRUE(host_at_end(&test, pair.host));
        CU_ASSERT_TRUE(guest_is_reset(&test, pair.guest));
        close(pair.host);
        assert_talks(&test, &other);
    }
    close(other.host);
    vsock_stop(&test, false);
}

/* Ask the device for its credit: so the guest knows exactly how much data the device has room for.
 */
static void learn_credit(struct vsock_fixture *test, struct guest_socket *socket)
{
    uint64_t before = test->vsock.packets_in;
    guest_vsock_control(&test->vsock, socket, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
    for (int i = 0; i < WAIT_MS && test->vsock.packets_in == before; i += 5)
        guest_run(test, 5);
}

/* The host does not read. The guest sends as much as its credit allows, to the last byte: that
 * costs nothing (§5.10.6.3). Then it sends one byte more. */
static void data_beyond_the_credit_cost_the_connection(void)
{
    static uint8_t data[GUEST_TX_SIZE];
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair pair = pair_by_guest(&test);
    struct pair other = pair_by_guest(&test);
    uint32_t room = 1;
    /* Send more than the host's socket takes, so that in the end nothing is forwarded. */
    for (unsigned int i = 0; i < 200 && room > 0; i++) {
        learn_credit(&test, pair.guest);
        room = pair.guest->peer_alloc - (pair.guest->sent - pair.guest->peer_forwarded);
        uint32_t length = room < sizeof(data) ? room : sizeof(data);
        struct virtio_vsock_hdr header =
            guest_vsock_header(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_RW);
        header.len = length;
        if (length > 0)
            CU_ASSERT_EQUAL(guest_vsock_packet(&test.vsock, &header, data, length), 0);
        guest_run_until_taken(&test);
    }
    CU_ASSERT_EQUAL(room, 0);
    assert_talks(&test, &other);
    CU_ASSERT_EQUAL(pair.guest->state, SOCKET_CONNECTED);
    CU_ASSERT_FALSE(pair.guest->overdrawn);
    struct virtio_vsock_hdr header =
        guest_vsock_header(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_RW);
    header.len = 1;
    CU_ASSERT_EQUAL(guest_vsock_packet(&test.vsock, &header, data, 1), 0);
    CU_ASSERT_TRUE(pair.guest->overdrawn);
    CU_ASSERT_TRUE(guest_is_reset(&test, pair.guest));
    assert_talks(&test, &other);
    close(pair.host);
    close(other.host);
    vsock_stop(&test, false);
}

/* The guest may claim anything about its own buffers. The device sends no more than the claim
 * allows. */
static void a_guest_that_lies_about_its_room_hurts_itself_only(void)
{
    static const uint32_t lies[][2] = {
        /* buf_alloc, fwd_cnt */
        {0, 0}, {1, 0}, {0xffffffff, 0}, {0, 0xffffffff}, {0xffffffff, 0x80000000}, {1, 0x7fffffff},
    };
    struct vsock_fixture test;
    uint8_t data[1000] = {0};
    vsock_start(&test);
    struct pair other = pair_by_guest(&test);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct pair pair = pair_by_guest(&test);
        struct virtio_vsock_hdr header =
            guest_vsock_header(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        header.buf_alloc = lies[i][0];
        header.fwd_cnt = lies[i][1];
        pair.guest->buf_alloc = lies[i][0] < GUEST_SOCKET_BUFFER ? lies[i][0] : GUEST_SOCKET_BUFFER;
        CU_ASSERT_EQUAL(guest_vsock_packet(&test.vsock, &header, NULL, 0), 0);
        guest_run_until_taken(&test);
        CU_ASSERT_EQUAL(send(pair.host, data, sizeof(data), MSG_NOSIGNAL), (ssize_t)sizeof(data));
        /* The driver would answer a CREDIT_REQUEST with the truth. */
        test.vsock.hold_rx = true;
        guest_run(&test, 50);
        test.vsock.hold_rx = false;
        guest_run(&test, 20);
        CU_ASSERT_EQUAL(pair.guest->state, SOCKET_CONNECTED);
        close(pair.host);
        guest_run(&test, 20);
        guest_vsock_control(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_RST, 0);
        assert_talks(&test, &other);
    }
    close(other.host);
    vsock_stop(&test, false);
}

/* §5.10.6.1: packets that need a reply wait while there is no room for replies. In the end all get
 * a reply. */
static void a_guest_that_takes_no_replies_has_to_wait(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    const struct virtio_vsock_hdr header = stray(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    const unsigned int all = GUEST_RX_BUFFERS + 64 + 40; /* buffers, kept replies, and more */
    test.vsock.hold_rx = true;
    unsigned int sent = 0;
    while (sent < all && guest_vsock_packet(&test.vsock, &header, NULL, 0) == 0)
        sent++;
    CU_ASSERT_EQUAL(sent, all);
    guest_run(&test, 50);
    test.vsock.hold_rx = false;
    for (int i = 0; i < WAIT_MS && test.vsock.resets < sent; i += 5)
        guest_run(&test, 5);
    CU_ASSERT_EQUAL(test.vsock.resets, sent);
    struct pair pair = pair_by_guest(&test);
    assert_talks(&test, &pair);
    close(pair.host);
    vsock_stop(&test, false);
}

/* Clients that say nothing lose their place. Connections that are used keep it. */
static void silent_clients_cannot_keep_others_out(void)
{
    struct vsock_fixture test;
    int silent[2 * CONNECTIONS];
    vsock_start(&test);
    struct pair first = pair_by_guest(&test);
    for (unsigned int i = 0; i < 2 * CONNECTIONS; i++) {
        silent[i] = host_connect(&test, "v.sock", SOCK_STREAM);
        guest_run(&test, 5);
    }
    struct pair pair = pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct pair by_guest = pair_by_guest(&test);
    assert_talks(&test, &first);
    assert_talks(&test, &pair);
    assert_talks(&test, &by_guest);
    CU_ASSERT_TRUE(host_at_end(&test, silent[0])); /* the oldest had to go */
    for (unsigned int i = 0; i < 2 * CONNECTIONS; i++)
        close(silent[i]);
    close(first.host);
    close(pair.host);
    close(by_guest.host);
    vsock_stop(&test, false);
}

static void one_connection_too_many_is_refused(void)
{
    struct vsock_fixture test;
    struct pair pairs[CONNECTIONS];
    vsock_start(&test);
    for (unsigned int i = 0; i < CONNECTIONS; i++)
        pairs[i] = i % 2 == 0 ? pair_by_guest(&test) : pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct guest_socket *socket = guest_vsock_connect(&test.vsock, STREAM, HOST_PORT);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, socket, WAIT_MS), SOCKET_RESET);
    int client = host_connect(&test, "v.sock", SOCK_STREAM);
    CU_ASSERT_TRUE(host_at_end(&test, client));
    close(client);
    for (unsigned int i = 0; i < CONNECTIONS; i++)
        assert_talks(&test, &pairs[i]);
    /* A place that is free is used again. */
    guest_vsock_close(&test.vsock, pairs[5].guest);
    CU_ASSERT_TRUE(host_at_end(&test, pairs[5].host));
    close(pairs[5].host);
    pairs[5] = pair_by_guest(&test);
    assert_talks(&test, &pairs[5]);
    for (unsigned int i = 0; i < CONNECTIONS; i++)
        close(pairs[i].host);
    vsock_stop(&test, false);
}

/* Requests as fast as possible: the broker keeps its time, and answers each of them. */
static void a_storm_of_requests_is_survived(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct virtio_vsock_hdr header = stray(VIRTIO_VSOCK_OP_REQUEST);
    for (unsigned int i = 0; i < 3000; i++) {
        header.src_port++;
        CU_ASSERT_EQUAL(guest_vsock_packet(&test.vsock, &header, NULL, 0), 0);
        guest_vsock_poll(&test.vsock, 0);
    }
    for (int i = 0; i < WAIT_MS && test.vsock.resets < 3000; i += 5)
        guest_run(&test, 5);
    CU_ASSERT_EQUAL(test.vsock.resets, 3000);
    struct pair pair = pair_by_guest(&test);
    assert_talks(&test, &pair);
    close(pair.host);
    vsock_stop(&test, false);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"strays are reset", strays_are_reset},
        {"seqpacket has to be negotiated", seqpacket_has_to_be_negotiated},
        {"what breaks the protocol costs the connection",
         what_breaks_the_protocol_costs_the_connection},
        {"data beyond the credit cost the connection", data_beyond_the_credit_cost_the_connection},
        {"a guest that lies about its room hurts itself only",
         a_guest_that_lies_about_its_room_hurts_itself_only},
        {"a guest that takes no replies has to wait", a_guest_that_takes_no_replies_has_to_wait},
        {"silent clients cannot keep others out", silent_clients_cannot_keep_others_out},
        {"one connection too many is refused", one_connection_too_many_is_refused},
        {"a storm of requests is survived", a_storm_of_requests_is_survived},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "hostile socket driver", tests);
}
