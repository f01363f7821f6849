/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device in user space: what programs expect of a connection, whatever its type is and
 * whoever has asked for it. The cases are those of Linux's tools/testing/vsock. Each runs for
 * streams and for seqpackets, and for connections from both sides.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/vsock_fixture.h"

#define MESSAGES_PORT 54u /* the port for seqpackets, as HOST_PORT is for streams */
#define UNUSED_PORT 55u

struct types {
    struct vsock_fixture test;
    int messages; /* listens on MESSAGES_PORT */
};

static void types_start(struct types *types)
{
    vsock_start(&types->test);
    types->messages = host_listen(&types->test, "v.sock_54", SOCK_SEQPACKET);
}

static void types_stop(struct types *types)
{
    close(types->messages);
    vsock_stop(&types->test, false);
}

static int accept_one(struct types *types, uint16_t type)
{
    int server = type == STREAM ? types->test.server : types->messages;
    CU_ASSERT_TRUE_FATAL(host_wait(&types->test, server));
    return accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static struct guest_socket *ask(struct types *types, uint16_t type)
{
    struct guest_socket *socket =
        guest_vsock_connect(&types->test.vsock, type, type == STREAM ? HOST_PORT : MESSAGES_PORT);
    CU_ASSERT_PTR_NOT_NULL_FATAL(socket);
    return socket;
}

static struct pair make(struct types *types, uint16_t type, bool by_guest)
{
    struct pair pair;
    if (!by_guest)
        return type == STREAM ? pair_by_host(&types->test, "v.sock", SOCK_STREAM)
                              : pair_of_messages(&types->test);
    pair.guest = ask(types, type);
    CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&types->test.vsock, pair.guest, WAIT_MS),
                          SOCKET_CONNECTED);
    pair.host = accept_one(types, type);
    CU_ASSERT_FATAL(pair.host >= 0);
    return pair;
}

static void guest_says(struct types *types, const struct pair *pair, const char *words)
{
    uint32_t length = (uint32_t)strlen(words);
    CU_ASSERT_EQUAL(
        guest_vsock_send(&types->test.vsock, pair->guest, words, length, VIRTIO_VSOCK_SEQ_EOM),
        (int)length);
}

static void host_says(const struct pair *pair, const char *words)
{
    CU_ASSERT_EQUAL(send(pair->host, words, strlen(words), MSG_NOSIGNAL), (ssize_t)strlen(words));
}

static void host_hears(struct types *types, const struct pair *pair, const char *words)
{
    char got[64];
    CU_ASSERT_EQUAL(host_receive(&types->test, pair->host, got, sizeof(got)),
                    (ssize_t)strlen(words));
    CU_ASSERT_EQUAL(memcmp(got, words, strlen(words)), 0);
}

static void guest_hears(struct types *types, const struct pair *pair, const char *words)
{
    char got[64];
    CU_ASSERT_EQUAL(guest_receive(&types->test, pair->guest, got, sizeof(got)), strlen(words));
    CU_ASSERT_EQUAL(memcmp(got, words, strlen(words)), 0);
}

/* ---- The cases ---- */

static void host_peeks(struct types *types, struct pair *pair)
{
    char got[8] = "";
    CU_ASSERT_EQUAL(recv(pair->host, got, sizeof(got), MSG_PEEK), -1);
    CU_ASSERT_EQUAL(errno, EAGAIN);
    guest_says(types, pair, "abcdef");
    CU_ASSERT_TRUE(host_wait(&types->test, pair->host));
    CU_ASSERT_EQUAL(recv(pair->host, got, 3, MSG_PEEK), 3);
    CU_ASSERT_EQUAL(recv(pair->host, got, sizeof(got), MSG_PEEK), 6);
    if (pair->guest->type == SEQPACKET)
        CU_ASSERT_EQUAL(recv(pair->host, got, 3, MSG_PEEK | MSG_TRUNC), 6);
    host_hears(types, pair, "abcdef");
}

/* The reader's buffer is too small. The rest of a message is lost; the rest of a stream comes next.
 */
static void host_reads_too_little(struct types *types, struct pair *pair)
{
    char got[3];
    guest_says(types, pair, "abcdef");
    guest_says(types, pair, "ghi");
    guest_run_until_taken(&types->test);
    CU_ASSERT_EQUAL(host_receive(&types->test, pair->host, got, sizeof(got)), 3);
    host_hears(types, pair, pair->guest->type == SEQPACKET ? "ghi" : "defghi");
}

static void guest_closes_after_its_data(struct types *types, struct pair *pair)
{
    guest_says(types, pair, "last");
    guest_vsock_close(&types->test.vsock, pair->guest);
    host_hears(types, pair, "last");
    CU_ASSERT_TRUE(host_at_end(&types->test, pair->host));
    CU_ASSERT_EQUAL(send(pair->host, "x", 1, MSG_NOSIGNAL), -1);
    CU_ASSERT_EQUAL(errno, EPIPE);
    CU_ASSERT_TRUE(guest_is_reset(&types->test, pair->guest));
}

static void host_closes_after_its_data(struct types *types, struct pair *pair)
{
    host_says(pair, "last");
    CU_ASSERT_EQUAL(close(pair->host), 0);
    pair->host = -1;
    guest_hears(types, pair, "last");
    CU_ASSERT_TRUE(guest_is_told(&types->test, pair->guest, 3));
}

/* The host has not read what the guest sent. What the host wrote before must still arrive. */
static void host_closes_with_data_unread(struct types *types, struct pair *pair)
{
    guest_says(types, pair, "unread");
    CU_ASSERT_TRUE(host_wait(&types->test, pair->host));
    host_says(pair, "last");
    guest_hears(types, pair, "last");
    CU_ASSERT_EQUAL(close(pair->host), 0);
    pair->host = -1;
    for (int i = 0;
         i < WAIT_MS && pair->guest->peer_shutdown != 3 && pair->guest->state == SOCKET_CONNECTED;
         i += 5)
        guest_run(&types->test, 5);
    CU_ASSERT(pair->guest->peer_shutdown == 3 || pair->guest->state == SOCKET_RESET);
}

static void guest_writes_no_more(struct types *types, struct pair *pair)
{
    guest_says(types, pair, "last");
    guest_vsock_control(&types->test.vsock, pair->guest, VIRTIO_VSOCK_OP_SHUTDOWN,
                        VIRTIO_VSOCK_SHUTDOWN_SEND);
    host_hears(types, pair, "last");
    CU_ASSERT_TRUE(host_at_end(&types->test, pair->host));
    host_says(pair, "still");
    guest_hears(types, pair, "still");
}

static void host_writes_no_more(struct types *types, struct pair *pair)
{
    host_says(pair, "last");
    CU_ASSERT_EQUAL(shutdown(pair->host, SHUT_WR), 0);
    guest_hears(types, pair, "last");
    CU_ASSERT_TRUE(guest_is_told(&types->test, pair->guest, VIRTIO_VSOCK_SHUTDOWN_SEND));
    guest_says(types, pair, "still");
    host_hears(types, pair, "still");
}

static void guest_reads_no_more(struct types *types, struct pair *pair)
{
    guest_vsock_control(&types->test.vsock, pair->guest, VIRTIO_VSOCK_OP_SHUTDOWN,
                        VIRTIO_VSOCK_SHUTDOWN_RCV);
    guest_run_until_taken(&types->test);
    for (int i = 0; i < WAIT_MS && send(pair->host, "x", 1, MSG_NOSIGNAL) == 1; i += 5)
        guest_run(&types->test, 5);
    CU_ASSERT_EQUAL(errno, EPIPE);
    CU_ASSERT_EQUAL(pair->guest->received, 0);
    guest_says(types, pair, "still");
    host_hears(types, pair, "still");
}

static void host_reads_no_more(struct types *types, struct pair *pair)
{
    CU_ASSERT_EQUAL(shutdown(pair->host, SHUT_RD), 0);
    guest_says(types, pair, "x");
    CU_ASSERT_TRUE(guest_is_told(&types->test, pair->guest, VIRTIO_VSOCK_SHUTDOWN_RCV));
    host_says(pair, "still");
    guest_hears(types, pair, "still");
}

/* In a stream, a packet without data has no effect. An empty message is skipped. */
static void guest_sends_nothing(struct types *types, struct pair *pair)
{
    struct virtio_vsock_hdr header =
        guest_vsock_header(&types->test.vsock, pair->guest, VIRTIO_VSOCK_OP_RW);
    for (unsigned int i = 0; i < 3; i++) {
        header.flags = i == 0 ? 0 : VIRTIO_VSOCK_SEQ_EOM;
        CU_ASSERT_EQUAL(guest_vsock_packet(&types->test.vsock, &header, NULL, 0), 0);
    }
    guest_says(types, pair, "something");
    host_hears(types, pair, "something");
    assert_talks(&types->test, pair);
}

/* Data of the type that the connection does not have costs the connection. */
static void guest_changes_the_type(struct types *types, struct pair *pair)
{
    struct virtio_vsock_hdr header =
        guest_vsock_header(&types->test.vsock, pair->guest, VIRTIO_VSOCK_OP_RW);
    header.type = pair->guest->type == STREAM ? SEQPACKET : STREAM;
    header.len = 5;
    uint64_t before = types->test.vsock.resets;
    CU_ASSERT_EQUAL(guest_vsock_packet(&types->test.vsock, &header, "wrong", 5), 0);
    for (int i = 0; i < WAIT_MS && types->test.vsock.resets == before; i += 5)
        guest_run(&types->test, 5);
    CU_ASSERT_EQUAL(types->test.vsock.resets - before, 1);
    char got[8];
    CU_ASSERT(recv(pair->host, got, sizeof(got), 0) <= 0);
}

static void every_case_for_both_types_and_both_who_connect(void)
{
    static void (*const cases[])(struct types *, struct pair *) = {
        host_peeks,
        host_reads_too_little,
        guest_closes_after_its_data,
        host_closes_after_its_data,
        host_closes_with_data_unread,
        guest_writes_no_more,
        host_writes_no_more,
        guest_reads_no_more,
        host_reads_no_more,
        guest_sends_nothing,
        guest_changes_the_type,
    };
    static const uint16_t both[] = {STREAM, SEQPACKET};
    struct types types;
    types_start(&types);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned int form = 0; form < 4; form++) {
            struct pair pair = make(&types, both[form / 2], form % 2 == 0);
            unsigned int before = CU_get_number_of_failures();
            cases[i](&types, &pair);
            if (CU_get_number_of_failures() != before)
                fprintf(stderr, "\ncase %zu, %s, %s connects\n", i,
                        form / 2 == 0 ? "stream" : "seqpacket", form % 2 == 0 ? "guest" : "host");
            if (pair.host >= 0)
                close(pair.host);
            guest_vsock_control(&types.test.vsock, pair.guest, VIRTIO_VSOCK_OP_RST, 0);
            guest_run_until_taken(&types.test);
            guest_vsock_forget(pair.guest);
        }
    }
    types_stop(&types);
}

/* ---- Before there is a connection ---- */

/* The server gets what the guest has sent before accept. */
static void data_come_before_accept(void)
{
    static const uint16_t both[] = {STREAM, SEQPACKET};
    struct types types;
    types_start(&types);
    for (unsigned int t = 0; t < 2; t++) {
        struct pair pair = {.guest = ask(&types, both[t])};
        CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&types.test.vsock, pair.guest, WAIT_MS),
                              SOCKET_CONNECTED);
        guest_says(&types, &pair, "early");
        guest_run_until_taken(&types.test);
        pair.host = accept_one(&types, both[t]);
        host_hears(&types, &pair, "early");
        assert_talks(&types.test, &pair);
        close(pair.host);
    }
    types_stop(&types);
}

/* A socket's name on which nobody listens counts as no server. As soon as somebody listens, the
 * same ports work. */
static void who_was_refused_may_try_again(void)
{
    struct types types;
    types_start(&types);
    uint32_t port = types.test.vsock.next_port;
    for (unsigned int i = 0; i < 2; i++) {
        types.test.vsock.next_port = port;
        struct guest_socket *socket = guest_vsock_connect(&types.test.vsock, STREAM, UNUSED_PORT);
        CU_ASSERT_EQUAL(guest_vsock_wait(&types.test.vsock, socket, WAIT_MS), SOCKET_RESET);
        guest_vsock_forget(socket);
    }
    int server = host_listen(&types.test, "v.sock_55", SOCK_STREAM);
    types.test.vsock.next_port = port;
    struct pair pair = {.guest = guest_vsock_connect(&types.test.vsock, STREAM, UNUSED_PORT)};
    CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&types.test.vsock, pair.guest, WAIT_MS),
                          SOCKET_CONNECTED);
    pair.host = accept4(server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_talks(&types.test, &pair);
    close(pair.host);
    close(server);
    types_stop(&types);
}

/* A port has one type only. */
static void a_server_of_the_other_type_is_none(void)
{
    struct types types;
    types_start(&types);
    struct guest_socket *socket = guest_vsock_connect(&types.test.vsock, SEQPACKET, HOST_PORT);
    CU_ASSERT_EQUAL(guest_vsock_wait(&types.test.vsock, socket, WAIT_MS), SOCKET_RESET);
    socket = guest_vsock_connect(&types.test.vsock, STREAM, MESSAGES_PORT);
    CU_ASSERT_EQUAL(guest_vsock_wait(&types.test.vsock, socket, WAIT_MS), SOCKET_RESET);
    types_stop(&types);
}

/* The connection was in the backlog, and nobody will accept it. */
static void a_server_that_goes_takes_its_backlog_with_it(void)
{
    static const uint16_t both[] = {STREAM, SEQPACKET};
    struct types types;
    types_start(&types);
    for (unsigned int t = 0; t < 2; t++) {
        struct guest_socket *socket = ask(&types, both[t]);
        CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&types.test.vsock, socket, WAIT_MS),
                              SOCKET_CONNECTED);
        int *server = t == 0 ? &types.test.server : &types.messages;
        close(*server);
        *server = -1;
        for (int i = 0;
             i < WAIT_MS && socket->peer_shutdown != 3 && socket->state == SOCKET_CONNECTED; i += 5)
            guest_run(&types.test, 5);
        CU_ASSERT(socket->peer_shutdown == 3 || socket->state == SOCKET_RESET);
    }
    types_stop(&types);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"every case, for both types and both who connect",
         every_case_for_both_types_and_both_who_connect},
        {"data come before accept", data_come_before_accept},
        {"who was refused may try again", who_was_refused_may_try_again},
        {"a server of the other type is none", a_server_of_the_other_type_is_none},
        {"a server that goes takes its backlog with it",
         a_server_that_goes_takes_its_backlog_with_it},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "socket device in user space: both types", tests);
}
