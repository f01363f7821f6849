/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device in user space: connections that come and go. Bursts of them, servers that have
 * no room, clients that close at once, ports that are used again, more connections than usual. None
 * of them delays another.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/standin/clock.h"
#include "tests/standin/vsock_fixture.h"

#define BUSY_PORT 61u
#define WAITING 24u
#define TURN_PACKETS 64u /* packets of one connection before another connection has its turn */

static int accept_now(int server)
{
    return accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/* Connections one after the other, as fast as possible. None is refused, however many there were
 * before. */
static void a_burst_of_connections_is_served(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    for (unsigned int i = 0; i < 1000; i++) {
        struct guest_socket *socket = guest_vsock_connect(&test.vsock, STREAM, HOST_PORT);
        CU_ASSERT_PTR_NOT_NULL_FATAL(socket);
        CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&test.vsock, socket, WAIT_MS), SOCKET_CONNECTED);
        close(accept_now(test.server));
        guest_vsock_control(&test.vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
        guest_vsock_forget(socket);
    }
    vsock_stop(&test, false);
}

static void many_at_once_are_served(void)
{
    struct guest_socket *sockets[60];
    struct vsock_fixture test;
    vsock_start(&test);
    for (unsigned int round = 0; round < 5; round++) {
        for (unsigned int i = 0; i < 60; i++)
            sockets[i] = guest_vsock_connect(&test.vsock, STREAM, HOST_PORT);
        for (unsigned int i = 0; i < 60; i++) {
            CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&test.vsock, sockets[i], WAIT_MS),
                                  SOCKET_CONNECTED);
            close(accept_now(test.server));
            guest_vsock_control(&test.vsock, sockets[i], VIRTIO_VSOCK_OP_RST, 0);
            guest_vsock_forget(sockets[i]);
        }
    }
    vsock_stop(&test, false);
}

static void reset_and_forget(struct vsock_fixture *test, struct guest_socket *socket)
{
    guest_vsock_control(&test->vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
    guest_vsock_forget(socket);
}

static void accept_all(int server)
{
    int fd;
    while ((fd = accept_now(server)) >= 0)
        close(fd);
}

#define AT_ONCE 256u
#define ROUNDS 4u

/* Makes AT_ONCE connections, all requested at the same time. */
static void make_at_once(struct vsock_fixture *test)
{
    static struct guest_socket *sockets[AT_ONCE];
    uint64_t end = now_ms() + 2 * WAIT_MS;
    for (unsigned int i = 0; i < AT_ONCE; i++)
        sockets[i] = guest_vsock_connect(&test->vsock, STREAM, HOST_PORT);
    for (unsigned int i = 0; i < AT_ONCE; i++) {
        while (sockets[i]->state == SOCKET_CONNECTING && now_ms() < end) {
            CU_ASSERT_FATAL(guest_vsock_poll(&test->vsock, 1) >= 0);
            accept_all(test->server);
        }
        CU_ASSERT_EQUAL_FATAL(sockets[i]->state, SOCKET_CONNECTED);
    }
    for (unsigned int i = 0; i < AT_ONCE; i++)
        reset_and_forget(test, sockets[i]);
}

/* The number of connections is bounded, not their rate: a thousand a second are served, even beyond
 * a credit that may have been saved up for the first ones. A machine that is busy gets as many
 * tries as fit into a minute. A broker that allows less never succeeds. */
static void a_thousand_a_second_are_served(void)
{
    struct vsock_fixture test;
    if (processor_is_emulated()) {
        case_skipped("a processor that is not emulated: this is about speed");
        return;
    }
    vsock_start_with(&test, "    connections: 512\n");
    CU_ASSERT_EQUAL(listen(test.server, AT_ONCE), 0); /* a full backlog is the next test */
    uint64_t took = UINT64_MAX;
    for (uint64_t end = now_ms() + 60000; took > (ROUNDS - 1) * AT_ONCE && now_ms() < end;) {
        uint64_t begin = now_ms();
        for (unsigned int i = 0; i < ROUNDS; i++)
            make_at_once(&test);
        took = now_ms() - begin;
    }
    printf(" (%u in %llu ms) ", ROUNDS * AT_ONCE, (unsigned long long)took);
    CU_ASSERT(took <= (ROUNDS - 1) * AT_ONCE);
    CU_ASSERT_EQUAL(test.vsock.resets, 0);
    vsock_stop(&test, false);
}

/* The backlog of a server is full. A guest that connects waits, as with connect(2). Other
 * connections do not wait. */
static void a_full_backlog_is_waited_for(void)
{
    struct guest_socket *sockets[WAITING];
    struct vsock_fixture test;
    vsock_start(&test);
    int busy = host_listen(&test, "v.sock_61", SOCK_STREAM);
    CU_ASSERT_EQUAL(listen(busy, 2), 0);
    for (unsigned int i = 0; i < WAITING; i++)
        sockets[i] = guest_vsock_connect(&test.vsock, STREAM, BUSY_PORT);
    guest_run(&test, 100);
    unsigned int connected = 0;
    for (unsigned int i = 0; i < WAITING; i++) {
        CU_ASSERT_NOT_EQUAL(sockets[i]->state, SOCKET_RESET);
        connected += sockets[i]->state == SOCKET_CONNECTED;
    }
    CU_ASSERT_EQUAL(connected, 3); /* as many as the backlog takes */
    for (unsigned int i = 0; i < 20; i++) {
        struct pair other = pair_by_guest(&test);
        assert_talks(&test, &other);
        close(other.host);
        guest_vsock_control(&test.vsock, other.guest, VIRTIO_VSOCK_OP_RST, 0);
        guest_vsock_forget(other.guest);
    }
    /* One gives up. One sends its REQUEST again, as a driver does after a timeout. */
    guest_vsock_control(&test.vsock, sockets[WAITING - 1], VIRTIO_VSOCK_OP_RST, 0);
    guest_vsock_control(&test.vsock, sockets[WAITING - 2], VIRTIO_VSOCK_OP_REQUEST, 0);
    /* The others are connected in the order in which they came, as soon as there is room. */
    for (unsigned int i = 0; i < WAITING - 1; i++) {
        CU_ASSERT_TRUE_FATAL(host_wait(&test, busy));
        struct pair pair = {.guest = sockets[i], .host = accept_now(busy)};
        CU_ASSERT_FATAL(pair.host >= 0);
        CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&test.vsock, sockets[i], WAIT_MS), SOCKET_CONNECTED);
        assert_talks(&test, &pair);
        close(pair.host);
    }
    close(busy);
    vsock_stop(&test, false);
}

/* Connections that wait keep nobody out. They are reset if the server goes away. */
static void who_waits_for_a_server_gives_way(void)
{
    struct guest_socket *sockets[100];
    struct vsock_fixture test;
    vsock_start(&test);
    int busy = host_listen(&test, "v.sock_61", SOCK_STREAM);
    CU_ASSERT_EQUAL(listen(busy, 0), 0);
    for (unsigned int i = 0; i < 100; i++)
        sockets[i] = guest_vsock_connect(&test.vsock, STREAM, BUSY_PORT);
    struct pair by_host = pair_by_host_within(&test, "v.sock", SOCK_STREAM, WAIT_MS),
                other = pair_by_guest(&test);
    assert_talks(&test, &by_host);
    assert_talks(&test, &other);
    close(busy);
    for (unsigned int i = 0; i < 100; i++) {
        CU_ASSERT(guest_vsock_wait(&test.vsock, sockets[i], WAIT_MS) >= 0);
        CU_ASSERT(sockets[i]->state == SOCKET_RESET || i == 0);
    }
    close(by_host.host);
    close(other.host);
    vsock_stop(&test, false);
}

/* The client's data arrives, and then the end, whether or not the client has read a byte of the
 * answer. */
static void a_client_that_closes_at_once_is_heard(void)
{
    static const char words[] = "CONNECT 52\nall there is";
    struct vsock_fixture test;
    char got[32];
    vsock_start(&test);
    for (unsigned int i = 0; i < 20; i++) {
        int client = host_connect(&test, "v.sock", SOCK_STREAM);
        CU_ASSERT_EQUAL(send(client, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
        if (i % 2 == 1)
            guest_run(&test, 5);
        close(client);
        struct guest_socket *socket = NULL;
        for (unsigned int n = 0; n < WAIT_MS && !socket; n += 5) {
            guest_run(&test, 5);
            socket = guest_vsock_accepted(&test.vsock, 0);
        }
        CU_ASSERT_PTR_NOT_NULL_FATAL(socket);
        CU_ASSERT_EQUAL(guest_receive(&test, socket, got, sizeof(got)), 12);
        CU_ASSERT_EQUAL(memcmp(got, "all there is", 12), 0);
        CU_ASSERT_TRUE(guest_is_told(&test, socket, 3));
        CU_ASSERT_EQUAL(socket->state, SOCKET_CONNECTED);
        guest_vsock_control(&test.vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
        guest_vsock_forget(socket);
    }
    vsock_stop(&test, false);
}

/* The guest has finished with a connection and uses its ports again, before its RST or without one.
 */
static void ports_are_used_again(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    uint32_t port = test.vsock.next_port;
    for (unsigned int i = 0; i < 10; i++) {
        test.vsock.next_port = port;
        struct pair pair = pair_by_guest(&test);
        assert_talks(&test, &pair);
        close(pair.host);
        CU_ASSERT_TRUE(guest_is_told(&test, pair.guest, 3));
        guest_vsock_forget(pair.guest); /* as if the guest's program had been killed */
    }
    CU_ASSERT_EQUAL(test.vsock.resets, 0);
    vsock_stop(&test, false);
}

/* `connections` in the configuration: so many work at once, and one more is refused. */
static void as_many_connections_as_configured(void)
{
    enum { MOST = 300 };
    static struct pair pairs[MOST];
    struct vsock_fixture test;
    vsock_start_with(&test, "    connections: 300\n");
    for (unsigned int i = 0; i < MOST; i++)
        pairs[i] = i % 2 == 0 ? pair_by_guest(&test) : pair_by_host(&test, "v.sock", SOCK_STREAM);
    for (unsigned int i = 0; i < MOST; i++)
        assert_talks(&test, &pairs[i]);
    struct guest_socket *more = guest_vsock_connect(&test.vsock, STREAM, HOST_PORT);
    CU_ASSERT_EQUAL(guest_vsock_wait(&test.vsock, more, WAIT_MS), SOCKET_RESET);
    for (unsigned int i = 0; i < MOST; i++)
        close(pairs[i].host);
    vsock_stop(&test, false);
}

/* ---- Fairness ---- */

/* Several connections write as much as they can. The data of another one arrives after one turn of
 * each, and after what was already in the guest's buffers. */
static void a_flood_delays_others_by_a_turn(void)
{
    enum { FLOODS = 4 };
    static uint8_t data[65536];
    static char got[65536];
    struct vsock_fixture test;
    struct pair floods[FLOODS];
    vsock_start(&test);
    test.vsock.buf_alloc = GUEST_SOCKET_BUFFER_MAX;
    for (unsigned int i = 0; i < FLOODS; i++) {
        const int size = 0x400000; /* the bytes of many turns can wait at once */
        floods[i] = pair_by_guest(&test);
        CU_ASSERT_EQUAL(setsockopt(floods[i].host, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)),
                        0);
    }
    struct pair calm = pair_by_guest(&test);
    uint64_t worst = 0;
    for (unsigned int round = 0; round < 5; round++) {
        for (unsigned int i = 0; i < FLOODS; i++) {
            while (send(floods[i].host, data, sizeof(data), MSG_NOSIGNAL) > 0)
                ;
        }
        uint64_t before = test.vsock.packets_in;
        CU_ASSERT_EQUAL(send(calm.host, "?", 1, MSG_NOSIGNAL), 1);
        uint64_t end = now_ms() + WAIT_MS;
        while (guest_vsock_receive(&test.vsock, calm.guest, got, 1) == 0 && now_ms() < end) {
            CU_ASSERT_FATAL(guest_vsock_poll(&test.vsock, 1) >= 0);
            for (unsigned int i = 0; i < FLOODS; i++) {
                while (guest_vsock_receive(&test.vsock, floods[i].guest, got, sizeof(got)) > 0)
                    ;
            }
        }
        CU_ASSERT_FATAL(now_ms() < end);
        uint64_t passed = calm.guest->came_at - before;
        worst = passed > worst ? passed : worst;
    }
    CU_ASSERT(worst <= GUEST_RX_BUFFERS + (FLOODS + 1) * TURN_PACKETS);
    for (unsigned int i = 0; i < FLOODS; i++)
        close(floods[i].host);
    close(calm.host);
    vsock_stop(&test, false);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a burst of connections is served", a_burst_of_connections_is_served},
        {"many at once are served", many_at_once_are_served},
        {"a thousand a second are served", a_thousand_a_second_are_served},
        {"a full backlog is waited for", a_full_backlog_is_waited_for},
        {"who waits for a server gives way", who_waits_for_a_server_gives_way},
        {"a client that closes at once is heard", a_client_that_closes_at_once_is_heard},
        {"ports are used again", ports_are_used_again},
        {"as many connections as configured", as_many_connections_as_configured},
        {"a flood delays others by a turn", a_flood_delays_others_by_a_turn},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "socket device in user space: connections", tests);
}
