/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's ends of a socket device's connections, call by call: the line by which a client
 * begins, what events mean, and what becomes of a connection when a call to the kernel does not do
 * what was asked.
 */
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/vsock_end_under_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#define DUE(op) (1u << VIRTIO_VSOCK_OP_##op)
#define ROOM_REPORTS 16u /* ROOM_REPORTS_MAX of worker/vsock/host.c */

typedef void (*handler)(int);

static size_t longest_segment; /* of the reads */

ssize_t __real_readv(int fd, const struct iovec *to, int count);
ssize_t __wrap_readv(int fd, const struct iovec *to, int count);
ssize_t __wrap_readv(int fd, const struct iovec *to, int count)
{
    for (int i = 0; i < count; i++)
        longest_segment = to[i].iov_len > longest_segment ? to[i].iov_len : longest_segment;
    return call_fails("readv") ? -1 : __real_readv(fd, to, count);
}

WRAPPED(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
WRAPPED(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),
        (epoll, op, fd, event))
WRAPPED(handler, signal, (int number, handler function), (number, function))

static unsigned int mappings, bad_mappings;

void *__real_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
    mappings++;
    bad_mappings += prot != (PROT_READ | PROT_WRITE) || fd != -1;
    return call_fails("mmap") ? MAP_FAILED : __real_mmap(at, length, prot, flags, fd, offset);
}

static short seen_by(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLIN | POLLRDHUP};
    return poll(&look, 1, 0) < 0 ? 0 : look.revents;
}

static void end(int other)
{
    vsock_host_reset();
    close(other);
}

/* ---- Before lock-down ---- */

static void test_memory_is_mapped_once_and_for_the_most(void)
{
    CU_ASSERT_PTR_EQUAL(signal(SIGPIPE, SIG_IGN), SIG_IGN);
    mappings = bad_mappings = 0;
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT), 0);
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT - 1), 0);
    CU_ASSERT_EQUAL(mappings, 0);
    fail_once("mmap", ENOMEM, 0);
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT + 1), -ENOMEM);
    fail_once("signal", EPERM, 0);
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT + 1), -EPERM);
    CU_ASSERT_EQUAL(mappings, 1);
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT + 1), 0);
    CU_ASSERT_EQUAL(mappings, 2);
    CU_ASSERT_EQUAL(bad_mappings, 0);
    /* The first and the last connection are closed by a reset. */
    const uint32_t slots[] = {0, LIMIT};
    int others[2];
    for (unsigned int i = 0; i < 2; i++) {
        int pair[2];
        CU_ASSERT_EQUAL_FATAL(
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        CU_ASSERT_TRUE(vsock_host_open(slots[i], SEQPACKET, pair[0]));
        others[i] = pair[1];
    }
    vsock_host_reset();
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(seen_by(others[i]), POLLIN | POLLRDHUP | POLLHUP);
        CU_ASSERT_FALSE(vsock_host_is_open(slots[i]));
        close(others[i]);
    }
}

static void test_a_write_to_nobody_raises_no_signal(void)
{
    CU_ASSERT_PTR_NOT_EQUAL(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    CU_ASSERT_EQUAL(vsock_host_init(LIMIT), 0);
    CU_ASSERT_PTR_EQUAL(signal(SIGPIPE, SIG_IGN), SIG_IGN);
}

/* ---- Events ---- */

static ssize_t read_some(uint16_t type)
{
    struct iovec room = {got, 100};
    bool ends;
    return vsock_host_read(SLOT, type, cursor_of(&room, 1), 100, &ends);
}

static void test_what_an_event_means(void)
{
    static const struct {
        uint32_t event;
        bool readable, hung_up, ended, writable;
    } meanings[] = {
        {EPOLLIN, true, false, false, false},  {EPOLLRDHUP, true, false, true, false},
        {EPOLLHUP, true, true, true, false},   {EPOLLERR, true, true, false, false},
        {EPOLLOUT, false, false, false, true}, {EPOLLPRI, false, false, false, false},
    };
    struct vsock_connection *connection = &table.connections[SLOT];
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        int other = open_slot(STREAM);
        CU_ASSERT_EQUAL(read_some(STREAM), -EAGAIN);
        CU_ASSERT_FALSE(vsock_host_readable(SLOT));
        const struct iovec byte = {data, 1};
        connection->received++;
        fail_once("writev", EAGAIN, 0);
        CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&byte, 1), false), 0);
        CU_ASSERT_FALSE(vsock_host_takes(&table, SLOT));
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, meanings[i].event), 0);
        CU_ASSERT_EQUAL(vsock_host_readable(SLOT), meanings[i].readable);
        CU_ASSERT_EQUAL(vsock_host_hung_up(SLOT), meanings[i].hung_up);
        CU_ASSERT_EQUAL(vsock_host_takes(&table, SLOT), meanings[i].writable);
        shutdown(other, SHUT_WR);
        CU_ASSERT_EQUAL(read_some(STREAM), meanings[i].ended ? 0 : -EAGAIN);
        end(other);
    }
}

/* The broker may still have a copy of the socket. */
static void test_a_closed_socket_reports_nothing(void)
{
    int other = open_slot(STREAM);
    int copy = fcntl(worker_s_end, F_DUPFD_CLOEXEC, 0);
    vsock_host_close(SLOT);
    CU_ASSERT_EQUAL(send(other, "a", 1, 0), 1);
    CU_ASSERT_EQUAL(reported(), 0);
    CU_ASSERT_FALSE(vsock_host_readable(SLOT));
    close(copy);
    close(other);
}

static void test_a_closed_connection_has_no_message(void)
{
    struct iovec room = {got, 5};
    bool ends;
    int other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(send(other, data, 9, 0), 9);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), 100, &ends), 5);
    CU_ASSERT_EQUAL(vsock_host_message(SLOT), 9);
    CU_ASSERT_TRUE(vsock_host_readable(SLOT));
    vsock_host_close(SLOT);
    CU_ASSERT_FALSE(vsock_host_readable(SLOT));
    close(other);
    other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(vsock_host_message(SLOT), 0);
    CU_ASSERT_EQUAL(read_some(SEQPACKET), -EAGAIN);
    CU_ASSERT_FALSE(vsock_host_readable(SLOT));
    end(other);
}

static bool asked_for_room(int other)
{
    CU_ASSERT_EQUAL(send(other, "a", 1, 0), 1); /* so there is an event in any case */
    return (reported() & EPOLLOUT) != 0;
}

/* A socket reports room when it was full. It does so some times, lest each report wake the
 * worker. */
static void test_room_is_reported_some_times(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    const struct iovec byte = {data, 1};
    int other = open_slot(STREAM);
    CU_ASSERT_FALSE(asked_for_room(other));
    for (unsigned int round = 0; round < 2; round++) {
        connection->received++;
        fail_once("writev", EAGAIN, 0);
        CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&byte, 1), false), 0);
        for (unsigned int i = 0; i < ROOM_REPORTS; i++)
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
        /* It was full again. */
        connection->received++;
        fail_once("writev", EAGAIN, 0);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        for (unsigned int i = 0; i < ROOM_REPORTS; i++) {
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLIN), 0); /* this is no report of room */
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
            CU_ASSERT_TRUE(asked_for_room(other));
        }
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
        CU_ASSERT_FALSE(asked_for_room(other));
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
    }
    end(other);
}

/* ---- Calls that do not do all ---- */

static void test_interrupted_calls_are_made_again(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    const struct iovec bytes = {data, 9};
    int other = open_slot(STREAM);
    fail_once("writev", EINTR, 0);
    connection->received += 9;
    CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), false), 0);
    CU_ASSERT_EQUAL(vsock_buffered(connection), 0);
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), 9);
    CU_ASSERT_EQUAL(send(other, data, 9, 0), 9);
    fail_once("readv", EINTR, 0);
    CU_ASSERT_EQUAL(read_some(STREAM), 9);
    /* An errno that is left over from an earlier call means nothing. */
    CU_ASSERT_EQUAL(send(other, data, 9, 0), 9);
    errno = EAGAIN;
    CU_ASSERT_EQUAL(read_some(STREAM), 9);
    CU_ASSERT_TRUE(vsock_host_readable(SLOT));
    connection->received += 9;
    errno = EAGAIN;
    CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), false), 0);
    CU_ASSERT_TRUE(vsock_host_takes(&table, SLOT));
    /* Another error is told, and is no reason to wait. */
    for (uint16_t type = STREAM; type <= SEQPACKET; type++) {
        fail_once("readv", ECONNRESET, 0);
        CU_ASSERT_EQUAL(read_some(type), -ECONNRESET);
        CU_ASSERT_TRUE(vsock_host_readable(SLOT));
    }
    end(other);
}

/* The guest sends so many bytes, which the socket does not take now. */
static void keep(uint32_t length, bool message_ends)
{
    const struct iovec bytes = {data, length};
    table.connections[SLOT].received += length;
    fail_once("writev", EAGAIN, 0);
    CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), message_ends), 0);
    failing.call = NULL;
}

static void test_a_full_socket_that_can_t_report_room(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    const struct iovec bytes = {data, 9};
    int other = open_slot(STREAM);
    connection->received += 9;
    int buffer = 1; /* the kernel takes its least */
    CU_ASSERT_EQUAL(setsockopt(worker_s_end, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
    const struct iovec more = {data, 100000};
    connection->received += (uint32_t)more.iov_len - 9;
    fail_once("epoll_ctl", ENOMEM, 1); /* after the socket is forgotten */
    CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&more, 1), false), -ENOMEM);
    end(other);
    other = open_slot(STREAM);
    keep(9, false);
    for (unsigned int i = 0; i < ROOM_REPORTS; i++)
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
    fail_once("epoll_ctl", ENOSPC, 1);
    CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), -ENOMEM);
    end(other);
    other = open_slot(STREAM);
    connection->received += 9;
    CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), false), 0);
    CU_ASSERT_FALSE(asked_for_room(other)); /* it took all: nobody asks */
    end(other);
}

/* The host's program has closed: what it does not read is of no more use to anybody. */
static void test_bytes_for_nobody_are_discarded(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    const struct iovec bytes = {data, 9};
    for (unsigned int kept = 0; kept < 2; kept++) {
        int other = open_slot(STREAM);
        if (kept == 1)
            keep(5, false);
        close(other);
        if (kept == 0) {
            connection->received += 9;
            CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), false), 0);
        } else {
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
            CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        }
        CU_ASSERT_EQUAL(vsock_buffered(connection), 0);
        CU_ASSERT_EQUAL(connection->host_shutdown, VIRTIO_VSOCK_SHUTDOWN_RCV);
        CU_ASSERT_FALSE(vsock_host_takes(&table, SLOT));
        connection->received += 9;
        CU_ASSERT_EQUAL(vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), false), 0);
        CU_ASSERT_EQUAL(vsock_buffered(connection), 0);
        vsock_host_reset();
    }
}

/* ---- From the guest ---- */

/* The guest sends bytes of the pattern, from `at` on. */
static int deliver(uint32_t at, uint32_t length, bool message_ends)
{
    const struct iovec bytes = {data + at, length};
    table.connections[SLOT].received += length;
    return vsock_host_deliver(&table, SLOT, cursor_of(&bytes, 1), message_ends);
}

static void expect_messages(int other, const uint32_t *lengths, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), (ssize_t)lengths[i]);
        CU_ASSERT_EQUAL(memcmp(got, data, lengths[i]), 0);
    }
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), -1);
}

static void test_a_message_has_a_greatest_length(void)
{
    const uint32_t once[] = {VSOCK_MESSAGE_MAX};
    const uint32_t most = VSOCK_MESSAGE_MAX - 1;
    int other = open_slot(SEQPACKET);
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(deliver(0, VSOCK_MESSAGE_MAX, true), 0);
        expect_messages(other, once, 1);
    }
    CU_ASSERT_EQUAL(deliver(0, most, false), 0);
    CU_ASSERT_EQUAL(deliver(most, 1, true), 0);
    expect_messages(other, once, 1);
    CU_ASSERT_EQUAL(deliver(0, most, false), 0);
    CU_ASSERT_EQUAL(deliver(most, 1, false), -EMSGSIZE);
    end(other);
    other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(deliver(0, most, false), 0);
    CU_ASSERT_EQUAL(deliver(most, 2, true), -EMSGSIZE);
    end(other);
}

/* An end without bytes is the end of the bytes before it, or of nothing. */
static void test_an_end_without_bytes(void)
{
    const uint32_t lengths[] = {100, 50};
    int other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(deliver(0, 0, true), 0);
    CU_ASSERT_EQUAL(deliver(0, 100, false), 0);
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), -1);
    CU_ASSERT_EQUAL(deliver(0, 0, true), 0);
    CU_ASSERT_EQUAL(deliver(0, 50, true), 0);
    CU_ASSERT_EQUAL(deliver(0, 0, true), 0);
    expect_messages(other, lengths, 2);
    CU_ASSERT_EQUAL(vsock_buffered(&table.connections[SLOT]), 0);
    end(other);
}

static void test_a_message_is_sent_when_it_ends(void)
{
    const uint32_t lengths[] = {1, 100, 1};
    int other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(deliver(0, 1, true), 0);
    CU_ASSERT_EQUAL(deliver(0, 99, false), 0);
    CU_ASSERT_EQUAL(deliver(99, 1, true), 0);
    CU_ASSERT_EQUAL(deliver(0, 1, true), 0);
    expect_messages(other, lengths, 3);
    end(other);
}

static void test_a_message_that_the_socket_can_never_take(void)
{
    const int least = 1; /* the kernel takes its least */
    for (unsigned int kept = 0; kept < 2; kept++) {
        int other = open_slot(SEQPACKET);
        if (kept == 1)
            keep(100000, true);
        CU_ASSERT_EQUAL(setsockopt(worker_s_end, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
        if (kept == 0) {
            CU_ASSERT_EQUAL(deliver(0, 100000, true), -EMSGSIZE);
        } else {
            CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
            CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), -EMSGSIZE);
        }
        CU_ASSERT_EQUAL(table.connections[SLOT].host_shutdown, 0);
        end(other);
    }
}

/* Where a message of the slot's last connection ended, one of its next connection may go on. */
static void test_ends_of_an_earlier_connection(void)
{
    const uint32_t lengths[] = {100};
    int other = open_slot(SEQPACKET);
    keep(50, true);
    end(other);
    other = open_slot(SEQPACKET);
    CU_ASSERT_EQUAL(deliver(0, 40, false), 0);
    CU_ASSERT_EQUAL(deliver(40, 60, true), 0);
    expect_messages(other, lengths, 1);
    end(other);
}

static void test_only_a_stream_that_has_room_takes_bytes(void)
{
    int other = open_slot(SEQPACKET);
    CU_ASSERT_FALSE(vsock_host_takes(&table, SLOT));
    end(other);
    other = open_slot(STREAM);
    CU_ASSERT_TRUE(vsock_host_takes(&table, SLOT));
    vsock_host_shutdown(&table, SLOT, VIRTIO_VSOCK_SHUTDOWN_SEND);
    CU_ASSERT_TRUE(vsock_host_takes(&table, SLOT));
    vsock_host_shutdown(&table, SLOT, VIRTIO_VSOCK_SHUTDOWN_RCV);
    CU_ASSERT_FALSE(vsock_host_takes(&table, SLOT));
    end(other);
}

/* When all that had to wait is gone, the guest is told; for bytes that did not wait it is not. */
static void test_the_guest_hears_that_nothing_waits(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    for (uint16_t type = STREAM; type <= SEQPACKET; type++) {
        int other = open_slot(type);
        CU_ASSERT_EQUAL(deliver(0, 9, true), 0);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        CU_ASSERT_EQUAL(connection->due, 0);
        keep(1, true);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0); /* there is no room yet */
        CU_ASSERT_EQUAL(vsock_buffered(connection), 1);
        CU_ASSERT_EQUAL(connection->due, 0);
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        CU_ASSERT_EQUAL(vsock_buffered(connection), 0);
        CU_ASSERT_EQUAL(connection->due, DUE(CREDIT_UPDATE));
        end(other);
    }
}

/* ---- The guest's end ---- */

static void test_the_last_message_is_whole_or_discarded(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    const struct {
        enum vsock_state state;
        uint8_t shutdown;
        bool last;
    } cases[] = {{VSOCK_OPEN, 0, false},
                 {VSOCK_OPEN, VIRTIO_VSOCK_SHUTDOWN_RCV, false},
                 {VSOCK_OPEN, VIRTIO_VSOCK_SHUTDOWN_SEND, true},
                 {VSOCK_DRAINING, 0, true}};
    const uint32_t lengths[] = {30};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int other = open_slot(SEQPACKET);
        keep(30, true);
        CU_ASSERT_EQUAL(deliver(0, 7, false), 0);
        connection->state = cases[i].state;
        connection->guest_shutdown = cases[i].shutdown;
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        CU_ASSERT_EQUAL(vsock_buffered(connection), 37); /* the whole message waits for room */
        CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
        CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
        CU_ASSERT_EQUAL(vsock_buffered(connection), cases[i].last ? 0 : 7);
        expect_messages(other, lengths, 1);
        end(other);
    }
}

static void test_an_end_comes_after_the_bytes_before_it(void)
{
    struct vsock_connection *connection = &table.connections[SLOT];
    int other = open_slot(STREAM);
    vsock_host_shut(&table, SLOT);
    CU_ASSERT_EQUAL(seen_by(other), 0);
    keep(1, false);
    connection->guest_shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND;
    vsock_host_shut(&table, SLOT);
    CU_ASSERT_EQUAL(seen_by(other), 0);
    CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLOUT), 0);
    CU_ASSERT_EQUAL(vsock_host_flush(&table, SLOT), 0);
    vsock_host_shut(&table, SLOT);
    CU_ASSERT_EQUAL(seen_by(other), POLLIN | POLLRDHUP);
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), 1);
    CU_ASSERT_EQUAL(recv(other, got, sizeof(got), 0), 0);
    CU_ASSERT_EQUAL(send(other, "a", 1, MSG_NOSIGNAL), 1); /* the guest still listens */
    CU_ASSERT_EQUAL(read_some(STREAM), 1);
    connection->guest_shutdown = VIRTIO_VSOCK_SHUTDOWN_RCV;
    vsock_host_shut(&table, SLOT);
    CU_ASSERT_EQUAL(send(other, "a", 1, MSG_NOSIGNAL), -1);
    end(other);
}

/* ---- To the guest ---- */

static void test_a_message_in_as_many_segments_as_may_be(void)
{
    static struct iovec room[VSOCK_SEGMENTS_MAX - 1];
    const uint32_t count = VSOCK_SEGMENTS_MAX - 1;
    struct iovec more = {got + count, 100};
    bool ends;
    int other = open_slot(SEQPACKET);
    memset(got, 0, sizeof(got));
    for (uint32_t i = 0; i < count; i++)
        room[i] = (struct iovec){got + i, 1};
    CU_ASSERT_EQUAL(send(other, data, 1100, 0), 1100);
    CU_ASSERT_EQUAL(
        vsock_host_read(SLOT, SEQPACKET, cursor_of(room, count), VSOCK_MESSAGE_MAX, &ends),
        (ssize_t)count);
    CU_ASSERT_FALSE(ends);
    CU_ASSERT_EQUAL(vsock_host_read(SLOT, SEQPACKET, cursor_of(&more, 1), VSOCK_MESSAGE_MAX, &ends),
                    (ssize_t)(1100 - count));
    CU_ASSERT_TRUE(ends);
    CU_ASSERT_EQUAL(memcmp(got, data, 1100), 0);
    end(other);
}

static ssize_t read_message(uint32_t most, bool *ret_ends)
{
    struct iovec room = {got, 100};
    return vsock_host_read(SLOT, SEQPACKET, cursor_of(&room, 1), most, ret_ends);
}

static void test_a_message_of_the_most_that_the_guest_takes(void)
{
    const uint32_t lengths[] = {1, 99, 100, 101};
    bool ends;
    int other = open_slot(SEQPACKET);
    for (unsigned int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(send(other, data, lengths[i], 0), (ssize_t)lengths[i]);
        ssize_t expected = i < 3 ? (ssize_t)lengths[i] : -EMSGSIZE;
        CU_ASSERT_EQUAL(read_message(100, &ends), expected);
        CU_ASSERT_EQUAL(ends, i < 3);
    }
    CU_ASSERT_EQUAL(send(other, data, VSOCK_MESSAGE_MAX, 0), (ssize_t)VSOCK_MESSAGE_MAX);
    longest_segment = 0;
    CU_ASSERT_EQUAL(read_message(~0u, &ends), 100);
    CU_ASSERT(longest_segment <= VSOCK_MESSAGE_MAX + 1); /* the worker's own memory */
    CU_ASSERT_EQUAL(vsock_host_message(SLOT), VSOCK_MESSAGE_MAX);
    end(other);
}

static void send_empty(int other, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(send(other, "", 0, 0), 0);
}

/* Others have their turn after EMPTY_READS_A_TURN empty messages in a row. */
static void test_a_few_empty_messages_cost_no_turn(void)
{
    bool ends;
    int other = open_slot(SEQPACKET);
    for (unsigned int i = 0; i < 3; i++) {
        send_empty(other, 63);
        CU_ASSERT_EQUAL(send(other, "a", 1, 0), 1);
        errno = EAGAIN; /* of an earlier call */
        CU_ASSERT_EQUAL(read_message(100, &ends), 1);
        CU_ASSERT_TRUE(ends);
        CU_ASSERT_TRUE(vsock_host_readable(SLOT));
    }
    end(other);
}

/* 1024 reads of nothing: there can't be so many empty messages in a socket. */
static void test_the_end_of_messages_is_told_in_few_turns(void)
{
    unsigned int turns = 0;
    ssize_t moved;
    bool ends;
    int other = open_slot(SEQPACKET);
    close(other);
    CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLIN | EPOLLRDHUP | EPOLLHUP), 0);
    while ((moved = read_message(100, &ends)) == -EINTR)
        turns++;
    CU_ASSERT_EQUAL(moved, 0);
    CU_ASSERT_FALSE(ends);
    CU_ASSERT_EQUAL(turns, 1024 / 64 - 1);
    vsock_host_reset();
}

static void test_the_end_of_a_stream_is_no_error(void)
{
    int other = open_slot(STREAM);
    close(other);
    CU_ASSERT_EQUAL(vsock_host_event(SLOT, EPOLLIN | EPOLLRDHUP | EPOLLHUP), 0);
    errno = ECONNRESET; /* of an earlier call, like those below */
    CU_ASSERT_EQUAL(read_some(STREAM), 0);
    errno = EINTR;
    CU_ASSERT_EQUAL(read_some(STREAM), 0);
    vsock_host_reset();
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"memory is mapped once, and for the most", test_memory_is_mapped_once_and_for_the_most},
        {"a write to nobody raises no signal", test_a_write_to_nobody_raises_no_signal},
        {"what an event means", test_what_an_event_means},
        {"a closed socket reports nothing", test_a_closed_socket_reports_nothing},
        {"a closed connection has no message", test_a_closed_connection_has_no_message},
        {"room is reported some times", test_room_is_reported_some_times},
        {"interrupted calls are made again", test_interrupted_calls_are_made_again},
        {"a full socket that can't report room", test_a_full_socket_that_can_t_report_room},
        {"bytes for nobody are discarded", test_bytes_for_nobody_are_discarded},
        {"a message has a greatest length", test_a_message_has_a_greatest_length},
        {"an end without bytes", test_an_end_without_bytes},
        {"a message is sent when it ends", test_a_message_is_sent_when_it_ends},
        {"a message that the socket can never take", test_a_message_that_the_socket_can_never_take},
        {"ends of an earlier connection", test_ends_of_an_earlier_connection},
        {"only a stream that has room takes bytes", test_only_a_stream_that_has_room_takes_bytes},
        {"the guest hears that nothing waits", test_the_guest_hears_that_nothing_waits},
        {"the last message is whole, or discarded", test_the_last_message_is_whole_or_discarded},
        {"an end comes after the bytes before it", test_an_end_comes_after_the_bytes_before_it},
        {"a message in as many segments as may be", test_a_message_in_as_many_segments_as_may_be},
        {"a message of the most that the guest takes",
         test_a_message_of_the_most_that_the_guest_takes},
        {"a few empty messages cost no turn", test_a_few_empty_messages_cost_no_turn},
        {"the end of messages is told in few turns", test_the_end_of_messages_is_told_in_few_turns},
        {"the end of a stream is no error", test_the_end_of_a_stream_is_no_error},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"host's ends of a socket device, call by call", prepare, NULL, NULL, NULL, tests},
        CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
