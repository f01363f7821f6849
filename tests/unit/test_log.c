/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's messages: their form, and how many of them a guest can cause. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"
#include "tests/cunit_main.h"
#include "worker/log.h"

static int broker = -1;

static void connect_broker(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) < 0)
        abort();
    close(broker);
    broker = fcntl(pair[0], F_DUPFD, 64);
    if (dup2(pair[1], WORKER_FD_CONTROL) != WORKER_FD_CONTROL)
        abort();
    for (int i = 0; i < 2; i++) {
        if (pair[i] != WORKER_FD_CONTROL)
            close(pair[i]);
    }
    log_quiet();
    log_init(9);
}

/* Receive a message as the broker does, by its rules. */
static bool received(struct message_log *ret)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
    if (message_receive(broker, ROLE_WORKER, &message, fds, &fd_count) != 1 || fd_count != 0)
        return false;
    CU_ASSERT_EQUAL(message.header.type, MSG_LOG);
    *ret = message.log;
    return true;
}

static void test_form(void)
{
    struct message_log log;
    connect_broker();
    log_event(LOG_AVAIL_INVALID, 1, UINT64_MAX, 3);
    CU_ASSERT_TRUE_FATAL(received(&log));
    CU_ASSERT_EQUAL(log.header.device, 9);
    CU_ASSERT_EQUAL(log.code, LOG_AVAIL_INVALID);
    CU_ASSERT_EQUAL(log.suppressed, 0);
    CU_ASSERT_EQUAL(log.args[0], 1);
    CU_ASSERT_EQUAL(log.args[1], UINT64_MAX);
    CU_ASSERT_EQUAL(log.args[2], 3);
    CU_ASSERT_EQUAL(log.args[3], 0);
    CU_ASSERT_FALSE(received(&log));
}

static void test_limit(void)
{
    struct message_log log;
    unsigned int count = 0, suppressed = 0;
    connect_broker();
    CU_ASSERT_FALSE(log_limited());
    for (unsigned int i = 0; i < 1u << 20; i++) {
        log_event(LOG_DESC_INVALID, i);
        if (received(&log)) {
            count++;
            suppressed += log.suppressed;
        }
    }
    CU_ASSERT_EQUAL(count, LOG_BURST + 17); /* 16, 32, ... 2^20 */
    CU_ASSERT_EQUAL(count + suppressed, 1u << 20);
    log_event(LOG_RESET, 0); /* each code is counted by itself */
    CU_ASSERT_TRUE(received(&log));

    CU_ASSERT_TRUE(log_limited());
    log_event(LOG_DESC_INVALID, 0);
    CU_ASSERT_FALSE(received(&log));
    log_quiet();
    CU_ASSERT_FALSE(log_limited());
    log_event(LOG_DESC_INVALID, 0);
    CU_ASSERT_TRUE(received(&log));
    CU_ASSERT_EQUAL(log.suppressed, 1);
}

/* A quiet second is one for every code. */
static void test_quiet(void)
{
    struct message_log log;
    connect_broker();
    for (enum log_code code = 0; code < LOG_CODE_COUNT; code++) {
        for (unsigned int i = 0; i <= LOG_BURST; i++)
            log_event(code, i);
        for (unsigned int i = 0; i < LOG_BURST; i++)
            CU_ASSERT_TRUE(received(&log));
        CU_ASSERT_FALSE(received(&log));
        log_quiet();
        log_event(code, 0);
        CU_ASSERT_TRUE(received(&log));
        CU_ASSERT_EQUAL(log.code, code);
        CU_ASSERT_EQUAL(log.suppressed, 1);
    }
}

static void test_broker_is_slow_or_gone(void)
{
    struct message_log log;
    unsigned int sent = 0, got = 0;
    connect_broker();
    for (; sent < 100000; sent++) {
        log_quiet();
        log_event(LOG_RESET, sent);
    }
    while (received(&log)) {
        CU_ASSERT_EQUAL_FATAL(log.args[0], got);
        got++;
    }
    CU_ASSERT_TRUE(got > 0 && got < sent);
    log_quiet();
    log_event(LOG_RESET, 0);
    CU_ASSERT_TRUE(received(&log));
    CU_ASSERT_EQUAL(log.suppressed, sent - got);
    close(broker);
    log_quiet();
    log_event(LOG_RESET, 0); /* no SIGPIPE */
    broker = -1;
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"form", test_form},   {"limit", test_limit},
        {"quiet", test_quiet}, {"broker is slow or gone", test_broker_is_slow_or_gone},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "log", tests);
}
