/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps the dialogue with a vhost-user daemon from its end: connections that end or hang,
 * files that there are too many or too few of, and deadlines.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"
#include "tests/cunit_main.h"
#include "tests/unit/daemon_under_test.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

static bool sends_less; /* the next message is sent but for its last byte */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!sends_less)
        return __real_sendmsg(fd, message, flags);
    sends_less = false;
    struct iovec *first = message->msg_iov;
    first->iov_len--;
    return __real_sendmsg(fd, message, flags);
}

/* One part of an answer is missing at a time: there is no room for more. */
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    if (fd == vu.fd) /* and not the connector's */
        CU_ASSERT_EQUAL(message->msg_iovlen, 1);
    return __real_recvmsg(fd, message, flags);
}

/* The answer comes in two pieces, each with a file. The first may have the number 0. */
static void comes_in_two_pieces(bool first_is_0)
{
    struct packet packet;
    uint32_t requests[16] = {0};
    unsigned int before = fd_count();
    struct manners manners = right_manners;
    manners.protocol_features = BIT(INFLIGHT_SHMFD);
    dialogue_begin();
    vu.terms.config_needed = false;
    manners.wrong = VHOST_USER_GET_INFLIGHT_FD;
    manners.stop = true;
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -EINPROGRESS);
    packet = (struct packet){.header = {VHOST_USER_GET_INFLIGHT_FD,
                                        VHOST_USER_VERSION | VHOST_USER_REPLY,
                                        sizeof(packet.payload.inflight)}};
    daemon_sends(&packet.header, sizeof(packet.header), &memory, 1);
    if (first_is_0)
        free_0();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vu.answer_fd == 0, first_is_0);
    daemon_sends(&packet.payload, sizeof(packet.payload.inflight), &memory, 1);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text,
                           "GET_INFLIGHT_FD: it sends files that it was not asked for");
    if (first_is_0)
        take_0_back();
    dialogue_end();
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void a_file_too_many_in_the_second_piece(void)
{
    comes_in_two_pieces(false);
    comes_in_two_pieces(true);
}

static void connection_that_ends(void)
{
    dialogue_begin(); /* before the first request: there is no signal either */
    close(daemon_end);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: Broken pipe");
    the_next_dialogue_is_right();
    dialogue_end();
    dialogue_begin(); /* after it, unread */
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    close(daemon_end);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: Connection reset by peer");
    the_next_dialogue_is_right();
    dialogue_end();
}

static void it_never_reads(void)
{
    static const char much[4096];
    dialogue_begin();
    while (write(vu.fd, much, sizeof(much)) > 0)
        ;
    while (write(vu.fd, much, 1) > 0)
        ;
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: Resource temporarily unavailable");
    dialogue_end();
}

/* The rest of a request is not sent later: the daemon would wait for it. */
static void a_request_that_is_sent_in_part(void)
{
    dialogue_begin();
    sends_less = true;
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it does not read");
    the_next_dialogue_is_right();
    dialogue_end();
}

/* ---- No more files ---- */

/* A request without its file would confuse the daemon, so none is sent. */
static void no_file_for_the_channel(void)
{
    struct packet packet;
    uint32_t requests[16] = {0};
    struct manners manners = right_manners;
    dialogue_begin();
    manners.limit_after = VHOST_USER_GET_QUEUE_NUM;
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -ECONNREFUSED);
    limit_files(-1);
    CU_ASSERT_STRING_EQUAL(failure.text, "SET_BACKEND_REQ_FD: Too many open files");
    CU_ASSERT_TRUE(daemon_takes(&packet));
    CU_ASSERT_EQUAL(packet.header.request, VHOST_USER_SET_OWNER);
    CU_ASSERT_FALSE(daemon_takes(&packet));
    the_next_dialogue_is_right();
    dialogue_end();
}

/* The kernel drops files for which there is no room. It says so. */
static void a_file_that_was_dropped(void)
{
    struct packet packet;
    dialogue_begin();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_TRUE(daemon_takes(&packet));
    (void)daemon_answers(&right_manners, &packet);
    daemon_sends(&packet.header, sizeof(packet.header), &memory, 1);
    limit_files(0);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    limit_files(-1);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it sends files that it was not asked for");
    dialogue_end();
}

static void free_0_for_answer(struct packet *packet)
{
    (void)packet;
    free_0();
}

static void extra_fd_and_free_0(struct packet *packet)
{
    packet->fds[packet->fd_count++] = dup(memory);
    free_0();
}

/* No number says that there is no file, but a negative one. */
static void the_buffer_may_have_the_number_0(void)
{
    struct manners manners = right_manners;
    uint32_t requests[16] = {0};
    manners.wrong = VHOST_USER_GET_INFLIGHT_FD;
    manners.spoil = free_0_for_answer;
    dialogue_begin();
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), 0);
    CU_ASSERT_EQUAL(vu.inflight_fd, 0);
    close(vu.requests);
    close(vhost_user_take(&vu));
    close(daemon_end);
    dialogue_connect();
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    CU_ASSERT_EQUAL(requests[7], VHOST_USER_SET_MEM_TABLE);
    CU_ASSERT_EQUAL(vu.inflight_fd, 0);
    dialogue_end();
    take_0_back();
    /* And two files are too many, even if the first has that number. */
    dialogue_begin();
    manners.spoil = extra_fd_and_free_0;
    CU_ASSERT_EQUAL(dialogue_run(&manners, requests), -ECONNREFUSED);
    CU_ASSERT_EQUAL(vu.answer_fd, -1);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0); /* it is closed */
    dialogue_end();
    take_0_back();
}

/* ---- Time ---- */

/* Bytes that come one by one do not put the deadline off. */
static void the_deadline_of_a_step(void)
{
    struct packet packet;
    dialogue_begin();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vu.until, NOW + VHOST_USER_STEP_MS);
    CU_ASSERT_TRUE(daemon_takes(&packet));
    (void)daemon_answers(&right_manners, &packet);
    for (int64_t i = 0; i < 9; i++) {
        daemon_sends((char *)&packet.header + i, 1, NULL, 0);
        CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + 100 * i, &failure), -EINPROGRESS);
    }
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + VHOST_USER_STEP_MS - 1, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + VHOST_USER_STEP_MS, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it does not answer in time");
    dialogue_end();
}

/* While the connector works, there is nothing to do, and no failure. */
static int step_connecting(int64_t now)
{
    int result;
    do {
        (void)connector_receive(&connector);
        result = vhost_user_step(&vu, now, &failure);
    } while (result == -EINPROGRESS && vu.connecting && usleep(100) == 0);
    return result;
}

/* The first attempt comes at once, the next after 100 ms. The pauses double up to 5 s. Attempts
 * never stop. After a success the pauses start again. */
static void the_pauses_between_attempts(void)
{
    static const int64_t pauses[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    int64_t now = NOW;
    dialogue_begin();
    close(vu.fd);
    vu.fd = -1;
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        CU_ASSERT_EQUAL(step_connecting(now), -ECONNREFUSED);
        CU_ASSERT_STRING_EQUAL(failure.text, "connect: No such file or directory");
        CU_ASSERT_EQUAL(vu.until, now + pauses[i]);
        if (pauses[i] > 0)
            CU_ASSERT_EQUAL(vhost_user_step(&vu, vu.until - 1, &failure), -EINPROGRESS);
        now = vu.until;
    }
    dialogue_end();
}

/* After a success the pauses begin again. */
static void the_pauses_after_a_success(void)
{
    uint32_t requests[16] = {0};
    int64_t now = NOW;
    dialogue_begin();
    close(vu.fd);
    vu.fd = -1;
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(step_connecting(now), -ECONNREFUSED);
        now = vu.until;
    }
    close(daemon_end);
    dialogue_connect();
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    int fd = vu.fd, channel = vu.requests;
    CU_ASSERT_EQUAL(vhost_user_take(&vu), fd);
    CU_ASSERT(vu.fd == -1 && vu.requests == -1); /* they are the caller's */
    close(fd);
    close(channel);
    CU_ASSERT_EQUAL(vu.until, 0); /* the next connection is made at once */
    CU_ASSERT_EQUAL(step_connecting(now), -ECONNREFUSED);
    CU_ASSERT_EQUAL(vu.until, now);
    the_next_dialogue_is_right();
    dialogue_end();
}

/* ---- The connector ---- */

/* Whoever plays the connector reads what it was asked. */
static void was_asked(int socket, bool is_there)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count = 0;
    int result = message_receive(socket, ROLE_BROKER, &message, fds, &count);
    CU_ASSERT_EQUAL(result, is_there ? 1 : -EAGAIN);
    if (!is_there)
        return;
    CU_ASSERT_EQUAL(message.header.type, MSG_CONNECT_TO);
    CU_ASSERT_EQUAL(message.connect_to.type, SOCK_STREAM);
    CU_ASSERT_STRING_EQUAL(message.connect_to.address.sun_path, "/nonexistent/socket");
}

/* It is asked once. An answer that comes late is used all the same, and at once. */
static void a_connector_that_hangs(void)
{
    struct connector slow;
    int sockets[2], ends[2];
    uint32_t requests[16] = {0};
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    slow = (struct connector){.socket = sockets[0]};
    dialogue_begin();
    close(vu.fd);
    close(daemon_end);
    vu.fd = -1;
    vu.connector = &slow;
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vu.until, NOW + VHOST_USER_STEP_MS);
    was_asked(sockets[1], true);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, vu.until - 1, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, vu.until, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "connect: the file system of its socket does not answer");
    CU_ASSERT_EQUAL(vhost_user_step(&vu, vu.until, &failure), -ECONNREFUSED);
    CU_ASSERT_EQUAL(vu.until, NOW + VHOST_USER_STEP_MS + 100);
    was_asked(sockets[1], false);

    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
                          0);
    union message answer = {
        .connected = {.header = {.type = MSG_CONNECTED, .device = MESSAGE_NO_DEVICE}}};
    CU_ASSERT_EQUAL(message_send(sockets[1], &answer, &ends[0], 1), 0);
    close(ends[0]);
    daemon_end = ends[1];
    free_0(); /* the connection may have this number as well */
    CU_ASSERT_TRUE(connector_receive(&slow));
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vu.fd, 0);
    CU_ASSERT_FALSE(vu.connecting);
    CU_ASSERT_EQUAL(recv(daemon_end, &(char){0}, 1, MSG_PEEK), 1); /* it is asked at once */
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, whole_dialogue, sizeof(whole_dialogue)), 0);
    dialogue_end();
    take_0_back();
    close(sockets[0]);
    close(sockets[1]);
}

static void no_connector(void)
{
    struct connector none = CONNECTOR_NONE;
    dialogue_begin();
    close(vu.fd);
    vu.fd = -1;
    vu.connector = &none;
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "connect: Device or resource busy");
    CU_ASSERT_FALSE(vu.connecting);
    dialogue_end();
}

/* The daemon's backlog is full. The broker does not wait. */
static void a_daemon_that_accepts_nobody(void)
{
    char dir[] = "/tmp/bao-vhost-user-XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    dialogue_begin();
    close(vu.fd);
    vu.fd = -1;
    struct sockaddr_un *address = &vu.terms.address;
    snprintf(address->sun_path, sizeof(address->sun_path), "%s/socket", dir);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(listening, (const struct sockaddr *)address, sizeof(*address)), 0);
    CU_ASSERT_EQUAL(listen(listening, 0), 0);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(connect(other, (const struct sockaddr *)address, sizeof(*address)), 0);
    CU_ASSERT_EQUAL(step_connecting(NOW), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "connect: Resource temporarily unavailable");
    close(other);
    close(listening);
    unlink(address->sun_path);
    rmdir(dir);
    dialogue_end();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a file too many in the second piece", a_file_too_many_in_the_second_piece},
        {"a connection that ends", connection_that_ends},
        {"it never reads", it_never_reads},
        {"a request that is sent in part", a_request_that_is_sent_in_part},
        {"no file for the channel", no_file_for_the_channel},
        {"a file that was dropped", a_file_that_was_dropped},
        {"the buffer may have the number 0", the_buffer_may_have_the_number_0},
        {"the deadline of a step", the_deadline_of_a_step},
        {"the pauses between attempts", the_pauses_between_attempts},
        {"the pauses after a success", the_pauses_after_a_success},
        {"a connector that hangs", a_connector_that_hangs},
        {"no connector", no_connector},
        {"a daemon that accepts nobody", a_daemon_that_accepts_nobody},
        CU_TEST_INFO_NULL,
    };
    if (!daemon_prepare())
        return EXIT_FAILURE;
    return run_tests(argc, argv, "trouble with a vhost-user daemon", tests);
}
