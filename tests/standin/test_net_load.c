/* SPDX-License-Identifier: Apache-2.0 */
/* The network device at work: segmentation offload with the kernel's TCP on the other side of the
 * tap; floods; several pairs of queues; workers that die under traffic. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/net_fixture.h"

#define BIT(n) (1ull << (n))
#define WAIT_MS 20000
#define STREAM_BYTES (4u << 20)
#define SEGMENT 1400u    /* gso_size of what the guest sends */
#define SEND_SIZE 32200u /* payload of one frame: 23 segments */
#define FLOOD_MS 1000
#define PORT 5000

static const struct guest_net_options plain = {
    .features = GUEST_NET_FEATURES,
    .rx_count = 128,
    .tx_count = 32,
    .rx_size = 1536,
    .tx_size = 65600,
};

static const struct virtio_net_hdr_v1 no_offload = {0};
static uint8_t sent[GUEST_NET_FRAME_MAX], found[GUEST_NET_FRAME_MAX];

static uint8_t stream_byte(uint32_t at)
{
    return (uint8_t)(at * 13 + (at >> 9));
}

/* ---- The guest's TCP: just enough for one connection without losses ---- */

struct packet {
    struct ethhdr eth;
    struct iphdr ip;
    struct tcphdr tcp;
    uint8_t data[GUEST_NET_FRAME_MAX - 54];
} __attribute__((packed));

#define HEADERS 54u

struct stream {
    struct net_fixture *net;
    int socket;             /* the kernel's end */
    uint32_t seq, ack;      /* the guest's */
    uint32_t received;      /* bytes */
    uint32_t largest;       /* length of the largest frame that the guest got */
    unsigned int segmented; /* frames with a gso_type */
    uint16_t host_port;
};

static uint32_t add_bytes(uint32_t sum, const void *from, uint32_t length)
{
    const uint8_t *bytes = from;
    for (uint32_t i = 0; i < length; i++)
        sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* The sum over pseudo-header, TCP header and data: 0xffff if the checksum is right. */
static uint16_t tcp_sum(const struct packet *packet, uint32_t tcp_length)
{
    uint32_t sum = IPPROTO_TCP + tcp_length;
    sum = add_bytes(sum, &packet->ip.saddr, 8);
    return fold(add_bytes(sum, &packet->tcp, tcp_length));
}

static void put(struct stream *stream, uint8_t flags, uint32_t length)
{
    static struct packet packet;
    struct net_fixture *net = stream->net;
    bool syn = (flags & TH_SYN) != 0;
    memset(&packet, 0, HEADERS);
    memcpy(packet.eth.h_dest, net->host_mac, ETH_ALEN);
    memcpy(packet.eth.h_source, net_fixture_mac, ETH_ALEN);
    packet.eth.h_proto = htons(ETH_P_IP);
    for (uint32_t i = 0; i < length; i++)
        packet.data[i] = stream_byte(stream->seq - 1 + i);
    if (syn) {
        const uint8_t options[] = {2, 4, 1460 >> 8, 1460 & 0xff, 3, 3, 7, 1}; /* MSS, scale */
        memcpy(packet.data, options, sizeof(options));
        length = sizeof(options);
    }
    packet.ip = (struct iphdr){.version = 4,
                               .ihl = 5,
                               .ttl = 64,
                               .protocol = IPPROTO_TCP,
                               .tot_len = htons((uint16_t)(40 + length)),
                               .saddr = htonl(0x0a090002),
                               .daddr = htonl(0x0a090001)};
    packet.ip.check = htons((uint16_t)~fold(add_bytes(0, &packet.ip, 20)));
    packet.tcp.source = htons(PORT);
    packet.tcp.dest = stream->host_port;
    packet.tcp.seq = htonl(stream->seq);
    packet.tcp.ack_seq = htonl(stream->ack);
    packet.tcp.doff = syn ? 7 : 5;
    packet.tcp.th_flags = flags;
    packet.tcp.window = htons(0xffff);
    struct virtio_net_hdr_v1 header = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 34,
        .csum_offset = offsetof(struct tcphdr, check),
    };
    if (!syn && length > SEGMENT) {
        header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
        header.gso_size = SEGMENT;
        header.hdr_len = HEADERS;
    }
    /* §5.1.6.2: if the checksum is to be completed, the field holds the sum of the pseudo-header.
     */
    uint32_t sum = add_bytes(IPPROTO_TCP + 20 + length, &packet.ip.saddr, 8);
    packet.tcp.check = htons(fold(sum));
    CU_ASSERT_EQUAL(guest_net_send(&net->net, 0, &header, &packet, HEADERS + length), 0);
    stream->seq += syn ? 1 : length;
}

/* Take one frame of the connection. Returns false if none comes. */
static bool take(struct stream *stream, int timeout_ms, bool csum_offload)
{
    static struct packet packet;
    struct virtio_net_hdr_v1 header;
    int length =
        guest_net_receive(&stream->net->net, 0, &header, (void *)&packet, false, timeout_ms);
    if (length < 0)
        return false;
    if (packet.eth.h_proto != htons(ETH_P_IP) || packet.ip.protocol != IPPROTO_TCP)
        return true;
    uint32_t total = ntohs(packet.ip.tot_len), head = 20u + 4u * packet.tcp.doff;
    uint32_t data = total - head;
    const uint8_t *bytes = (const uint8_t *)&packet.tcp + 4 * packet.tcp.doff;
    if ((uint32_t)length > stream->largest)
        stream->largest = (uint32_t)length;
    if (header.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
        stream->segmented++;
        CU_ASSERT_EQUAL(header.gso_type & ~VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_HDR_GSO_TCPV4);
    } else if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        CU_ASSERT_EQUAL(tcp_sum(&packet, total - 20), 0xffff);
    }
    if (!csum_offload)
        CU_ASSERT_EQUAL(header.flags, 0);
    if (packet.tcp.syn) {
        stream->host_port = packet.tcp.source;
        stream->ack = ntohl(packet.tcp.seq) + 1;
        put(stream, TH_SYN | TH_ACK, 0);
        return true;
    }
    if (data == 0 || ntohl(packet.tcp.seq) != stream->ack)
        return true;
    unsigned int wrong = 0;
    for (uint32_t i = 0; i < data; i++)
        wrong += bytes[i] != stream_byte(stream->received + i);
    CU_ASSERT_EQUAL(wrong, 0);
    stream->received += data;
    stream->ack += data;
    put(stream, TH_ACK, 0);
    return true;
}

static void open_stream(struct stream *stream, struct net_fixture *net, bool csum_offload)
{
    const struct sockaddr_in there = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = htonl(0x0a090002)};
    *stream = (struct stream){.net = net};
    /* The close sends an RST instead of a FIN: a FIN would be repeated during the tests that
     * follow. */
    const struct linger at_once = {.l_onoff = 1};
    stream->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(stream->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    (void)connect(stream->socket, (const struct sockaddr *)(const void *)&there, sizeof(there));
    while (stream->host_port == 0 && take(stream, WAIT_MS, csum_offload)) {
    }
    CU_ASSERT_NOT_EQUAL_FATAL(stream->host_port, 0);
}

static void host_to_guest(struct stream *stream, bool csum_offload)
{
    static uint8_t chunk[65536];
    uint32_t written = stream->received, end = written + STREAM_BYTES;
    while (stream->received < end) {
        uint32_t left = end - written, part = left < sizeof(chunk) ? left : sizeof(chunk);
        for (uint32_t i = 0; i < part; i++)
            chunk[i] = stream_byte(written + i);
        ssize_t r = part > 0 ? send(stream->socket, chunk, part, MSG_NOSIGNAL) : -1;
        if (r > 0)
            written += (uint32_t)r;
        if (!take(stream, r > 0 ? 0 : WAIT_MS, csum_offload) && r <= 0)
            break;
    }
    CU_ASSERT_EQUAL(stream->received, end);
}

static void guest_to_host(struct stream *stream, uint32_t size)
{
    static uint8_t chunk[65536];
    uint32_t got = 0;
    unsigned int wrong = 0;
    while (got < STREAM_BYTES) {
        put(stream, TH_ACK | TH_PUSH, size);
        for (uint32_t end = got + size; got < end;) {
            ssize_t r = recv(stream->socket, chunk, sizeof(chunk), 0);
            if (r < 0 && errno == EAGAIN) {
                if (!take(stream, 1, true))
                    usleep(50);
                continue;
            }
            CU_ASSERT_FATAL(r > 0);
            for (ssize_t i = 0; i < r; i++)
                wrong += chunk[i] != stream_byte(got + (uint32_t)i);
            got += (uint32_t)r;
        }
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void segments_are_made_by_whoever_comes_last(void)
{
    struct net_fixture net;
    struct stream stream;
    net_fixture_start(&net, "mode tap", "", &plain);
    open_stream(&stream, &net, true);
    host_to_guest(&stream, true);
    CU_ASSERT(stream.segmented > 0);
    CU_ASSERT(stream.largest > 10000);
    guest_to_host(&stream, SEND_SIZE);

    /* §5.1.6.5.8: the driver gives up the offloads at run time, and takes them up again. */
    while (take(&stream, 50, true)) {
    }
    const uint64_t none = 0;
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                      VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &none, sizeof(none)),
                    VIRTIO_NET_OK);
    stream.segmented = stream.largest = 0;
    host_to_guest(&stream, false);
    CU_ASSERT_EQUAL(stream.segmented, 0);
    CU_ASSERT(stream.largest <= 1514);
    const uint64_t some = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_GUEST_OFFLOADS,
                                      VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &some, sizeof(some)),
                    VIRTIO_NET_OK);
    host_to_guest(&stream, true);
    CU_ASSERT(stream.segmented > 0);
    close(stream.socket);
    net_fixture_stop_well(&net);
}

static void a_driver_that_takes_no_offload_gets_none(void)
{
    struct net_fixture net;
    struct stream stream;
    struct guest_net_options options = plain;
    options.features &= ~(BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
                          BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN) |
                          BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_MRG_RXBUF));
    net_fixture_start(&net, "mode tap", "", &options);
    open_stream(&stream, &net, false);
    host_to_guest(&stream, false);
    CU_ASSERT_EQUAL(stream.segmented, 0);
    CU_ASSERT(stream.largest <= 1514);
    close(stream.socket);
    net_fixture_stop_well(&net);
}

/* ---- Floods ---- */

struct flood {
    struct net_fixture *net;
    _Atomic bool end;
    uint64_t frames;
};

static void *flood_guest(void *argument)
{
    struct flood *flood = argument;
    uint8_t frame[1000];
    net_fixture_frame(frame, net_fixture_mac, flood->net->host_mac, sizeof(frame), 1);
    while (!atomic_load(&flood->end)) {
        if (send(flood->net->packets, frame, sizeof(frame), MSG_NOSIGNAL) > 0)
            flood->frames++;
    }
    return NULL;
}

static void neither_direction_starves_the_other(void)
{
    struct net_fixture net;
    struct virtio_net_hdr_v1 header;
    struct guest_net_options options = plain;
    options.tx_count = 128;
    options.tx_size = 1536;
    net_fixture_start(&net, "mode tap", "", &options);
    struct flood flood = {.net = &net};
    pthread_t thread;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flood_guest, &flood), 0);
    net_fixture_frame(sent, net.host_mac, net_fixture_mac, 1000, 2);
    uint64_t out = 0, in = 0;
    uint64_t end = now_us() + FLOOD_MS * 1000, slowest = 0;
    for (unsigned int n = 0; now_us() < end; n++) {
        while (guest_net_put(&net.net, 0, &no_offload, sent, 1000) == 0)
            out++;
        guest_net_kick(&net.net, 0);
        while (guest_net_receive(&net.net, 0, &header, found, true, 0) == 1000)
            in++;
        guest_net_refill(&net.net, 0);
        if (n % 64 == 0) {
            uint64_t before = now_us();
            guest_status(&net.net.guest);
            uint64_t taken = now_us() - before;
            slowest = taken > slowest ? taken : slowest;
        }
    }
    atomic_store(&flood.end, true);
    pthread_join(thread, NULL);
    printf("\n    %llu frames out, %llu in; slowest register access %llu us ...",
           (unsigned long long)out, (unsigned long long)in, (unsigned long long)slowest);
    CU_ASSERT(out > 1000 && in > 1000);
    CU_ASSERT(in < out * 20 && out < in * 20);
    CU_ASSERT(slowest < 2000000);
    net_fixture_stop_well(&net);
}

/* ---- Several pairs ---- */

/* How many of the host's frames come by a pair. Waits at most `timeout_ms` for each. */
static unsigned int count_at(struct net_fixture *net, unsigned int pair, int timeout_ms)
{
    struct virtio_net_hdr_v1 header;
    unsigned int count = 0;
    while (guest_net_receive(&net->net, pair, &header, found, false, timeout_ms) > 0)
        count += found[12] == NET_FIXTURE_TYPE >> 8; /* the kernel's own frames do not count */
    return count;
}

/* Asserts that `count` frames come by the first `pairs` pairs, even if slowly, and no more than
 * these. */
static void assert_come_by(struct net_fixture *net, unsigned int pairs, unsigned int count)
{
    uint64_t end = now_us() + WAIT_MS * 1000;
    unsigned int found_count = 0, last = 1;
    while (last > 0 || (found_count < count && now_us() < end)) {
        last = 0;
        for (unsigned int pair = 0; pair < pairs; pair++)
            last += count_at(net, pair, 50 / (int)pairs);
        found_count += last;
    }
    CU_ASSERT_EQUAL(found_count, count);
}

static int set_pairs(struct net_fixture *net, uint16_t pairs)
{
    return guest_net_command(&net->net, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
                             sizeof(pairs));
}

static void send_many(struct net_fixture *net, unsigned int count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t from[ETH_ALEN] = {0x52, 0, 0, 0, 1, (uint8_t)i};
        net_fixture_frame(sent, net_fixture_mac, from, 200, i);
        net_fixture_host_send(net, sent, 200);
    }
}

static void pairs_are_used_as_the_driver_says(void)
{
    struct net_fixture net;
    struct guest_net_options options = plain;
    options.pairs = 3;
    options.tx_size = 1536;
    net_fixture_start(&net, "mode tap multi_queue", "    queues: 3\n", &options);
    CU_ASSERT((net.net.guest.features & BIT(VIRTIO_NET_F_MQ)) != 0);
    CU_ASSERT_EQUAL(net.net.config.max_virtqueue_pairs, 3);
    send_many(&net, 60); /* at first one pair gets them, whichever queue of the tap they come by */
    assert_come_by(&net, 1, 60);
    CU_ASSERT_EQUAL(count_at(&net, 1, 50) + count_at(&net, 2, 50), 0);
    CU_ASSERT_EQUAL(set_pairs(&net, 0), VIRTIO_NET_ERR);
    CU_ASSERT_EQUAL(set_pairs(&net, 4), VIRTIO_NET_ERR);
    CU_ASSERT_EQUAL(set_pairs(&net, 3), VIRTIO_NET_OK);
    for (unsigned int pair = 0; pair < 3; pair++) {
        net_fixture_frame(sent, net.host_mac, net_fixture_mac, 300, pair);
        CU_ASSERT_EQUAL(guest_net_send(&net.net, pair, &no_offload, sent, 300), 0);
        CU_ASSERT_EQUAL(net_fixture_host_receive(&net, found, WAIT_MS), 300);
        CU_ASSERT(net_fixture_is_frame(found, 300, pair));
    }
    send_many(&net, 60);
    assert_come_by(&net, 3, 60);
    CU_ASSERT_EQUAL(set_pairs(&net, 1), VIRTIO_NET_OK);
    send_many(&net, 60);
    assert_come_by(&net, 1, 60);
    CU_ASSERT_EQUAL(count_at(&net, 1, 50) + count_at(&net, 2, 50), 0);
    net_fixture_stop_well(&net);
}

/* §5.1.2: for a driver that does not know about more pairs, the control queue is the third queue.
 */
static void a_driver_without_multiqueue_uses_one_pair(void)
{
    struct net_fixture net;
    struct guest_net_options options = plain;
    const uint8_t off = 0;
    options.features &= ~BIT(VIRTIO_NET_F_MQ);
    net_fixture_start(&net, "mode tap multi_queue", "    queues: 3\n", &options);
    send_many(&net, 60);
    assert_come_by(&net, 1, 60);
    CU_ASSERT_EQUAL(
        guest_net_command(&net.net, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1),
        VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(set_pairs(&net, 2), VIRTIO_NET_ERR);
    net_fixture_stop_well(&net);
}

/* ---- Workers that die ---- */

static void assert_works(struct net_fixture *net, uint32_t seed)
{
    struct virtio_net_hdr_v1 header;
    int r;
    net_fixture_frame(sent, net->host_mac, net_fixture_mac, 700, seed);
    CU_ASSERT_EQUAL(guest_net_send(&net->net, 0, &no_offload, sent, 700), 0);
    do
        r = net_fixture_host_receive(net, found, WAIT_MS);
    while (r > 0 && !net_fixture_is_frame(found, 700, seed));
    CU_ASSERT_EQUAL(r, 700);
    net_fixture_frame(sent, net_fixture_mac, net->host_mac, 800, seed);
    net_fixture_host_send(net, sent, 800);
    do
        r = guest_net_receive(&net->net, 0, &header, found, false, WAIT_MS);
    while (r > 0 && !net_fixture_is_frame(found, 800, seed));
    CU_ASSERT_EQUAL(r, 800);
}

static void traffic_goes_on_after_the_workers_death(void)
{
    static const uint8_t other[ETH_ALEN] = {0x52, 0x54, 0, 0, 0, 9};
    struct net_fixture net;
    struct virtio_net_hdr_v1 header;
    const uint8_t off = 0;
    net_fixture_start(&net, "mode tap", "", &plain);
    CU_ASSERT_EQUAL(
        guest_net_command(&net.net, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, &off, 1),
        VIRTIO_NET_OK);
    for (uint32_t round = 0; round < 6; round++) {
        struct flood flood = {.net = &net};
        pthread_t thread;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flood_guest, &flood), 0);
        pid_t before = fixture_worker(&net.fixture, 0);
        uint64_t end = now_us() + 30000;
        bool killed = false;
        net_fixture_frame(sent, net.host_mac, net_fixture_mac, 900, round);
        while (now_us() < end || !killed) {
            (void)guest_net_put(&net.net, 0, &no_offload, sent, 900);
            guest_net_kick(&net.net, 0);
            (void)guest_net_receive(&net.net, 0, &header, found, false, 0);
            if (!killed && now_us() > end - 15000)
                killed = kill(before, SIGKILL) == 0;
        }
        CU_ASSERT(killed);
        atomic_store(&flood.end, true);
        pthread_join(thread, NULL);
        CU_ASSERT(fixture_wait_worker(&net.fixture, 0, before) > 0);
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_ANNOUNCE));
        CU_ASSERT_EQUAL(guest_status(&net.net.guest), 0xf); /* no reset is needed */
        CU_ASSERT((guest_take_interrupt(&net.net.guest) & VIRTIO_MMIO_INT_CONFIG) != 0);
        CU_ASSERT_EQUAL(guest_net_flush(&net.net, 0), 0);
        while (guest_net_receive(&net.net, 0, &header, found, false, 20) > 0)
            CU_ASSERT(net_fixture_is_frame(found, 1000, 1));
        while (net_fixture_host_receive(&net, found, 20) > 0)
            ; /* the host's own socket is full of the flood: it would drop the next frames */
        assert_works(&net, 1000 + round);
        /* What the driver said before the death is still in force. */
        net_fixture_frame(sent, other, net.host_mac, 100, 1);
        net_fixture_host_send(&net, sent, 100);
        CU_ASSERT_EQUAL(guest_net_receive(&net.net, 0, &header, found, false, 30), -ETIMEDOUT);
        CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_ANNOUNCE,
                                          VIRTIO_NET_CTRL_ANNOUNCE_ACK, &off, 0),
                        VIRTIO_NET_OK);
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_ANNOUNCE, 0));
    }
    net_fixture_stop(&net);
}

static void traffic_goes_on_after_the_brokers_death(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &plain);
    assert_works(&net, 1);
    pid_t before = standin_find_process(net.fixture.standin, "bao-virtio-broker", 0);
    CU_ASSERT_EQUAL(kill(before, SIGKILL), 0);
    CU_ASSERT(fixture_wait_broker(&net.fixture, before) > 0);
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_ANNOUNCE));
    assert_works(&net, 2);
    net_fixture_stop(&net);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"segments are made by whoever comes last", segments_are_made_by_whoever_comes_last},
        {"a driver that takes no offload gets none", a_driver_that_takes_no_offload_gets_none},
        {"neither direction starves the other", neither_direction_starves_the_other},
        {"pairs are used as the driver says", pairs_are_used_as_the_driver_says},
        {"a driver without multiqueue uses one pair", a_driver_without_multiqueue_uses_one_pair},
        {"traffic goes on after the worker's death", traffic_goes_on_after_the_workers_death},
        {"traffic goes on after the broker's death", traffic_goes_on_after_the_brokers_death},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main(argc, argv, "net device at work", tests)
                                   : EXIT_FAILURE;
}
