/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data through a socket device: how many packets one call takes, in which order things happen, when
 * a turn ends, when the driver is interrupted, and which buffers of the guest are used.
 */
#include "tests/cunit_main.h"
#include "tests/unit/vsock_under_test.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker/loop.h"
#include "worker/vsock/device.h"

#define PORT 7u
#define SERVER 80u
#define RW VIRTIO_VSOCK_OP_RW
#define RST VIRTIO_VSOCK_OP_RST
#define SHUTDOWN VIRTIO_VSOCK_OP_SHUTDOWN
#define CALLS 64
#define AT_ONCE 64u                        /* GATHERED_MAX, HELD_MAX */
#define AREA (GUEST_BASE + GUEST_SIZE / 2) /* no queue has buffers there */

/* The segments of each call. */
static unsigned int reads[CALLS], writes[CALLS], read_calls, write_calls;
static uint8_t bytes[0x20000], got[0x20000];
static struct virtio_vsock_hdr header;

ssize_t __real_readv(int fd, const struct iovec *to, int count);
ssize_t __wrap_readv(int fd, const struct iovec *to, int count);
ssize_t __wrap_readv(int fd, const struct iovec *to, int count)
{
    reads[read_calls++ % CALLS] = (unsigned int)count;
    return __real_readv(fd, to, count);
}

ssize_t __real_writev(int fd, const struct iovec *from, int count);
ssize_t __wrap_writev(int fd, const struct iovec *from, int count);
ssize_t __wrap_writev(int fd, const struct iovec *from, int count)
{
    writes[write_calls++ % CALLS] = (unsigned int)count;
    return __real_writev(fd, from, count);
}

static void forget_calls(void)
{
    read_calls = write_calls = 0;
}

static int connected(uint16_t type)
{
    vsock_running(8);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 131 + (i >> 8) * 29);
    int fd = vsock_connected(type, PORT, SERVER);
    forget_calls();
    return fd;
}

static bool needs_reset(void)
{
    return (guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}

/* Make bytes of the pattern available, from `at` on. */
static void offer_data(uint32_t guest_port, uint32_t at, uint32_t length)
{
    header = vsock_header(RW, guest_port, SERVER);
    header.len = length;
    vsock_offer(&header, bytes + at);
}

static void expect_bytes(int fd, uint32_t length)
{
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), (ssize_t)length);
    CU_ASSERT_EQUAL(memcmp(got, bytes, length), 0);
}

/* Packets of the guest that the device has completed. */
static unsigned int completed(void)
{
    return vsock_rings[TX].used->idx;
}

/* ---- From the guest ---- */

static void test_packets_that_follow_each_other_are_one_call(void)
{
    const uint64_t length = 10;
    int fd = connected(STREAM);
    const uint64_t before = guest_state.counters.requests;
    for (uint32_t i = 0; i < AT_ONCE + 1; i++)
        offer_data(PORT, i * 10, 10);
    vsock_kick();
    CU_ASSERT_EQUAL(write_calls, 2);
    CU_ASSERT(writes[0] == AT_ONCE && writes[1] == 1);
    CU_ASSERT_EQUAL(guest_state.counters.requests - before, AT_ONCE + 1);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_out, (AT_ONCE + 1) * length);
    expect_bytes(fd, (AT_ONCE + 1) * 10);
    for (uint16_t i = 0; i < AT_ONCE + 1; i++) { /* the first packet was the REQUEST */
        struct vring_used_elem used;
        CU_ASSERT_TRUE_FATAL(guest_used(&vsock_rings[TX], &used));
        CU_ASSERT_EQUAL(used.id, i + 1u);
    }
    close(fd);
}

/* As many segments as a call may have. The packets share their segments: this saves descriptors. */
static void test_segments_of_one_call(void)
{
    enum { SEGMENTS = 31, PACKETS = 34 };
    int fd = connected(STREAM);
    struct guest_ring *ring = &vsock_rings[TX];
    header = vsock_header(RW, PORT, SERVER);
    header.len = SEGMENTS;
    memcpy(guest_at(AREA), &header, HEADER);
    memcpy(guest_at(AREA + HEADER), bytes, SEGMENTS);
    for (uint16_t i = 0; i < SEGMENTS; i++)
        guest_desc(ring, i, AREA + HEADER + i, 1, i + 1 < SEGMENTS ? VRING_DESC_F_NEXT : 0, i + 1);
    for (uint16_t i = 0; i < PACKETS; i++) {
        guest_desc(ring, 100u + i, AREA, HEADER, VRING_DESC_F_NEXT, 0);
        guest_offer(ring, 100 + i);
    }
    vsock_kick();
    CU_ASSERT_EQUAL(write_calls, 2);
    CU_ASSERT(writes[0] == 33 * SEGMENTS && writes[1] == SEGMENTS);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), PACKETS * SEGMENTS);
    for (uint32_t i = 0; i < PACKETS; i++)
        CU_ASSERT_EQUAL(memcmp(got + i * SEGMENTS, bytes, SEGMENTS), 0);
    close(fd);
}

static void test_packets_of_several_connections(void)
{
    int fd = connected(STREAM), other = vsock_connected(STREAM, PORT + 1, SERVER);
    int third = vsock_connected(STREAM, PORT, SERVER + 1);
    offer_data(PORT, 0, 5);
    offer_data(PORT + 1, 0, 6);
    offer_data(PORT, 5, 7);
    header = vsock_header(RW, PORT, SERVER + 1);
    header.len = 8;
    vsock_offer(&header, bytes);
    vsock_kick();
    expect_bytes(fd, 12);
    expect_bytes(other, 6);
    expect_bytes(third, 8);
    close(third);
    close(other);
    close(fd);
}

/* What comes after data in the ring happens after it. */
static void test_an_end_behind_data(void)
{
    int fd = connected(STREAM);
    offer_data(PORT, 0, 5);
    offer_data(PORT, 5, 5);
    header = vsock_header(SHUTDOWN, PORT, SERVER);
    header.flags = VIRTIO_VSOCK_SHUTDOWN_SEND | VIRTIO_VSOCK_SHUTDOWN_RCV;
    vsock_offer(&header, NULL);
    vsock_kick();
    expect_bytes(fd, 10);
    CU_ASSERT_TRUE(vsock_closed(fd));
    CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
    close(fd);
}

/* A packet that breaks the rules ends its connection, but not before what came before it. */
static void test_a_broken_packet_behind_data(void)
{
    static const uint32_t too_long[] = {6, UINT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        int fd = connected(STREAM);
        offer_data(PORT, 0, 5);
        offer_data(PORT, 5, 5);
        struct guest_ring *ring = &vsock_rings[TX];
        uint16_t head = (uint16_t)(ring->avail_idx - 1) % ring->size;
        struct virtio_vsock_hdr *last = guest_at(ring->desc[head].addr);
        last->len = too_long[i];
        vsock_kick();
        expect_bytes(fd, 5);
        CU_ASSERT_TRUE(vsock_closed(fd));
        CU_ASSERT_EQUAL(vsock_hears(PORT, SERVER), RST);
        CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_BROKEN), 1);
        close(fd);
    }
}

/* What the socket has taken uses no credit, even if it was gathered before. */
static void test_all_the_credit_is_used(void)
{
    const uint32_t most = VSOCK_BUFFER_SIZE;
    for (uint32_t last = most - 5; last <= most; last++) {
        int fd = connected(STREAM);
        struct guest_ring *ring = &vsock_rings[TX];
        offer_data(PORT, 0, 5);
        header = vsock_header(RW, PORT, SERVER);
        header.len = last;
        memcpy(guest_at(AREA), &header, HEADER);
        guest_desc(ring, 100, AREA, HEADER + last, 0, 0);
        guest_offer(ring, 100);
        vsock_kick();
        CU_ASSERT_EQUAL(vsock_logs(LOG_VSOCK_BROKEN), 0);
        CU_ASSERT_EQUAL(vsock_connection(0)->received, 5 + last);
        CU_ASSERT_FALSE(vsock_closed(fd));
        close(fd);
    }
}

/* Each message arrives alone, however its packets follow each other in the ring. */
static void test_messages_of_the_guest(void)
{
    static const uint32_t lengths[] = {5, 1, 100, 7};
    int fd = connected(SEQPACKET);
    for (unsigned int i = 0; i < 4; i++) {
        header = vsock_header(RW, PORT, SERVER);
        header.type = SEQPACKET;
        header.len = lengths[i];
        header.flags = i == 2 ? 0 : VIRTIO_VSOCK_SEQ_EOM; /* the last two are one message */
        vsock_offer(&header, bytes + (i == 3 ? 100 : 0));
    }
    vsock_kick();
    expect_bytes(fd, 5);
    expect_bytes(fd, 1);
    expect_bytes(fd, 107);
    CU_ASSERT_EQUAL(vsock_read(fd, got, sizeof(got)), -1);
    close(fd);
}

/* The guest hears at once that there is nobody, though it offers no buffer after the question. */
static void test_a_packet_for_nobody(void)
{
    int fd = connected(STREAM);
    for (unsigned int i = 0; i < 3; i++) {
        vsock_says(RW, PORT + 1, SERVER);
        CU_ASSERT_EQUAL(vsock_hears(PORT + 1, SERVER), RST);
    }
    close(fd);
}

/* A header that lies in two segments, and a packet without payload. */
static void test_a_header_in_two_segments(void)
{
    int fd = connected(STREAM);
    struct guest_ring *ring = &vsock_rings[TX];
    for (uint32_t length = 0; length < 3; length += 2) {
        header = vsock_header(RW, PORT, SERVER);
        header.len = length;
        memcpy(guest_at(AREA), &header, HEADER);
        memcpy(guest_at(AREA + HEADER), bytes, length);
        guest_desc(ring, 100, AREA, 20, VRING_DESC_F_NEXT, 101);
        guest_desc(ring, 101, AREA + 20, HEADER - 20 + length, 0, 0);
        guest_offer(ring, 100);
        vsock_kick();
    }
    expect_bytes(fd, 2);
    CU_ASSERT_FALSE(needs_reset());
    close(fd);
}

static void test_a_packet_without_a_header(void)
{
    int fd = connected(STREAM);
    guest_desc(&vsock_rings[TX], 0, AREA, HEADER - 1, 0, 0);
    guest_offer(&vsock_rings[TX], 0);
    vsock_kick();
    CU_ASSERT_TRUE(needs_reset());
    CU_ASSERT_TRUE(vsock_closed(fd));
    close(fd);
}

/* From now on the guest has no buffers for packets. */
static void use_up_buffers(void)
{
    vsock_offers = false;
    for (unsigned int i = 0; i < 256; i++)
        vsock_says(VIRTIO_VSOCK_OP_CREDIT_REQUEST, PORT, SERVER);
    while (vsock_hears(PORT, SERVER) >= 0)
        ;
}

/* There are so many places for replies. Packets that may need one wait (§5.10.6.1). */
static void test_packets_wait_for_room_for_replies(void)
{
    int fd = connected(STREAM);
    use_up_buffers();
    const unsigned int before = completed();
    for (uint32_t i = 0; i < VSOCK_REPLIES_MAX + 6; i++) {
        header = vsock_header(RW, 100 + i, 1);
        vsock_offer(&header, NULL);
    }
    vsock_kick();
    CU_ASSERT_EQUAL(completed() - before, VSOCK_REPLIES_MAX);
    guest_kick(TX);
    CU_ASSERT_EQUAL(completed() - before, VSOCK_REPLIES_MAX);
    for (uint32_t i = 0; i < VSOCK_REPLIES_MAX + 6; i++) {
        vsock_offer_rx(1);
        CU_ASSERT_EQUAL(vsock_hears(100 + i, 1), RST);
        uint32_t places = VSOCK_REPLIES_MAX + i + 1;
        uint32_t all = VSOCK_REPLIES_MAX + 6;
        CU_ASSERT_EQUAL(completed() - before, places < all ? places : all);
    }
    CU_ASSERT_FALSE(vsock.tx_waits);
    close(fd);
}

static void test_nothing_waits_after_a_reset(void)
{
    int fd = connected(STREAM);
    use_up_buffers();
    for (uint32_t i = 0; i < VSOCK_REPLIES_MAX + 6; i++) {
        header = vsock_header(RW, 100 + i, 1);
        vsock_offer(&header, NULL);
    }
    vsock_kick();
    CU_ASSERT_TRUE(vsock.tx_waits);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_FALSE(vsock.tx_waits);
    vsock_driver(0);
    vsock_offer_rx(8);
    CU_ASSERT_FALSE(vsock_got(&header)); /* no reply of before */
    close(fd);
}

static void test_a_turn_ends_after_so_many_packets(void)
{
    int fd = connected(STREAM);
    const unsigned int before = completed();
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    for (unsigned int i = 0; i < 200; i++)
        vsock_offer(&header, NULL);
    device_notify(&guest_device, TX);
    loop_round(&guest_device, 0);
    CU_ASSERT_EQUAL(completed() - before, 128);
    guest_run();
    CU_ASSERT_EQUAL(completed() - before, 200);
    for (unsigned int i = 0; i < 10; i++)
        offer_data(PORT + 1, 0, 0x10000); /* to nobody */
    device_notify(&guest_device, TX);
    loop_round(&guest_device, 0);
    CU_ASSERT_EQUAL(completed() - before, 208);
    guest_run();
    CU_ASSERT_EQUAL(completed() - before, 210);
    close(fd);
}

/* The driver hears of each eighth packet while the turn goes on. */
static void test_interrupts_for_packets(void)
{
    int fd = connected(STREAM);
    const struct state_counters *counters = &guest_state.counters;
    uint64_t before = counters->interrupts_sent;
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    for (unsigned int i = 0; i < 20; i++)
        vsock_offer(&header, NULL);
    vsock_kick();
    CU_ASSERT_EQUAL(counters->interrupts_sent - before, 3);
    /* For a few packets it can wait, since the driver only frees their buffers. */
    struct guest_fault fault;
    guest_device.irq_delay = 1;
    before = counters->interrupts_sent;
    for (unsigned int i = 0; i < 4; i++)
        vsock_offer(&header, NULL);
    CU_ASSERT_EQUAL(vsock_tx_turn(&guest_device, &fault), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(counters->interrupts_sent - before, 0);
    CU_ASSERT_EQUAL(guest_device.late, 1u << TX);
    device_late_is_over(&guest_device, true);
    CU_ASSERT_EQUAL(counters->interrupts_sent - before, 1);
    for (unsigned int i = 0; i < 5; i++)
        vsock_offer(&header, NULL);
    CU_ASSERT_EQUAL(vsock_tx_turn(&guest_device, &fault), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(counters->interrupts_sent - before, 2);
    close(fd);
}

/* ---- To the guest ---- */

static void host_sends(int fd, uint32_t length)
{
    CU_ASSERT_EQUAL(send(fd, bytes, length, MSG_NOSIGNAL), (ssize_t)length);
    guest_run();
}

/* The guest gets so many bytes of the pattern, and no other packets. */
static void expect_data(uint32_t length)
{
    for (uint32_t done = 0; done < length; done += header.len) {
        CU_ASSERT_TRUE_FATAL(vsock_got(&header));
        CU_ASSERT_EQUAL_FATAL(header.op, RW);
        CU_ASSERT_EQUAL(header.flags, 0);
        CU_ASSERT_FATAL(header.len > 0 && header.len <= length - done);
        CU_ASSERT_EQUAL_FATAL(memcmp(vsock_payload, bytes + done, header.len), 0);
    }
    CU_ASSERT_FALSE(vsock_got(&header));
}

/* The more buffers a read has filled, the more the next one gets. */
static void test_reads_grow_with_what_there_is(void)
{
    static const uint32_t part = BUFFER - HEADER;
    int fd = connected(STREAM);
    const uint64_t before = guest_state.counters.requests;
    host_sends(fd, 23 * part + 1); /* 1 + 4 + 16 + 3 of 64 */
    CU_ASSERT_EQUAL(read_calls, 5);
    CU_ASSERT(reads[0] == 1 && reads[1] == 4 && reads[2] == 16 && reads[3] == AT_ONCE);
    CU_ASSERT_EQUAL(guest_state.counters.requests - before, 24);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 23 * part + 1);
    expect_data(23 * part + 1);
    forget_calls();
    host_sends(fd, 1);
    CU_ASSERT_EQUAL(reads[0], 4); /* three were used, and one more */
    expect_data(1);
    forget_calls();
    host_sends(fd, 1);
    CU_ASSERT_EQUAL(reads[0], 2);
    expect_data(1);
    close(fd);
}

/* A guest that keeps few packets gets no more. */
static void test_reads_are_for_the_packets_that_the_guest_keeps(void)
{
    int fd = connected(STREAM);
    host_sends(fd, 60000); /* so the next read would fill many buffers */
    expect_data(60000);
    header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
    header.buf_alloc = 0x8000; /* 32 packets */
    header.fwd_cnt = 60000;
    vsock_send(&header, NULL);
    vsock_connection(0)->unread_packets = 29;
    forget_calls();
    host_sends(fd, 20000);
    CU_ASSERT_EQUAL(reads[0], 3);
    close(fd);
}

static void offer_in_parts(uint16_t head, unsigned int parts, uint32_t length)
{
    struct guest_ring *ring = &vsock_rings[RX];
    for (uint16_t i = 0; i < parts; i++) {
        uint32_t part = i + 1u < parts ? 7 : length - 7 * (parts - 1);
        uint16_t next = i + 1u < parts ? VRING_DESC_F_NEXT : 0;
        guest_desc(ring, head + i, VSOCK_RX_AT + head * VSOCK_STRIDE + 7u * i, part,
                   VRING_DESC_F_WRITE | next, (uint16_t)(head + i + 1));
    }
    guest_offer(ring, head);
}

/* Buffers of more than four segments are taken one by one. */
static void test_buffers_of_many_segments(void)
{
    static const unsigned int parts[] = {1, 4, 5, 4, 20, 4, 4, 9};
    vsock_offers = false;
    memset(&guest_state, 0, sizeof(guest_state));
    vsock_worker(8);
    vsock_driver(0);
    vsock_offers = false;
    vsock_offer_rx(1);
    int fd = vsock_connected(STREAM, PORT, SERVER);
    for (unsigned int round = 0; round < 4; round++) {
        uint16_t head = 10;
        for (unsigned int i = 0; i < 8; i++, head += 25)
            offer_in_parts(head, parts[i], BUFFER);
        host_sends(fd, 8 * (BUFFER - HEADER));
        expect_data(8 * (BUFFER - HEADER));
        header = vsock_header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, PORT, SERVER);
        header.fwd_cnt = vsock_connection(0)->sent;
        vsock_send(&header, NULL);
    }
    close(fd);
}

/* The queue begins anew, without a buffer. */
static void begin_rx_anew(void)
{
    guest_write(VIRTIO_MMIO_QUEUE_SEL, RX);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    guest_ring_init(&vsock_rings[RX], RX, 256);
    guest_queue_setup(RX, &vsock_rings[RX]);
    vsock_offers = false;
}

static void test_the_smallest_buffer(void)
{
    for (uint32_t payload = 0; payload < 2; payload++) {
        int fd = connected(STREAM);
        begin_rx_anew();
        offer_in_parts(0, 1, HEADER + payload);
        host_sends(fd, 1);
        CU_ASSERT_EQUAL(needs_reset(), payload == 0);
        if (payload == 1)
            expect_data(1);
        close(fd);
    }
}

static void test_a_turn_to_the_guest_ends(void)
{
    int fd = connected(STREAM);
    begin_rx_anew();
    for (uint16_t i = 0; i < 256; i++)
        offer_in_parts(i, 1, HEADER + 8);
    CU_ASSERT_EQUAL(send(fd, bytes, 256 * 8, 0), 256 * 8);
    loop_round(&guest_device, 0);
    const unsigned int packets = vsock_rings[RX].used->idx;
    CU_ASSERT(packets >= 128 && packets < 128 + AT_ONCE);
    guest_run();
    CU_ASSERT_EQUAL(vsock_rings[RX].used->idx, 256);
    close(fd);
}

/* Buffers that were taken and not used are the guest's again when the queue stops. */
static void test_buffers_in_hand_are_given_back(void)
{
    int fd = connected(STREAM);
    host_sends(fd, 60000);
    expect_data(60000);
    guest_write(VIRTIO_MMIO_QUEUE_SEL, TX); /* this queue has nothing to do with them */
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    vsock_offers = false;
    struct vring_used_elem used;
    uint16_t next = vsock_rings[RX].used->idx % 256;
    host_sends(fd, 1);
    CU_ASSERT_TRUE(guest_used(&vsock_rings[RX], &used));
    CU_ASSERT_EQUAL(used.id, next);
    begin_rx_anew();
    vsock_offer_rx(4);
    host_sends(fd, 1);
    CU_ASSERT_TRUE(guest_used(&vsock_rings[RX], &used));
    CU_ASSERT_EQUAL(used.id, 0);
    close(fd);
}

static void test_the_last_packet_of_a_message_says_so(void)
{
    static const uint32_t part = BUFFER - HEADER;
    int fd = connected(SEQPACKET);
    for (unsigned int round = 0; round < 3; round++) {
        host_sends(fd, 3 * part);
        for (unsigned int i = 0; i < 3; i++) {
            CU_ASSERT_TRUE_FATAL(vsock_got(&header));
            CU_ASSERT_EQUAL(header.type, SEQPACKET);
            CU_ASSERT_EQUAL(header.len, part);
            CU_ASSERT_EQUAL(header.flags, i == 2 ? VIRTIO_VSOCK_SEQ_EOM : 0);
            CU_ASSERT_EQUAL(memcmp(vsock_payload, bytes + i * part, part), 0);
        }
        CU_ASSERT_FALSE(vsock_got(&header));
    }
    close(fd);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"packets that follow each other are one call",
         test_packets_that_follow_each_other_are_one_call},
        {"segments of one call", test_segments_of_one_call},
        {"packets of several connections", test_packets_of_several_connections},
        {"an end behind data", test_an_end_behind_data},
        {"a broken packet behind data", test_a_broken_packet_behind_data},
        {"all the credit is used", test_all_the_credit_is_used},
        {"messages of the guest", test_messages_of_the_guest},
        {"a packet for nobody", test_a_packet_for_nobody},
        {"a header in two segments", test_a_header_in_two_segments},
        {"a packet without a header", test_a_packet_without_a_header},
        {"packets wait for room for replies", test_packets_wait_for_room_for_replies},
        {"nothing waits after a reset", test_nothing_waits_after_a_reset},
        {"a turn ends after so many packets", test_a_turn_ends_after_so_many_packets},
        {"interrupts for packets", test_interrupts_for_packets},
        {"reads grow with what there is", test_reads_grow_with_what_there_is},
        {"reads are for the packets that the guest keeps",
         test_reads_are_for_the_packets_that_the_guest_keeps},
        {"buffers of many segments", test_buffers_of_many_segments},
        {"the smallest buffer", test_the_smallest_buffer},
        {"a turn to the guest ends", test_a_turn_to_the_guest_ends},
        {"buffers in hand are given back", test_buffers_in_hand_are_given_back},
        {"the last packet of a message says so", test_the_last_packet_of_a_message_says_so},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "data through a socket device", tests);
}
