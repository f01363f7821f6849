/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device and the broker: how connections of the guest are asked for, what each answer
 * does, and who waits for whom. Clients of the host that the broker hands over.
 */
#include "tests/cunit_main.h"
#include "tests/unit/vsock_under_test.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"
#include "worker/vsock/device.h"

#define GUEST_PORT 7u
#define REQUEST VIRTIO_VSOCK_OP_REQUEST
#define RESPONSE VIRTIO_VSOCK_OP_RESPONSE
#define RST VIRTIO_VSOCK_OP_RST
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN

static struct message_connect question, others;
static struct virtio_vsock_hdr header;

static void request(uint16_t type, uint32_t guest_port, uint32_t host_port)
{
    header = vsock_header(REQUEST, guest_port, host_port);
    header.type = type;
    vsock_send(&header, NULL);
}

/* The next question, which is for this port. */
static void expect_question(uint32_t host_port)
{
    CU_ASSERT_TRUE_FATAL(vsock_asks(&question));
    CU_ASSERT_EQUAL(question.port, host_port);
}

static void the_pause_is_over(void)
{
    device_pause_over(&guest_device);
    guest_run();
}

/* ---- Before it runs ---- */

static void test_what_the_broker_may_ask_for(void)
{
    static const struct {
        uint32_t connections;
        int result;
    } cases[] = {{0, -EINVAL}, {1, 0}, {CONNECTIONS_MAX, 0}, {CONNECTIONS_MAX + 1, -EINVAL}};
    struct message_start start = guest_start(DEVICE_VSOCK_VIRTIO);
    start.of_kind.vsock.guest_cid = 0x123456789;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct device dev = {0};
        start.of_kind.vsock.connections = cases[i].connections;
        CU_ASSERT_EQUAL(vsock_virtio_ops.init(&dev, &start), cases[i].result);
        if (cases[i].result < 0)
            continue;
        const uint64_t cid = 0x123456789;
        CU_ASSERT_EQUAL(dev.config_size, 8);
        CU_ASSERT_EQUAL(memcmp(dev.config, &cid, 8), 0);
        CU_ASSERT_EQUAL(dev.features, 3); /* VIRTIO_VSOCK_F_STREAM, VIRTIO_VSOCK_F_SEQPACKET */
        CU_ASSERT_EQUAL(dev.user_queues, 7);
    }
}

/* ---- The guest connects ---- */

static void test_a_server_is_asked_for(void)
{
    vsock_running(8);
    uint32_t last = 0;
    for (uint16_t type = STREAM; type <= SEQPACKET; type++) {
        request(type, GUEST_PORT + type, 80);
        expect_question(80);
        CU_ASSERT_EQUAL(question.header.version, MESSAGE_VERSION);
        CU_ASSERT_EQUAL(question.header.device, 5);
        CU_ASSERT_EQUAL(question.type, type);
        CU_ASSERT_NOT_EQUAL(question.request, last);
        last = question.request;
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT + type, 80), -1); /* not before it is connected */
        int fd = vsock_serve(&question);
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT + type, 80), RESPONSE);
        CU_ASSERT_EQUAL(send(fd, "abc", 3, 0), 3);
        guest_run();
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT + type, 80), VIRTIO_VSOCK_OP_RW);
        CU_ASSERT_EQUAL(memcmp(vsock_payload, "abc", 3), 0);
        close(fd);
        guest_run();
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT + type, 80), SHUTDOWN);
    }
    CU_ASSERT_FALSE(vsock_asks(&question));
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
}

static void test_numbers_of_questions_begin_anew_at_their_end(void)
{
    vsock_running(8);
    vsock.last_request = INT32_MAX - 1;
    const uint32_t numbers[] = {INT32_MAX, 0, 1};
    for (unsigned int i = 0; i < 3; i++) {
        request(STREAM, i, 80);
        expect_question(80);
        CU_ASSERT_EQUAL(question.request, numbers[i]);
        close(vsock_serve(&question));
        CU_ASSERT_EQUAL(vsock_hears(i, 80), RESPONSE);
        CU_ASSERT_EQUAL(vsock_hears(i, 80), SHUTDOWN);
    }
}

static void test_there_is_no_server(void)
{
    static const int errors[] = {ECONNREFUSED, ENOENT, EACCES};
    vsock_running(8);
    for (unsigned int i = 0; i < 3; i++) {
        request(STREAM, GUEST_PORT, 80);
        expect_question(80);
        vsock_refuse(&question, errors[i]);
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 80), RST);
        CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    }
    request(STREAM, GUEST_PORT, 80);
    expect_question(80);
    vsock_refuse(&question, 0); /* neither a socket nor an error */
    CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 80), RST);
}

static void test_the_broker_takes_no_more_messages(void)
{
    struct message_header filler = {.type = MSG_TYPES};
    vsock_running(8);
    while (send(WORKER_FD_CONTROL, &filler, sizeof(filler), MSG_DONTWAIT) > 0)
        ;
    request(STREAM, GUEST_PORT, 80);
    CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 80), RST);
    CU_ASSERT_FALSE(vsock_asks(&question));
    CU_ASSERT_EQUAL(vsock.unanswered, 0);
}

/* The broker ends a worker that asks for more at once. */
static void test_eight_questions_are_open_at_once(void)
{
    vsock_running(16);
    int first = vsock_connected(STREAM, 1, 1);
    for (uint32_t port = 10; port < 18; port++) {
        request(STREAM, GUEST_PORT, port);
        expect_question(port);
    }
    struct message_connect answered = question;
    for (uint32_t port = 20; port < 22; port++)
        request(STREAM, GUEST_PORT, port);
    /* This one gets the place of a connection that has ended: one before those of the others. */
    vsock_says(RST, 1, 1);
    CU_ASSERT_TRUE(vsock_closed(first));
    close(first);
    request(STREAM, GUEST_PORT, 22);
    vsock_says(RST, GUEST_PORT, 20); /* the guest gives up */
    CU_ASSERT_FALSE(vsock_asks(&others));
    vsock_refuse(&answered, ECONNREFUSED);
    expect_question(21); /* in the order of the guest's requests */
    CU_ASSERT_FALSE(vsock_asks(&others));
    answered = question;
    close(vsock_serve(&answered));
    expect_question(22);
    CU_ASSERT_FALSE(vsock_asks(&others));
}

/* The answer comes when the guest has given up, and its place is taken by another connection. */
static void test_an_answer_that_comes_too_late(void)
{
    vsock_running(8);
    request(STREAM, GUEST_PORT, 80);
    expect_question(80);
    struct message_connect late = question;
    vsock_says(RST, GUEST_PORT, 80);
    request(STREAM, GUEST_PORT, 81);
    expect_question(81);
    int fd = vsock_serve(&late);
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
    CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 81), -1);
    CU_ASSERT_EQUAL(vsock.unanswered, 1);
    fd = vsock_serve(&question);
    CU_ASSERT_FALSE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 81), RESPONSE);
    CU_ASSERT_EQUAL(vsock.unanswered, 0);
    close(fd);
    /* One answer too many, with and without a socket. */
    fd = vsock_serve(&question);
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
    vsock_refuse(&question, ECONNREFUSED);
    CU_ASSERT_EQUAL(vsock.unanswered, 0);
}

/* ---- A server without room ---- */

/* A connection waits for the server at this port, whose backlog is full. */
static void wait_for(uint32_t guest_port, uint32_t host_port, int error)
{
    request(STREAM, guest_port, host_port);
    expect_question(host_port);
    vsock_refuse(&question, error);
    CU_ASSERT_EQUAL(vsock_hears(guest_port, host_port), -1);
}

static void test_a_server_without_room_is_asked_again(void)
{
    static const int errors[] = {EAGAIN, EBUSY};
    for (unsigned int i = 0; i < 2; i++) {
        vsock_running(8);
        wait_for(GUEST_PORT, 80, errors[i]);
        CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
        for (unsigned int k = 0; k < 3; k++) {
            CU_ASSERT_FALSE(vsock_asks(&others));
            the_pause_is_over();
            expect_question(80);
            CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
            vsock_refuse(&question, errors[i]);
            CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
        }
        the_pause_is_over();
        expect_question(80);
        int fd = vsock_serve(&question);
        CU_ASSERT_EQUAL(vsock_hears(GUEST_PORT, 80), RESPONSE);
        the_pause_is_over();
        CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
        CU_ASSERT_FALSE(vsock_asks(&others));
        close(fd);
    }
}

/* Those that came later wait behind it, unless they are for another server. */
static void test_who_came_first_is_served_first(void)
{
    vsock_running(8);
    wait_for(1, 80, EAGAIN);
    request(STREAM, 2, 80);
    request(STREAM, 3, 80);
    CU_ASSERT_FALSE(vsock_asks(&others));
    request(STREAM, 4, 81);
    expect_question(81);
    CU_ASSERT_EQUAL(vsock_hears(4, 81), -1);
    close(vsock_serve(&question));
    CU_ASSERT_EQUAL(vsock_hears(4, 81), RESPONSE);
    CU_ASSERT_EQUAL(vsock_hears(4, 81), SHUTDOWN);
    request(SEQPACKET, 5, 80); /* another server, at the same port */
    expect_question(80);
    CU_ASSERT_EQUAL(question.type, SEQPACKET);
    close(vsock_serve(&question));
    CU_ASSERT_EQUAL(vsock_hears(5, 80), RESPONSE);
    CU_ASSERT_EQUAL(vsock_hears(5, 80), SHUTDOWN);
    CU_ASSERT_FALSE(vsock_asks(&others));
    the_pause_is_over();
    /* One question at a time: each server has room for one, and perhaps for the next. */
    for (uint32_t guest_port = 1; guest_port < 4; guest_port++) {
        expect_question(80);
        CU_ASSERT_FALSE(vsock_asks(&others));
        the_pause_is_over(); /* this server is being asked */
        CU_ASSERT_FALSE(vsock_asks(&others));
        close(vsock_serve(&question));
        CU_ASSERT_EQUAL(vsock_hears(guest_port, 80), RESPONSE);
        CU_ASSERT_EQUAL(vsock_hears(guest_port, 80), SHUTDOWN);
    }
    CU_ASSERT_FALSE(vsock_asks(&others));
    CU_ASSERT_EQUAL(vsock.refused.count, 0);
}

/* A refusal of one is no reason to let the others wait for a pause. */
static void test_the_next_is_tried_when_the_first_is_refused(void)
{
    vsock_running(8);
    wait_for(1, 80, EAGAIN);
    request(STREAM, 2, 80);
    the_pause_is_over();
    expect_question(80);
    vsock_refuse(&question, ECONNREFUSED);
    CU_ASSERT_EQUAL(vsock_hears(1, 80), RST);
    expect_question(80);
    vsock_refuse(&question, ECONNREFUSED);
    CU_ASSERT_EQUAL(vsock_hears(2, 80), RST);
    CU_ASSERT_FALSE(vsock_asks(&others));
}

static void test_who_has_given_up_is_passed_over(void)
{
    vsock_running(8);
    wait_for(1, 80, EAGAIN);
    request(STREAM, 2, 80);
    vsock_says(RST, 1, 80);
    the_pause_is_over();
    expect_question(80);
    close(vsock_serve(&question));
    CU_ASSERT_EQUAL(vsock_hears(2, 80), RESPONSE);
    CU_ASSERT_EQUAL(vsock_hears(2, 80), SHUTDOWN);
    CU_ASSERT_EQUAL(vsock.refused.count, 0);
    /* All have given up: nobody waits. */
    wait_for(3, 82, EAGAIN);
    vsock_says(RST, 3, 82);
    the_pause_is_over();
    CU_ASSERT_FALSE(vsock_asks(&others));
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
}

/* Four servers are asked at the end of each pause. */
static void test_each_server_is_asked_in_its_turn(void)
{
    enum { SERVERS = 7 };
    unsigned int questions[SERVERS] = {0};
    vsock_running(16);
    for (uint32_t i = 0; i < SERVERS; i++)
        wait_for(GUEST_PORT, 80 + i, EAGAIN);
    for (unsigned int round = 0; round < SERVERS; round++) {
        the_pause_is_over();
        CU_ASSERT_EQUAL(guest_device.pause_ms, 64);
        unsigned int count = 0;
        for (; vsock_asks(&question); count++) {
            questions[question.port - 80]++;
            vsock_refuse(&question, EAGAIN);
        }
        CU_ASSERT_EQUAL(count, 4);
    }
    for (uint32_t i = 0; i < SERVERS; i++)
        CU_ASSERT_EQUAL(questions[i], 4);
}

/* Such a connection can last long: it gives way to others. */
static void test_who_waits_for_a_server_gives_way(void)
{
    vsock_running(1);
    wait_for(1, 80, EAGAIN);
    request(STREAM, 2, 81);
    CU_ASSERT_EQUAL(vsock_hears(1, 80), RST);
    expect_question(81);
    int fd = vsock_serve(&question);
    CU_ASSERT_EQUAL(vsock_hears(2, 81), RESPONSE);
    the_pause_is_over();
    CU_ASSERT_FALSE(vsock_asks(&others));
    close(fd);
}

/* ---- Clients of the host ---- */

static void test_a_client_reaches_the_guest(void)
{
    vsock_running(8);
    for (uint16_t type = STREAM; type <= SEQPACKET; type++) {
        int fd = vsock_client(type, "CONNECT 7\n");
        CU_ASSERT_TRUE_FATAL(vsock_got(&header));
        CU_ASSERT_EQUAL(header.op, REQUEST);
        CU_ASSERT_EQUAL(header.type, type);
        CU_ASSERT_EQUAL(header.dst_port, 7);
        const uint32_t host_port = header.src_port;
        CU_ASSERT_EQUAL(vsock_read(fd, vsock_payload, BUFFER), -1);
        header = vsock_header(RESPONSE, 7, host_port);
        header.type = type;
        vsock_send(&header, NULL);
        CU_ASSERT_EQUAL(vsock_read(fd, vsock_payload, BUFFER), 14);
        CU_ASSERT_EQUAL(memcmp(vsock_payload, "OK 10737418", 11), 0);
        close(fd);
        guest_run();
        CU_ASSERT_EQUAL(vsock_hears(7, host_port), SHUTDOWN);
    }
    CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_GREETING), 0);
}

static void test_a_client_says_something_else(void)
{
    vsock_running(8);
    int fd = vsock_client(STREAM, "HELLO\n");
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_GREETING), 1);
    close(fd);
    fd = vsock_client(STREAM, "CONN");
    CU_ASSERT_FALSE(vsock_closed(fd));
    close(fd);
    guest_run();
    CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_GREETING), 0);
    CU_ASSERT_FALSE(vsock_got(&header));
    CU_ASSERT_EQUAL(vsock.table.connections[0].state, VSOCK_FREE);
}

static void test_a_client_says_it_in_two_parts(void)
{
    vsock_running(8);
    int fd = vsock_client(STREAM, "CONN");
    CU_ASSERT_FALSE(vsock_got(&header));
    CU_ASSERT_EQUAL(send(fd, "ECT 9\n", 6, 0), 6);
    guest_run();
    CU_ASSERT_TRUE_FATAL(vsock_got(&header));
    CU_ASSERT_EQUAL(header.dst_port, 9);
    close(fd);
}

/* A client that closes before the guest has answered. What it wrote still reaches the guest, but
 * its place can be taken by another connection. */
static void test_a_client_that_has_gone_gives_way(void)
{
    for (unsigned int early = 0; early < 2; early++) {
        vsock_running(1);
        int fd = vsock_client(STREAM, early == 1 ? NULL : "CONNECT 7\nrest");
        if (early == 1) {
            CU_ASSERT_EQUAL(send(fd, "CONNECT 7\nrest", 14, 0), 14);
            close(fd);
            guest_run();
            fd = -1;
        }
        CU_ASSERT_TRUE_FATAL(vsock_got(&header));
        CU_ASSERT_EQUAL(header.op, REQUEST);
        const uint32_t host_port = header.src_port;
        if (early == 0) {
            int second = vsock_client(STREAM, NULL);
            CU_ASSERT_TRUE(vsock_closed(second)); /* the first one does not give way yet */
            close(second);
            close(fd);
            guest_run();
        }
        fd = vsock_client(STREAM, NULL);
        CU_ASSERT_FALSE(vsock_closed(fd));
        CU_ASSERT_EQUAL(vsock_hears(7, host_port), RST);
        close(fd);
    }
}

static void test_a_client_that_has_gone_is_heard(void)
{
    vsock_running(1);
    int fd = vsock_client(STREAM, "CONNECT 7\nrest");
    close(fd);
    guest_run();
    CU_ASSERT_TRUE_FATAL(vsock_got(&header));
    const uint32_t host_port = header.src_port;
    vsock_says(RESPONSE, 7, host_port);
    CU_ASSERT_TRUE_FATAL(vsock_got(&header)); /* nobody listens any more */
    CU_ASSERT_EQUAL(header.op, SHUTDOWN);
    CU_ASSERT_EQUAL(header.flags, VIRTIO_VSOCK_SHUTDOWN_RCV);
    CU_ASSERT_EQUAL(vsock_hears(7, host_port), VIRTIO_VSOCK_OP_RW);
    CU_ASSERT_EQUAL(memcmp(vsock_payload, "rest", 4), 0);
    CU_ASSERT_EQUAL(vsock_hears(7, host_port), SHUTDOWN);
}

/* A silent client gives way to the next one. */
static void test_a_silent_client_gives_way(void)
{
    vsock_running(1);
    int first = vsock_client(STREAM, NULL);
    CU_ASSERT_FALSE(vsock_closed(first));
    int second = vsock_client(STREAM, "CONNECT 7\n");
    CU_ASSERT_TRUE(vsock_closed(first));
    CU_ASSERT_FALSE(vsock_closed(second));
    CU_ASSERT_EQUAL(vsock_hears(7, 0x40000000), REQUEST);
    close(first);
    /* The guest connects: its connection gets the place of a silent client, too. */
    vsock_says(RST, 7, 0x40000000);
    CU_ASSERT_TRUE(vsock_closed(second));
    close(second);
    first = vsock_client(STREAM, NULL);
    request(STREAM, GUEST_PORT, 80);
    CU_ASSERT_TRUE(vsock_closed(first));
    expect_question(80);
    close(first);
}

static void test_clients_that_no_guest_could_answer(void)
{
    const int no_seqpacket = 1 << VIRTIO_VSOCK_F_SEQPACKET;
    memset(&guest_state, 0, sizeof(guest_state));
    vsock_worker(8);
    int fd = vsock_client(STREAM, "CONNECT 7\n"); /* no driver runs */
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
    vsock_driver((uint64_t)no_seqpacket);
    vsock_offer_rx(8);
    fd = vsock_client(SEQPACKET, "CONNECT 7\n");
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
    CU_ASSERT_FALSE(vsock_got(&header));
    fd = vsock_client(STREAM, "CONNECT 7\n");
    CU_ASSERT_FALSE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_hears(7, 0x40000000), REQUEST);
    close(fd);
}

static void test_only_connections_come_from_the_broker(void)
{
    union message message = {.header = {.type = MSG_START}};
    vsock_running(1);
    CU_ASSERT_FALSE(vsock_virtio_ops.message(&guest_device, &message, NULL, 0));
    /* A client without a socket, and an answer that was not asked for, do nothing. */
    message.connection = (struct message_connection){.header = {.type = MSG_CONNECTION},
                                                     .request = CONNECTION_FROM_HOST,
                                                     .type = STREAM,
                                                     .error = EAGAIN};
    CU_ASSERT_TRUE(vsock_virtio_ops.message(&guest_device, &message, NULL, 0));
    message.connection.error = EMFILE;
    CU_ASSERT_TRUE(vsock_virtio_ops.message(&guest_device, &message, NULL, 0));
    CU_ASSERT_EQUAL(vsock.table.connections[0].state, VSOCK_FREE);
}

/* ---- The end of all connections ---- */

static void test_a_reset_ends_all(void)
{
    vsock_running(16);
    int open = vsock_connected(STREAM, 1, 1);
    wait_for(2, 80, EAGAIN);
    for (uint32_t port = 10; port < 20; port++)
        request(STREAM, GUEST_PORT, port);
    CU_ASSERT_EQUAL(vsock.undialled.count, 2);
    CU_ASSERT_EQUAL(vsock.unanswered, 8);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_TRUE(vsock_closed(open));
    close(open);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    CU_ASSERT(vsock.busy.count == 0 && vsock.starved.count == 0);
    CU_ASSERT(vsock.undialled.count == 0 && vsock.refused.count == 0);
    vsock_driver(0);
    vsock_offer_rx(8);
    CU_ASSERT_FALSE(vsock_got(&header));
    for (uint32_t left = 8; left-- > 0;) { /* the broker counts these, too */
        CU_ASSERT_TRUE_FATAL(vsock_asks(&question));
        int fd = vsock_serve(&question);
        CU_ASSERT_EQUAL(vsock.unanswered, left);
        CU_ASSERT_TRUE(vsock_closed(fd));
        close(fd);
    }
    CU_ASSERT_FALSE(vsock_asks(&question));
    CU_ASSERT_FALSE(vsock_got(&header));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"what the broker may ask for", test_what_the_broker_may_ask_for},
        {"a server is asked for", test_a_server_is_asked_for},
        {"numbers of questions begin anew at their end",
         test_numbers_of_questions_begin_anew_at_their_end},
        {"there is no server", test_there_is_no_server},
        {"the broker takes no more messages", test_the_broker_takes_no_more_messages},
        {"eight questions are open at once", test_eight_questions_are_open_at_once},
        {"an answer that comes too late", test_an_answer_that_comes_too_late},
        {"a server without room is asked again", test_a_server_without_room_is_asked_again},
        {"who came first is served first", test_who_came_first_is_served_first},
        {"the next is tried when the first is refused",
         test_the_next_is_tried_when_the_first_is_refused},
        {"who has given up is passed over", test_who_has_given_up_is_passed_over},
        {"each server is asked in its turn", test_each_server_is_asked_in_its_turn},
        {"who waits for a server gives way", test_who_waits_for_a_server_gives_way},
        {"a client reaches the guest", test_a_client_reaches_the_guest},
        {"a client says something else", test_a_client_says_something_else},
        {"a client says it in two parts", test_a_client_says_it_in_two_parts},
        {"a client that has gone gives way", test_a_client_that_has_gone_gives_way},
        {"a client that has gone is heard", test_a_client_that_has_gone_is_heard},
        {"a silent client gives way", test_a_silent_client_gives_way},
        {"clients that no guest could answer", test_clients_that_no_guest_could_answer},
        {"only connections come from the broker", test_only_connections_come_from_the_broker},
        {"a reset ends all", test_a_reset_ends_all},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "a socket device and the broker", tests);
}
