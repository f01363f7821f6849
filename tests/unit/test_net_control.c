/* SPDX-License-Identifier: Apache-2.0 */
/* The network device's control queue, VirtIO 1.2 §5.1.6.5: what each command sets, and what is
 * refused without a trace. */
#include <linux/if_tun.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/net_under_test.h"
#include "worker/net/filter.h"

#define CTRL BIT(VIRTIO_NET_F_CTRL_VQ)
#define CTRL_RX (CTRL | BIT(VIRTIO_NET_F_CTRL_RX))
#define EXTRA (CTRL_RX | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA))
#define VLAN (CTRL | BIT(VIRTIO_NET_F_CTRL_VLAN))
#define MAC (CTRL | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR))
#define ANNOUNCE (CTRL | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define MQ (CTRL | BIT(VIRTIO_NET_F_MQ))
#define CSUM BIT(VIRTIO_NET_F_GUEST_CSUM)
#define TSO4 BIT(VIRTIO_NET_F_GUEST_TSO4)
#define TSO6 BIT(VIRTIO_NET_F_GUEST_TSO6)
#define USO4 BIT(VIRTIO_NET_F_GUEST_USO4)
#define USO6 BIT(VIRTIO_NET_F_GUEST_USO6)
#define OFFLOADS (CTRL | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | CSUM | TSO4)

#define COAL (CTRL | BIT(VIRTIO_NET_F_NOTF_COAL))
#define VQ_COAL (CTRL | BIT(VIRTIO_NET_F_VQ_NOTF_COAL))

#define OK VIRTIO_NET_OK
#define ERR VIRTIO_NET_ERR
#define NO_ANSWER 0xee

static unsigned int control_queue;

static const struct state_net *state(void)
{
    return &guest_state.of_kind.net;
}

static void running(uint64_t features)
{
    net_running(2, VERSION_1 | features, 16);
    control_queue = (features & BIT(VIRTIO_NET_F_MQ)) != 0 ? 4 : 2;
}

/* Offer a command in pieces of `piece` bytes. */
static void offer_in_pieces(uint8_t class, uint8_t command, const void *data, uint32_t length,
                            uint32_t piece)
{
    struct guest_ring *ring = &net_rings[control_queue];
    uint8_t *bytes = guest_at(BUFFER(0)), *answer = guest_at(BUFFER(1));
    bytes[0] = class;
    bytes[1] = command;
    memcpy(bytes + 2, data, length);
    *answer = NO_ANSWER;
    uint16_t number = 0;
    for (uint32_t at = 0; at < length + 2; at += piece, number++) {
        uint32_t left = length + 2 - at;
        guest_desc(ring, number, BUFFER(0) + at, left < piece ? left : piece, VRING_DESC_F_NEXT,
                   (uint16_t)(number + 1));
    }
    guest_desc(ring, number, BUFFER(1), 1, VRING_DESC_F_WRITE, 0);
    guest_offer(ring, 0);
}

static uint8_t answer_to_it(void)
{
    CU_ASSERT_EQUAL(net_used(control_queue, 0), 1);
    return *(uint8_t *)guest_at(BUFFER(1));
}

/* Send a command in pieces of `piece` bytes. Returns the answer. */
static uint8_t command_in_pieces(uint8_t class, uint8_t command, const void *data, uint32_t length,
                                 uint32_t piece)
{
    offer_in_pieces(class, command, data, length, piece);
    guest_kick(control_queue);
    return answer_to_it();
}

/* Let the device do nothing but serve the commands. Returns the answer to the one. */
static uint8_t command_alone(uint8_t class, uint8_t command, const void *data, uint32_t length)
{
    struct guest_fault fault;
    offer_in_pieces(class, command, data, length, 0x10000);
    CU_ASSERT_NOT_EQUAL(net_ops.turn(&guest_device, control_queue, &fault), SERVE_FAULT);
    return answer_to_it();
}

static uint8_t command(uint8_t class, uint8_t number, const void *data, uint32_t length)
{
    return command_in_pieces(class, number, data, length, 0x10000);
}

static uint8_t command16(uint8_t class, uint8_t number, uint16_t value)
{
    return command(class, number, &value, sizeof(value));
}

/* ---- §5.1.6.5.1 ---- */

static void test_rx_modes(void)
{
    for (uint8_t mode = 0; mode <= VIRTIO_NET_CTRL_RX_NOBCAST; mode++) {
        bool extra = mode >= VIRTIO_NET_CTRL_RX_ALLUNI;
        uint16_t before;
        running(EXTRA);
        before = state()->rx_mode;
        CU_ASSERT_EQUAL(before, NET_RX_PROMISC);
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, mode, "\1", 1), OK);
        CU_ASSERT_EQUAL(state()->rx_mode, before | 1u << mode);
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, mode, "\0", 1), OK);
        CU_ASSERT_EQUAL(state()->rx_mode, before & ~(1u << mode));
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, mode, "\xff", 1), OK);
        CU_ASSERT_EQUAL(state()->rx_mode, before | 1u << mode);
        running(CTRL_RX);
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, mode, "\0", 1), extra ? ERR : OK);
        running(CTRL);
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, mode, "\0", 1), ERR);
        CU_ASSERT_EQUAL(state()->rx_mode, before);
    }
    running(EXTRA);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST + 1, "\1", 1), ERR);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, 0, "", 0), ERR); /* without its byte */
    CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_PROMISC);
}

/* ---- §5.1.6.5.2 ---- */

static uint8_t macs[4 + (STATE_NET_MACS + 1) * 6 + 4 + (STATE_NET_MACS + 1) * 6];

/* Lay out the two lists; address k of list l ends with l and k. Returns their length. */
static uint32_t two_lists(uint32_t unicast, uint32_t multicast)
{
    const uint32_t counts[] = {unicast, multicast};
    uint8_t *at = macs;
    for (uint8_t list = 0; list < 2; list++) {
        memcpy(at, &counts[list], 4);
        at += 4;
        for (uint32_t k = 0; k < counts[list]; k++, at += 6)
            memcpy(at, (uint8_t[]){list, 9, 9, 9, list, (uint8_t)k}, 6);
    }
    return (uint32_t)(at - macs);
}

static uint8_t set_table(uint32_t unicast, uint32_t multicast)
{
    uint32_t length = two_lists(unicast, multicast);
    return command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, length);
}

static void test_mac_table(void)
{
    running(CTRL_RX);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "\0", 1), OK);
    CU_ASSERT_EQUAL(set_table(2, 3), OK);
    CU_ASSERT_EQUAL(state()->unicast, 2);
    CU_ASSERT_EQUAL(state()->multicast, 3);
    CU_ASSERT_EQUAL(memcmp(state()->macs[1], (uint8_t[]){0, 9, 9, 9, 0, 1}, 6), 0);
    CU_ASSERT_EQUAL(memcmp(state()->macs[2], (uint8_t[]){1, 9, 9, 9, 1, 0}, 6), 0);
    CU_ASSERT_EQUAL(memcmp(state()->macs[4], (uint8_t[]){1, 9, 9, 9, 1, 2}, 6), 0);
    CU_ASSERT_EQUAL(state()->rx_mode, 0);
    /* As many as there is room for. */
    CU_ASSERT_EQUAL(set_table(1, STATE_NET_MACS - 1), OK);
    CU_ASSERT_EQUAL(state()->multicast, STATE_NET_MACS - 1);
    CU_ASSERT_EQUAL(state()->rx_mode, 0);
    /* One more: all multicast addresses pass. */
    CU_ASSERT_EQUAL(set_table(1, STATE_NET_MACS), OK);
    CU_ASSERT_EQUAL(state()->unicast, 1);
    CU_ASSERT_EQUAL(state()->multicast, 0);
    CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_MULTICAST_FULL);
    /* The second list is read behind a first one that is too long. */
    CU_ASSERT_EQUAL(set_table(STATE_NET_MACS + 1, 2), OK);
    CU_ASSERT_EQUAL(state()->unicast, 0);
    CU_ASSERT_EQUAL(state()->multicast, 2);
    CU_ASSERT_EQUAL(memcmp(state()->macs[1], (uint8_t[]){1, 9, 9, 9, 1, 1}, 6), 0);
    CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_UNICAST_FULL);
    CU_ASSERT_EQUAL(set_table(0, 0), OK);
    CU_ASSERT_EQUAL(state()->multicast, 0);
    CU_ASSERT_EQUAL(state()->rx_mode, 0);
}

/* A table that breaks off is refused as a whole. */
static void test_mac_table_cut(void)
{
    running(CTRL_RX);
    CU_ASSERT_EQUAL(set_table(1, 1), OK);
    uint32_t length = two_lists(2, 2);
    for (uint32_t cut = 0; cut < length; cut++)
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, cut),
                        ERR);
    length = two_lists(STATE_NET_MACS + 1, 0);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs, length - 5),
                    ERR);
    CU_ASSERT_EQUAL(state()->unicast, 1);
    CU_ASSERT_EQUAL(state()->multicast, 1);
    CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_PROMISC);
    running(MAC);
    CU_ASSERT_EQUAL(set_table(1, 1), ERR); /* without CTRL_RX */
    CU_ASSERT_EQUAL(state()->unicast, 0);
}

static void test_mac_address(void)
{
    static const uint8_t other[6] = {2, 1, 2, 3, 4, 5};
    running(MAC);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 5), ERR);
    CU_ASSERT_EQUAL(memcmp(state()->mac, net_mac, 6), 0);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), OK);
    CU_ASSERT_EQUAL(memcmp(state()->mac, other, 6), 0);
    CU_ASSERT_EQUAL(memcmp(guest_device.config, other, 6), 0);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET + 1, other, 6), ERR);
    running(CTRL_RX);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6), ERR);
    CU_ASSERT_EQUAL(memcmp(state()->mac, net_mac, 6), 0);
    CU_ASSERT_EQUAL(memcmp(guest_device.config, net_mac, 6), 0);
}

/* ---- §5.1.6.5.3 ---- */

static unsigned int vlans(void)
{
    unsigned int count = 0;
    for (size_t i = 0; i < sizeof(state()->vlans); i++)
        count += (unsigned int)__builtin_popcount(state()->vlans[i]);
    return count;
}

static void test_vlans(void)
{
    static const uint16_t ids[] = {0, 1, 7, 8, 4095};
    running(VLAN);
    for (unsigned int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, ids[i]), OK);
        CU_ASSERT_EQUAL(vlans(), i + 1);
        CU_ASSERT_TRUE((state()->vlans[ids[i] / 8] & 1 << ids[i] % 8) != 0);
    }
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 4096), ERR);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL + 1, 2), ERR);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, "\2", 1), ERR);
    CU_ASSERT_EQUAL(vlans(), 5);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 7), OK);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 9), OK);
    CU_ASSERT_EQUAL(vlans(), 4);
    CU_ASSERT_EQUAL(state()->vlans[0], 3);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, 4095), OK);
    CU_ASSERT_EQUAL(state()->vlans[511], 0);
    CU_ASSERT_EQUAL(vlans(), 3);
    running(CTRL);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, 1), ERR);
    CU_ASSERT_EQUAL(vlans(), 0);
}

/* ---- §5.1.6.5.4 ---- */

static void test_announcement(void)
{
    running(ANNOUNCE);
    net_set_status(&guest_device, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK + 1, "", 0),
                    ERR);
    CU_ASSERT_EQUAL(net_status(&guest_device), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0), OK);
    CU_ASSERT_EQUAL(net_status(&guest_device), VIRTIO_NET_S_LINK_UP);
    running(CTRL);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, "", 0), ERR);
}

/* ---- §5.1.6.5.5 ---- */

static void test_pairs(void)
{
    running(MQ);
    CU_ASSERT_EQUAL(state()->pairs, 1);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 3), ERR);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0), ERR);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET + 1, 2), ERR);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\2", 1), ERR);
    CU_ASSERT_EQUAL(state()->pairs, 1);
    /* A frame that waited in a pair without use is sent as soon as the pair is used. */
    memset(guest_at(BUFFER(8)), 0, 100);
    net_offer(3, 0, BUFFER(8), 100, 0);
    guest_kick(3);
    CU_ASSERT_EQUAL(net_used(3, 0), -1);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), OK);
    CU_ASSERT_EQUAL(state()->pairs, 2);
    CU_ASSERT_EQUAL(net_used(3, 0), 0);
    /* A frame that waits for buffers of the second pair goes to the first, when that is alone. */
    net_offer(RX, 0, BUFFER(4), 128, VRING_DESC_F_WRITE);
    guest_kick(RX);
    net_send(1, 20, 1);
    guest_run();
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1), OK);
    CU_ASSERT_EQUAL(state()->pairs, 1);
    CU_ASSERT_EQUAL(net_used(RX, 0), NET_HEADER_SIZE + 20);
    running(CTRL);
    CU_ASSERT_EQUAL(command16(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1), ERR);
}

/* A queue of the tap may belong to another pair now, and a pair may be used that was not. */
static void test_pairs_have_a_turn(void)
{
    running(MQ);
    for (uint16_t pairs = 2; pairs > 0; pairs--) {
        guest_device.work = 0;
        CU_ASSERT_EQUAL(command_alone(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
                                      sizeof(pairs)),
                        OK);
        CU_ASSERT_EQUAL(guest_device.work, pairs == 2 ? 0xf : 0x3);
    }
}

/* ---- §5.1.6.5.8 ---- */

static uint8_t set_offloads(uint64_t offloads)
{
    return command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET, &offloads,
                   sizeof(offloads));
}

static void test_offloads(void)
{
    running(OFFLOADS);
    CU_ASSERT_EQUAL(state()->offloads, CSUM | TSO4);
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM | TUN_F_TSO4);
    offload_calls = 0;
    CU_ASSERT_EQUAL(set_offloads(CSUM | TSO4), OK);
    CU_ASSERT_EQUAL(offload_calls, 0); /* nothing changes: the kernel is not asked */
    CU_ASSERT_EQUAL(set_offloads(CSUM), OK);
    CU_ASSERT_EQUAL(state()->offloads, CSUM);
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM);
    CU_ASSERT_EQUAL(offload_calls, 1);
    CU_ASSERT_EQUAL(set_offloads(CSUM | TSO6), ERR);                      /* not negotiated */
    CU_ASSERT_EQUAL(set_offloads(CSUM | BIT(VIRTIO_NET_F_CTRL_VQ)), ERR); /* no offload */
    const uint64_t none = 0;
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET + 1,
                            &none, sizeof(none)),
                    ERR);
    CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
                            &none, sizeof(none) - 1),
                    ERR);
    CU_ASSERT_EQUAL(state()->offloads, CSUM);
    CU_ASSERT_EQUAL(offload_calls, 1);
    CU_ASSERT_EQUAL(set_offloads(0), OK);
    CU_ASSERT_EQUAL(net_offloads, 0);
    running(CTRL | CSUM);
    CU_ASSERT_EQUAL(set_offloads(CSUM), ERR);
    /* The kernel takes UDP only for both IPs at once. */
    running(OFFLOADS | USO4 | USO6);
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_USO4 | TUN_F_USO6);
    CU_ASSERT_EQUAL(set_offloads(CSUM | USO4), OK);
    CU_ASSERT_EQUAL(state()->offloads, CSUM | USO4);
    CU_ASSERT_EQUAL(net_offloads, TUN_F_CSUM);
    CU_ASSERT_EQUAL(set_offloads(USO4 | USO6), OK);
    CU_ASSERT_EQUAL(net_offloads, 0);
}

/* ---- VirtIO 1.3 §5.1.6.5.10 ---- */

static uint8_t coal_set(uint8_t number, uint32_t packets, uint32_t usecs)
{
    return command(VIRTIO_NET_CTRL_NOTF_COAL, number, (uint32_t[]){packets, usecs}, 8);
}

static uint8_t coal_set_queue(uint16_t queue, uint32_t packets, uint32_t usecs)
{
    const uint32_t all[] = {queue | 0xabcd0000, packets, usecs}; /* `reserved` is ignored */
    return command(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET, all, sizeof(all));
}

/* Ask, with room for `room` bytes. Returns the length of the answer, which is in BUFFER(1). */
static int64_t coal_get(uint16_t queue, uint32_t room)
{
    struct guest_ring *ring = &net_rings[control_queue];
    const uint8_t bytes[] = {VIRTIO_NET_CTRL_NOTF_COAL,
                             VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET,
                             (uint8_t)queue,
                             (uint8_t)(queue >> 8),
                             1,
                             2};
    memcpy(guest_at(BUFFER(0)), bytes, sizeof(bytes));
    memset(guest_at(BUFFER(1)), NO_ANSWER, 32);
    guest_desc(ring, 0, BUFFER(0), sizeof(bytes), VRING_DESC_F_NEXT, 1);
    guest_desc(ring, 1, BUFFER(1), room, VRING_DESC_F_WRITE, 0);
    guest_offer(ring, 0);
    guest_kick(control_queue);
    return net_used(control_queue, 0);
}

static bool coal_is(uint16_t queue, uint32_t packets, uint32_t usecs)
{
    const uint32_t expected[] = {packets, usecs};
    const uint8_t *answer = guest_at(BUFFER(1));
    return coal_get(queue, 9) == 9 && memcmp(answer, expected, 8) == 0 && answer[8] == OK;
}

/* The last command counts, for one queue or for all of a direction. */
static void test_coalescing(void)
{
    running(COAL | VQ_COAL | MQ);
    for (uint16_t q = 0; q < 4; q++)
        CU_ASSERT_TRUE(coal_is(q, 0, 0));
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 15, 10), OK);
    CU_ASSERT_EQUAL(coal_set_queue(0, 7, 8), OK);
    CU_ASSERT_EQUAL(coal_set_queue(1, 1, 2), OK);
    CU_ASSERT_TRUE(coal_is(0, 7, 8) && coal_is(1, 1, 2) && coal_is(2, 15, 10) && coal_is(3, 0, 0));
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, UINT32_MAX, IRQ_DELAY_US_MAX), OK);
    CU_ASSERT_TRUE(coal_is(1, UINT32_MAX, IRQ_DELAY_US_MAX));
    CU_ASSERT_TRUE(coal_is(3, UINT32_MAX, IRQ_DELAY_US_MAX));
    CU_ASSERT_TRUE(coal_is(0, 7, 8) && coal_is(2, 15, 10));
    for (unsigned int q = 4; q < STATE_NET_QUEUES; q++) /* these are no queues of frames */
        CU_ASSERT(state()->coal[q].max_packets == 0 && state()->coal[q].max_usecs == 0);
    /* A queue that comes back has what was set for all. */
    guest_write(VIRTIO_MMIO_QUEUE_SEL, 0);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    CU_ASSERT_EQUAL(coal_get(0, 9), 9); /* it is not there now */
    CU_ASSERT_EQUAL(((uint8_t *)guest_at(BUFFER(1)))[8], ERR);
    CU_ASSERT_EQUAL(coal_set_queue(0, 1, 1), ERR);
    guest_ring_init(&net_rings[0], 0, 16);
    guest_queue_setup(0, &net_rings[0]);
    CU_ASSERT_TRUE(coal_is(0, 15, 10));
    /* Another driver begins with zeros. */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    net_driver(2, VERSION_1 | COAL | VQ_COAL | MQ, 16);
    CU_ASSERT_TRUE(coal_is(0, 0, 0) && coal_is(3, 0, 0));
}

/* §5.1.6.5.10.4: a frame that the driver has not been told of does not wait by new parameters. The
 * driver wants no interrupt for the command itself. */
static void test_coalescing_tells_what_waits(void)
{
    const uint32_t later[] = {7, IRQ_DELAY_US_MAX};
    running(COAL);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 3, IRQ_DELAY_US_MAX), OK);
    net_rings[control_queue].avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    memset(guest_at(BUFFER(8)), 0, 100);
    net_offer(TX, 0, BUFFER(8), 100, 0);
    (void)guest_interrupts();
    guest_device.work |= 1u << TX;
    device_turns(&guest_device);
    CU_ASSERT_EQUAL(net_used(TX, 0), 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 0);
    CU_ASSERT_EQUAL(command_alone(VIRTIO_NET_CTRL_NOTF_COAL, VIRTIO_NET_CTRL_NOTF_COAL_TX_SET,
                                  later, sizeof(later)),
                    OK);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_device.late, 0);
}

static void test_coalescing_refused(void)
{
    const uint8_t *answer = guest_at(BUFFER(1));
    running(COAL | VQ_COAL);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1, IRQ_DELAY_US_MAX + 1), ERR);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_RX_SET, 1, UINT32_MAX), ERR);
    CU_ASSERT_EQUAL(coal_set_queue(1, 1, IRQ_DELAY_US_MAX + 1), ERR);
    CU_ASSERT_EQUAL(coal_set_queue(2, 1, 1), ERR); /* the control queue */
    CU_ASSERT_EQUAL(coal_set_queue(0xffff, 1, 1), ERR);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET + 1, 1, 1), ERR);
    for (uint8_t number = 0; number <= VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET; number++)
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_NOTF_COAL, number, "\1\0\0\0\0\0\0", 7), ERR);
    CU_ASSERT_TRUE(coal_is(0, 0, 0) && coal_is(1, 0, 0));
    /* An answer without room for its values, and one about no queue. */
    CU_ASSERT_EQUAL(coal_get(0, 8), 1);
    CU_ASSERT_EQUAL(answer[0], ERR);
    CU_ASSERT_EQUAL(coal_get(2, 20), 9);
    CU_ASSERT(memcmp(answer, (uint8_t[8]){0}, 8) == 0 && answer[8] == ERR &&
              answer[9] == NO_ANSWER);
    running(VQ_COAL); /* each feature has its commands */
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1, 1), ERR);
    CU_ASSERT_EQUAL(coal_set_queue(1, 1, 1), OK);
    running(COAL);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 1, 1), OK);
    CU_ASSERT_EQUAL(coal_set_queue(1, 1, 1), ERR);
    CU_ASSERT_EQUAL(coal_get(1, 9), 9);
    CU_ASSERT_EQUAL(answer[8], ERR);
}

/* A successor has them, unless no worker could have written them. */
static void test_coalescing_and_successors(void)
{
    running(COAL | VQ_COAL | MQ);
    CU_ASSERT_EQUAL(coal_set(VIRTIO_NET_CTRL_NOTF_COAL_TX_SET, 3, 4), OK);
    CU_ASSERT_EQUAL(coal_set_queue(2, 5, 6), OK);
    net_worker(2);
    guest_run();
    CU_ASSERT_FALSE(net_needs_reset());
    CU_ASSERT_TRUE(coal_is(1, 3, 4) && coal_is(2, 5, 6) && coal_is(3, 3, 4));
    struct state_net *of_net = &guest_state.of_kind.net;
    uint32_t *const values[] = {&of_net->coal_of_all[0].max_usecs,
                                &of_net->coal_of_all[1].max_usecs, &of_net->coal[0].max_usecs,
                                &of_net->coal[STATE_NET_QUEUES - 1].max_usecs};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        running(COAL);
        *values[i] = IRQ_DELAY_US_MAX + 1;
        net_worker(2);
        CU_ASSERT_TRUE(net_needs_reset());
    }
}

/* ---- Any command ---- */

static void test_layouts(void)
{
    running(CTRL_RX);
    CU_ASSERT_EQUAL(command(99, 0, "", 0), ERR);   /* no such class */
    for (uint32_t piece = 2; piece < 6; piece++) { /* the ring has room for so many pieces */
        uint32_t length = two_lists(1, 0);
        CU_ASSERT_EQUAL(command_in_pieces(VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, macs,
                                          length, piece),
                        OK);
        CU_ASSERT_EQUAL(state()->unicast, 1);
        CU_ASSERT_EQUAL(set_table(0, 0), OK);
        CU_ASSERT_EQUAL(command_in_pieces(VIRTIO_NET_CTRL_RX, 1, "\1", 1, 1), OK);
        CU_ASSERT_EQUAL(state()->rx_mode, NET_RX_PROMISC | NET_RX_ALLMULTI);
        CU_ASSERT_EQUAL(command(VIRTIO_NET_CTRL_RX, 1, "\0", 1), OK);
    }
}

/* Half a header is answered, or none; without room for the answer, the device needs a reset. */
static void test_too_short(void)
{
    running(CTRL_RX);
    struct guest_ring *ring = &net_rings[control_queue];
    uint8_t *answer = guest_at(BUFFER(1));
    *answer = NO_ANSWER;
    guest_desc(ring, 0, BUFFER(0), 1, VRING_DESC_F_NEXT, 1);
    guest_desc(ring, 1, BUFFER(1), 1, VRING_DESC_F_WRITE, 0);
    guest_offer(ring, 0);
    guest_kick(control_queue);
    CU_ASSERT_EQUAL(net_used(control_queue, 0), 1);
    CU_ASSERT_EQUAL(*answer, ERR);
    CU_ASSERT_FALSE(net_needs_reset());
    *answer = NO_ANSWER;
    net_offer(control_queue, 0, BUFFER(1), 1, VRING_DESC_F_WRITE);
    guest_kick(control_queue);
    CU_ASSERT_EQUAL(net_used(control_queue, 0), 1);
    CU_ASSERT_EQUAL(*answer, ERR);
    net_offer(control_queue, 0, BUFFER(0), 3, 0);
    guest_kick(control_queue);
    CU_ASSERT_TRUE(net_needs_reset());
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"rx modes", test_rx_modes},
        {"table of addresses", test_mac_table},
        {"a table that breaks off", test_mac_table_cut},
        {"the device's address", test_mac_address},
        {"VLANs", test_vlans},
        {"announcement", test_announcement},
        {"pairs", test_pairs},
        {"pairs have a turn", test_pairs_have_a_turn},
        {"offloads", test_offloads},
        {"interrupts that wait", test_coalescing},
        {"what has waited is told", test_coalescing_tells_what_waits},
        {"what is refused of them", test_coalescing_refused},
        {"a successor lets them wait as well", test_coalescing_and_successors},
        {"layouts", test_layouts},
        {"too short", test_too_short},
        CU_TEST_INFO_NULL,
    };
    guest_window_init();
    return run_tests(argc, argv, "net_control", tests);
}
