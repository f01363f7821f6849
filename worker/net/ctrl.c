/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control queue, VirtIO 1.2 §5.1.6.5. What a command sets lives in the state page, where a
 * successor finds it; if a worker dies in a command, its successor carries the command out again.
 * So each command sets a value, and none adds to what was there.
 */
#include <linux/if_ether.h>
#include <string.h>

#include "worker/net/filter.h"
#include "worker/net/net.h"

#define TURN_COMMANDS 16u /* not many: some take a lock of the kernel's network configuration */

/* Copy the next `length` bytes of a command. Returns false if there are fewer. */
static bool take(struct cursor *command, void *to, size_t length)
{
    return cursor_read(command, to, length) == length;
}

/* ---- Commands: true if carried out ---- */

/* §5.1.6.5.1 */
static bool set_rx_mode(struct state_net *state, uint8_t command, struct cursor *rest)
{
    uint8_t on;
    bool extra = command >= VIRTIO_NET_CTRL_RX_ALLUNI;
    if (command > VIRTIO_NET_CTRL_RX_NOBCAST || !net_has(VIRTIO_NET_F_CTRL_RX) ||
        (extra && !net_has(VIRTIO_NET_F_CTRL_RX_EXTRA)) || !take(rest, &on, sizeof(on)))
        return false;
    uint16_t bit = (uint16_t)(1u << command);
    state->rx_mode = (uint16_t)(on != 0 ? state->rx_mode | bit : state->rx_mode & ~bit);
    return true;
}

struct table {
    uint8_t macs[STATE_NET_MACS][ETH_ALEN];
    unsigned int count;
};

/* Append one of the two lists of §5.1.6.5.2. If not all addresses fit, *ret_full says that all
 * shall pass. */
static bool take_macs(struct cursor *rest, struct table *table, uint16_t *ret_count, bool *ret_full)
{
    uint32_t entries;
    if (!take(rest, &entries, sizeof(entries)))
        return false;
    *ret_full = entries > STATE_NET_MACS - table->count;
    *ret_count = *ret_full ? 0 : (uint16_t)entries;
    if (*ret_full)
        return cursor_skip(rest, (size_t)entries * ETH_ALEN) == (size_t)entries * ETH_ALEN;
    if (!take(rest, table->macs[table->count], (size_t)entries * ETH_ALEN))
        return false;
    table->count += entries;
    return true;
}

static bool set_mac_table(struct state_net *state, struct cursor *rest)
{
    struct table table = {.count = 0};
    uint16_t unicast, multicast;
    bool unicast_full, multicast_full;
    if (!net_has(VIRTIO_NET_F_CTRL_RX) || !take_macs(rest, &table, &unicast, &unicast_full) ||
        !take_macs(rest, &table, &multicast, &multicast_full))
        return false;
    memcpy(state->macs, table.macs, sizeof(state->macs));
    state->unicast = unicast;
    state->multicast = multicast;
    unsigned int mode =
        state->rx_mode & ~(unsigned int)(NET_RX_UNICAST_FULL | NET_RX_MULTICAST_FULL);
    state->rx_mode = (uint16_t)(mode | (unicast_full ? NET_RX_UNICAST_FULL : 0u) |
                                (multicast_full ? NET_RX_MULTICAST_FULL : 0u));
    return true;
}

static bool set_mac_address(struct device *dev, struct cursor *rest)
{
    uint8_t mac[ETH_ALEN];
    if (!net_has(VIRTIO_NET_F_CTRL_MAC_ADDR) || !take(rest, mac, sizeof(mac)))
        return false;
    memcpy(dev->state->of_kind.net.mac, mac, sizeof(mac));
    net_set_mac(dev, mac);
    return true;
}

static bool set_mac(struct device *dev, uint8_t command, struct cursor *rest)
{
    switch (command) {
    case VIRTIO_NET_CTRL_MAC_TABLE_SET:
        return set_mac_table(&dev->state->of_kind.net, rest);
    case VIRTIO_NET_CTRL_MAC_ADDR_SET:
        return set_mac_address(dev, rest);
    default:
        return false;
    }
}

/* §5.1.6.5.3 */
static bool set_vlan(struct state_net *state, uint8_t command, struct cursor *rest)
{
    uint16_t id;
    if (command > VIRTIO_NET_CTRL_VLAN_DEL || !net_has(VIRTIO_NET_F_CTRL_VLAN) ||
        !take(rest, &id, sizeof(id)) || id >= 8 * sizeof(state->vlans))
        return false;
    uint8_t bit = (uint8_t)(1u << id % 8);
    if (command == VIRTIO_NET_CTRL_VLAN_ADD)
        state->vlans[id / 8] |= bit;
    else
        state->vlans[id / 8] &= (uint8_t)~bit;
    return true;
}

/* §5.1.6.5.4 */
static bool acknowledge_announce(struct device *dev, uint8_t command)
{
    if (command != VIRTIO_NET_CTRL_ANNOUNCE_ACK || !net_has(VIRTIO_NET_F_GUEST_ANNOUNCE))
        return false;
    net_set_status(dev, net_status(dev) & (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
    return true;
}

/* §5.1.6.5.5 */
static bool set_pairs(struct device *dev, uint8_t command, struct cursor *rest)
{
    uint16_t pairs;
    if (command != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET || !net_has(VIRTIO_NET_F_MQ) ||
        !take(rest, &pairs, sizeof(pairs)) || pairs < 1 || pairs > net.taps)
        return false;
    dev->state->of_kind.net.pairs = pairs;
    /* Some of the tap's queues now belong to other pairs, and some pairs have come into use. */
    for (unsigned int q = 0; q < 2u * pairs; q++)
        dev->work |= 1u << q;
    return true;
}

/* §5.1.6.5.8 */
static bool set_offloads(struct device *dev, uint8_t command, struct cursor *rest)
{
    uint64_t offloads;
    if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
        !net_has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) || !take(rest, &offloads, sizeof(offloads)) ||
        (offloads & ~(net.features & NET_GUEST_OFFLOADS)) != 0)
        return false;
    if (dev->state->of_kind.net.offloads != offloads)
        net_set_offloads(net_tap(0), offloads);
    dev->state->of_kind.net.offloads = offloads;
    return true;
}

/* ---- Interrupts that wait, VirtIO 1.3 §5.1.6.5.10 ---- */

/* What has waited so far is told, whatever the new parameters say: §5.1.6.5.10.4. */
static bool coal_set(struct device *dev, struct state_net_coal *to, struct state_net_coal coal)
{
    if (coal.max_usecs > IRQ_DELAY_US_MAX)
        return false;
    *to = coal;
    device_late_is_over(dev, true);
    return true;
}

static bool coal_set_all(struct device *dev, unsigned int direction, struct cursor *rest)
{
    struct state_net *state = &dev->state->of_kind.net;
    struct state_net_coal coal;
    if (!net_has(VIRTIO_NET_F_NOTF_COAL) || !take(rest, &coal, sizeof(coal)) ||
        !coal_set(dev, &state->coal_of_all[direction], coal))
        return false;
    for (unsigned int q = direction; q < 2 * net.taps; q += 2)
        state->coal[q] = coal;
    return true;
}

/* The parameters of the queue that a command names; NULL: it is no queue of frames, or not
 * ready. */
static struct state_net_coal *coal_of(struct device *dev, struct cursor *rest)
{
    uint16_t index[2]; /* and the field `reserved` */
    if (!net_has(VIRTIO_NET_F_VQ_NOTF_COAL) || !take(rest, index, sizeof(index)) ||
        index[0] >= net_control_queue() || dev->state->queues[index[0]].ready == 0)
        return NULL;
    return &dev->state->of_kind.net.coal[index[0]];
}

static bool set_coal(struct device *dev, uint8_t command, struct cursor *rest,
                     struct state_net_coal *ret_coal)
{
    struct state_net_coal coal, *of_queue;
    switch (command) {
    case VIRTIO_NET_CTRL_NOTF_COAL_TX_SET:
        return coal_set_all(dev, 1, rest);
    case VIRTIO_NET_CTRL_NOTF_COAL_RX_SET:
        return coal_set_all(dev, 0, rest);
    case VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET:
        of_queue = coal_of(dev, rest);
        return of_queue && take(rest, &coal, sizeof(coal)) && coal_set(dev, of_queue, coal);
    case VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET:
        of_queue = coal_of(dev, rest);
        if (of_queue)
            *ret_coal = *of_queue;
        return of_queue;
    default:
        return false;
    }
}

static bool carry_out(struct device *dev, struct virtio_net_ctrl_hdr header, struct cursor *rest,
                      struct state_net_coal *ret_coal)
{
    switch (header.class) {
    case VIRTIO_NET_CTRL_RX:
        return set_rx_mode(&dev->state->of_kind.net, header.cmd, rest);
    case VIRTIO_NET_CTRL_MAC:
        return set_mac(dev, header.cmd, rest);
    case VIRTIO_NET_CTRL_VLAN:
        return set_vlan(&dev->state->of_kind.net, header.cmd, rest);
    case VIRTIO_NET_CTRL_ANNOUNCE:
        return acknowledge_announce(dev, header.cmd);
    case VIRTIO_NET_CTRL_MQ:
        return set_pairs(dev, header.cmd, rest);
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
        return set_offloads(dev, header.cmd, rest);
    case VIRTIO_NET_CTRL_NOTF_COAL:
        return set_coal(dev, header.cmd, rest, ret_coal);
    default:
        return false;
    }
}

/* Does the command have an answer besides the ack? It comes before the ack. */
static bool asks(const struct virtio_net_ctrl_hdr *header)
{
    return header->class == VIRTIO_NET_CTRL_NOTF_COAL &&
           header->cmd == VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET;
}

static enum serve serve(struct turn *turn)
{
    static struct chain chain;
    enum serve r = turn_take(turn, &chain, 0, sizeof(virtio_net_ctrl_ack));
    if (r != SERVE_DONE)
        return r;
    struct cursor command = chain_readable(&chain), answer = chain_writable(&chain);
    struct virtio_net_ctrl_hdr header;
    struct state_net_coal coal = {0};
    virtio_net_ctrl_ack ack = VIRTIO_NET_ERR;
    uint32_t before = 0; /* the answer's bytes before the ack */
    if (take(&command, &header, sizeof(header))) {
        before = asks(&header) ? sizeof(coal) : 0;
        if (chain.writable_length < before + sizeof(ack))
            before = 0;
        else if (carry_out(turn->dev, header, &command, &coal))
            ack = VIRTIO_NET_OK;
    }
    cursor_write(&answer, &coal, before);
    cursor_write(&answer, &ack, sizeof(ack));
    virtqueue_push(turn->vq, chain.ref, before + sizeof(ack));
    return SERVE_DONE;
}

enum serve net_ctrl_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    static const struct turn_rules rules = {.steps = TURN_COMMANDS};
    return turn_run(dev, queue, &rules, serve, ret_fault);
}
