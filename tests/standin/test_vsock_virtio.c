/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device in user space, VirtIO 1.2 §5.10, between a driver and Unix sockets. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/vsock_fixture.h"

#define BULK 0x800000u /* bytes in each direction */
#define PART 65536u
#define MANY 30 /* connections in each direction */

static void offers_what_it_should(void)
{
    struct vsock_fixture test;
    uint64_t cid = 0;
    vsock_start(&test);
    CU_ASSERT_EQUAL(test.vsock.guest.features, GUEST_VSOCK_FEATURES);
    guest_config(&test.vsock.guest, 0, &cid, 8, 4);
    CU_ASSERT_EQUAL(cid, GUEST_VSOCK_CID);
    vsock_stop(&test, false);
}

static void connects_both_ways(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair by_host = pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct pair by_guest = pair_by_guest(&test);
    for (int i = 0; i < 3; i++) {
        assert_talks(&test, &by_host);
        assert_talks(&test, &by_guest);
    }
    /* The guest closes one of them, the host the other. */
    guest_vsock_close(&test.vsock, by_host.guest);
    CU_ASSERT_TRUE(host_at_end(&test, by_host.host));
    CU_ASSERT_TRUE(guest_is_reset(&test, by_host.guest));
    close(by_guest.host);
    CU_ASSERT_TRUE(guest_is_told(&test, by_guest.guest, 3));
    guest_vsock_close(&test.vsock, by_guest.guest);
    CU_ASSERT_TRUE(guest_is_reset(&test, by_guest.guest));
    close(by_host.host);
    vsock_stop(&test, false);
}

/* The load of one connection: a pattern in both directions at once. */
struct bulk {
    struct pair pair;
    uint64_t guest_sent, guest_got, host_sent, host_got;
    unsigned int wrong;
};

static void fill(uint8_t *data, uint64_t at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        data[i] = pattern(at + i);
}

static unsigned int differing(const uint8_t *data, uint64_t at, size_t length)
{
    unsigned int wrong = 0;
    for (size_t i = 0; i < length; i++)
        wrong += data[i] != pattern(at + i);
    return wrong;
}

static bool bulk_host(struct bulk *bulk, uint64_t total, size_t read_size)
{
    static uint8_t data[PART];
    bool moved = false;
    size_t left = total - bulk->host_sent < PART ? (size_t)(total - bulk->host_sent) : PART;
    fill(data, bulk->host_sent, left);
    ssize_t sent = left > 0 ? send(bulk->pair.host, data, left, MSG_NOSIGNAL) : 0;
    if (sent > 0) {
        bulk->host_sent += (uint64_t)sent;
        moved = true;
    }
    ssize_t got = recv(bulk->pair.host, data, read_size, 0);
    if (got > 0) {
        bulk->wrong += differing(data, bulk->guest_sent > 0 ? bulk->host_got : 0, (size_t)got);
        bulk->host_got += (uint64_t)got;
        moved = true;
    }
    return moved;
}

static bool bulk_guest(struct vsock_fixture *test, struct bulk *bulk, uint64_t total)
{
    static uint8_t data[PART];
    uint32_t left = total - bulk->guest_sent < PART ? (uint32_t)(total - bulk->guest_sent) : PART;
    fill(data, bulk->guest_sent, left);
    int sent = guest_vsock_send(&test->vsock, bulk->pair.guest, data, left, 0);
    if (sent > 0)
        bulk->guest_sent += (uint64_t)sent;
    uint32_t got = guest_vsock_receive(&test->vsock, bulk->pair.guest, data, PART);
    bulk->wrong += differing(data, bulk->guest_got, got);
    bulk->guest_got += got;
    return sent > 0 || got > 0;
}

static void run_bulk(struct vsock_fixture *test, struct bulk *bulks, unsigned int count,
                     uint64_t total)
{
    unsigned int idle = 0, done = 0;
    while (done < count && idle < WAIT_MS / 5) {
        bool moved = false;
        done = 0;
        for (unsigned int i = 0; i < count; i++) {
            moved |= bulk_host(&bulks[i], total, PART);
            moved |= bulk_guest(test, &bulks[i], total);
            done += bulks[i].host_got == total && bulks[i].guest_got == total;
        }
        CU_ASSERT_FATAL(guest_vsock_poll(&test->vsock, moved ? 0 : 5) >= 0);
        idle = moved ? 0 : idle + 1;
    }
    for (unsigned int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(bulks[i].wrong, 0);
        CU_ASSERT_EQUAL(bulks[i].guest_got, total);
        CU_ASSERT_EQUAL(bulks[i].host_got, total);
    }
}

static void moves_bulk_both_ways_at_once(void)
{
    struct vsock_fixture test;
    struct bulk bulks[2] = {0};
    vsock_start(&test);
    bulks[0].pair = pair_by_guest(&test);
    bulks[1].pair = pair_by_host(&test, "v.sock", SOCK_STREAM);
    run_bulk(&test, bulks, 2, BULK);
    close(bulks[0].pair.host);
    close(bulks[1].pair.host);
    vsock_stop(&test, false);
}

static void serves_many_connections_at_once(void)
{
    struct vsock_fixture test;
    static struct bulk bulks[2 * MANY];
    memset(bulks, 0, sizeof(bulks));
    vsock_start(&test);
    for (unsigned int i = 0; i < MANY; i++) {
        bulks[2 * i].pair = pair_by_guest(&test);
        bulks[2 * i + 1].pair = pair_by_host(&test, "v.sock", SOCK_STREAM);
    }
    run_bulk(&test, bulks, 2 * MANY, 300000);
    for (unsigned int i = 0; i < 2 * MANY; i++)
        close(bulks[i].pair.host);
    vsock_stop(&test, false);
}

/* A connection that comes and goes uses nothing up. */
static void connections_are_used_up_by_nobody(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    for (unsigned int i = 0; i < 300; i++) {
        struct pair pair =
            i % 2 == 0 ? pair_by_guest(&test) : pair_by_host(&test, "v.sock", SOCK_STREAM);
        if (i % 3 == 0) {
            guest_vsock_close(&test.vsock, pair.guest);
            CU_ASSERT_TRUE(host_at_end(&test, pair.host));
        }
        close(pair.host);
        for (unsigned int n = 0; n < 200 && pair.guest->state != SOCKET_RESET; n++) {
            guest_run(&test, 5);
            if (pair.guest->peer_shutdown == 3 && i % 3 != 0)
                guest_vsock_close(&test.vsock, pair.guest);
        }
        CU_ASSERT_EQUAL_FATAL(pair.guest->state, SOCKET_RESET);
        guest_vsock_forget(pair.guest);
    }
    vsock_stop(&test, false);
}

/* The guest gets no more credit than the device announces, no other connection waits, and nothing
 * is lost. */
static void a_host_that_does_not_read_holds_up_nobody_else(void)
{
    struct vsock_fixture test;
    static uint8_t data[PART];
    vsock_start(&test);
    struct bulk slow = {.pair = pair_by_guest(&test)};
    struct pair other = pair_by_guest(&test);
    uint64_t sent = 0;
    for (unsigned int idle = 0; idle < 40;) {
        fill(data, sent, PART);
        int r = guest_vsock_send(&test.vsock, slow.pair.guest, data, PART, 0);
        CU_ASSERT_FATAL(r >= 0);
        sent += (uint64_t)r;
        idle = r > 0 ? 0 : idle + 1;
        guest_run(&test, 5);
    }
    CU_ASSERT(sent >= 0x20000 && sent < 0x100000);
    assert_talks(&test, &other);
    slow.guest_sent = sent;
    while (slow.host_got < sent && host_wait(&test, slow.pair.host))
        bulk_host(&slow, 0, 1000);
    CU_ASSERT_EQUAL(slow.host_got, sent);
    CU_ASSERT_EQUAL(slow.wrong, 0);
    /* The connection goes on when there is credit again. */
    assert_talks(&test, &slow.pair);
    close(slow.pair.host);
    close(other.host);
    vsock_stop(&test, false);
}

static void a_guest_that_does_not_read_is_sent_no_more_than_its_credit(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct bulk slow = {.pair = pair_by_host(&test, "v.sock", SOCK_STREAM)};
    struct pair other = pair_by_guest(&test);
    for (unsigned int idle = 0; idle < 40;) {
        idle = bulk_host(&slow, BULK, PART) ? 0 : idle + 1;
        guest_run(&test, 5);
    }
    CU_ASSERT_EQUAL(slow.pair.guest->received, GUEST_SOCKET_BUFFER);
    CU_ASSERT(slow.host_sent < BULK);
    assert_talks(&test, &other);
    run_bulk(&test, &slow, 1, BULK);
    close(slow.pair.host);
    close(other.host);
    vsock_stop(&test, false);
}

static void one_direction_can_be_closed_alone(void)
{
    struct vsock_fixture test;
    char heard[16];
    vsock_start(&test);
    struct pair pair = pair_by_guest(&test);
    /* The guest has sent all it has to say. The host still answers. */
    CU_ASSERT_EQUAL(guest_vsock_send(&test.vsock, pair.guest, "question", 8, 0), 8);
    guest_vsock_control(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_SHUTDOWN,
                        VIRTIO_VSOCK_SHUTDOWN_SEND);
    CU_ASSERT_EQUAL(host_receive(&test, pair.host, heard, sizeof(heard)), 8);
    CU_ASSERT_TRUE(host_at_end(&test, pair.host));
    CU_ASSERT_EQUAL(send(pair.host, "answer", 6, MSG_NOSIGNAL), 6);
    CU_ASSERT_EQUAL(guest_receive(&test, pair.guest, heard, sizeof(heard)), 6);
    CU_ASSERT_EQUAL(pair.guest->peer_shutdown, 0);
    close(pair.host);
    CU_ASSERT_TRUE(guest_is_told(&test, pair.guest, 3));

    /* Then in the other direction. */
    struct pair second = pair_by_host(&test, "v.sock", SOCK_STREAM);
    CU_ASSERT_EQUAL(send(second.host, "question", 8, MSG_NOSIGNAL), 8);
    CU_ASSERT_EQUAL(shutdown(second.host, SHUT_WR), 0);
    CU_ASSERT_EQUAL(guest_receive(&test, second.guest, heard, sizeof(heard)), 8);
    CU_ASSERT_TRUE(guest_is_told(&test, second.guest, VIRTIO_VSOCK_SHUTDOWN_SEND));
    CU_ASSERT_EQUAL(guest_vsock_send(&test.vsock, second.guest, "answer", 6, 0), 6);
    CU_ASSERT_EQUAL(host_receive(&test, second.host, heard, sizeof(heard)), 6);
    /* The guest reads no more. The host's writer notices it. */
    guest_vsock_control(&test.vsock, second.guest, VIRTIO_VSOCK_OP_SHUTDOWN,
                        VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV);
    CU_ASSERT_TRUE(host_at_end(&test, second.host));
    CU_ASSERT_TRUE(guest_is_reset(&test, second.guest));
    close(second.host);
    vsock_stop(&test, false);
}

/* What the guest sent before it closed still arrives, however slowly the host reads it. */
static void a_close_of_the_guest_loses_nothing(void)
{
    struct vsock_fixture test;
    static uint8_t data[PART];
    vsock_start(&test);
    for (unsigned int reset = 0; reset < 2; reset++) {
        struct bulk bulk = {.pair = pair_by_guest(&test)};
        for (unsigned int i = 0; i < 60; i++) {
            fill(data, bulk.guest_sent, PART);
            bulk.guest_sent +=
                (uint64_t)guest_vsock_send(&test.vsock, bulk.pair.guest, data, PART, 0);
            guest_run(&test, 5);
        }
        if (reset == 0)
            guest_vsock_close(&test.vsock, bulk.pair.guest);
        else
            guest_vsock_control(&test.vsock, bulk.pair.guest, VIRTIO_VSOCK_OP_RST, 0);
        guest_run(&test, 50);
        while (bulk.host_got < bulk.guest_sent && host_wait(&test, bulk.pair.host))
            bulk_host(&bulk, 0, 5000);
        CU_ASSERT_EQUAL(bulk.host_got, bulk.guest_sent);
        CU_ASSERT_EQUAL(bulk.wrong, 0);
        CU_ASSERT_TRUE(host_at_end(&test, bulk.pair.host));
        CU_ASSERT(reset == 1 || guest_is_reset(&test, bulk.pair.guest));
        close(bulk.pair.host);
    }
    vsock_stop(&test, false);
}

static void ports_without_a_listener_are_refused(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct guest_socket *nobody = guest_vsock_connect(&test.vsock, STREAM, 4711);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, nobody, WAIT_MS), SOCKET_RESET);
    /* A server that starts later is found. */
    int later = host_listen(&test, "v.sock_4711", SOCK_STREAM);
    nobody = guest_vsock_connect(&test.vsock, STREAM, 4711);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, nobody, WAIT_MS), SOCKET_CONNECTED);
    close(later);
    /* A server of another type does not count. Nor does a socket that was left behind. */
    nobody = guest_vsock_connect(&test.vsock, SEQPACKET, HOST_PORT);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, nobody, WAIT_MS), SOCKET_RESET);
    nobody = guest_vsock_connect(&test.vsock, STREAM, 4711);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, nobody, WAIT_MS), SOCKET_RESET);
    /* In the other direction: nobody listens in the guest. */
    test.vsock.listening = 0;
    int client = host_connect(&test, "v.sock", SOCK_STREAM);
    CU_ASSERT_EQUAL(send(client, "CONNECT 52\n", 11, MSG_NOSIGNAL), 11);
    CU_ASSERT_TRUE(host_at_end(&test, client));
    close(client);
    vsock_stop(&test, false);
}

static void clients_that_talk_nonsense_are_closed(void)
{
    static const char *const nonsense[] = {
        "GET / HTTP/1.1\r\n",
        "CONNECT\n",
        "CONNECT \n",
        "CONNECT x\n",
        "CONNECT 52x\n",
        "CONNECT -1\n",
        "\n",
        "CONNECT 4294967295\n",
        "CONNECT 4294967296\n",
        "CONNECT 99999999999\n",
        "CONNECT 1 2\n",
        "CONNECTING 5\n",
        "an endless line without an end to it......",
    };
    struct vsock_fixture test;
    vsock_start(&test);
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        int client = host_connect(&test, "v.sock", SOCK_STREAM);
        send(client, nonsense[i], strlen(nonsense[i]), MSG_NOSIGNAL);
        CU_ASSERT_TRUE(host_wait(&test, client));
        char byte;
        CU_ASSERT(recv(client, &byte, 1, 0) <= 0); /* ECONNRESET if something was left unread */
        close(client);
    }
    CU_ASSERT_EQUAL(test.vsock.packets_in, 0);
    /* These variants are no nonsense. The line may come in pieces, and data directly behind it. */
    static const char *const sense[] = {"connect 52\n", "CONNECT \t52 \r\n",
                                        "Connect 0000000052\n"};
    for (size_t i = 0; i < sizeof(sense) / sizeof(sense[0]); i++) {
        int client = host_connect(&test, "v.sock", SOCK_STREAM);
        for (size_t at = 0; at < strlen(sense[i]); at++) {
            CU_ASSERT_EQUAL(send(client, sense[i] + at, 1, MSG_NOSIGNAL), 1);
            guest_run(&test, 5);
        }
        CU_ASSERT_EQUAL(send(client, "data", 4, MSG_NOSIGNAL), 4);
        CU_ASSERT_TRUE(host_wait(&test, client));
        struct guest_socket *socket = guest_vsock_accepted(&test.vsock, 0);
        char heard[8];
        CU_ASSERT_PTR_NOT_NULL_FATAL(socket);
        CU_ASSERT_EQUAL(guest_receive(&test, socket, heard, sizeof(heard)), 4);
        guest_vsock_control(&test.vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
        guest_vsock_forget(socket);
        close(client);
    }
    vsock_stop(&test, false);
}

/* ---- Seqpacket ---- */

static const uint32_t message_sizes[] = {1,    2,     3,      100,    4051,   4052,  4053,
                                         8192, 65536, 100000, 131072, 196608, 262144};
#define MESSAGE_SIZES (sizeof(message_sizes) / sizeof(message_sizes[0]))

static void send_message(struct vsock_fixture *test, struct guest_socket *socket,
                         const uint8_t *data, uint32_t length)
{
    uint32_t done = 0;
    for (unsigned int tries = 0; done < length && tries < 1000; tries++) {
        int r = guest_vsock_send(&test->vsock, socket, data + done, length - done,
                                 VIRTIO_VSOCK_SEQ_EOM);
        CU_ASSERT_FATAL(r >= 0);
        done += (uint32_t)r;
        if (r == 0)
            guest_run(test, 5);
    }
    CU_ASSERT_EQUAL(done, length);
}

static void seqpacket_to_host(struct vsock_fixture *test, const struct pair *pair)
{
    static uint8_t data[262144], heard[262144 + 1];
    fill(data, 7, sizeof(data));
    /* First one message after the other; then small ones that pile up. */
    for (size_t i = 0; i < MESSAGE_SIZES; i++) {
        send_message(test, pair->guest, data, message_sizes[i]);
        ssize_t length = host_receive(test, pair->host, heard, sizeof(heard));
        CU_ASSERT_EQUAL(length, (ssize_t)message_sizes[i]);
        CU_ASSERT_EQUAL(memcmp(data, heard, message_sizes[i]), 0);
    }
    for (uint32_t i = 1; i <= 1000; i++)
        send_message(test, pair->guest, data + i, i % 50 + 1);
    for (uint32_t i = 1; i <= 1000; i++) {
        ssize_t length = host_receive(test, pair->host, heard, sizeof(heard));
        CU_ASSERT_EQUAL(length, (ssize_t)(i % 50 + 1));
        CU_ASSERT_EQUAL(memcmp(data + i, heard, i % 50 + 1), 0);
    }
}

static void seqpacket_to_guest(struct vsock_fixture *test, const struct pair *pair)
{
    static uint8_t data[262144], heard[262144 + 1];
    fill(data, 9, sizeof(data));
    for (size_t i = 0; i < MESSAGE_SIZES; i++) {
        CU_ASSERT_EQUAL(send(pair->host, data, message_sizes[i], MSG_NOSIGNAL),
                        (ssize_t)message_sizes[i]);
        uint32_t length = 0;
        for (int n = 0; n < WAIT_MS && length == 0; n += 5) {
            guest_run(test, 5);
            length = guest_vsock_receive(&test->vsock, pair->guest, heard, sizeof(heard));
        }
        CU_ASSERT_EQUAL(length, message_sizes[i]);
        CU_ASSERT_EQUAL(memcmp(data, heard, length), 0);
    }
}

static void seqpacket_keeps_its_boundaries(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair by_host = pair_by_host(&test, "v.sock_seqpacket", SOCK_SEQPACKET);
    CU_ASSERT_EQUAL(by_host.guest->type, SEQPACKET);
    int server = host_listen(&test, "v.sock_60", SOCK_SEQPACKET);
    struct pair by_guest = {.guest = guest_vsock_connect(&test.vsock, SEQPACKET, 60)};
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, by_guest.guest, WAIT_MS), SOCKET_CONNECTED);
    by_guest.host = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CU_ASSERT_FATAL(by_guest.host >= 0);
    host_sends_large_messages(by_guest.host);
    seqpacket_to_host(&test, &by_host);
    seqpacket_to_guest(&test, &by_host);
    seqpacket_to_host(&test, &by_guest);
    seqpacket_to_guest(&test, &by_guest);
    /* A message without an end is not delivered. */
    CU_ASSERT_EQUAL(guest_vsock_send(&test.vsock, by_guest.guest, "unfinished", 10, 0), 10);
    guest_vsock_close(&test.vsock, by_guest.guest);
    CU_ASSERT_TRUE(host_at_end(&test, by_guest.host));
    CU_ASSERT_TRUE(guest_is_reset(&test, by_guest.guest));
    /* A message that is too large ends the connection. */
    static uint8_t large[262145];
    CU_ASSERT_EQUAL(send(by_host.host, large, sizeof(large), MSG_NOSIGNAL), (ssize_t)sizeof(large));
    CU_ASSERT_TRUE(host_wait(&test, by_host.host));
    CU_ASSERT_TRUE(guest_is_reset(&test, by_host.guest));
    close(by_host.host);
    close(by_guest.host);
    close(server);
    vsock_stop(&test, false);
}

/* ---- Restarts ---- */

static void expect_all_anew(struct vsock_fixture *test, struct pair *by_host, struct pair *by_guest)
{
    uint64_t before = test->vsock.transport_resets;
    CU_ASSERT_TRUE(host_wait(test, by_host->host));
    CU_ASSERT_TRUE(host_wait(test, by_guest->host));
    for (int i = 0; i < WAIT_MS && test->vsock.transport_resets == before; i += 5)
        guest_run(test, 5);
    CU_ASSERT_EQUAL(test->vsock.transport_resets, before + 1);
    CU_ASSERT_EQUAL(by_host->guest->state, SOCKET_RESET);
    CU_ASSERT_EQUAL(by_guest->guest->state, SOCKET_RESET);
    guest_vsock_forget(by_host->guest);
    guest_vsock_forget(by_guest->guest);
    close(by_host->host);
    close(by_guest->host);
    *by_host = pair_by_host(test, "v.sock", SOCK_STREAM);
    *by_guest = pair_by_guest(test);
    assert_talks(test, by_host);
    assert_talks(test, by_guest);
}

static void a_killed_worker_is_replaced(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair by_host = pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct pair by_guest = pair_by_guest(&test);
    for (unsigned int round = 0; round < 4; round++) {
        assert_talks(&test, &by_host);
        pid_t worker = fixture_worker(&test.fixture, 0);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        expect_all_anew(&test, &by_host, &by_guest);
        CU_ASSERT_NOT_EQUAL(fixture_worker(&test.fixture, 0), worker);
    }
    close(by_host.host);
    close(by_guest.host);
    vsock_stop(&test, true);
}

static void a_killed_broker_is_replaced(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair by_host = pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct pair by_guest = pair_by_guest(&test);
    pid_t broker = test.fixture.broker;
    for (unsigned int round = 0; round < 4; round++) {
        assert_talks(&test, &by_guest);
        CU_ASSERT_EQUAL(kill(broker, SIGKILL), 0);
        broker = fixture_wait_broker(&test.fixture, broker);
        CU_ASSERT_FATAL(broker > 0);
        /* When the new broker answers register accesses, the device's socket is there. */
        CU_ASSERT_EQUAL(guest_read(&test.vsock.guest, VIRTIO_MMIO_DEVICE_ID, 4), 19);
        expect_all_anew(&test, &by_host, &by_guest);
    }
    close(by_host.host);
    close(by_guest.host);
    vsock_stop(&test, true);
}

static void a_driver_that_is_reset_leaves_nobody_behind(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair by_host = pair_by_host(&test, "v.sock", SOCK_STREAM);
    struct pair by_guest = pair_by_guest(&test);
    CU_ASSERT_EQUAL(guest_reset(&test.vsock.guest), 0);
    char byte;
    usleep(50000);
    CU_ASSERT_EQUAL(recv(by_host.host, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(recv(by_guest.host, &byte, 1, 0), 0);
    close(by_host.host);
    close(by_guest.host);
    /* There is nobody to connect to. */
    int client = host_connect(&test, "v.sock", SOCK_STREAM);
    usleep(50000);
    CU_ASSERT_EQUAL(recv(client, &byte, 1, 0), 0);
    close(client);
    CU_ASSERT_EQUAL(guest_vsock_start(&test.vsock, GUEST_VSOCK_FEATURES), 0);
    by_host = pair_by_host(&test, "v.sock", SOCK_STREAM);
    assert_talks(&test, &by_host);
    close(by_host.host);
    vsock_stop(&test, false);
}

/* ---- The socket's name ---- */

static void refuses_a_path_that_is_taken(void)
{
    for (unsigned int live = 0; live < 2; live++) {
        struct vsock_fixture test = {.server = -1};
        fixture_init(&test.fixture);
        if (live == 1)
            test.server = host_listen(&test, "v.sock", SOCK_STREAM);
        else
            close(fixture_open(&test.fixture, "v.sock"));
        char path[128];
        struct stat file;
        fixture_configure(&test.fixture,
                          "devices:\n  - id: 0\n    type: vsock\n    data_plane: virtio\n"
                          "    mmio_addr: 0xa003e00\n    guest_cid: 3\n"
                          "    socket_path: \"@/v.sock\"\n");
        fixture_start(&test.fixture, 1, 0);
        fixture_assert_start_fails(&test.fixture, WAIT_MS);
        fixture_assert_logged(&test.fixture, "config.yaml:7:18: socket_path \"");
        fixture_assert_logged(&test.fixture, live == 1 ? "in use by another" : "is no socket");
        snprintf(path, sizeof(path), "%s/v.sock", test.fixture.dir);
        CU_ASSERT(lstat(path, &file) == 0 && S_ISSOCK(file.st_mode) == (live == 1));
        fixture_stop_failed(&test.fixture);
        close(test.server);
        fixture_free(&test.fixture);
    }
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"offers what it should", offers_what_it_should},
        {"connects both ways", connects_both_ways},
        {"moves bulk both ways at once", moves_bulk_both_ways_at_once},
        {"serves many connections at once", serves_many_connections_at_once},
        {"connections are used up by nobody", connections_are_used_up_by_nobody},
        {"a host that does not read holds up nobody else",
         a_host_that_does_not_read_holds_up_nobody_else},
        {"a guest that does not read is sent no more than its credit",
         a_guest_that_does_not_read_is_sent_no_more_than_its_credit},
        {"one direction can be closed alone", one_direction_can_be_closed_alone},
        {"a close of the guest loses nothing", a_close_of_the_guest_loses_nothing},
        {"ports without a listener are refused", ports_without_a_listener_are_refused},
        {"clients that talk nonsense are closed", clients_that_talk_nonsense_are_closed},
        {"seqpacket keeps its boundaries", seqpacket_keeps_its_boundaries},
        {"a killed worker is replaced", a_killed_worker_is_replaced},
        {"a killed broker is replaced", a_killed_broker_is_replaced},
        {"a driver that is reset leaves nobody behind",
         a_driver_that_is_reset_leaves_nobody_behind},
        {"refuses a path that is taken", refuses_a_path_that_is_taken},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "socket device in user space", tests);
}
