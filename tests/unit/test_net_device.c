/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network device beside its frames and commands: what it offers, what it takes over from a
 * predecessor, and which queues an event of the tap is for.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/cunit_main.h"
#include "tests/unit/net_under_test.h"
#include "worker/net/filter.h"

#define CTRL BIT(VIRTIO_NET_F_CTRL_VQ)
#define MQ (CTRL | BIT(VIRTIO_NET_F_MQ))
#define MRG BIT(VIRTIO_NET_F_MRG_RXBUF)
#define VLAN BIT(VIRTIO_NET_F_CTRL_VLAN)
#define ANNOUNCE (CTRL | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))

static struct state_net *state(void)
{
    return &guest_state.of_kind.net;
}

/* ---- What is offered ---- */

static void test_features(void)
{
    static const unsigned int always[] = {
        VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MTU, VIRTIO_NET_F_MRG_RXBUF,
        VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_RX_EXTRA,
        VIRTIO_NET_F_CTRL_VLAN, VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
        VIRTIO_NET_F_GUEST_ANNOUNCE, VIRTIO_NET_F_NOTF_COAL, VIRTIO_NET_F_VQ_NOTF_COAL,
        /* those of the taps here */
        VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4,
        VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_HOST_USO,
        VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6,
        /* those of every device whose queues are served here */
        VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_RING_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER, VIRTIO_F_RING_RESET};
    uint64_t features = 0;
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
        features |= BIT(always[i]);
    memset(&guest_state, 0, sizeof(guest_state));
    net_worker(1);
    CU_ASSERT_EQUAL(guest_device.features, features);
    net_worker(2);
    CU_ASSERT_EQUAL(guest_device.features, features | BIT(VIRTIO_NET_F_MQ));
}

struct offload {
    unsigned int tun;
    uint64_t host, guest;
};

static const struct offload offloads[] = {
    {TUN_F_CSUM, BIT(VIRTIO_NET_F_CSUM), BIT(VIRTIO_NET_F_GUEST_CSUM)},
    {TUN_F_TSO4, BIT(VIRTIO_NET_F_HOST_TSO4), BIT(VIRTIO_NET_F_GUEST_TSO4)},
    {TUN_F_TSO6, BIT(VIRTIO_NET_F_HOST_TSO6), BIT(VIRTIO_NET_F_GUEST_TSO6)},
    {TUN_F_TSO_ECN, BIT(VIRTIO_NET_F_HOST_ECN), BIT(VIRTIO_NET_F_GUEST_ECN)},
    {TUN_F_UFO, BIT(VIRTIO_NET_F_HOST_UFO), BIT(VIRTIO_NET_F_GUEST_UFO)},
    {TUN_F_USO4, BIT(VIRTIO_NET_F_HOST_USO), BIT(VIRTIO_NET_F_GUEST_USO4)},
    {TUN_F_USO6, BIT(VIRTIO_NET_F_HOST_USO), BIT(VIRTIO_NET_F_GUEST_USO6)},
};

#define OFFLOADS (sizeof(offloads) / sizeof(offloads[0]))

/* Linux refuses a set of offloads in which one is without another that it needs. */
static unsigned int as_linux_takes_them(unsigned int tun)
{
    const unsigned int both = TUN_F_USO4 | TUN_F_USO6;
    if ((tun & TUN_F_CSUM) == 0)
        return 0;
    if ((tun & TUN_F_TSO4) == 0 && (tun & TUN_F_TSO6) == 0)
        tun &= ~(unsigned int)TUN_F_TSO_ECN;
    return (tun & both) == both ? tun : tun & ~both;
}

/* A tap's offloads become features, and a driver's features become offloads. */
static void test_offloads(void)
{
    for (unsigned int set = 0; set < 1u << OFFLOADS; set++) {
        unsigned int tun = 0;
        uint64_t features = 0, guest = 0;
        for (unsigned int i = 0; i < OFFLOADS; i++) {
            if ((set & 1u << i) == 0)
                continue;
            tun |= offloads[i].tun;
            features |= offloads[i].host | offloads[i].guest;
            guest |= offloads[i].guest;
        }
        CU_ASSERT_EQUAL(net_offload_features(tun), features);
        net_set_offloads(net_tap(0), guest | BIT(VIRTIO_NET_F_CSUM) | CTRL);
        CU_ASSERT_EQUAL(net_offloads, as_linux_takes_them(tun));
    }
}

static void test_config(void)
{
    struct virtio_net_config config;
    memset(&guest_state, 0, sizeof(guest_state));
    net_worker(2);
    memcpy(&config, guest_device.config, sizeof(config));
    CU_ASSERT_EQUAL(memcmp(config.mac, net_mac, sizeof(net_mac)), 0);
    CU_ASSERT_EQUAL(config.status, VIRTIO_NET_S_LINK_UP);
    CU_ASSERT_EQUAL(config.max_virtqueue_pairs, 2);
    CU_ASSERT_EQUAL(config.mtu, 1500);
    CU_ASSERT_EQUAL(guest_device.config_size, offsetof(struct virtio_net_config, speed));
}

/* The broker says that the link went down, or up, and nothing else changes. */
static void test_link(void)
{
    net_running(1, VERSION_1, 16);
    for (uint32_t up = 0; up < 2; up++) {
        net_set_status(&guest_device, net_status(&guest_device) | VIRTIO_NET_S_ANNOUNCE);
        guest_state.backend.link_up = up;
        CU_ASSERT_TRUE(net_backend_changed(&guest_device));
        CU_ASSERT_EQUAL(net_status(&guest_device),
                        VIRTIO_NET_S_ANNOUNCE | (up ? VIRTIO_NET_S_LINK_UP : 0));
        CU_ASSERT_FALSE(net_backend_changed(&guest_device));
    }
}

/* Each pair has a queue of the tap, and its two queues. One more is that of the commands. */
static void test_start_checked(void)
{
    static const struct {
        uint32_t taps, queues;
        int result;
    } rows[] = {{0, 1, -EINVAL}, {1, 2, -EINVAL},        {1, 3, 0},
                {1, 4, -EINVAL}, {2, 4, -EINVAL},        {2, 6, -EINVAL},
                {2, 5, 0},       {NET_PAIRS_MAX, 15, 0}, {8, 17, -EINVAL}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_start start = guest_start(DEVICE_NET_VIRTIO);
        struct device device = {.state = &guest_state, .queue_count = rows[i].queues};
        start.backend_fd_count = rows[i].taps;
        start.queue_count = rows[i].queues;
        CU_ASSERT_EQUAL(net_ops.init(&device, &start), rows[i].result);
        if (rows[i].result < 0)
            continue;
        CU_ASSERT_EQUAL(device.user_queues, (1u << rows[i].queues) - 1);
        CU_ASSERT_EQUAL(device.backend_events, (1u << rows[i].taps) - 1);
        CU_ASSERT_EQUAL(device.backend_writes, (1u << rows[i].taps) - 1);
    }
}

/* ---- Drivers and predecessors ---- */

/* Settings that a driver can have made. */
static void change_everything(void)
{
    state()->offloads = BIT(VIRTIO_NET_F_GUEST_CSUM);
    state()->pairs = 2;
    state()->rx_mode = NET_RX_ALLMULTI;
    state()->unicast = 1;
    state()->multicast = 2;
    memcpy(state()->mac, "\2other", sizeof(state()->mac));
    memset(state()->vlans, 0x55, sizeof(state()->vlans));
    for (unsigned int i = 0; i < 2; i++)
        state()->coal_of_all[i] = (struct state_net_coal){5, IRQ_DELAY_US_MAX};
    for (unsigned int q = 0; q < STATE_NET_QUEUES; q++)
        state()->coal[q] = (struct state_net_coal){6, IRQ_DELAY_US_MAX};
}

static bool all_zero(const void *from, size_t size)
{
    const uint8_t *bytes = from;
    size_t zeros = 0;
    while (zeros < size && bytes[zeros] == 0)
        zeros++;
    return zeros == size;
}

static void assert_initial_settings(bool vlans)
{
    CU_ASSERT_EQUAL(state()->offloads, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4));
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM | TUN_F_TSO4);
    CU_ASSERT_EQUAL(state()->pairs, 1);
    CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_PROMISC | (vlans ? NET_RX_VLANS : 0));
    CU_ASSERT(state()->unicast == 0 && state()->multicast == 0);
    CU_ASSERT_EQUAL(memcmp(state()->mac, net_mac, sizeof(net_mac)), 0);
    CU_ASSERT_EQUAL(memcmp(guest_device.config, net_mac, sizeof(net_mac)), 0);
    CU_ASSERT_TRUE(all_zero(state()->vlans, sizeof(state()->vlans)));
    CU_ASSERT_TRUE(all_zero(state()->coal_of_all, sizeof(state()->coal_of_all)));
    CU_ASSERT_TRUE(all_zero(state()->coal, sizeof(state()->coal)));
}

/* §5.1.5: the next driver finds nothing of it, not even if it starts with a successor of the worker
 * that wrote the page. */
static void test_settings_end_with_the_driver(void)
{
    const uint64_t features =
        VERSION_1 | MQ | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
    for (int vlans = 0; vlans < 2; vlans++) {
        net_running(2, features, 16);
        change_everything();
        net_set_mac(&guest_device, state()->mac);
        net_driver(2, features | (vlans ? VLAN : 0), 16);
        assert_initial_settings(vlans);
        guest_negotiate(features | (vlans ? VLAN : 0));
        change_everything();
        net_worker(2);
        guest_driver_ok();
        assert_initial_settings(vlans);
    }
}

/* All of it stays for the driver of a worker that died. */
static void test_settings_outlive_a_worker(void)
{
    struct state_net before;
    net_running(2, VERSION_1 | MQ | BIT(VIRTIO_NET_F_GUEST_CSUM), 16);
    change_everything();
    before = *state();
    net_offloads = 0;
    net_worker(2);
    CU_ASSERT_FALSE(net_needs_reset());
    CU_ASSERT_EQUAL(memcmp(state(), &before, sizeof(before)), 0);
    CU_ASSERT_EQUAL(memcmp(guest_device.config, "\2other", 6), 0);
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM);
}

static void no_pair(void)
{
    state()->pairs = 0;
}

static void too_many_pairs(void)
{
    state()->pairs = 3;
}

static void two_pairs(void)
{
    state()->pairs = 2;
}

static void another_offload(void)
{
    state()->offloads = BIT(VIRTIO_NET_F_GUEST_CSUM);
}

static void no_offload(void)
{
    state()->offloads = BIT(VIRTIO_NET_F_CTRL_VQ);
}

static void too_many_addresses(void)
{
    state()->unicast = STATE_NET_MACS + 1;
}

static void waits_too_long(void)
{
    state()->coal_of_all[1].max_usecs = IRQ_DELAY_US_MAX + 1;
}

static void nothing(void)
{
}

/* What a worker could not have written for this driver. */
static void test_foreign_state(void)
{
    static const struct {
        void (*spoil)(void);
        uint64_t features;
        bool good;
    } rows[] = {
        {nothing, 0, true},
        {no_pair, MQ, false},
        {too_many_pairs, MQ, false},
        {two_pairs, MQ, true},
        {two_pairs, CTRL, false}, /* by which command should it have got the second? */
        {another_offload, CTRL, false},
        {another_offload, BIT(VIRTIO_NET_F_GUEST_CSUM), true},
        {no_offload, CTRL, false},
        {too_many_addresses, CTRL, false},
        {waits_too_long, CTRL, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        net_running(2, VERSION_1 | rows[i].features, 16);
        rows[i].spoil();
        net_worker(2);
        CU_ASSERT_EQUAL(net_needs_reset(), !rows[i].good);
        CU_ASSERT_EQUAL(guest_logged(LOG_STATE_INVALID), !rows[i].good);
    }
    /* Without a driver nobody looks at it. */
    net_running(2, VERSION_1, 16);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    no_pair();
    net_worker(2);
    CU_ASSERT_FALSE(net_needs_reset());
    CU_ASSERT_EQUAL(memcmp(guest_device.config, net_mac, sizeof(net_mac)), 0);
}

/* §5.1.6.5.4: the network may have forgotten where to find the driver. */
static void test_announcement(void)
{
    for (int announces = 0; announces < 2; announces++) {
        net_running(1, VERSION_1 | (announces ? ANNOUNCE : 0), 16);
        CU_ASSERT_EQUAL(net_status(&guest_device), VIRTIO_NET_S_LINK_UP);
        const uint32_t generation = guest_state.transport.config_generation;
        (void)guest_interrupts();
        net_worker(1);
        CU_ASSERT_EQUAL(net_status(&guest_device),
                        VIRTIO_NET_S_LINK_UP | (announces ? VIRTIO_NET_S_ANNOUNCE : 0));
        CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
        CU_ASSERT((guest_read(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG) != 0);
        net_driver(1, VERSION_1 | ANNOUNCE, 16); /* another driver announces itself anyway */
        CU_ASSERT_EQUAL(net_status(&guest_device), VIRTIO_NET_S_LINK_UP);
    }
}

/* ---- What a worker had in hand ---- */

/* A frame that waited for room when the worker died is sent, and not twice. */
static void test_frame_waits_for_a_successor(void)
{
    static uint8_t frame[NET_HEADER_SIZE + 0x8000];
    net_running(1, VERSION_1, 16);
    unsigned int next = net_fill_tap(TX);
    net_worker(1);
    CU_ASSERT_FALSE(net_tx_waits(0));
    for (unsigned int rounds = 0; rounds < 2 * NET_FULL; rounds++) {
        guest_run();
        while (net_received(0, frame, sizeof(frame)) > 0) {
            CU_ASSERT_EQUAL(frame[NET_HEADER_SIZE], next + 1);
            CU_ASSERT_EQUAL(net_used(TX, next), 0);
            next++;
        }
    }
    CU_ASSERT_EQUAL(next, NET_FULL);
}

static void receive_buffers(unsigned int queue, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        net_offer(queue, i, BUFFER(i), 128, VRING_DESC_F_WRITE);
    guest_kick(queue);
}

/* Buffers that a worker had taken when it died are filled by its successor, each once. */
static void test_buffers_wait_for_a_successor(void)
{
    net_running(1, VERSION_1 | MRG, 16);
    receive_buffers(RX, 4);
    net_send(0, 60, 1);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), NET_HEADER_SIZE + 60);
    net_worker(1);
    guest_run();
    for (uint32_t n = 1; n < 5; n++) {
        net_send(0, 60 + n, 1);
        guest_run();
        CU_ASSERT_EQUAL(net_used(RX, n), n < 4 ? (int64_t)(NET_HEADER_SIZE + 60 + n) : -1);
    }
}

/* How many buffers the worker has taken off the ring and not filled. */
static unsigned int in_hand(void)
{
    const struct virtqueue *vq = &guest_device.queues[RX];
    return (uint16_t)(vq->next_avail - vq->next_used);
}

/* A frame of the kernel's, whose buffers the driver offers again. */
static void receive(uint32_t length)
{
    struct vring_used_elem element;
    net_send(0, length, 1);
    guest_run();
    while (guest_used(&net_rings[RX], &element))
        guest_offer(&net_rings[RX], (uint16_t)element.id);
    guest_kick(RX);
}

/* Room for the largest frame is made only after a frame that was larger than ordinary ones are, and
 * for some time: it takes many buffers. */
static void test_room_for_large_frames(void)
{
    const uint32_t longest = 1500 + ETH_HLEN + NET_TAGS, size = 1536;
    const unsigned int most = (NET_HEADER_SIZE + NET_FRAME_MAX + size - 1) / size;
    net_running(1, VERSION_1 | MRG, 64);
    for (uint16_t i = 0; i < 64; i++)
        net_offer(RX, i, BUFFER(i), size, VRING_DESC_F_WRITE);
    guest_kick(RX);
    receive(60);
    CU_ASSERT_EQUAL(in_hand(), 1);
    receive(longest);
    CU_ASSERT_EQUAL(in_hand(), 1);
    for (unsigned int times = 0; times < 2; times++) {
        receive(longest + 1);
        CU_ASSERT_EQUAL(in_hand(), most);
    }
    for (unsigned int n = 1; n <= 64; n++) {
        receive(longest);
        CU_ASSERT_EQUAL(in_hand(), n < 64 ? most : most - 1);
    }
    receive(longest + 1);
    net_driver(1, VERSION_1 | MRG, 64); /* and only with the driver that got them */
    for (uint16_t i = 0; i < 64; i++)
        net_offer(RX, i, BUFFER(i), size, VRING_DESC_F_WRITE);
    guest_kick(RX);
    receive(60);
    CU_ASSERT_EQUAL(in_hand(), 1);
}

/* After a reset, a frame that waited for more buffers is for nobody. */
static void test_reset_forgets_a_held_frame(void)
{
    net_running(1, VERSION_1 | MRG, 16);
    net_offer(RX, 0, BUFFER(0), 128, VRING_DESC_F_WRITE);
    guest_kick(RX);
    net_send(0, 200, 1);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    net_driver(1, VERSION_1 | MRG, 16);
    receive_buffers(RX, 4);
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    net_send(0, 60, 2);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), NET_HEADER_SIZE + 60);
}

/* A buffer that comes for a frame that is held is looked at as any other. */
static void test_bad_buffer_for_a_held_frame(void)
{
    net_running(1, VERSION_1 | MRG, 16);
    net_offer(RX, 0, BUFFER(0), 128, VRING_DESC_F_WRITE);
    guest_kick(RX);
    net_send(0, 200, 1);
    guest_run();
    CU_ASSERT_FALSE(net_needs_reset());
    net_offer(RX, 1, BUFFER(1), NET_HEADER_SIZE - 1, VRING_DESC_F_WRITE);
    guest_kick(RX);
    CU_ASSERT_TRUE(net_needs_reset());
}

/* The broker hears of which queue a frame was dropped, how long it was, and why. */
static void test_drops_are_told(void)
{
    static const struct {
        unsigned int queue;
        uint32_t sent, length; /* with and without a header */
        enum net_check check;
    } rows[] = {
        {RX, 5, 0, NET_SHORT},
        {RX, NET_HEADER_SIZE + 13, 13, NET_SHORT},
        {RX, NET_HEADER_SIZE + NET_FRAME_MAX + 1, NET_FRAME_MAX + 1, NET_LARGE},
        {RX, NET_HEADER_SIZE + 200, 200, NET_NO_ROOM},
        {TX, 5, 0, NET_SHORT},
        {TX, NET_HEADER_SIZE + 13, 13, NET_SHORT},
        {TX, NET_HEADER_SIZE + NET_FRAME_MAX + 1, NET_FRAME_MAX + 1, NET_LARGE},
        {2, NET_HEADER_SIZE + 13, 13, NET_SHORT}, /* of the second pair */
        {3, NET_HEADER_SIZE + 13, 13, NET_SHORT},
    };
    static uint8_t frame[NET_HEADER_SIZE + NET_FRAME_MAX + 1];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const unsigned int queue = rows[i].queue;
        struct message_log message;
        net_running(2, VERSION_1 | MQ, 16);
        state()->pairs = 2;
        if (queue % 2 == RX) {
            receive_buffers(queue, 1);
            CU_ASSERT_EQUAL(send(net_wire[queue / 2], frame, rows[i].sent, 0), rows[i].sent);
            guest_run();
        } else {
            net_offer(queue, 0, BUFFER(0), rows[i].sent, 0);
            guest_kick(queue);
            CU_ASSERT_EQUAL(net_used(queue, 0), 0);
        }
        CU_ASSERT_EQUAL_FATAL(recv(guest_control, &message, sizeof(message), MSG_DONTWAIT),
                              (ssize_t)sizeof(message));
        CU_ASSERT_EQUAL(message.code, LOG_FRAME_DROPPED);
        CU_ASSERT(message.args[0] == queue && message.args[1] == rows[i].length &&
                  message.args[2] == rows[i].check);
        CU_ASSERT_EQUAL(guest_state.counters.dropped_in, queue % 2 == RX);
        CU_ASSERT_EQUAL(guest_state.counters.dropped_out, queue % 2 == TX);
    }
}

/* The first buffer holds less than the part of a frame that the worker looks at. */
static void test_held_behind_a_small_buffer(void)
{
    uint8_t frame[NET_HEADER_SIZE + 100] = {0}, got[sizeof(frame)];
    for (uint8_t i = NET_HEADER_SIZE; i < sizeof(frame); i++)
        frame[i] = i;
    net_running(1, VERSION_1 | MRG, 16);
    net_offer(RX, 0, BUFFER(0), 16, VRING_DESC_F_WRITE);
    guest_kick(RX);
    CU_ASSERT_EQUAL(send(net_wire[0], frame, sizeof(frame), 0), (ssize_t)sizeof(frame));
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    net_offer(RX, 1, BUFFER(1), 200, VRING_DESC_F_WRITE);
    guest_kick(RX);
    CU_ASSERT_EQUAL(net_used(RX, 0), 16);
    CU_ASSERT_EQUAL(net_used(RX, 1), (int64_t)sizeof(frame) - 16);
    memcpy(got, guest_at(BUFFER(0)), 16);
    memcpy(got + 16, guest_at(BUFFER(1)), sizeof(frame) - 16);
    CU_ASSERT_EQUAL(memcmp(got + NET_HEADER_SIZE, frame + NET_HEADER_SIZE, 100), 0);
}

/* A frame that fills its buffers needs no other one. */
static void test_exact_fit(void)
{
    for (unsigned int merged = 0; merged < 2; merged++) {
        net_running(1, VERSION_1 | (merged ? MRG : 0), 16);
        receive_buffers(RX, merged ? 2 : 1);
        net_send(0, (merged ? 256 : 128) - NET_HEADER_SIZE, 1);
        guest_run();
        for (unsigned int i = 0; i <= merged; i++)
            CU_ASSERT_EQUAL(net_used(RX, i), 128);
    }
}

static void set_ready(unsigned int queue, uint32_t ready)
{
    guest_write(VIRTIO_MMIO_QUEUE_SEL, queue);
    guest_write(VIRTIO_MMIO_QUEUE_READY, ready);
}

/* A queue that the driver takes back has nothing in hand any more; the other queues keep theirs. */
static void test_queue_is_taken_back(void)
{
    for (unsigned int pair = 0; pair < 2; pair++) {
        const unsigned int rx = 2 * pair, tx = rx + 1, other = 2 * (1 - pair);
        net_running(2, VERSION_1 | MQ | MRG, 16);
        state()->pairs = 2;
        net_fill_tap(tx);
        net_fill_tap(other + 1);
        set_ready(tx, 0);
        CU_ASSERT_FALSE(net_tx_waits(pair));
        CU_ASSERT_TRUE(net_tx_waits(1 - pair));
        set_ready(4, 0); /* the commands' queue has nothing in hand */
        CU_ASSERT_TRUE(net_tx_waits(1 - pair));

        receive_buffers(rx, 2);
        receive_buffers(other, 2);
        for (unsigned int tap = 0; tap < 2; tap++)
            net_send(tap, 60, 1);
        guest_run();
        CU_ASSERT_EQUAL(net_used(rx, 0), NET_HEADER_SIZE + 60);
        CU_ASSERT_EQUAL(net_used(other, 0), NET_HEADER_SIZE + 60);
        set_ready(rx, 0);
        guest_ring_init(&net_rings[rx], rx, 16);
        guest_queue_setup(rx, &net_rings[rx]);
        net_offer(rx, 7, BUFFER(7), 128, VRING_DESC_F_WRITE);
        guest_kick(rx);
        for (unsigned int tap = 0; tap < 2; tap++)
            net_send(tap, 70, 1);
        guest_run();
        CU_ASSERT_EQUAL(net_used(rx, 7), NET_HEADER_SIZE + 70);
        CU_ASSERT_EQUAL(net_used(other, 1), NET_HEADER_SIZE + 70);
    }
}

/* ---- Events of the tap ---- */

static uint32_t work_after(unsigned int file, uint32_t events)
{
    struct guest_fault fault;
    guest_device.work = 0;
    net.readable = 0;
    CU_ASSERT_EQUAL(net_ops.backend_event(&guest_device, file, events, &fault), 0);
    CU_ASSERT_EQUAL(net.readable, guest_device.work & 0x15 ? 1u << file : 0);
    return guest_device.work;
}

static void test_events(void)
{
    static const uint32_t rx[] = {1 << 0, 1 << 2}, tx[] = {1 << 1, 1 << 3};
    struct guest_fault fault;
    net_running(2, VERSION_1 | MQ, 16);
    state()->pairs = 2;
    for (unsigned int file = 0; file < 2; file++) {
        CU_ASSERT_EQUAL(work_after(file, EPOLLIN), rx[file]);
        CU_ASSERT_EQUAL(work_after(file, EPOLLOUT), 0); /* nothing waits for room */
        CU_ASSERT_EQUAL(work_after(file, EPOLLIN | EPOLLOUT), rx[file]);
        CU_ASSERT_EQUAL(work_after(file, EPOLLERR), rx[file]);
        net_fill_tap(2 * file + 1);
        CU_ASSERT_EQUAL(work_after(file, EPOLLIN), rx[file]);
        CU_ASSERT_EQUAL(work_after(file, EPOLLOUT), tx[file]);
        CU_ASSERT_EQUAL(work_after(file, EPOLLERR), rx[file] | tx[file]);
        CU_ASSERT_EQUAL(work_after(file, EPOLLIN | EPOLLOUT), rx[file] | tx[file]);
    }
    guest_device.work = 1 << 1;
    CU_ASSERT_EQUAL(net_ops.backend_event(&guest_device, 1, EPOLLIN, &fault), 0);
    CU_ASSERT_EQUAL(guest_device.work, 1 << 1 | 1 << 2); /* what was to be done still is */
    state()->pairs = 1; /* the first pair has the frames of both queues of the tap */
    CU_ASSERT_EQUAL(work_after(1, EPOLLIN), rx[0]);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(work_after(0, EPOLLIN | EPOLLOUT), 0);
    CU_ASSERT_EQUAL(net_ops.turn(&guest_device, RX, &fault), SERVE_WAIT_BACKEND);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"features", test_features},
        {"offloads of a tap", test_offloads},
        {"configuration", test_config},
        {"the link", test_link},
        {"START is checked", test_start_checked},
        {"settings end with the driver", test_settings_end_with_the_driver},
        {"settings outlive a worker", test_settings_outlive_a_worker},
        {"a state that no worker wrote", test_foreign_state},
        {"announcement", test_announcement},
        {"a frame waits for a successor", test_frame_waits_for_a_successor},
        {"buffers wait for a successor", test_buffers_wait_for_a_successor},
        {"room for large frames", test_room_for_large_frames},
        {"a reset forgets a frame that is held", test_reset_forgets_a_held_frame},
        {"a bad buffer for a frame that is held", test_bad_buffer_for_a_held_frame},
        {"frames that are dropped are told", test_drops_are_told},
        {"a frame that waits behind a small buffer", test_held_behind_a_small_buffer},
        {"an exact fit", test_exact_fit},
        {"a queue is taken back", test_queue_is_taken_back},
        {"events of the tap", test_events},
        CU_TEST_INFO_NULL,
    };
    signal(SIGPIPE, SIG_IGN); /* as in a worker: a tap raises none */
    guest_window_init();
    return run_tests(argc, argv, "the network device", tests);
}
