/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of the socket device in user space, with its own sockets behind them. What waits moves
 * by few calls: many buffers by one readv, many packets by one writev, with one interrupt. Every
 * byte arrives at its place, whatever the sizes of buffers and packets. A connection that floods
 * delays another by one call. A packet's answer comes in the round that takes the packet.
 */
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/message.h"
#include "worker/loop.h"

#define RX 0
#define TX 1
#define RING 256u
#define BUFFERS (RING / 2) /* of two descriptors each */
#define STRIDE 0x2000u
#define RX_AT (GUEST_BASE + GUEST_BUFFERS)
#define TX_AT (RX_AT + BUFFERS * STRIDE)
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define BULK 100003u /* bytes: what a socket's usual buffer takes */
#define A_CALL 64u   /* HELD_MAX of worker/vsock/to_guest.c */
#define HOSTS 2
#define GUEST_PORT 7u
#define HOST_CID 2u

static struct guest_ring rings[3];
static unsigned int readvs, writevs;
static uint32_t rx_offered, tx_offered; /* counts of buffers */
static uint8_t bytes[BULK];

/* A connection, and how far its two streams have got. */
static struct host {
    int fd;
    uint32_t port;
    uint32_t to_guest, to_host; /* positions in the streams: sent */
    uint32_t got;               /* position: received by the guest */
    uint32_t packets;           /* of the guest's RX ring, when its last data came */
} hosts[HOSTS];
static uint32_t rx_packets;

/* These replace the C library's, to count. */
ssize_t readv(int fd, const struct iovec *segments, int count)
{
    readvs++;
    return syscall(SYS_readv, fd, segments, count);
}

ssize_t writev(int fd, const struct iovec *segments, int count)
{
    writevs++;
    return syscall(SYS_writev, fd, segments, count);
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(guest_random() >> 20) % limit;
}

static uint8_t pattern(uint32_t position)
{
    return (uint8_t)(position * 131 + (position >> 8) * 29 + (position >> 16) * 7);
}

static void fill(uint8_t *to, uint32_t position, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        to[i] = pattern(position + i);
}

static bool is_pattern(const uint8_t *from, uint32_t position, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++) {
        if (from[i] != pattern(position + i))
            return false;
    }
    return true;
}

/* ---- The guest ---- */

/* Offer `length` bytes at `at`, in two segments; the first one has `first` bytes. */
static void offer(unsigned int queue, uint32_t number, uint64_t at, uint32_t length, uint32_t first)
{
    const uint16_t write = queue == RX ? VRING_DESC_F_WRITE : 0;
    uint16_t head = (uint16_t)(number % BUFFERS * 2);
    guest_desc(&rings[queue], head, at, first, write | VRING_DESC_F_NEXT, head + 1);
    guest_desc(&rings[queue], head + 1u, at + first, length - first, write, 0);
    guest_offer(&rings[queue], head);
}

/* Offer every free RX buffer. size 0: each has another size. */
static void offer_rx(uint32_t size)
{
    while ((uint16_t)(rings[RX].avail_idx - rings[RX].used_seen) < BUFFERS) {
        uint32_t length = size > 0 ? size : HEADER + 1 + below(5000), number = rx_offered++;
        offer(RX, number, RX_AT + number % BUFFERS * STRIDE, length, 1 + below(length - 1));
    }
    device_notify(&guest_device, RX);
}

static struct virtio_vsock_hdr header_for(const struct host *host, uint16_t op, uint32_t length)
{
    return (struct virtio_vsock_hdr){
        .src_cid = 3,
        .dst_cid = HOST_CID,
        .src_port = GUEST_PORT,
        .dst_port = host->port,
        .len = length,
        .type = VIRTIO_VSOCK_TYPE_STREAM,
        .op = op,
        .buf_alloc = 0x100000,
        .fwd_cnt = host->got,
    };
}

/* Make a packet available. It goes on where the guest's stream ends. */
static void offer_tx(struct host *host, uint16_t op, uint32_t length)
{
    struct virtio_vsock_hdr header = header_for(host, op, length);
    uint32_t number = tx_offered++, total = HEADER + length;
    uint64_t at = TX_AT + number % BUFFERS * STRIDE;
    memcpy(guest_at(at), &header, HEADER);
    fill(guest_at(at + HEADER), host->to_host, length);
    host->to_host += length;
    offer(TX, number, at, total, 1 + below(total - 1));
}

static struct host *host_of(uint32_t port)
{
    for (unsigned int i = 0; i < HOSTS; i++) {
        if (hosts[i].port == port)
            return &hosts[i];
    }
    return NULL;
}

/* Take what the device has sent, and compare data. Returns the last packet's header. */
static struct virtio_vsock_hdr take_rx(void)
{
    struct virtio_vsock_hdr header = {0};
    struct vring_used_elem used;
    while (guest_used(&rings[TX], &used))
        ;
    while (guest_used(&rings[RX], &used)) {
        const uint8_t *packet = guest_at(RX_AT + used.id / 2 * STRIDE);
        rx_packets++;
        memcpy(&header, packet, HEADER);
        CU_ASSERT_EQUAL_FATAL(used.len, HEADER + header.len);
        struct host *host = host_of(header.src_port);
        if (header.op != VIRTIO_VSOCK_OP_RW)
            continue;
        CU_ASSERT_PTR_NOT_NULL_FATAL(host);
        CU_ASSERT_TRUE_FATAL(is_pattern(packet + HEADER, host->got, header.len));
        host->got += header.len;
        host->packets = rx_packets;
    }
    return header;
}

/* ---- The host ---- */

static void connect_host(struct host *host)
{
    union message message = {
        .connection = {.header = {.type = MSG_CONNECTION, .device = 5},
                       .request = CONNECTION_FROM_HOST,
                       .type = VIRTIO_VSOCK_TYPE_STREAM},
    };
    int pair[2];
    char line[32];
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                          0);
    CU_ASSERT_EQUAL(message_send(guest_control, &message, &pair[1], 1), 0);
    close(pair[1]);
    *host = (struct host){.fd = pair[0]};
    snprintf(line, sizeof(line), "CONNECT %u\n", GUEST_PORT);
    CU_ASSERT_EQUAL(write(host->fd, line, strlen(line)), (ssize_t)strlen(line));
    guest_run();
    host->port = take_rx().src_port;
    offer_tx(host, VIRTIO_VSOCK_OP_RESPONSE, 0);
    guest_kick(TX);
    CU_ASSERT(read(host->fd, line, sizeof(line)) > 3);
}

static void host_sends(struct host *host, uint32_t length)
{
    fill(bytes, host->to_guest, length);
    CU_ASSERT_EQUAL_FATAL(write(host->fd, bytes, length), (ssize_t)length);
    host->to_guest += length;
}

/* The host's program reads `length` bytes that end the guest's stream. */
static void host_reads(const struct host *host, uint32_t length)
{
    uint32_t done = 0;
    ssize_t moved;
    CU_ASSERT_TRUE_FATAL(length <= sizeof(bytes));
    while (done < length && done < sizeof(bytes) &&
           (moved = read(host->fd, bytes + done, sizeof(bytes) - done)) > 0)
        done += (uint32_t)moved;
    CU_ASSERT_EQUAL_FATAL(done, length);
    CU_ASSERT_TRUE(is_pattern(bytes, host->to_host - length, length));
}

/* All RX buffers have this size at first. */
static void start(uint32_t rx_size)
{
    struct message_start message = guest_start(DEVICE_VSOCK_VIRTIO);
    message.of_kind.vsock.guest_cid = 3;
    message.of_kind.vsock.connections = 8;
    memset(&guest_state, 0, sizeof(guest_state));
    guest_worker(&message);
    guest_negotiate(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM);
    rx_offered = tx_offered = rx_packets = 0;
    for (unsigned int q = 0; q < 3; q++) {
        guest_ring_init(&rings[q], q, RING);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    offer_rx(rx_size);
    for (unsigned int i = 0; i < HOSTS; i++)
        connect_host(&hosts[i]);
    (void)guest_interrupts();
}

static void stop(void)
{
    for (unsigned int i = 0; i < HOSTS; i++)
        close(hosts[i].fd);
    guest_run();
    guest_write(VIRTIO_MMIO_STATUS, 0);
}

/* ---- Tests ---- */

/* The socket has bytes, and the guest buffers and credit. */
static void test_many_buffers_a_call(void)
{
    start(4096);
    struct host *host = &hosts[0];
    for (unsigned int round = 0; round < 8; round++) {
        offer_rx(4096);
        readvs = 0;
        host_sends(host, BULK);
        guest_run();
        CU_ASSERT(guest_interrupts() <= 1);
        take_rx();
        CU_ASSERT_EQUAL_FATAL(host->got, host->to_guest);
        /* The first reads learn how much there is. The last read of all finds nothing. */
        CU_ASSERT(readvs <= (round == 0 ? 5 : 3));
    }
    stop();
}

/* Packets of one stream stand together in the ring. */
static void test_many_packets_a_call(void)
{
    start(4096);
    struct host *host = &hosts[0];
    for (unsigned int round = 0; round < 8; round++) {
        uint32_t before = host->to_host;
        for (unsigned int i = 0; i < 20; i++)
            offer_tx(host, VIRTIO_VSOCK_OP_RW, 1 + below(BULK / 20));
        writevs = 0;
        guest_kick(TX);
        CU_ASSERT_EQUAL(writevs, 1);
        CU_ASSERT(guest_interrupts() <= 1);
        host_reads(host, host->to_host - before);
        guest_run();
        offer_rx(4096);
        take_rx();
    }
    stop();
}

/* Both directions at once. Buffers, packets and writes have any size. */
static void test_every_byte_at_its_place(void)
{
    start(4096);
    for (unsigned int round = 0; round < 400; round++) {
        uint32_t before[HOSTS];
        for (unsigned int i = 0; i < HOSTS; i++) {
            before[i] = hosts[i].to_host;
            host_sends(&hosts[i], 1 + below(round % 5 == 0 ? BULK / 2 : 300));
        }
        for (unsigned int i = 0; i < 10; i++)
            offer_tx(&hosts[below(3) / 2], VIRTIO_VSOCK_OP_RW, 1 + below(round % 3 ? 99 : 4999));
        offer_rx(0);
        guest_kick(TX);
        for (unsigned int i = 0; i < HOSTS; i++)
            host_reads(&hosts[i], hosts[i].to_host - before[i]);
        for (unsigned int tries = 0;
             tries < 1000 && hosts[0].got + hosts[1].got != hosts[0].to_guest + hosts[1].to_guest;
             tries++) {
            take_rx();
            offer_rx(0);
            offer_tx(&hosts[0], VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
            offer_tx(&hosts[1], VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
            guest_kick(TX);
        }
        CU_ASSERT_EQUAL_FATAL(hosts[0].got, hosts[0].to_guest);
        CU_ASSERT_EQUAL_FATAL(hosts[1].got, hosts[1].to_guest);
    }
    stop();
}

/* The one that floods has bytes for two calls. The other one's byte is behind one of them. */
static void test_a_flood_delays_by_a_call(void)
{
    const uint32_t size = HEADER + 1000;
    start(size);
    for (unsigned int round = 0; round < 8; round++) {
        struct host *flood = &hosts[round % 2], *calm = &hosts[1 - round % 2];
        if (round >= 4)
            host_sends(calm, 1);
        host_sends(flood, BULK);
        if (round < 4)
            host_sends(calm, 1);
        uint32_t before = rx_packets;
        guest_run();
        take_rx();
        CU_ASSERT_EQUAL_FATAL(calm->got, calm->to_guest);
        CU_ASSERT(calm->packets - before <= A_CALL + 1);
        offer_tx(flood, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
        offer_tx(calm, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
        offer_rx(size);
        guest_kick(TX);
        take_rx();
        CU_ASSERT_EQUAL_FATAL(flood->got, flood->to_guest);
        offer_rx(size);
    }
    stop();
}

/* A packet for nobody is answered by an RST. */
static void test_an_answer_in_the_same_round(void)
{
    struct host nobody = {.port = 99};
    start(4096);
    offer_rx(4096);
    offer_tx(&nobody, VIRTIO_VSOCK_OP_RW, 10);
    device_notify(&guest_device, TX);
    loop_round(&guest_device, 0);
    struct virtio_vsock_hdr header = take_rx();
    CU_ASSERT_EQUAL(header.op, VIRTIO_VSOCK_OP_RST);
    CU_ASSERT_EQUAL(header.src_port, 99);
    stop();
}

static int prepare(void)
{
    guest_window_init();
    guest_fds(DEVICE_VSOCK_VIRTIO, -1);
    return 0;
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"many buffers a call", test_many_buffers_a_call},
        {"many packets a call", test_many_packets_a_call},
        {"every byte at its place", test_every_byte_at_its_place},
        {"a flood delays by a call", test_a_flood_delays_by_a_call},
        {"an answer in the same round", test_an_answer_in_the_same_round},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"rings of a socket device", prepare, NULL, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    return run_suites(argc, argv, suites);
}
