/* SPDX-License-Identifier: Apache-2.0 */
/* The network device, VirtIO 1.2 §5.1, from the driver's side and the tap's. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/newer_net.h"
#include "tests/standin/net_fixture.h"

#define BIT(n) (1ull << (n))
#define WAIT_MS 20000
#define NOTHING_MS 60 /* we wait this long to be sure that no frame comes */

static const struct virtio_net_hdr_v1 no_offload = {0};
static uint8_t sent[GUEST_NET_FRAME_MAX], found[GUEST_NET_FRAME_MAX];

/* ---- Frames ---- */

static void expect_at_host(struct net_fixture *net, uint32_t length, uint32_t seed)
{
    net_fixture_frame(sent, net->host_mac, net_fixture_mac, length, seed);
    CU_ASSERT_EQUAL(guest_net_send(&net->net, 0, &no_offload, sent, length), 0);
    CU_ASSERT_EQUAL(net_fixture_host_receive(net, found, WAIT_MS), (int)length);
    CU_ASSERT(net_fixture_is_frame(found, length, seed));
}

static void send_to_guest(struct net_fixture *net, const uint8_t *to, uint32_t length,
                          uint32_t seed)
{
    net_fixture_frame(sent, to, net->host_mac, length, seed);
    net_fixture_host_send(net, sent, length);
}

static void expect_at_guest(struct net_fixture *net, uint32_t length, uint32_t seed)
{
    struct virtio_net_hdr_v1 header;
    int r = guest_net_receive(&net->net, 0, &header, found, false, WAIT_MS);
    CU_ASSERT_EQUAL(r, (int)length);
    CU_ASSERT(r > 0 && net_fixture_is_frame(found, length, seed));
    CU_ASSERT_EQUAL(header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    uint32_t buffers = (12 + length + net->net.rx_size - 1) / net->net.rx_size;
    CU_ASSERT_EQUAL(header.num_buffers, buffers);
}

static void expect_nothing_at_guest(struct net_fixture *net)
{
    struct virtio_net_hdr_v1 header;
    CU_ASSERT_EQUAL(guest_net_receive(&net->net, 0, &header, found, false, NOTHING_MS), -ETIMEDOUT);
}

static void offers_what_it_should_and_tells_its_configuration(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    uint64_t offered = guest_offered_features(&net.net.guest);
    const unsigned int wanted[] = {
        VIRTIO_NET_F_CSUM,           VIRTIO_NET_F_GUEST_CSUM,
        VIRTIO_NET_F_HOST_TSO4,      VIRTIO_NET_F_HOST_TSO6,
        VIRTIO_NET_F_GUEST_TSO4,     VIRTIO_NET_F_GUEST_TSO6,
        VIRTIO_NET_F_HOST_ECN,       VIRTIO_NET_F_GUEST_ECN,
        VIRTIO_NET_F_MRG_RXBUF,      VIRTIO_NET_F_MAC,
        VIRTIO_NET_F_STATUS,         VIRTIO_NET_F_MTU,
        VIRTIO_NET_F_CTRL_VQ,        VIRTIO_NET_F_CTRL_RX,
        VIRTIO_NET_F_CTRL_RX_EXTRA,  VIRTIO_NET_F_CTRL_VLAN,
        VIRTIO_NET_F_CTRL_MAC_ADDR,  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
        VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_NOTF_COAL,
        VIRTIO_NET_F_VQ_NOTF_COAL,
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        CU_ASSERT((offered & BIT(wanted[i])) != 0);
    CU_ASSERT((offered & BIT(VIRTIO_NET_F_MQ)) == 0);
    CU_ASSERT_EQUAL(memcmp(net.net.config.mac, net_fixture_mac, ETH_ALEN), 0);
    /* The kernel takes a moment to call the tap running. */
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
    CU_ASSERT_EQUAL(net.net.config.mtu, 1500);
    net_fixture_stop_well(&net);
}

static void frames_of_every_length_go_both_ways(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    for (uint32_t length = 60; length <= 1514; length += length < 80 || length > 1500 ? 1 : 97) {
        expect_at_host(&net, length, length);
        send_to_guest(&net, net_fixture_mac, length, length);
        expect_at_guest(&net, length, length);
    }
    net_fixture_stop_well(&net);
}

static void frames_are_spread_over_small_buffers(void)
{
    struct net_fixture net;
    struct guest_net_options options = net_fixture_plain;
    options.rx_size = 100; /* once shorter than the part that the worker looks at */
    net_fixture_start(&net, "mode tap", "", &options);
    for (uint32_t length = 60; length <= 1514; length += 121) {
        send_to_guest(&net, net_fixture_mac, length, length);
        expect_at_guest(&net, length, length);
    }
    net_fixture_stop_well(&net);

    options.rx_size = 16;
    options.rx_count = 200;
    net_fixture_start(&net, "mode tap", "", &options);
    for (uint32_t length = 60; length <= 1514; length += 121) {
        send_to_guest(&net, net_fixture_mac, length, length);
        expect_at_guest(&net, length, length);
    }
    net_fixture_stop_well(&net);
}

static void a_frame_too_large_for_the_buffers_is_dropped_as_a_whole(void)
{
    struct net_fixture net;
    struct guest_net_options options = net_fixture_plain;
    options.features &= ~BIT(VIRTIO_NET_F_MRG_RXBUF);
    options.rx_size = 512;
    net_fixture_start(&net, "mode tap", "", &options);
    send_to_guest(&net, net_fixture_mac, 501, 1); /* one byte too long */
    expect_nothing_at_guest(&net);
    send_to_guest(&net, net_fixture_mac, 500, 2);
    expect_at_guest(&net, 500, 2);
    net_fixture_stop_well(&net);

    /* Merged rx buffers: a frame is dropped only if the whole ring has no room for it. */
    options = net_fixture_plain;
    options.rx_size = 64;
    options.rx_count = 4;
    net_fixture_start(&net, "mode tap", "    queue_size: 4\n", &options);
    send_to_guest(&net, net_fixture_mac, 245, 3);
    expect_nothing_at_guest(&net);
    send_to_guest(&net, net_fixture_mac, 244, 4);
    expect_at_guest(&net, 244, 4);
    net_fixture_stop_well(&net);
}

static void a_frame_waits_for_the_driver_to_make_room(void)
{
    struct net_fixture net;
    struct virtio_net_hdr_v1 header;
    struct guest_net_options options = net_fixture_plain;
    options.rx_count = 4;
    net_fixture_start(&net, "mode tap", "", &options);
    for (uint32_t i = 0; i < 6; i++)
        send_to_guest(&net, net_fixture_mac, 1000, i);
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(guest_net_receive(&net.net, 0, &header, found, true, WAIT_MS), 1000);
        CU_ASSERT(net_fixture_is_frame(found, 1000, i));
    }
    CU_ASSERT_EQUAL(guest_net_receive(&net.net, 0, &header, found, true, NOTHING_MS), -ETIMEDOUT);
    guest_net_refill(&net.net, 0);
    expect_at_guest(&net, 1000, 4);
    expect_at_guest(&net, 1000, 5);
    net_fixture_stop_well(&net);
}

static void frames_that_must_not_be_sent_are_dropped(void)
{
    static const struct {
        struct virtio_net_hdr_v1 header;
        uint32_t length;
    } bad[] = {
        {{0}, 13},
        {{0}, 1500 + 14 + 9},
        {{.flags = 1, .csum_start = 60, .csum_offset = 60}, 121},
        {{.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff}, 200},
        {{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000}, 200},
        {{.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4}, 200},
        {{.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 9, .hdr_len = 201}, 200},
        {{.flags = 1, .gso_type = 5 /* UDP_L4, not of VirtIO 1.2 */, .gso_size = 1000}, 200},
        {{.flags = 1, .gso_type = 0x7f, .gso_size = 1000}, 200},
        {{.flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_ECN, .gso_size = 1000}, 200},
    };
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        net_fixture_frame(sent, net.host_mac, net_fixture_mac, bad[i].length, i);
        CU_ASSERT_EQUAL(guest_net_send(&net.net, 0, &bad[i].header, sent, bad[i].length), 0);
        CU_ASSERT_EQUAL(guest_net_flush(&net.net, 0), 0);
        CU_ASSERT_EQUAL(net_fixture_host_receive(&net, found, 5), -ETIMEDOUT);
    }
    /* Random values in every field of the header, one header for each frame: the worst case is a
     * lost frame. */
    srand(1);
    for (unsigned int i = 0; i < 2000; i++) {
        struct virtio_net_hdr_v1 header;
        uint8_t *bytes = (uint8_t *)&header;
        for (size_t b = 0; b < sizeof(header); b++)
            bytes[b] = (uint8_t)(rand() % 4 == 0 ? rand() : rand() % 8);
        CU_ASSERT_EQUAL(guest_net_send(&net.net, 0, &header, sent, 14 + (uint32_t)rand() % 3000),
                        0);
    }
    CU_ASSERT_EQUAL(guest_net_flush(&net.net, 0), 0);
    while (net_fixture_host_receive(&net, found, NOTHING_MS) > 0) {
    }
    expect_at_host(&net, 100, 77);
    net_fixture_stop_well(&net);
}

/* ---- The link ---- */

static void the_link_follows_the_tap(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
    for (unsigned int i = 0; i < 3; i++) {
        uint64_t before = net.net.guest.config_changes;
        net_fixture_ip("link set tap0 down");
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, 0));
        /* Frames that are sent while the link is down are lost, and nothing else. */
        net_fixture_frame(sent, net.host_mac, net_fixture_mac, 100, 1);
        for (unsigned int n = 0; n < 40; n++)
            CU_ASSERT_EQUAL(guest_net_send(&net.net, 0, &no_offload, sent, 100), 0);
        CU_ASSERT_EQUAL(guest_net_flush(&net.net, 0), 0);
        net_fixture_ip("link set tap0 up");
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
        CU_ASSERT((guest_take_interrupt(&net.net.guest) & VIRTIO_MMIO_INT_CONFIG) != 0);
        CU_ASSERT(net.net.guest.config_changes > before);
        expect_at_host(&net, 200, i);
        send_to_guest(&net, net_fixture_mac, 300, i);
        expect_at_guest(&net, 300, i);
    }
    net_fixture_ip("link set tap0 carrier off");
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, 0));
    net_fixture_ip("link set tap0 carrier on");
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
    net_fixture_stop_well(&net);
}

/* The carrier goes down and up again: so we know that the broker has looked. */
static void assert_carrier_is_followed(struct net_fixture *net, const char *name)
{
    char words[64];
    snprintf(words, sizeof(words), "link set %s carrier off", name);
    net_fixture_ip(words);
    CU_ASSERT(net_fixture_wait_status(net, VIRTIO_NET_S_LINK_UP, 0));
    snprintf(words, sizeof(words), "link set %s carrier on", name);
    net_fixture_ip(words);
    CU_ASSERT(net_fixture_wait_status(net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
}

/* The device model must not go by the name: another tap may have it by now. */
static void the_link_follows_a_tap_with_another_name(void)
{
    struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    net_fixture_ip("link set tap0 down");
    net_fixture_ip("link set tap0 name moved0");
    net_fixture_ip("link set moved0 up");
    net_fixture_ip("tuntap add tap0 mode tap"); /* the new tap0 is down */
    assert_carrier_is_followed(&net, "moved0");
    expect_at_host(&net, 200, 1);
    net_fixture_ip("link set tap0 up");
    net_fixture_ip("link set moved0 down");
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, 0));
    net_fixture_ip("link delete tap0");
    net_fixture_ip("link set moved0 name tap0");
    net_fixture_ip("link set tap0 up");
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
    net_fixture_stop_well(&net);
}

/* A process in its own network namespace. It runs lines of words of `ip` there, one after the
 * other, and says when each is done. */
struct elsewhere {
    pid_t pid;
    int socket;
};

_Noreturn static void serve_elsewhere(int socket)
{
    char words[64];
    ssize_t length;
    if (unshare(CLONE_NEWNET) < 0)
        _exit(1);
    (void)!write(socket, "", 1);
    while ((length = read(socket, words, sizeof(words) - 1)) > 0) {
        words[length] = '\0';
        net_fixture_ip(words);
        (void)!write(socket, "", 1);
    }
    _exit(0);
}

static struct elsewhere start_elsewhere(void)
{
    int sockets[2];
    char ready;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), 0);
    struct elsewhere elsewhere = {.pid = fork(), .socket = sockets[0]};
    if (elsewhere.pid == 0) {
        close(sockets[0]);
        serve_elsewhere(sockets[1]);
    }
    close(sockets[1]);
    CU_ASSERT_EQUAL_FATAL(read(elsewhere.socket, &ready, 1), 1);
    return elsewhere;
}

static void ip_elsewhere(const struct elsewhere *elsewhere, const char *words)
{
    char done;
    CU_ASSERT_EQUAL(write(elsewhere->socket, words, strlen(words)), (ssize_t)strlen(words));
    CU_ASSERT_EQUAL(read(elsewhere->socket, &done, 1), 1);
}

static void the_link_follows_a_tap_in_another_namespace(void)
{
    struct net_fixture net;
    char words[64];
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    struct elsewhere elsewhere = start_elsewhere();
    snprintf(words, sizeof(words), "link set tap0 netns %d", elsewhere.pid); /* it is down now */
    net_fixture_ip(words);
    CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, 0));
    fixture_assert_logged(&net.fixture, "tap \"tap0\" is in another network namespace now");
    net_fixture_ip("tuntap add tap0 mode tap");
    net_fixture_ip("link set tap0 up");
    for (unsigned int i = 0; i < 2; i++) {
        ip_elsewhere(&elsewhere, "link set tap0 up");
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, VIRTIO_NET_S_LINK_UP));
        ip_elsewhere(&elsewhere, "link set tap0 down");
        CU_ASSERT(net_fixture_wait_status(&net, VIRTIO_NET_S_LINK_UP, 0));
    }
    ip_elsewhere(&elsewhere, "link delete tap0");
    fixture_wait_logged(&net.fixture, "tap \"tap0\" was removed", WAIT_MS);
    close(elsewhere.socket);
    CU_ASSERT_EQUAL(waitpid(elsewhere.pid, NULL, 0), elsewhere.pid);
    net_fixture_stop(&net);
}

/* ---- The control queue ---- */

static const uint8_t other[ETH_ALEN] = {0x52, 0x54, 0, 0, 0, 9};
static const uint8_t group[ETH_ALEN] = {0x01, 0, 0x5e, 0, 0, 7};
static const uint8_t everyone[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static int mode(struct net_fixture *net, uint8_t command, uint8_t on)
{
    return guest_net_command(&net->net, VIRTIO_NET_CTRL_RX, command, &on, 1);
}

/* Which of the four frames get through: bit 0 to our address, 1 to another's, 2 to a group's, 3 to
 * the broadcast address. The function waits for the frames that are wanted. The others have come
 * before them, or come soon, or do not come at all. */
static unsigned int passing(struct net_fixture *net, unsigned int wanted)
{
    const uint8_t *const to[] = {net_fixture_mac, other, group, everyone};
    struct virtio_net_hdr_v1 header;
    unsigned int result = 0;
    for (uint32_t i = 0; i < 4; i++)
        send_to_guest(net, to[i], 100, i);
    while (guest_net_receive(&net->net, 0, &header, found, false,
                             (wanted & ~result) != 0 ? WAIT_MS : NOTHING_MS) > 0) {
        for (uint32_t i = 0; i < 4; i++)
            result |= net_fixture_is_frame(found, 100, i) ? 1u << i : 0;
    }
    return result;
}

static void the_driver_says_which_frames_it_wants(void)
{
    struct net_fixture net;
    struct {
        uint32_t unicast;
        uint8_t first[ETH_ALEN];
        uint32_t multicast;
        uint8_t second[ETH_ALEN];
    } __attribute__((packed)) table = {1, {0}, 1, {0}};
    const uint32_t empty[2] = {0, 0};
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    CU_ASSERT_EQUAL(passing(&net, 0xf), 0xf); /* all of them, until the driver says something */
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x9), 0x9);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_ALLMULTI, 1), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0xd), 0xd);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_ALLMULTI, 0), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x1), 0x1);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_NOUNI, 1), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x0), 0x0);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_NOUNI, 0), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_ALLUNI, 1), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x3), 0x3);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_ALLUNI, 0), VIRTIO_NET_OK);
    memcpy(table.first, other, ETH_ALEN);
    memcpy(table.second, group, ETH_ALEN);
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                                      &table, sizeof(table)),
                    VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x7), 0x7);
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                                      empty, sizeof(empty)),
                    VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x1), 0x1);
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
                                      other, sizeof(other)),
                    VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0x2), 0x2);
    uint8_t mac[ETH_ALEN];
    guest_config(&net.net.guest, 0, mac, sizeof(mac), 1);
    CU_ASSERT_EQUAL(memcmp(mac, other, sizeof(mac)), 0);
    net_fixture_stop_well(&net);
}

static void a_table_that_is_too_long_lets_all_pass(void)
{
    struct net_fixture net;
    static uint8_t table[4 + 100 * ETH_ALEN + 4];
    const uint32_t entries = 100;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    memcpy(table, &entries, sizeof(entries));
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
                                      table, sizeof(table)),
                    VIRTIO_NET_OK);
    CU_ASSERT_EQUAL(passing(&net, 0xb), 0xb); /* every unicast address, but no group's */
    net_fixture_stop_well(&net);
}

static void vlans_are_filtered(void)
{
    struct net_fixture net;
    struct virtio_net_hdr_v1 header;
    const uint16_t id = 42;
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    CU_ASSERT_EQUAL(mode(&net, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
    for (unsigned int round = 0; round < 3; round++) {
        net_fixture_frame(sent, net_fixture_mac, net.host_mac, 100, round);
        const uint8_t tag[] = {0x81, 0x00, 0xe0, 42, 0x88, 0xb5};
        memcpy(sent + 12, tag, sizeof(tag));
        net_fixture_host_send(&net, sent, 100);
        int r = guest_net_receive(&net.net, 0, &header, found, false,
                                  round == 1 ? WAIT_MS : NOTHING_MS);
        CU_ASSERT_EQUAL(r, round == 1 ? 100 : -ETIMEDOUT);
        uint8_t command = round == 0 ? VIRTIO_NET_CTRL_VLAN_ADD : VIRTIO_NET_CTRL_VLAN_DEL;
        CU_ASSERT_EQUAL(guest_net_command(&net.net, VIRTIO_NET_CTRL_VLAN, command, &id, sizeof(id)),
                        VIRTIO_NET_OK);
    }
    net_fixture_stop_well(&net);
}

static void wrong_commands_are_refused(void)
{
    struct net_fixture net;
    static const uint8_t zeros[16], ones[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const struct {
        uint8_t class, command;
        const void *data;
        uint32_t length;
    } wrong[] = {
        {VIRTIO_NET_CTRL_RX, 6, zeros, 1},
        {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, zeros, 0},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, zeros, 7},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, ones, 8},
        {VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, zeros, 5},
        {VIRTIO_NET_CTRL_MAC, 2, zeros, 16},
        {VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, ones, 2},
        {VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, zeros, 1},
        {VIRTIO_NET_CTRL_VLAN, 2, zeros, 2},
        {VIRTIO_NET_CTRL_ANNOUNCE, 1, zeros, 0},
        {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, zeros, 2}, /* not negotiated */
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, ones, 8},
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, zeros, 7},
        {VIRTIO_NET_CTRL_GUEST_OFFLOADS, 1, zeros, 8},
        {6, 0, zeros, 8},
        {0xff, 0xff, ones, 8},
    };
    net_fixture_start(&net, "mode tap", "", &net_fixture_plain);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        CU_ASSERT_EQUAL(guest_net_command(&net.net, wrong[i].class, wrong[i].command, wrong[i].data,
                                          wrong[i].length),
                        VIRTIO_NET_ERR);
    CU_ASSERT_EQUAL(passing(&net, 0xf), 0xf);
    expect_at_host(&net, 100, 1);
    net_fixture_stop_well(&net);
}

static void a_driver_without_any_feature_is_served(void)
{
    struct net_fixture net;
    struct guest_net_options options = net_fixture_plain;
    options.features = BIT(VIRTIO_F_VERSION_1);
    net_fixture_start(&net, "mode tap", "", &options);
    for (uint32_t i = 0; i < 200; i++) {
        expect_at_host(&net, 60 + i * 7, i);
        send_to_guest(&net, net_fixture_mac, 60 + i * 7, i);
        expect_at_guest(&net, 60 + i * 7, i);
    }
    net_fixture_stop_well(&net);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"offers what it should and tells its configuration",
         offers_what_it_should_and_tells_its_configuration},
        {"frames of every length go both ways", frames_of_every_length_go_both_ways},
        {"frames are spread over small buffers", frames_are_spread_over_small_buffers},
        {"a frame too large for the buffers is dropped as a whole",
         a_frame_too_large_for_the_buffers_is_dropped_as_a_whole},
        {"a frame waits for the driver to make room", a_frame_waits_for_the_driver_to_make_room},
        {"frames that must not be sent are dropped", frames_that_must_not_be_sent_are_dropped},
        {"the link follows the tap", the_link_follows_the_tap},
        {"the link follows a tap with another name", the_link_follows_a_tap_with_another_name},
        {"the link follows a tap in another namespace",
         the_link_follows_a_tap_in_another_namespace},
        {"the driver says which frames it wants", the_driver_says_which_frames_it_wants},
        {"a table that is too long lets all pass", a_table_that_is_too_long_lets_all_pass},
        {"VLANs are filtered", vlans_are_filtered},
        {"wrong commands are refused", wrong_commands_are_refused},
        {"a driver without any feature is served", a_driver_without_any_feature_is_served},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main_formats(argc, argv, "net device", tests, tests)
                                   : EXIT_FAILURE;
}
