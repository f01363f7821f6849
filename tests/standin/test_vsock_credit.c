/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device in user space: nobody waits for room that exists. A table gives buffers of
 * every size, types, directions and sizes of messages. Then many small packets, and messages that
 * can't be delivered.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/vsock_fixture.h"

#define MESSAGE_MAX 262144u /* the value in docs/CONFIGURATION.md */

static const uint32_t buffers[] = {256, 1000, 4096, 16384, 32768, 65536, 131072, 262144, 1048576};
static const uint32_t sizes[] = {1,     60,    255,   256,    1000,   4051,   4053,   16384,
                                 60000, 65536, 65537, 100000, 131072, 200000, 262144, 60000};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static uint8_t said[MESSAGE_MAX], heard[MESSAGE_MAX + 1];

static void fill(uint32_t seed)
{
    for (uint32_t i = 0; i < MESSAGE_MAX; i++)
        said[i] = pattern(seed + i);
}

/* The guest's program writes, and waits for room as its kernel does. The host's program reads. */
static uint32_t to_host(struct vsock_fixture *test, const struct pair *pair, uint32_t length)
{
    uint32_t sent = 0, got = 0;
    for (unsigned int idle = 0; got < length && idle < WAIT_MS / 5;) {
        int r = sent < length ? guest_vsock_send(&test->vsock, pair->guest, said + sent,
                                                 length - sent, VIRTIO_VSOCK_SEQ_EOM)
                              : 0;
        CU_ASSERT_FATAL(r >= 0);
        sent += (uint32_t)r;
        ssize_t moved = recv(pair->host, heard + got, sizeof(heard) - got, 0);
        got += moved > 0 ? (uint32_t)moved : 0;
        idle = r > 0 || moved > 0 ? 0 : idle + 1;
        if (r == 0 && moved <= 0)
            guest_run(test, 5);
    }
    return got;
}

static uint32_t to_guest(struct vsock_fixture *test, const struct pair *pair, uint32_t length)
{
    uint32_t sent = 0, got = 0;
    for (unsigned int idle = 0; got < length && idle < WAIT_MS / 5;) {
        ssize_t moved =
            sent < length ? send(pair->host, said + sent, length - sent, MSG_NOSIGNAL) : 0;
        sent += moved > 0 ? (uint32_t)moved : 0;
        uint32_t part = guest_vsock_receive(&test->vsock, pair->guest, heard + got,
                                            (uint32_t)sizeof(heard) - got);
        got += part;
        idle = moved > 0 || part > 0 ? 0 : idle + 1;
        if (moved <= 0 && part == 0)
            guest_run(test, 5);
    }
    return got;
}

static void exchange(struct vsock_fixture *test, uint32_t buffer, uint16_t type, bool guest_sends)
{
    test->vsock.buf_alloc = buffer;
    struct pair pair = type == STREAM ? pair_by_guest(test) : pair_of_messages(test);
    /* Another test has what the guest can neither send nor receive. */
    uint32_t most = type == SEQPACKET && buffer < MESSAGE_MAX ? buffer : MESSAGE_MAX;
    for (size_t i = 0; i < SIZES; i++) {
        uint32_t length = sizes[i];
        if (length > most || length > 200 * buffer)
            continue;
        uint32_t got = guest_sends ? to_host(test, &pair, length) : to_guest(test, &pair, length);
        if (got != length || memcmp(said, heard, length) != 0)
            fprintf(stderr, "\nbuffer %u, %s, from %s, %u bytes: got %u\n", buffer,
                    type == STREAM ? "stream" : "seqpacket", guest_sends ? "guest" : "host", length,
                    got);
        CU_ASSERT_EQUAL_FATAL(got, length);
        CU_ASSERT_EQUAL_FATAL(memcmp(said, heard, length), 0);
    }
    CU_ASSERT_EQUAL(pair.guest->state, SOCKET_CONNECTED);
    guest_vsock_control(&test->vsock, pair.guest, VIRTIO_VSOCK_OP_RST, 0);
    guest_vsock_forget(pair.guest);
    close(pair.host);
}

static void every_size_of_buffer_and_message_passes(void)
{
    static const uint16_t types[] = {STREAM, SEQPACKET};
    struct vsock_fixture test;
    vsock_start(&test);
    fill(11);
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++) {
        for (unsigned int t = 0; t < 2; t++) {
            exchange(&test, buffers[i], types[t], true);
            exchange(&test, buffers[i], types[t], false);
        }
    }
    vsock_stop(&test, false);
}

/* A part of the message waits for credit. An earlier message had used that credit, and it is free
 * again. */
static void credit_is_told_while_a_message_is_incomplete(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    fill(5);
    struct pair pair = pair_of_messages(&test);
    CU_ASSERT_EQUAL(to_host(&test, &pair, 60000), 60000);
    CU_ASSERT_EQUAL(to_host(&test, &pair, 100000), 100000);
    CU_ASSERT_EQUAL(memcmp(said, heard, 100000), 0);
    CU_ASSERT_EQUAL(to_host(&test, &pair, MESSAGE_MAX), MESSAGE_MAX);
    close(pair.host);
    vsock_stop(&test, false);
}

/* Unread packets cost memory in the guest's kernel. Too many of them cost the connection (here the
 * guest's driver counts them). If a guest has read and does not say so, the device asks it. */
static void small_packets_do_not_pile_up(struct vsock_fixture *test, const struct pair *pair)
{
    enum { WRITES = 2000, SIZE = 200 };
    unsigned int sent = 0;
    uint32_t got = 0;
    for (unsigned int idle = 0; idle < 20;) { /* the guest's program reads nothing */
        ssize_t moved =
            sent < WRITES ? send(pair->host, said + sent % 100, SIZE, MSG_NOSIGNAL) : -1;
        sent += moved == SIZE;
        idle = moved > 0 ? 0 : idle + 1;
        CU_ASSERT_FATAL(guest_vsock_poll(&test->vsock, moved > 0 ? 0 : 5) >= 0);
    }
    for (unsigned int i = 0; i < WRITES; i++) {
        if (sent <= i) {
            while (send(pair->host, said + sent % 100, SIZE, MSG_NOSIGNAL) != SIZE)
                guest_run(test, 5);
            sent++;
        }
        for (uint32_t have = 0; have < SIZE; have += got) {
            got = guest_vsock_receive(&test->vsock, pair->guest, heard, SIZE - have);
            if (got == 0)
                got = guest_receive(test, pair->guest, heard, SIZE - have);
            CU_ASSERT_FATAL(got > 0);
            CU_ASSERT_EQUAL(memcmp(heard, said + i % 100 + have, got), 0);
        }
    }
    CU_ASSERT_EQUAL(pair->guest->state, SOCKET_CONNECTED);
}

static void many_small_packets_are_not_too_many(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    fill(3);
    struct pair stream = pair_by_guest(&test), messages = pair_of_messages(&test);
    small_packets_do_not_pile_up(&test, &stream);
    test.vsock.most_unread_packets = 0;
    small_packets_do_not_pile_up(&test, &messages);
    CU_ASSERT(test.vsock.most_unread_packets > 100); /* many packets did pile up */
    close(stream.host);
    close(messages.host);
    vsock_stop(&test, false);
}

/* Neither this connection nor another one waits for something that can never happen. */
static void a_message_larger_than_the_guests_buffer_ends_its_connection(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair other = pair_by_guest(&test);
    for (unsigned int shrinks = 0; shrinks < 2; shrinks++) {
        test.vsock.buf_alloc = shrinks == 1 ? 16384 : 4096;
        struct pair pair = pair_of_messages(&test);
        CU_ASSERT_EQUAL(to_guest(&test, &pair, 4096), 4096); /* one that fits is delivered */
        if (shrinks == 1) {
            /* There is room for a part of the message. Then the guest makes its buffer smaller. */
            CU_ASSERT_EQUAL(send(pair.host, said, 10000, MSG_NOSIGNAL), 10000);
            guest_run(&test, 20);
            CU_ASSERT_EQUAL(send(pair.host, said, 10000, MSG_NOSIGNAL), 10000);
            guest_run(&test, 20);
            pair.guest->buf_alloc = 9000;
            guest_vsock_control(&test.vsock, pair.guest, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
        } else {
            CU_ASSERT_EQUAL(send(pair.host, said, 4097, MSG_NOSIGNAL), 4097);
        }
        CU_ASSERT_TRUE(guest_is_reset(&test, pair.guest));
        CU_ASSERT_TRUE(host_wait(&test, pair.host));
        CU_ASSERT(recv(pair.host, heard, sizeof(heard), 0) <= 0);
        close(pair.host);
        assert_talks(&test, &other);
    }
    close(other.host);
    vsock_stop(&test, false);
}

/* The limit is the same in both directions. */
static void a_message_of_the_guests_has_a_limit(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    fill(8);
    struct pair other = pair_of_messages(&test), pair = pair_of_messages(&test);
    CU_ASSERT_EQUAL(to_host(&test, &pair, MESSAGE_MAX), MESSAGE_MAX);
    for (uint32_t sent = 0; sent < MESSAGE_MAX - 1;) {
        uint32_t left = MESSAGE_MAX - 1 - sent;
        int r = guest_vsock_send(&test.vsock, pair.guest, said, left < 32768 ? left : 32768, 0);
        CU_ASSERT_FATAL(r >= 0);
        sent += (uint32_t)r;
        if (r == 0)
            guest_run(&test, 5);
    }
    guest_run_until_taken(&test);
    CU_ASSERT_EQUAL(pair.guest->state, SOCKET_CONNECTED);
    /* There is no end of the message, and no credit left for one. */
    CU_ASSERT_EQUAL(guest_vsock_send(&test.vsock, pair.guest, "x", 1, 0), 1);
    CU_ASSERT_TRUE(guest_is_reset(&test, pair.guest));
    CU_ASSERT_TRUE(host_at_end(&test, pair.host)); /* the host gets no part of it */
    assert_talks(&test, &other);
    close(pair.host);
    close(other.host);
    vsock_stop(&test, false);
}

static void expect_message(struct vsock_fixture *test, const struct pair *pair, const char *words)
{
    char got[16] = "";
    CU_ASSERT_EQUAL(guest_receive(test, pair->guest, got, sizeof(got)), strlen(words));
    CU_ASSERT_EQUAL(memcmp(got, words, strlen(words)), 0);
}

/* Empty messages are not the end of file, but the guest could not tell the difference. So the
 * device skips them. */
static void empty_messages_of_the_host_are_no_end(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    struct pair pair = pair_of_messages(&test);
    for (unsigned int i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(send(pair.host, "", 0, MSG_NOSIGNAL), 0);
        if (i % 50 == 0)
            guest_run(&test, 5);
    }
    CU_ASSERT_EQUAL(send(pair.host, "one", 3, MSG_NOSIGNAL), 3);
    expect_message(&test, &pair, "one");
    guest_run(&test, 20);
    CU_ASSERT_EQUAL(pair.guest->peer_shutdown, 0);
    assert_talks(&test, &pair);
    /* They are skipped before the end, too. */
    CU_ASSERT_EQUAL(send(pair.host, "two", 3, MSG_NOSIGNAL), 3);
    for (unsigned int i = 0; i < 100; i++)
        CU_ASSERT_EQUAL(send(pair.host, "", 0, MSG_NOSIGNAL), 0);
    CU_ASSERT_EQUAL(send(pair.host, "three", 5, MSG_NOSIGNAL), 5);
    close(pair.host);
    expect_message(&test, &pair, "two");
    expect_message(&test, &pair, "three");
    CU_ASSERT_TRUE(guest_is_told(&test, pair.guest, 3));
    /* Here nothing follows them but the end of one direction. */
    pair = pair_of_messages(&test);
    CU_ASSERT_EQUAL(send(pair.host, "", 0, MSG_NOSIGNAL), 0);
    CU_ASSERT_EQUAL(shutdown(pair.host, SHUT_WR), 0);
    CU_ASSERT_TRUE(guest_is_told(&test, pair.guest, VIRTIO_VSOCK_SHUTDOWN_SEND));
    CU_ASSERT_EQUAL(guest_vsock_send(&test.vsock, pair.guest, "still", 5, VIRTIO_VSOCK_SEQ_EOM), 5);
    CU_ASSERT_EQUAL(host_receive(&test, pair.host, heard, sizeof(heard)), 5);
    close(pair.host);
    vsock_stop(&test, false);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"every size of buffer and message passes", every_size_of_buffer_and_message_passes},
        {"credit is told while a message is incomplete",
         credit_is_told_while_a_message_is_incomplete},
        {"many small packets are not too many", many_small_packets_are_not_too_many},
        {"a message larger than the guest's buffer ends its connection",
         a_message_larger_than_the_guests_buffer_ends_its_connection},
        {"a message of the guest's has a limit", a_message_of_the_guests_has_a_limit},
        {"empty messages of the host are no end", empty_messages_of_the_host_are_no_end},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "socket device in user space: credit", tests);
}
