/* SPDX-License-Identifier: Apache-2.0 */
/* The network device with UDP of the kernel's at the other end; and its interrupts that wait. */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/newer_net.h"
#include "tests/standin/net_fixture.h"

#define BIT(n) (1ull << (n))
#define WAIT_MS 20000
#define NOTHING_MS 60 /* an interrupt of before is there by now */

static const struct virtio_net_hdr_v1 no_offload = {0};
static uint8_t sent[GUEST_NET_FRAME_MAX], found[GUEST_NET_FRAME_MAX];

/* ---- UDP of the kernel's at the other end ---- */

#define UDP_PIECE 1000u
#define UDP_PIECES 5u
#define UDP_HOST_PORT 7000

struct udp_packet {
    struct ethhdr eth;
    struct iphdr ip;
    struct udphdr udp;
    uint8_t data[UDP_PIECES * UDP_PIECE];
} __attribute__((packed));

/* Port `port` of 10.9.0.`host`. */
static struct sockaddr_in address(uint8_t host, uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(0x0a090000u | host),
    };
}

static int udp_socket(void)
{
    const struct timeval patience = {.tv_sec = WAIT_MS / 1000};
    int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in here = address(1, UDP_HOST_PORT);
    setsockopt(udp, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    CU_ASSERT_EQUAL_FATAL(bind(udp, (const void *)&here, sizeof(here)), 0);
    return udp;
}

/* From the guest to the host, with `length` bytes of data; the kernel is to add the checksum. */
static void udp_send(struct net_fixture *net, struct virtio_net_hdr_v1 header, uint16_t port,
                     uint32_t length)
{
    static struct udp_packet packet;
    packet = (struct udp_packet){
        .eth.h_proto = htons(ETH_P_IP),
        .ip = {.version = 4,
               .ihl = 5,
               .ttl = 64,
               .protocol = IPPROTO_UDP,
               .tot_len = htons((uint16_t)(28 + length)),
               .saddr = address(2, 0).sin_addr.s_addr,
               .daddr = address(1, 0).sin_addr.s_addr},
        .udp = {.source = htons(port),
                .dest = htons(UDP_HOST_PORT),
                .len = htons((uint16_t)(8 + length)),
                .check = htons(0x1234)}, /* wrong, unless it is announced as partial */
    };
    memcpy(packet.eth.h_dest, net->host_mac, ETH_ALEN);
    memcpy(packet.eth.h_source, net_fixture_mac, ETH_ALEN);
    for (uint32_t at = 0; at < length; at++)
        packet.data[at] = (uint8_t)(at / UDP_PIECE);
    const uint8_t *ip = (const uint8_t *)&packet.ip;
    uint32_t sum = 0;
    for (unsigned int i = 0; i < sizeof(packet.ip); i += 2)
        sum += (uint32_t)(ip[i] | ip[i + 1] << 8);
    sum = (sum & 0xffff) + (sum >> 16);
    packet.ip.check = (uint16_t) ~(sum + (sum >> 16));
    if ((header.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
        header.csum_start = offsetof(struct udp_packet, udp);
        header.csum_offset = offsetof(struct udphdr, check);
    }
    CU_ASSERT_EQUAL(guest_net_send(&net->net, 0, &header, &packet,
                                   (uint32_t)offsetof(struct udp_packet, data) + length),
                    0);
}

/* §5.1.6.2: the kernel completes the checksum. It accepts a packet whose checksum is announced as
 * partial. */
static void the_kernel_takes_a_partial_checksum(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    int udp = udp_socket();
    udp_send(&net, no_offload, 7001, 20);
    udp_send(&net, (struct virtio_net_hdr_v1){.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM}, 7002, 30);
    struct sockaddr_in from;
    socklen_t size = sizeof(from);
    CU_ASSERT_EQUAL(recvfrom(udp, found, sizeof(found), 0, (void *)&from, &size), 30);
    CU_ASSERT_EQUAL(from.sin_port, htons(7002));
    close(udp);
    net_fixture_stop_well(&net);
}

static bool is_piece(const uint8_t *bytes, uint8_t number)
{
    for (uint32_t i = 0; i < UDP_PIECE; i++) {
        if (bytes[i] != number)
            return false;
    }
    return true;
}

/* VIRTIO_NET_F_HOST_USO, _GUEST_USO4 and _USO6: several datagrams are one frame. A kernel whose
 * taps can't do it cuts them before. */
static void datagrams_go_together_in_one_frame(void)
{
    struct net_fixture net;
    struct guest_net_options options = net_fixture_plain;
    options.features |=
        BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) | BIT(VIRTIO_NET_F_HOST_USO);
    net_fixture_start(&net, "mode tap", "", &options);
    const bool together =
        (guest_offered_features(&net.net.guest) & BIT(VIRTIO_NET_F_HOST_USO)) != 0;
    int udp = udp_socket();
    const struct virtio_net_hdr_v1 many = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
        .gso_size = UDP_PIECE,
        .hdr_len = offsetof(struct udp_packet, data),
    };
    if (together)
        udp_send(&net, many, 7002, UDP_PIECES * UDP_PIECE);
    for (uint8_t i = 0; together && i < UDP_PIECES; i++) {
        CU_ASSERT_EQUAL(recv(udp, found, sizeof(found), 0), UDP_PIECE);
        CU_ASSERT_TRUE(is_piece(found, i));
    }
    const int piece = UDP_PIECE;
    static uint8_t all[UDP_PIECES * UDP_PIECE];
    for (uint32_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)(i / UDP_PIECE);
    CU_ASSERT_EQUAL(setsockopt(udp, SOL_UDP, UDP_SEGMENT, &piece, sizeof(piece)), 0);
    const struct sockaddr_in guest = address(2, 7002);
    CU_ASSERT_EQUAL(sendto(udp, all, sizeof(all), 0, (const void *)&guest, sizeof(guest)),
                    (ssize_t)sizeof(all));
    const uint32_t headers = offsetof(struct udp_packet, data);
    for (uint8_t i = 0; i < (together ? 1 : UDP_PIECES); i++) {
        struct virtio_net_hdr_v1 header;
        int length = guest_net_receive(&net.net, 0, &header, found, false, WAIT_MS);
        CU_ASSERT_EQUAL(length, (int)(headers + (together ? sizeof(all) : UDP_PIECE)));
        CU_ASSERT_EQUAL(header.gso_type, together ? VIRTIO_NET_HDR_GSO_UDP_L4 : 0);
        CU_ASSERT_EQUAL(header.gso_size, together ? UDP_PIECE : 0);
        CU_ASSERT_TRUE(is_piece(found + headers, i));
    }
    close(udp);
    net_fixture_stop_well(&net);
}

/* ---- Interrupts that wait, VirtIO 1.3 §5.1.6.5.10 ---- */

static bool coal_is(struct net_fixture *net, uint16_t queue, uint32_t packets, uint32_t usecs)
{
    const uint16_t asked[] = {queue, 0};
    const uint32_t expected[] = {packets, usecs};
    uint32_t answer[2];
    return guest_net_ask(&net->net, VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET,
                         asked, sizeof(asked), answer, sizeof(answer)) == VIRTIO_NET_OK &&
           memcmp(answer, expected, sizeof(expected)) == 0;
}

static uint8_t coal_set(struct net_fixture *net, uint8_t command, uint32_t packets, uint32_t usecs)
{
    const uint32_t values[] = {packets, usecs};
    return (uint8_t)guest_net_command(&net->net, VIRTIO_NET_CTRL_NOTF_COAL, command, values,
                                      sizeof(values));
}

/* Interrupts that are left, of commands above all, are taken. The next one is for this queue. */
static void listen_to(struct net_fixture *net, struct guest_queue *queue)
{
    struct guest *guest = &net->net.guest;
    const int patience = guest->timeout_ms;
    guest_queue_disable_interrupts(&net->net.ctrl);
    guest_queue_disable_interrupts(&net->net.rx[0]);
    guest_queue_disable_interrupts(&net->net.tx[0]);
    CU_ASSERT_EQUAL(guest_net_flush(&net->net, 0), 0);
    guest->timeout_ms = NOTHING_MS;
    while (guest_take_interrupt(guest) >= 0) {
    }
    guest->timeout_ms = patience;
    CU_ASSERT_TRUE(guest_queue_enable_interrupts(queue));
}

static void put_frame(struct net_fixture *net)
{
    net_fixture_frame(sent, net->host_mac, net_fixture_mac, 100, 1);
    CU_ASSERT_EQUAL(guest_net_put(&net->net, 0, &no_offload, sent, 100), 0);
    guest_net_kick(&net->net, 0);
}

/* Far fewer frames than max_packets: the interrupt comes when max_usecs are over, and it also comes
 * from a successor, who waits in the same way. */
static void an_interrupt_waits_as_the_driver_says(void)
{
    struct net_fixture net;
    struct guest_net_options options = net_fixture_plain;
    options.features |= BIT(VIRTIO_NET_F_NOTF_COAL) | BIT(VIRTIO_NET_F_VQ_NOTF_COAL);
    net_fixture_start(&net, "mode tap", "", &options);
    CU_ASSERT_TRUE(coal_is(&net, 0, 0, 0) && coal_is(&net, 1, 0, 0));
    CU_ASSERT_EQUAL(coal_set(&net, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 32, 3000), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(coal_set(&net, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 64, 10000), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(coal_set(&net, VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 64, 10001), VIRTIO_NET_ERR);
    pid_t worker = fixture_worker(&net.fixture, 0);
    for (unsigned int life = 0; life < 2; life++) {
        CU_ASSERT_TRUE(coal_is(&net, 0, 64, 10000) && coal_is(&net, 1, 32, 3000));
        listen_to(&net, &net.net.tx[0]);
        put_frame(&net);
        CU_ASSERT(guest_take_interrupt(&net.net.guest) > 0);
        listen_to(&net, &net.net.rx[0]);
        net_fixture_frame(sent, net_fixture_mac, net.host_mac, 100, 2);
        net_fixture_host_send(&net, sent, 100);
        CU_ASSERT(guest_take_interrupt(&net.net.guest) > 0);
        struct virtio_net_hdr_v1 header;
        CU_ASSERT_EQUAL(guest_net_receive(&net.net, 0, &header, found, false, WAIT_MS), 100);
        CU_ASSERT_TRUE(net_fixture_is_frame(found, 100, 2));
        if (life > 0)
            continue;
        listen_to(&net, &net.net.tx[0]);
        put_frame(&net);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        CU_ASSERT(guest_take_interrupt(&net.net.guest) > 0);
        fixture_wait_worker(&net.fixture, 0, worker);
    }
    net_fixture_stop(&net);
}

/* The key: nobody but the device asks for it. */
static void an_interrupt_waits_as_the_key_says(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "    irq_delay_us: 5000\n    poll_us: 0\n",
                      &net_fixture_plain);
    for (unsigned int round = 0; round < 3; round++) {
        listen_to(&net, &net.net.tx[0]);
        put_frame(&net);
        CU_ASSERT(guest_take_interrupt(&net.net.guest) > 0);
    }
    net_fixture_stop_well(&net);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"the kernel takes a partial checksum", the_kernel_takes_a_partial_checksum},
        {"datagrams go together in one frame", datagrams_go_together_in_one_frame},
        {"an interrupt waits as the driver says", an_interrupt_waits_as_the_driver_says},
        {"an interrupt waits as the key says", an_interrupt_waits_as_the_key_says},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace()
               ? fixture_main_formats(argc, argv, "net, UDP and interrupts", tests, tests)
               : EXIT_FAILURE;
}
