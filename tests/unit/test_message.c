/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between keeper, broker and worker: which pass, which are refused, and that no refused
 * message leaves an fd behind. */
#include "common/message.h"
#include "tests/cunit_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The protocol that message.h describes, written down a second time. */
static const struct row {
    enum message_type type;
    enum message_role sender;
    size_t size;
    size_t fds_min, fds_max;
} rows[] = {
    {MSG_START, ROLE_BROKER, sizeof(struct message_start), 1, 40},
    {MSG_READY, ROLE_WORKER, sizeof(struct message_ready), 0, 0},
    {MSG_LOG, ROLE_WORKER, sizeof(struct message_log), 0, 0},
    {MSG_FAILED, ROLE_WORKER, sizeof(struct message_failed), 0, 0},
    {MSG_CONNECT, ROLE_WORKER, sizeof(struct message_connect), 0, 0},
    {MSG_CONNECTION, ROLE_BROKER, sizeof(struct message_connection), 0, 1},
    {MSG_STORE, ROLE_BROKER, sizeof(struct message_store), 1, 40},
    {MSG_RESTORE, ROLE_KEEPER, sizeof(struct message_store), 1, 40},
    {MSG_RESTORE_END, ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    {MSG_RUNNING, ROLE_BROKER, sizeof(struct message_header), 0, 0},
    {MSG_SPAWN, ROLE_BROKER, sizeof(struct message_header), 1, 1},
    {MSG_KILL, ROLE_BROKER, sizeof(struct message_header), 0, 0},
    {MSG_SPAWNED, ROLE_KEEPER, sizeof(struct message_spawned), 0, 0},
    {MSG_DIED, ROLE_KEEPER, sizeof(struct message_died), 0, 0},
    {MSG_STOP, ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    {MSG_STORED, ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    {MSG_CONFIG, ROLE_BROKER, sizeof(struct message_header), 0, 1},
    {MSG_OPEN, ROLE_BROKER, sizeof(struct message_open), 2, 2},
    {MSG_KEEP, ROLE_BROKER, sizeof(struct message_opened), 0, OPENED_FILES},
    {MSG_KEPT, ROLE_KEEPER, sizeof(struct message_opened), 0, OPENED_FILES},
    {MSG_PING, ROLE_KEEPER, sizeof(struct message_header), 0, 0},
    {MSG_PONG, ROLE_BROKER, sizeof(struct message_header), 0, 0},
    {MSG_OPENED, ROLE_OPENER, sizeof(struct message_opened), 0, OPENED_FILES},
    {MSG_CONNECTOR, ROLE_BROKER, sizeof(struct message_header), 1, 1},
    {MSG_CONNECT_TO, ROLE_BROKER, sizeof(struct message_connect_to), 0, 0},
    {MSG_CONNECTED, ROLE_CONNECTOR, sizeof(struct message_connected), 0, 1},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))
#define FDS_EXTRA 8 /* more than a message may carry */

static int pair[2];
static int files[MESSAGE_FDS_MAX + FDS_EXTRA]; /* distinct, to be sent */

static int open_pair(void)
{
    /* It is the calls that do not block, whatever the socket does. */
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static void close_pair(void)
{
    close(pair[0]);
    close(pair[1]);
}

static int open_files(void)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[] = "/tmp/test-message-XXXXXX";
        files[i] = mkostemp(path, O_CLOEXEC);
        if (files[i] < 0)
            return -1;
        unlink(path);
    }
    return 0;
}

static int close_files(void)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        close(files[i]);
    return 0;
}

/* The lowest free number. No higher one is in use, since the pair is made last. */
static int next_fd(void)
{
    int fd = fcntl(files[0], F_DUPFD_CLOEXEC, 0);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    close(fd);
    return fd;
}

/* Asserts that of `count` fds that came from the number `first` on, none is left. */
static void expect_closed(int first, size_t count)
{
    CU_ASSERT_EQUAL(next_fd(), first);
    for (size_t i = 0; i < count; i++)
        CU_ASSERT_EQUAL(fcntl(first + (int)i, F_GETFD), -1);
}

static bool is_same_file(int a, int b)
{
    struct stat a_status, b_status;
    return fstat(a, &a_status) == 0 && fstat(b, &b_status) == 0 &&
           a_status.st_dev == b_status.st_dev && a_status.st_ino == b_status.st_ino;
}

/* Send a packet as a hostile peer could. */
static void send_raw(const void *data, size_t size, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(files))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)data, .iov_len = size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), files, sizeof(int) * fd_count);
    }
    CU_ASSERT_EQUAL_FATAL(sendmsg(pair[0], &header, MSG_NOSIGNAL), (ssize_t)size);
}

static union message make(enum message_type type)
{
    union message message;
    memset(&message, 0x5a, sizeof(message));
    message.header.type = (uint16_t)type;
    message.header.version = MESSAGE_VERSION;
    message.header.device = 7;
    return message;
}

/* Receive a message. On any other result than 1, asserts that nothing was written or kept. */
static int receive(enum message_role sender)
{
    union {
        union message message;
        unsigned char bytes[sizeof(union message)];
    } received;
    memset(&received, 0xc3, sizeof(received));
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 12345;
    int result = message_receive(pair[1], sender, &received.message, fds, &fd_count);
    if (result == 1) {
        for (size_t i = 0; i < fd_count; i++)
            close(fds[i]);
    } else {
        size_t same = 0;
        while (same < sizeof(received) && received.bytes[same] == 0xc3)
            same++;
        CU_ASSERT_EQUAL(same, sizeof(received));
        CU_ASSERT_EQUAL(fd_count, 12345);
    }
    return result;
}

/* Send raw data. Expect -EPROTO from a receiver of `sender`, and no more fds than before. */
static void expect_refused(const void *data, size_t size, size_t fd_count, enum message_role sender)
{
    int before = next_fd();
    send_raw(data, size, fd_count);
    CU_ASSERT_EQUAL(receive(sender), -EPROTO);
    expect_closed(before, fd_count);
}

static void round_trip(const struct row *row, size_t fd_count)
{
    union message sent = make(row->type), received;
    int fds[MESSAGE_FDS_MAX];
    size_t received_count = 0;
    sent.header.version = 0xffff; /* message_send fills it in */
    CU_ASSERT_EQUAL_FATAL(message_send(pair[0], &sent, files, fd_count), 0);
    CU_ASSERT_EQUAL_FATAL(message_receive(pair[1], row->sender, &received, fds, &received_count),
                          1);
    CU_ASSERT_EQUAL(received.header.version, MESSAGE_VERSION);
    CU_ASSERT_EQUAL(memcmp(&sent, &received, row->size), 0);
    const char *rest = (const char *)&received + row->size;
    for (size_t i = 0; i < sizeof(received) - row->size; i++)
        CU_ASSERT_EQUAL(rest[i], 0);
    CU_ASSERT_EQUAL_FATAL(received_count, fd_count);
    for (size_t i = 0; i < fd_count; i++) {
        CU_ASSERT_TRUE(is_same_file(fds[i], files[i]));
        CU_ASSERT_NOT_EQUAL(fds[i], files[i]);
        CU_ASSERT_EQUAL(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
}

static void test_round_trip(void)
{
    CU_ASSERT_EQUAL(ROWS, MSG_TYPES - 1); /* no type is missing here */
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t count = rows[i].fds_min; count <= rows[i].fds_max; count++)
            round_trip(&rows[i], count);
    }
}

static void test_order(void)
{
    union message message = make(MSG_READY);
    for (uint32_t i = 0; i < 5; i++) {
        message.header.device = i;
        CU_ASSERT_EQUAL(message_send(pair[0], &message, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < 5; i++) {
        int fds[MESSAGE_FDS_MAX];
        size_t count;
        CU_ASSERT_EQUAL(message_receive(pair[1], ROLE_WORKER, &message, fds, &count), 1);
        CU_ASSERT_EQUAL(message.header.device, i);
    }
}

static void test_wrong_sender(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        union message message = make(rows[i].type);
        for (enum message_role sender = ROLE_KEEPER; sender <= ROLE_OPENER; sender++) {
            if (sender != rows[i].sender)
                expect_refused(&message, rows[i].size, rows[i].fds_min, sender);
        }
    }
}

static void test_wrong_length(void)
{
    union {
        union message message;
        char bytes[4096]; /* more than any message */
    } packet = {0};
    for (size_t i = 0; i < ROWS; i++) {
        packet.message = make(rows[i].type);
        for (size_t size = 1; size <= sizeof(union message) + 64; size++) {
            if (size != rows[i].size)
                expect_refused(packet.bytes, size, rows[i].fds_min, rows[i].sender);
        }
        expect_refused(packet.bytes, sizeof(packet), rows[i].fds_min, rows[i].sender);
    }
    /* Without data, only the fds make it a message. */
    expect_refused(packet.bytes, 0, 1, ROLE_BROKER);
}

static void test_wrong_version(void)
{
    static const uint16_t versions[] = {0, MESSAGE_VERSION + 1, 0x0100, 0xffff};
    for (size_t i = 0; i < ROWS; i++) {
        union message message = make(rows[i].type);
        for (size_t k = 0; k < sizeof(versions) / sizeof(versions[0]); k++) {
            message.header.version = versions[k];
            expect_refused(&message, rows[i].size, rows[i].fds_min, rows[i].sender);
        }
    }
}

static void test_unknown_type(void)
{
    static const uint16_t types[] = {0, MSG_TYPES, MSG_TYPES + 1, 0x0100, 0xffff};
    for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
        union message message = make(MSG_STOP);
        message.header.type = types[k];
        for (enum message_role sender = ROLE_KEEPER; sender <= ROLE_OPENER; sender++) {
            expect_refused(&message, sizeof(message.header), 0, sender);
            expect_refused(&message, sizeof(message), 3, sender);
        }
        CU_ASSERT_EQUAL(message_send(pair[0], &message, NULL, 0), -EINVAL);
        CU_ASSERT_EQUAL(receive(ROLE_KEEPER), -EAGAIN); /* nothing was sent */
    }
}

static void test_wrong_fd_count(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        union message message = make(rows[i].type);
        for (size_t count = 0; count <= MESSAGE_FDS_MAX + FDS_EXTRA; count++) {
            if (count >= rows[i].fds_min && count <= rows[i].fds_max)
                continue;
            expect_refused(&message, rows[i].size, count, rows[i].sender);
            CU_ASSERT_EQUAL(message_send(pair[0], &message, files, count), -EINVAL);
        }
    }
}

/* A refused message is discarded. The next one is read as a whole. */
static void test_goes_on_after_refusal(void)
{
    union message message = make(MSG_READY);
    send_raw(&message, sizeof(message), 5);
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), -EPROTO);
    CU_ASSERT_EQUAL(message_send(pair[0], &message, NULL, 0), 0);
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), 1);
}

/* The receiver has no free fd left: the kernel truncates the control data. */
static void test_out_of_fds(void)
{
    union message message = make(MSG_START);
    CU_ASSERT_EQUAL(message_send(pair[0], &message, files, 4), 0);
    struct rlimit limit, lowered;
    CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int lowest = fcntl(files[0], F_DUPFD_CLOEXEC, 0);
    close(lowest);
    lowered = limit;
    lowered.rlim_cur = (rlim_t)lowest + 1; /* room for one of the four */
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &lowered), 0);
    int result = receive(ROLE_BROKER);
    CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CU_ASSERT_EQUAL(result, -EPROTO);
    CU_ASSERT_EQUAL(fcntl(lowest, F_GETFD), -1); /* that one was closed */
}

static void test_end_of_file(void)
{
    union message message = make(MSG_READY);
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), -EAGAIN);
    CU_ASSERT_EQUAL(message_send(pair[0], &message, NULL, 0), 0);
    close(pair[0]);
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), 1); /* what was sent before still comes */
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), 0);
    errno = EINTR; /* of an earlier call */
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), 0);
    CU_ASSERT_EQUAL(message_send(pair[1], &message, NULL, 0), -EPIPE);
    pair[0] = -1;
}

/* A peer that dies with unread messages resets the connection. That is an end of file, too. */
static void test_reset(void)
{
    union message message = make(MSG_READY);
    CU_ASSERT_EQUAL(message_send(pair[1], &message, NULL, 0), 0);
    close(pair[0]);
    CU_ASSERT_EQUAL(receive(ROLE_WORKER), 0);
    pair[0] = -1;
}

static void test_full_socket(void)
{
    union message message = make(MSG_START);
    int before = next_fd();
    int result;
    size_t sent = 0;
    while ((result = message_send(pair[0], &message, files, 1)) == 0 && sent < 100000)
        sent++;
    CU_ASSERT_EQUAL(result, -EAGAIN);
    for (size_t i = 0; i < sent; i++)
        CU_ASSERT_EQUAL(receive(ROLE_BROKER), 1);
    CU_ASSERT_EQUAL(receive(ROLE_BROKER), -EAGAIN);
    expect_closed(before, 1);
}

static void test_no_socket(void)
{
    union message message = make(MSG_READY);
    CU_ASSERT_EQUAL(message_send(files[0], &message, NULL, 0), -ENOTSOCK);
    CU_ASSERT_EQUAL(message_send(-1, &message, NULL, 0), -EBADF);
}

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(open_pair(), 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"every type comes through with its fds", test_round_trip},
        {"messages keep their order", test_order},
        {"wrong sender", test_wrong_sender},
        {"wrong length", test_wrong_length},
        {"wrong version", test_wrong_version},
        {"unknown type", test_unknown_type},
        {"wrong number of fds", test_wrong_fd_count},
        {"a refused message is followed by a good one", test_goes_on_after_refusal},
        {"no fd left to receive into", test_out_of_fds},
        {"end of file", test_end_of_file},
        {"reset by the peer", test_reset},
        {"full socket", test_full_socket},
        {"no socket", test_no_socket},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"message", open_files, close_files, set_up, close_pair, tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
