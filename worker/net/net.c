/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/net/net.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/epoll.h>

#include "worker/log.h"
#include "worker/net/filter.h"

#define BIT(n) (1ull << (n))

struct net net;

static uint64_t offered(uint32_t tun_offloads)
{
    uint64_t features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MTU) |
                        BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_CTRL_VQ) |
                        BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
                        BIT(VIRTIO_NET_F_CTRL_VLAN) | BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
                        BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
                        BIT(VIRTIO_NET_F_NOTF_COAL) | BIT(VIRTIO_NET_F_VQ_NOTF_COAL) |
                        net_offload_features(tun_offloads);
    if (net.taps > 1)
        features |= BIT(VIRTIO_NET_F_MQ);
    return features;
}

static int net_init(struct device *dev, const struct message_start *start)
{
    const struct start_net *from = &start->of_kind.net;
    for (unsigned int pair = 0; pair < NET_PAIRS_MAX; pair++) {
        net_rx_stop(pair);
        net_tx_stop(pair);
    }
    net = (struct net){
        .taps = start->backend_fd_count,
        .mtu = from->mtu,
    };
    memcpy(net.default_mac, from->mac, sizeof(net.default_mac));
    if (net.taps < 1 || net.taps > NET_PAIRS_MAX || start->queue_count != 2 * net.taps + 1)
        return -EINVAL;
    dev->features = offered(from->tun_offloads);
    net_config_init(dev, from, net.taps);
    dev->user_queues = (1u << dev->queue_count) - 1;
    dev->backend_events = (1u << net.taps) - 1;
    dev->backend_writes = dev->backend_events;
    return 0;
}

/* ---- Parts of the device ---- */

void net_dropped(struct device *dev, unsigned int queue, uint32_t length, enum net_check check)
{
    struct state_counters *counters = &dev->state->counters;
    device_count(queue % 2 == 0 ? &counters->dropped_in : &counters->dropped_out, 1);
    if (check != NET_OFFLOADS)
        log_event(LOG_FRAME_DROPPED, queue, length, check);
}

/* ---- Starting and stopping ---- */

/* §5.1.5, §5.1.6.5: the state in which a driver finds the device. */
static void init_state(struct state_net *state)
{
    state->offloads = net.features & NET_GUEST_OFFLOADS;
    state->pairs = 1;
    state->rx_mode = NET_RX_PROMISC | (net_has(VIRTIO_NET_F_CTRL_VLAN) ? NET_RX_VLANS : 0);
    state->unicast = 0;
    state->multicast = 0;
    memcpy(state->mac, net.default_mac, sizeof(state->mac));
    memset(state->vlans, 0, sizeof(state->vlans));
    memset(state->coal_of_all, 0, sizeof(state->coal_of_all));
    memset(state->coal, 0, sizeof(state->coal));
}

static bool coal_valid(const struct state_net *state)
{
    bool valid = state->coal_of_all[0].max_usecs <= IRQ_DELAY_US_MAX &&
                 state->coal_of_all[1].max_usecs <= IRQ_DELAY_US_MAX;
    for (unsigned int q = 0; q < STATE_NET_QUEUES; q++)
        valid &= state->coal[q].max_usecs <= IRQ_DELAY_US_MAX;
    return valid;
}

static bool state_valid(const struct state_net *state)
{
    return state->pairs >= 1 && state->pairs <= net.taps &&
           (state->pairs == 1 || net_has(VIRTIO_NET_F_MQ)) &&
           (state->offloads & ~(net.features & NET_GUEST_OFFLOADS)) == 0 &&
           net_filter_valid(state) && coal_valid(state);
}

/* §5.1.4: a driver's settings end when the driver ends. After a restart of the worker the same
 * driver goes on, so its settings stay. */
static int net_adopt(struct device *dev)
{
    const struct state_net *state = &dev->state->of_kind.net;
    const uint8_t *mac = net.default_mac;
    net.features = dev->state->transport.driver_features;
    net_set_status(dev, net_status(dev) & (uint16_t)~VIRTIO_NET_S_ANNOUNCE);
    if (device_live(dev)) {
        if (!state_valid(state))
            return -EINVAL;
        mac = state->mac;
    }
    net_set_mac(dev, mac);
    return 0;
}

static int net_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    (void)ret_fault;
    if (!resumed)
        init_state(&dev->state->of_kind.net);
    net.running = true;
    net.readable = dev->backend_events;
    net_set_offloads(net_tap(0), dev->state->of_kind.net.offloads);
    if (!resumed) {
        net_rx_drain();
        return 0;
    }
    /* §5.1.6.5.4: the network may have forgotten where to find the driver. */
    if (net_has(VIRTIO_NET_F_GUEST_ANNOUNCE))
        net_set_status(dev, net_status(dev) | VIRTIO_NET_S_ANNOUNCE);
    /* The link may also have changed since the driver looked. */
    device_config_changed(dev);
    return 0;
}

static void net_stop(struct device *dev)
{
    (void)dev;
    for (unsigned int pair = 0; pair < net.taps; pair++) {
        net_rx_stop(pair);
        net_tx_stop(pair);
    }
    net.running = false;
}

/* VirtIO 1.3 §5.1.6.5.10.5: a queue that comes back has what was set for all. */
static void net_queue_stop(struct device *dev, unsigned int queue)
{
    struct state_net *state = &dev->state->of_kind.net;
    if (queue / 2 >= net.taps)
        return;
    state->coal[queue] = state->coal_of_all[queue % 2];
    if (queue % 2 == 0)
        net_rx_stop(queue / 2);
    else
        net_tx_stop(queue / 2);
}

/* ---- Work ---- */

static enum serve net_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    if (net_has(VIRTIO_NET_F_CTRL_VQ) && queue == net_control_queue())
        return net_ctrl_turn(dev, queue, ret_fault);
    unsigned int pair = queue / 2;
    if (!net.running || pair >= dev->state->of_kind.net.pairs)
        return SERVE_WAIT_BACKEND; /* §5.1.6.5.5: pairs that are not in use are not served */
    return queue % 2 == 0 ? net_rx_turn(dev, pair, ret_fault) : net_tx_turn(dev, pair, ret_fault);
}

/* A tap that has been removed has an error, and no frames: each turn finds that out by itself. */
static int net_backend_event(struct device *dev, unsigned int file, uint32_t events,
                             struct guest_fault *ret_fault)
{
    (void)ret_fault;
    if (!net.running)
        return 0;
    if ((events & ~(uint32_t)EPOLLOUT) != 0) {
        net.readable |= 1u << file;
        dev->work |= 1u << 2 * (file % dev->state->of_kind.net.pairs);
    }
    if ((events & ~(uint32_t)EPOLLIN) != 0 && net_tx_waits(file))
        dev->work |= 1u << (2 * file + 1);
    return 0;
}

const struct device_ops net_ops = {
    .init = net_init,
    .adopt = net_adopt,
    .start = net_start,
    .stop = net_stop,
    .queue_stop = net_queue_stop,
    .turn = net_turn,
    .backend_event = net_backend_event,
    .backend_changed = net_backend_changed,
};
