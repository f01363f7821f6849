/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's ends of a socket device's connections. Each file is closed once. Each message arrives
 * whole, alone and once, however small the pieces are in which either side takes it. A side that
 * closes does so at once, and not first in one direction. A reader wakes the worker only if the
 * worker may have something for it.
 */
#include "tests/cunit_main.h"
#include "tests/unit/vsock_end_under_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "worker/vsock/buffer.h"
#include "worker/vsock/device.h"

#define FDS 256

static unsigned int closes[FDS], shutdowns;

/* Replaces the C library's, to count. */
int close(int fd)
{
    if (fd >= 0 && fd < FDS)
        closes[fd]++;
    return (int)syscall(SYS_close, fd);
}

int shutdown(int fd, int how)
{
    shutdowns++;
    return (int)syscall(SYS_shutdown, fd, how);
}

static uint32_t below(uint32_t limit)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 20) % limit);
}

static void test_each_file_is_closed_once(void)
{
    int other = open_slot(STREAM);
    memset(closes, 0, sizeof(closes));
    vsock_host_close(SLOT);
    vsock_host_close(SLOT); /* for example first by the table, then by the socket's end */
    vsock_host_reset();
    unsigned int count = 0;
    for (unsigned int fd = 0; fd < FDS; fd++)
        count += closes[fd];
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_FALSE(vsock_host_is_open(SLOT));
    close(other);
    /* Another connection now has its number. That one stays. */
    other = open_slot(STREAM);
    vsock_host_close(SLOT - 1);
    CU_ASSERT_EQUAL(send(other, "x", 1, MSG_NOSIGNAL), 1);
    vsock_host_reset();
    CU_ASSERT_EQUAL(send(other, "x", 1, MSG_NOSIGNAL), -1);
    close(other);
    /* A file that epoll can't watch. */
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    closes[file] = 0;
    CU_ASSERT_FALSE(vsock_host_open(SLOT, STREAM, open("/proc/self/stat", O_RDONLY | O_CLOEXEC)));
    CU_ASSERT_EQUAL(fcntl(file + 1, F_GETFD), -1);
    CU_ASSERT_FALSE(vsock_host_is_open(SLOT));
    close(file);
}

/* One message from the host. Each time, the guest takes as much as it has room for. */
static void read_in_pieces(uint32_t length, uint32_t piece_max)
{
    uint32_t done = 0;
    bool end = false;
    while (!end) {
        struct iovec room[3];
        uint32_t total = 0;
        for (unsigned int i = 0; i < 3; i++) {
            uint32_t part = below(piece_max) + 1;
            if (part > sizeof(got) - done - total - (2 - i))
                part = (uint32_t)(sizeof(got) - done - total - (2 - i));
            room[i] = (struct iovec){got + done + total, part};
            total += part;
        }
        ssize_t moved =
            vsock_host_read(SLOT, SEQPACKET, cursor_of(room, 3), VSOCK_MESSAGE_MAX, &end);
        CU_ASSERT_FATAL(moved > 0);
        CU_ASSERT_FATAL((uint32_t)moved == total || end);
        done += (uint32_t)moved;
        CU_ASSERT_EQUAL(vsock_host_message(SLOT), end ? 0 : length);
        CU_ASSERT_FATAL(done <= length);
    }
    CU_ASSERT_EQUAL_FATAL(done, length);
    CU_ASSERT_EQUAL_FATAL(memcmp(got, data, length), 0);
}

static void test_messages_to_the_guest(void)
{
    int other = open_slot(SEQPACKET);
    struct iovec room = {got, 100};
    bool end;
    for (unsigned int i = 0; i < 300; i++) {
        uint32_t length = i == 0 ? VSOCK_MESSAGE_MAX : below(i % 10 == 0 ? 100000 : 3000) + 1;
        CU_ASSERT_EQUAL(send(other, data, length, MSG_NOSIGNAL), (ssize_t)length);
        CU_ASSERT_EQUAL(send(other, "", 0, MSG_NOSIGNAL), 0);
        read_in_pieces(length, i % 3 == 0 ? 5000 : 700);
    }
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end), -EAGAIN);
    /* A message that is too large for the guest, or for anybody, is lost as a whole. Nothing else
     * is lost. */
    vsock_host_event(SLOT, EPOLLIN);
    CU_ASSERT_EQUAL(send(other, data, 1001, MSG_NOSIGNAL), 1001);
    CU_ASSERT_EQUAL(send(other, data, VSOCK_MESSAGE_MAX + 1, MSG_NOSIGNAL),
                    (ssize_t)VSOCK_MESSAGE_MAX + 1);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end), -EMSGSIZE);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), ~0u, &end), -EMSGSIZE);
    CU_ASSERT_EQUAL(send(other, data, 50, MSG_NOSIGNAL), 50);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end), 50);
    CU_ASSERT_TRUE(end);
    vsock_host_reset();
    close(other);
}

/* An empty message, or the end: the same recv. */
static void test_empty_messages(void)
{
    int other = open_slot(SEQPACKET);
    struct iovec room = {got, 100};
    bool end;
    ssize_t moved;
    for (unsigned int i = 0; i < 150; i++)
        CU_ASSERT_EQUAL(send(other, "", 0, MSG_NOSIGNAL), 0);
    CU_ASSERT_EQUAL(send(other, "a", 1, MSG_NOSIGNAL), 1);
    unsigned int turns = 0;
    while ((moved = vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end)) == -EINTR)
        turns++;
    CU_ASSERT_EQUAL(moved, 1);
    CU_ASSERT(turns > 0); /* so others have their turn meanwhile */
    for (unsigned int i = 0; i < 150; i++)
        CU_ASSERT_EQUAL(send(other, "", 0, MSG_NOSIGNAL), 0);
    CU_ASSERT_EQUAL(send(other, "b", 1, MSG_NOSIGNAL), 1);
    close(other);
    /* The socket has ended, but epoll has not yet said so. */
    for (turns = 0; turns < 50; turns++) {
        moved = vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end);
        CU_ASSERT(moved == -EINTR || moved == 1);
    }
    vsock_host_event(SLOT, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    while ((moved = vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 1000, &end)) == -EINTR)
        ;
    CU_ASSERT_EQUAL(moved, 0);
    CU_ASSERT_FALSE(vsock_host_readable(SLOT));
    vsock_host_reset();
}

/*
 * A program of the host writes and closes. Its end shows in the socket before the event that says
 * whether it is one of both directions.
 */
static void test_a_close_of_the_host(void)
{
    int other = open_slot(STREAM);
    struct iovec room = {got, 100};
    bool end;
    CU_ASSERT_EQUAL(send(other, "a", 1, MSG_NOSIGNAL), 1);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, STREAM, cursor_of(&room, 1), 1000, &end), 1);
    close(other);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, STREAM, cursor_of(&room, 1), 1000, &end), -EAGAIN);
    vsock_host_event(SLOT, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
    CU_ASSERT_TRUE_FATAL(vsock_host_readable(SLOT));
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, STREAM, cursor_of(&room, 1), 1000, &end), 0);
    CU_ASSERT_TRUE(vsock_host_hung_up(SLOT));
    CU_ASSERT_FALSE(vsock_host_readable(SLOT));
    vsock_host_reset();
}

static short seen_by(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN | POLLRDHUP};
    return poll(&look, 1, 0) < 0 ? 0 : look.revents;
}

/* The guest's driver says both at once when its program closes. The host's program must not see the
 * one without the other: it would take the guest for one that still listens. */
static void test_a_close_of_the_guest(void)
{
    static struct device dev;
    const uint8_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    int other = open_slot(STREAM);
    vsock_init(&vsock.table, 3, LIMIT, true);
    *vsock_connection(SLOT) = table.connections[SLOT];
    /* In one direction. */
    vsock_connection(SLOT)->guest_shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND;
    shutdowns = 0;
    vsock_settle(&dev, SLOT);
    CU_ASSERT_EQUAL(shutdowns, 1);
    CU_ASSERT_EQUAL(seen_by(other), POLLIN | POLLRDHUP);
    CU_ASSERT_TRUE(vsock_host_is_open(SLOT));
    vsock_host_reset();
    close(other);
    /* In both. */
    other = open_slot(STREAM);
    *vsock_connection(SLOT) = table.connections[SLOT];
    vsock_connection(SLOT)->guest_shutdown = both;
    shutdowns = 0;
    vsock_settle(&dev, SLOT);
    CU_ASSERT_EQUAL(shutdowns, 0);
    CU_ASSERT_EQUAL(seen_by(other), POLLIN | POLLRDHUP | POLLHUP);
    CU_ASSERT_FALSE(vsock_host_is_open(SLOT));
    CU_ASSERT_EQUAL(vsock_connection(SLOT)->due, 1u << VIRTIO_VSOCK_OP_RST);
    close(other);
}

/* The guest sends a message of so many bytes, in packets. */
static void deliver(uint32_t length)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    for (uint32_t done = 0, part; done < length; done += part) {
        part = below(5000) + 1;
        part = part < length - done ? part : length - done;
        const uint32_t first = below(part + 1);
        const struct iovec segments[2] = {{data + done, first},
                                          {data + done + first, part - first}};
        connection->received += part;
        CU_ASSERT_EQUAL_FATAL(
            vsock_host_deliver(&table, SLOT, cursor_of(segments, 2), done + part == length), 0);
    }
}

/* The host's program is slow. What its socket does not take waits, and arrives as a whole. */
static void test_messages_to_the_host(void)
{
    enum { COUNT = 400 };
    static uint32_t lengths[COUNT];
    int other = open_slot(SEQPACKET);
    struct vsock_connection *connection = &table.connections[SLOT];
    unsigned int sent = 0, received = 0;
    while (received < COUNT) {
        uint32_t length = below(sent % 7 == 0 ? 60000 : 2000) + 1;
        if (sent < COUNT && length <= VSOCK_BUFFER_SIZE - vsock_buffered(connection)) {
            lengths[sent++] = length;
            deliver(length);
            continue;
        }
        ssize_t moved = recv(other, got, sizeof(got), 0);
        vsock_host_event(SLOT, EPOLLOUT);
        CU_ASSERT_EQUAL_FATAL(vsock_host_flush(&table, SLOT), 0);
        if (moved < 0)
            continue;
        CU_ASSERT_EQUAL_FATAL(moved, (ssize_t)lengths[received]);
        CU_ASSERT_EQUAL_FATAL(memcmp(got, data, lengths[received]), 0);
        received++;
    }
    CU_ASSERT_EQUAL(vsock_buffered(connection), 0);
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), -1);
    vsock_host_reset();
    close(other);
}

/* The guest sends `length` bytes of the pattern, which the other side has not all read before. */
static void stream(uint32_t length)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    for (uint32_t done = 0, part; done < length; done += part) {
        uint32_t place = connection->received % VSOCK_MESSAGE_MAX;
        part =
            length - done < VSOCK_MESSAGE_MAX - place ? length - done : VSOCK_MESSAGE_MAX - place;
        const struct iovec segment = {data + place, part};
        connection->received += part;
        CU_ASSERT_EQUAL_FATAL(vsock_host_deliver(&table, SLOT, cursor_of(&segment, 1), false), 0);
    }
}

/* The other side reads what is there, and compares. */
static void read_stream(int other, uint32_t *position)
{
    ssize_t moved;
    while ((moved = recv(other, got, VSOCK_MESSAGE_MAX - *position % VSOCK_MESSAGE_MAX, 0)) > 0) {
        CU_ASSERT_EQUAL_FATAL(memcmp(got, data + *position % VSOCK_MESSAGE_MAX, (size_t)moved), 0);
        *position += (uint32_t)moved;
    }
}

/* The guest sends more than the socket takes. As the other side reads, reports of room bring the
 * rest. */
static void overfill(int other, uint32_t *position)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    for (uint32_t part = 40001; vsock_buffered(connection) == 0; part += 1001)
        stream(part);
    (void)reported(); /* it may have been asked for room while there was some left */
    while (*position != connection->received) {
        read_stream(other, position);
        CU_ASSERT_NOT_EQUAL_FATAL(reported() & EPOLLOUT, 0);
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
    }
}

/* A socket that was never full, or not for a while, does not report that its reader reads. */
static void test_reports_of_room(void)
{
    enum { MANY = 100 };
    int other = open_slot(STREAM);
    uint32_t position = 0;
    CU_ASSERT_EQUAL(reported(), 0);
    for (unsigned int round = 0; round < 3; round++) {
        unsigned int reports = 0;
        for (unsigned int i = 0; i < MANY; i++) {
            stream(i % 7 + 1);
            read_stream(other, &position);
            uint32_t events = reported();
            reports += events != 0;
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, events), 0);
        }
        CU_ASSERT_EQUAL(position, table.connections[SLOT].received);
        CU_ASSERT(round == 0 ? reports == 0 : reports > 0 && reports < MANY / 2);
        overfill(other, &position);
    }
    vsock_host_reset();
    close(other);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"each file is closed once", test_each_file_is_closed_once},
        {"messages to the guest", test_messages_to_the_guest},
        {"empty messages", test_empty_messages},
        {"messages to the host", test_messages_to_the_host},
        {"reports of room", test_reports_of_room},
        {"a close of the host", test_a_close_of_the_host},
        {"a close of the guest", test_a_close_of_the_guest},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"host's ends of a socket device", prepare, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
