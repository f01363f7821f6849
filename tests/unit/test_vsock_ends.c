/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection of a socket device ends, by either side and in one or both directions; a guest
 * without room, which is asked for it again; and the event that tells the guest that all is lost.
 */
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/vsock_under_test.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker/vsock/device.h"

#define PORT 7u
#define SERVER 80u
#define RW VIRTIO_VSOCK_OP_RW
#define RST VIRTIO_VSOCK_OP_RST
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define CREDIT_REQUEST VIRTIO_VSOCK_OP_CREDIT_REQUEST
#define RCV VIRTIO_VSOCK_SHUTDOWN_RCV
#define SEND VIRTIO_VSOCK_SHUTDOWN_SEND
#define MESSAGE_MAX 0x40000u

WRAPPED(ssize_t, readv, (int fd, const struct iovec *to, int count), (fd, to, count))
WRAPPED(int, epoll_ctl, (int epoll, int op, int fd, struct epoll_event *event),
        (epoll, op, fd, event))

static uint8_t bytes[0x10000], got[MESSAGE_MAX];
static struct virtio_vsock_hdr header;

static int connected(uint16_t type)
{
    vsock_running(8);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 29);
    return vsock_connected(type, PORT, SERVER);
}

static void guest_shuts_down(uint32_t flags)
{
    header = vsock_header(SHUTDOWN, PORT, SERVER);
    header.flags = flags;
    vsock_send(&header, NULL);
}

static void expect_shutdown(uint32_t flags)
{
    CU_ASSERT_TRUE_FATAL(vsock_got(&header));
    CU_ASSERT_EQUAL(header.op, SHUTDOWN);
    CU_ASSERT_EQUAL(header.flags, flags);
}

/* The guest sends bytes of the pattern, from `at` on. */
static void guest_sends(uint16_t type, uint32_t at, uint32_t length, uint32_t flags)
{
    header = vsock_header(RW, PORT, SERVER);
    header.type = type;
    header.len = length;
    header.flags = flags;
    vsock_send(&header, bytes + at);
}

static void host_sends(int fd, uint32_t length)
{
    CU_ASSERT_EQUAL(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
    guest_run();
}

static void expect_data(uint32_t length, uint32_t flags)
{
    CU_ASSERT_TRUE_FATAL(vsock_got(&header));
    CU_ASSERT_EQUAL(header.op, RW);
    CU_ASSERT_EQUAL(header.len, length);
    CU_ASSERT_EQUAL(header.flags, flags);
}

/* ---- The guest ends ---- */

static void test_the_guest_sends_no_more(void)
{
    int fd = connected(STREAM);
    guest_sends(STREAM, 0, 9, 0);
    guest_shuts_down(SEND);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 9);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 0);
    host_sends(fd, 5);
    expect_data(5, 0);
    CU_ASSERT_FALSE(vsock_closed(fd));
    close(fd);
    guest_run();
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), SHUTDOWN);
}

static void test_the_guest_takes_no_more(void)
{
    int fd = connected(STREAM);
    guest_shuts_down(RCV);
    CU_ASSERT_EQUAL(send(fd, bytes, 1, MSG_NOSIGNAL), -1);
    guest_sends(STREAM, 0, 9, 0);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 9);
    /* The host's program has nothing to say, either, but it still takes. */
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
    guest_run();
    guest_sends(STREAM, 0, 8, 0);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 8);
    close(fd);
    guest_run();
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), SHUTDOWN);
    CU_ASSERT_EQUAL(vsock_connection(0)->state, VSOCK_CLOSING);
}

static void test_the_guest_closes(void)
{
    int fd = connected(STREAM);
    guest_sends(STREAM, 0, 9, 0);
    guest_shuts_down(SEND | RCV);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 9);
    close(fd);
}

/* What the host's program has not read yet is kept for it. */
static void test_the_guest_closes_before_all_is_read(void)
{
    for (unsigned int reset = 0; reset < 2; reset++) {
        int fd = connected(STREAM);
        uint32_t sent = 0, read = 0;
        while (vsock_buffered(vsock_connection(0)) < 1000) {
            guest_sends(STREAM, 0, sizeof(bytes), 0);
            sent += sizeof(bytes);
        }
        if (reset == 1)
            vsock_says(RST, PORT, SERVER);
        else
            guest_shuts_down(SEND | RCV);
        CU_ASSERT_FALSE(vsock_closed(fd));
        ssize_t moved;
        while (read < sent && (moved = vsock_read(fd, got, sizeof(bytes))) > 0) {
            for (ssize_t i = 0; i < moved; i++, read++) {
                if (got[i] != bytes[read % sizeof(bytes)])
                    CU_FAIL_FATAL("another byte");
            }
            guest_run();
        }
        CU_ASSERT_EQUAL(read, sent);
        CU_ASSERT_TRUE(vsock_closed(fd));
        int last = -1, op;
        while ((op = vsock_hears(PORT, SERVER)) >= 0)
            last = op;
        CU_ASSERT(reset == 1 ? last != RST : last == RST);
        CU_ASSERT_EQUAL(vsock_connection(0)->state, VSOCK_FREE);
        close(fd);
    }
}

static void test_the_guest_breaks_the_rules(void)
{
    int fd = connected(STREAM);
    guest_sends(STREAM, 0, 9, 0);
    vsock_says(VIRTIO_VSOCK_OP_RESPONSE, PORT, SERVER); /* that was not asked */
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 9);
    CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_BROKEN), 1);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
    close(fd);
}

/* ---- The host ends ---- */

static void test_the_host_sends_no_more(void)
{
    int fd = connected(STREAM);
    host_sends(fd, 9);
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_WR), 0);
    guest_run();
    expect_data(9, 0);
    expect_shutdown(SEND);
    CU_ASSERT_FALSE(vsock_got(&header));
    guest_sends(STREAM, 0, 5, 0);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), 5);
    close(fd);
    guest_run();
    expect_shutdown(SEND | RCV);
}

static void test_the_host_takes_no_more(void)
{
    int fd = connected(STREAM);
    CU_ASSERT_EQUAL(shutdown(fd, SHUT_RD), 0);
    guest_sends(STREAM, 0, 5, 0);
    expect_shutdown(RCV);
    host_sends(fd, 9);
    expect_data(9, 0);
    close(fd);
}

/* What it has not read is lost; what it has written is not. */
static void test_the_host_closes_before_it_has_read_all(void)
{
    int fd = connected(STREAM);
    guest_sends(STREAM, 0, 5, 0);
    CU_ASSERT_EQUAL(send(fd, bytes, 9, 0), 9);
    close(fd); /* now there is an ECONNRESET behind the bytes */
    guest_run();
    expect_data(9, 0);
    expect_shutdown(SEND | RCV);
    CU_ASSERT_FALSE(vsock_got(&header));
}

static void test_a_socket_that_can_t_be_read(void)
{
    int fd = connected(STREAM);
    CU_ASSERT_EQUAL(send(fd, bytes, 9, 0), 9);
    fail_once("readv", EIO, 0);
    guest_run();
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
}

static void test_a_socket_that_can_t_be_watched(void)
{
    int fd = connected(STREAM);
    while (vsock_buffered(vsock_connection(0)) == 0)
        guest_sends(STREAM, 0, sizeof(bytes), 0);
    while (vsock_read(fd, got, sizeof(got)) > 0)
        guest_run();
    CU_ASSERT_EQUAL(vsock_buffered(vsock_connection(0)), 0);
    fail_once("epoll_ctl", ENOMEM, 1);
    for (unsigned int i = 0; i < 17; i++) /* more reports of room than a socket may make */
        vsock_virtio_ops.connection_event(&guest_device, 0, EPOLLOUT);
    guest_run();
    int last = -1, op;
    while ((op = vsock_hears(PORT, SERVER)) >= 0)
        last = op;
    CU_ASSERT_EQUAL(last, RST);
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
    /* Its events may have been taken in the same round: they are about nobody. */
    vsock_virtio_ops.connection_event(&guest_device, 0, EPOLLIN | EPOLLHUP);
    guest_run();
    CU_ASSERT_FALSE(vsock_got(&header));
}

static void test_a_client_that_can_t_be_watched(void)
{
    vsock_running(8);
    fail_once("epoll_ctl", ENOMEM, 0);
    int fd = vsock_client(STREAM, "CONNECT 7\n");
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_FALSE(vsock_got(&header));
    CU_ASSERT_EQUAL(vsock_connection(0)->state, VSOCK_FREE);
    close(fd);
    struct message_connect question = {0};
    vsock_says(VIRTIO_VSOCK_OP_REQUEST, PORT, SERVER);
    CU_ASSERT_TRUE_FATAL(vsock_asks(&question));
    fail_once("epoll_ctl", ENOMEM, 0);
    fd = vsock_serve(&question);
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    close(fd);
}

/* ---- Messages that are too large ---- */

static void expect_refusal(int fd)
{
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    CU_ASSERT_FALSE(vsock_got(&header));
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_MESSAGE), 1);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
    close(fd);
}

static void test_a_message_of_the_guest_that_has_no_end(void)
{
    int fd = connected(SEQPACKET);
    for (uint32_t done = 0; done < MESSAGE_MAX; done += sizeof(bytes)) {
        CU_ASSERT_FALSE(vsock_closed(fd));
        guest_sends(SEQPACKET, 0, sizeof(bytes), 0);
    }
    expect_refusal(fd);
}

static void test_a_message_larger_than_the_guest_s_buffer(void)
{
    int fd = connected(SEQPACKET);
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.type = SEQPACKET;
    header.buf_alloc = 3000;
    vsock_send(&header, NULL);
    host_sends(fd, 3000);
    expect_data(3000, VIRTIO_VSOCK_SEQ_EOM);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST); /* there may be more to come */
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.type = SEQPACKET;
    header.buf_alloc = 3000;
    header.fwd_cnt = 3000;
    vsock_send(&header, NULL);
    host_sends(fd, 3001);
    expect_refusal(fd);
}

/* The guest has a part of the message already. */
static void test_the_guest_s_buffer_has_shrunk(void)
{
    const uint32_t first = BUFFER - HEADER;
    int fd = connected(SEQPACKET);
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.type = SEQPACKET;
    header.buf_alloc = 7000;
    vsock_offers = false;
    for (unsigned int i = 0; i < 255; i++) /* but for one, the guest's buffers have come back */
        vsock_send(&header, NULL);
    header.op = VIRTIO_VSOCK_OP_CREDIT_REQUEST;
    for (unsigned int i = 0; i < 255; i++)
        vsock_send(&header, NULL);
    while (vsock_hears(PORT, SERVER) >= 0)
        ;
    host_sends(fd, 6000);
    expect_data(first, 0);
    CU_ASSERT_FALSE(vsock_got(&header));
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.type = SEQPACKET;
    header.buf_alloc = 5999;
    header.fwd_cnt = first;
    vsock_send(&header, NULL);
    vsock_offer_rx(8);
    expect_refusal(fd);
}

/* ---- A guest without room ---- */

static void guest_has(uint32_t buf_alloc, uint32_t fwd_cnt)
{
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.buf_alloc = buf_alloc;
    header.fwd_cnt = fwd_cnt;
    vsock_send(&header, NULL);
}

static void test_a_guest_without_room_is_asked_for_it(void)
{
    static const unsigned int pauses[] = {16, 32, 64, 128, 256, 512, 512, 512};
    int fd = connected(STREAM);
    guest_has(100, 0);
    host_sends(fd, 150);
    expect_data(100, 0);
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
        CU_ASSERT_FALSE(vsock_got(&header));
        CU_ASSERT_EQUAL(guest_device.pause_ms, pauses[i]);
        device_pause_over(&guest_device);
        guest_run();
    }
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    /* Another one begins to wait: the pause is short again. */
    int other = vsock_connected(STREAM, PORT + 1, SERVER);
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT + 1, SERVER);
    header.buf_alloc = 0;
    vsock_send(&header, NULL);
    host_sends(other, 1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
    CU_ASSERT_EQUAL(vsock_hears(PORT + 1, SERVER), CREDIT_REQUEST);
    close(other);
    guest_has(100, 100);
    expect_data(50, 0);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    guest_has(100, 150);
    vsock_says(RST, PORT + 1, SERVER); /* this one no longer waits, either */
    device_pause_over(&guest_device);
    guest_run();
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    CU_ASSERT_FALSE(vsock_got(&header));
    close(fd);
}

/* Who had room meanwhile waits for a short time at first. */
static void test_patience_begins_anew(void)
{
    int fd = connected(STREAM);
    guest_has(100, 0);
    host_sends(fd, 250);
    expect_data(100, 0);
    for (unsigned int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
        device_pause_over(&guest_device);
        guest_run();
    }
    CU_ASSERT_EQUAL(guest_device.pause_ms, 256);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    guest_has(100, 100);
    expect_data(100, 0);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
    close(fd);
}

/* Each packet without data has a buffer of its own. */
static void test_several_packets_wait_for_buffers(void)
{
    int fd = connected(STREAM);
    vsock_offers = false;
    guest_has(100, 0);
    host_sends(fd, 150);
    expect_data(100, 0);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    for (unsigned int i = 0; i < 256; i++) { /* use up the guest's buffers */
        header = vsock_header(CREDIT_REQUEST, PORT, SERVER);
        header.buf_alloc = 100;
        vsock_send(&header, NULL);
    }
    while (vsock_hears(PORT, SERVER) >= 0)
        ;
    device_pause_over(&guest_device);
    guest_run();
    vsock_send(&header, NULL);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), -1);
    vsock_offer_rx(4);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), -1);
    close(fd);
}

/* Credit for bytes is one thing; the guest keeps so many packets only. */
static void test_a_guest_that_keeps_no_more_packets(void)
{
    int fd = connected(STREAM);
    guest_has(2048, 0); /* two packets */
    host_sends(fd, 1);
    expect_data(1, 0);
    host_sends(fd, 1);
    expect_data(1, 0);
    host_sends(fd, 1);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    CU_ASSERT_FALSE(vsock_got(&header));
    guest_has(2048, 2);
    expect_data(1, 0);
    close(fd);
}

/* If events keep coming, no pause ends by itself. */
static void test_many_turns_end_a_pause(void)
{
    int fd = connected(STREAM);
    for (unsigned int i = 0; i < 3000; i++) /* there is no pause that could end */
        vsock_count_turn(&guest_device);
    CU_ASSERT_EQUAL(vsock.turns, 0);
    guest_has(1, 0);
    host_sends(fd, 2);
    expect_data(1, 0);
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
    CU_ASSERT(vsock.turns < 10);
    struct guest_fault fault;
    const uint32_t before = vsock.turns;
    CU_ASSERT_EQUAL(vsock_tx_turn(&guest_device, &fault), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(vsock.turns, before + 1);
    CU_ASSERT_EQUAL(vsock_rx_turn(&guest_device, &fault), SERVE_WAIT_BACKEND);
    CU_ASSERT_EQUAL(vsock.turns, before + 2);
    while (vsock.turns < 2047)
        vsock_count_turn(&guest_device);
    guest_device.work = 0;
    CU_ASSERT_FALSE(vsock_got(&header));
    CU_ASSERT_EQUAL(guest_device.pause_ms, 16);
    vsock_count_turn(&guest_device);
    CU_ASSERT_EQUAL(vsock.turns, 0);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 32);
    guest_run();
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), CREDIT_REQUEST);
    close(fd);
}

/* ---- All is lost ---- */

static void offer_event(uint16_t head, uint32_t length)
{
    guest_desc(&vsock_rings[EVENT], head, GUEST_BASE + GUEST_BUFFERS / 2 + head * 16u, length,
               VRING_DESC_F_WRITE, 0);
    guest_offer(&vsock_rings[EVENT], head);
}

static void test_a_successor_tells_the_guest(void)
{
    struct vring_used_elem used;
    int fd = connected(STREAM);
    offer_event(0, 4);
    offer_event(1, 4);
    guest_kick(EVENT);
    CU_ASSERT_FALSE(guest_used(&vsock_rings[EVENT], &used));
    vsock_worker(8);
    CU_ASSERT_TRUE(guest_used(&vsock_rings[EVENT], &used)); /* before anything else */
    CU_ASSERT_EQUAL(used.len, 4);
    guest_run();
    CU_ASSERT_FALSE(guest_used(&vsock_rings[EVENT], &used)); /* once */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    vsock_driver(0);
    offer_event(0, 4);
    guest_kick(EVENT);
    CU_ASSERT_FALSE(guest_used(&vsock_rings[EVENT], &used)); /* this one has lost nothing */
    close(fd);
}

/* It is told as soon as there is a buffer; after a reset there is nothing to tell. */
static void test_the_event_waits_for_a_buffer(void)
{
    struct vring_used_elem used;
    for (unsigned int reset = 0; reset < 2; reset++) {
        int fd = connected(STREAM);
        vsock_worker(8);
        guest_run();
        CU_ASSERT_EQUAL(vsock.reset_pending, true);
        if (reset == 1) {
            guest_write(VIRTIO_MMIO_STATUS, 0);
            CU_ASSERT_EQUAL(vsock.reset_pending, false);
            vsock_driver(0);
        }
        offer_event(0, 4);
        guest_kick(EVENT);
        CU_ASSERT_EQUAL(guest_used(&vsock_rings[EVENT], &used), reset == 0);
        close(fd);
    }
}

static void test_a_successor_without_an_event_queue(void)
{
    int fd = connected(STREAM);
    guest_write(VIRTIO_MMIO_QUEUE_SEL, EVENT);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    vsock_worker(8);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    close(fd);
}

static void test_a_successor_with_a_broken_event_queue(void)
{
    int fd = connected(STREAM);
    offer_event(0, 3);
    vsock_worker(8);
    CU_ASSERT_NOT_EQUAL(guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    CU_ASSERT_EQUAL(vsock_logs(LOG_CHAIN_INVALID), 1);
    close(fd);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the guest sends no more", test_the_guest_sends_no_more},
        {"the guest takes no more", test_the_guest_takes_no_more},
        {"the guest closes", test_the_guest_closes},
        {"the guest closes before all is read", test_the_guest_closes_before_all_is_read},
        {"the guest breaks the rules", test_the_guest_breaks_the_rules},
        {"the host sends no more", test_the_host_sends_no_more},
        {"the host takes no more", test_the_host_takes_no_more},
        {"the host closes before it has read all", test_the_host_closes_before_it_has_read_all},
        {"a socket that can't be read", test_a_socket_that_can_t_be_read},
        {"a socket that can't be watched", test_a_socket_that_can_t_be_watched},
        {"a client that can't be watched", test_a_client_that_can_t_be_watched},
        {"a message of the guest that has no end", test_a_message_of_the_guest_that_has_no_end},
        {"a message larger than the guest's buffer", test_a_message_larger_than_the_guest_s_buffer},
        {"the guest's buffer has shrunk", test_the_guest_s_buffer_has_shrunk},
        {"a guest without room is asked for it", test_a_guest_without_room_is_asked_for_it},
        {"patience begins anew", test_patience_begins_anew},
        {"several packets wait for buffers", test_several_packets_wait_for_buffers},
        {"a guest that keeps no more packets", test_a_guest_that_keeps_no_more_packets},
        {"many turns end a pause", test_many_turns_end_a_pause},
        {"a successor tells the guest", test_a_successor_tells_the_guest},
        {"the event waits for a buffer", test_the_event_waits_for_a_buffer},
        {"a successor without an event queue", test_a_successor_without_an_event_queue},
        {"a successor with a broken event queue", test_a_successor_with_a_broken_event_queue},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "ends of connections of a socket device", tests);
}
