/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user daemon that does not keep to the protocol, or is gone. A worker that gives the
 * daemon up ends, so that is done in a child.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/one_fd.h"
#include "tests/cunit_main.h"
#include "tests/unit/worker_dialogue.h"

static void start_it(void)
{
    (void)OPS.start(&device, false, &fault);
}

static void stop_it(void)
{
    OPS.stop(&device);
}

static void look_at_the_daemon(void)
{
    (void)OPS.backend_event(&device, 0, EPOLLIN, &fault);
}

static void look_at_its_requests(void)
{
    (void)OPS.backend_event(&device, 2, EPOLLIN, &fault);
}

/* Asserts that a worker that does this gives the daemon up, says so, and ends. */
static void gives_up(void (*action)(void))
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        action();
        _exit(78);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    CU_ASSERT_EQUAL(guest_logged(LOG_DAEMON_LOST), 1);
}

/* A message of which only the first `length` bytes come. */
struct wrong {
    uint32_t request, flags, size;
    uint64_t value;
    bool with_file;
    size_t length;
};

static void say_wrong(int socket, const struct wrong *wrong)
{
    const struct vhost_user_header header = {wrong->request, wrong->flags, wrong->size};
    union one_fd room = {0};
    unsigned char bytes[sizeof(header) + sizeof(wrong->value)];
    struct iovec part = {bytes, wrong->length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), &wrong->value, sizeof(wrong->value));
    one_fd_attach(&message, &room, wrong->with_file ? 0 : -1);
    CU_ASSERT_EQUAL(sendmsg(socket, &message, 0), (ssize_t)wrong->length);
    CU_ASSERT_EQUAL(shutdown(socket, SHUT_WR), 0);
}

/* The worker sends only one message here. So nothing but its answer can be what is wrong. */
static void test_wrong_answers(void)
{
    static const struct wrong rows[] = {
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 1, false, 20}, /* it says that it failed */
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 1ull << 63, false, 20},
        {VHOST_USER_GET_FEATURES, ANSWER, 8, 0, false, 20},
        {VHOST_USER_SET_FEATURES, ANSWER, 4, 0, false, 20},
        {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 8, 0, false, 20},
        {VHOST_USER_SET_FEATURES, VHOST_USER_REPLY | 2, 8, 0, false, 20},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, true, 20},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, false, 19},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, false, 12},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, false, 11},
    };
    const struct wrong good = {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, false, 20};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), 0);
        say_wrong(daemon_end, &rows[i]);
        gives_up(start_it);
    }
    prepare(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), 0);
    say_wrong(daemon_end, &good);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
}

/* The number of another ring in the answer to GET_VRING_BASE. */
static void test_wrong_ring_stopped(void)
{
    prepare(0, 1);
    answer_after_files(3);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    answer(VHOST_USER_GET_VRING_BASE, &(struct vhost_vring_state){1, 9}, 8);
    gives_up(stop_it);
}

/* Nobody answers this message. That there is nobody to read it is enough. */
static void test_daemon_gone(void)
{
    prepare(0, 0);
    close(daemon_end);
    daemon_end = -1;
    gives_up(look_at_the_daemon);
    gives_up(start_it);
    prepare(0, 0);
    answer_number(VHOST_USER_GET_FEATURES, 0); /* nobody asked */
    gives_up(look_at_the_daemon);
}

/* A buffer of which nothing can be forgotten, as a broken daemon can send one. */
static void test_buffer_without_holes(void)
{
    prepare(BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), 0);
    CU_ASSERT_EQUAL(dup2(requests_end, INFLIGHT), INFLIGHT);
    answer_number(VHOST_USER_GET_FEATURES, 0);
    gives_up(start_it);
    CU_ASSERT_EQUAL(OPS.start(&device, true, &fault), 0); /* a successor forgets nothing */
}

static void test_wrong_requests(void)
{
    enum { CHANGED = VHOST_USER_BACKEND_CONFIG_CHANGE_MSG };
    static const struct wrong rows[] = {
        {CHANGED + 1, VHOST_USER_VERSION, 0, 0, false, 12},
        {CHANGED, VHOST_USER_VERSION, 1, 0, false, 12},
        {CHANGED, ANSWER, 0, 0, false, 12},
        {CHANGED, 2, 0, 0, false, 12},
        {CHANGED, VHOST_USER_VERSION, 0, 0, true, 12},
        {CHANGED, VHOST_USER_VERSION, 0, 0, false, 11},
        {CHANGED, VHOST_USER_VERSION, 0, 0, false, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ), 0);
        answer_config("12345678");
        say_wrong(requests_end, &rows[i]);
        gives_up(look_at_its_requests);
    }
}

/* As many requests as this are taken in one turn. A daemon that has sent more never stops. */
static void test_flood_of_requests(void)
{
    for (int more = 0; more < 2; more++) {
        prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ), 0);
        for (int i = 0; i < 64 + more; i++) {
            say(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, "", 0);
            answer_config("12345678");
        }
        if (more)
            gives_up(look_at_its_requests);
        else
            CU_ASSERT_EQUAL(OPS.backend_event(&device, 2, EPOLLIN, &fault), 0);
    }
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"wrong answers", test_wrong_answers},
        {"another ring is stopped", test_wrong_ring_stopped},
        {"a daemon that is gone", test_daemon_gone},
        {"a buffer without holes", test_buffer_without_holes},
        {"wrong requests", test_wrong_requests},
        {"a flood of requests", test_flood_of_requests},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "a vhost-user daemon that is given up", tests);
}
