/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line by which a client of the host begins, and the one by which it is answered.
 */
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/vsock_end_under_test.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

WRAPPED(ssize_t, readv, (int fd, const struct iovec *to, int count), (fd, to, count))

static void end(int other)
{
    vsock_host_reset();
    close(other);
}

static const struct {
    const char *line;
    int result;
    uint32_t port;
} lines[] = {
    {"CONNECT 5\n", 1, 5},
    {"connect 5\n", 1, 5},
    {"Connect \t 1234567890 \t\r\n", 1, 1234567890},
    {"CONNECT 0\n", 1, 0},
    {"CONNECT 4294967294\n", 1, 4294967294},
    {"CONNECT 0000000007\n", 1, 7},
    {"CONNECT 5                     \n", 1, 5},  /* 31 bytes */
    {"CONNECT 5                      \n", 1, 5}, /* 32 bytes */
    {"CONNECT 5                       \n", -EPROTO, 0},
    {"CONNECT 5                                                  \n", -EPROTO, 0},
    {"CONNECT 4294967295\n", -EPROTO, 0}, /* VMADDR_PORT_ANY */
    {"CONNECT 4294967296\n", -EPROTO, 0},
    {"CONNECT 9999999999\n", -EPROTO, 0},
    {"CONNECT 00000000005\n", -EPROTO, 0},
    {"CONNECT5\n", -EPROTO, 0},
    {"CONNECT \n", -EPROTO, 0},
    {"CONNECT\n", -EPROTO, 0},
    {"CONNECT -5\n", -EPROTO, 0},
    {"CONNECT 5x\n", -EPROTO, 0},
    {"CONNECT 5 x\n", -EPROTO, 0},
    {"CONNECX 5\n", -EPROTO, 0},
    {" CONNECT 5\n", -EPROTO, 0},
    {"\n", -EPROTO, 0},
};

static void test_the_line_names_a_port(void)
{
    const uint16_t types[] = {STREAM, SEQPACKET};
    for (size_t i = 0; i < 2 * (sizeof(lines) / sizeof(lines[0])); i++) {
        const char *line = lines[i / 2].line;
        uint32_t port = 0;
        int other = open_slot(types[i % 2]);
        CU_ASSERT_EQUAL(send(other, line, strlen(line), 0), (ssize_t)strlen(line));
        int result = vsock_host_greeting(SLOT, types[i % 2], &port);
        CU_ASSERT_EQUAL(result, lines[i / 2].result);
        CU_ASSERT(result < 0 || port == lines[i / 2].port);
        end(other);
    }
}

static void test_a_stream_brings_the_line_in_pieces(void)
{
    static const char line[] = "CONNECT 123\n";
    uint32_t port = 0;
    int other = open_slot(STREAM);
    for (size_t i = 0; i + 2 < sizeof(line); i++) {
        CU_ASSERT_EQUAL(send(other, &line[i], 1, 0), 1);
        vsock_host_event(SLOT, reported());
        CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, STREAM, &port), 0);
    }
    CU_ASSERT_EQUAL(send(other, "\nrest", 5, 0), 5);
    vsock_host_event(SLOT, EPOLLIN);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, STREAM, &port), 1);
    CU_ASSERT_EQUAL(port, 123);
    /* What follows the line is for the guest. */
    struct iovec room = {got, 100};
    bool ends;
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, STREAM, cursor_of(&room, 1), 100, &ends), 4);
    CU_ASSERT_EQUAL(memcmp(got, "rest", 4), 0);
    end(other);
    /* The next connection in this place begins with a line of its own. */
    other = open_slot(STREAM);
    CU_ASSERT_EQUAL(send(other, "CONNECT 4\n", 10, 0), 10);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, STREAM, &port), 1);
    CU_ASSERT_EQUAL(port, 4);
    end(other);
}

static void test_a_message_is_the_whole_line_or_none(void)
{
    uint32_t port;
    int other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, SEQPACKET, &port), 0);
    CU_ASSERT_EQUAL(send(other, "CONNECT ", 8, 0), 8);
    vsock_host_event(SLOT, EPOLLIN);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, SEQPACKET, &port), -EPROTO);
    end(other);
}

static void test_a_client_leaves_without_a_line(void)
{
    uint32_t port;
    int other = open_slot(STREAM);
    CU_ASSERT_EQUAL(send(other, "CONN", 4, 0), 4);
    close(other);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, STREAM, &port), -EPIPE);
    vsock_host_reset();
    other = open_slot(STREAM);
    CU_ASSERT_EQUAL(send(other, "CONN", 4, 0), 4);
    fail_once("readv", ECONNRESET, 2);
    CU_ASSERT_EQUAL(vsock_host_greeting(SLOT, STREAM, &port), -EPIPE);
    end(other);
}

static void test_the_answer_names_the_host_s_port(void)
{
    static const struct {
        uint32_t port;
        const char *line;
    } answers[] = {{0, "OK 0\n"},
                   {1, "OK 1\n"},
                   {9, "OK 9\n"},
                   {10, "OK 10\n"},
                   {1073741824, "OK 1073741824\n"},
                   {4294967295, "OK 4294967295\n"}};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        int other = open_slot(STREAM);
        CU_ASSERT_EQUAL(vsock_host_welcome(SLOT, answers[i].port), 0);
        ssize_t length = recv(other, got, sizeof(got), 0);
        CU_ASSERT_EQUAL(length, (ssize_t)strlen(answers[i].line));
        CU_ASSERT_EQUAL(memcmp(got, answers[i].line, strlen(answers[i].line)), 0);
        close(other);
        CU_ASSERT_EQUAL(vsock_host_welcome(SLOT, answers[i].port), -EPIPE);
        vsock_host_reset();
    }
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the line names a port", test_the_line_names_a_port},
        {"a stream brings the line in pieces", test_a_stream_brings_the_line_in_pieces},
        {"a message is the whole line, or none", test_a_message_is_the_whole_line_or_none},
        {"a client leaves without a line", test_a_client_leaves_without_a_line},
        {"the answer names the host's port", test_the_answer_names_the_host_s_port},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"greetings of a socket device", prepare, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
