/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network device, VirtIO 1.2 §5.1, on a tap: what its parts share. Pair p has the queues 2p (rx)
 * and 2p + 1 (tx), and sends by queue p of the tap; a frame from queue t of the tap goes to pair t
 * modulo the number of pairs in use, so that the kernel need not know that number.
 *
 * System calls: readv and writev on the tap's files, and ioctl with TUNSETOFFLOAD on the first.
 */
#ifndef WORKER_NET_H
#define WORKER_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/net/config.h"
#include "worker/net/header.h"
#include "worker/ticks.h"
#include "worker/turn.h"

#define NET_PAIRS_MAX 7u
_Static_assert(STATE_NET_QUEUES == 2 * NET_PAIRS_MAX, "rx and tx");

/* A turn ends after this many frames or bytes, so that neither direction waits long for the other,
 * and no register access waits long for either. */
#define NET_TURN_FRAMES 256u
#define NET_TURN_BYTES 0x80000u /* 512 KiB */

struct net {
    bool running;
    uint64_t features; /* negotiated */
    uint32_t taps;     /* queues of the tap: as many as the pairs that are offered */
    uint32_t mtu;
    uint8_t default_mac[6];
    uint32_t readable; /* bit t: queue t of the tap may hold a frame */
};

extern struct net net;

static inline bool net_has(unsigned int feature)
{
    return (net.features & 1ull << feature) != 0;
}

/* The queue of the control commands, §5.1.2. */
static inline unsigned int net_control_queue(void)
{
    return net_has(VIRTIO_NET_F_MQ) ? 2 * net.taps : 2;
}

static inline int net_tap(unsigned int index)
{
    return WORKER_FD_BACKEND + (int)index;
}

/* The MTU that the driver must keep to; 0: there is none. */
static inline uint32_t net_driver_mtu(void)
{
    return net_has(VIRTIO_NET_F_MTU) ? net.mtu : 0;
}

/*
 * How the turns of a queue interrupt the driver: as `rules` say, or as it has asked for, VirtIO 1.3
 * §5.1.6.5.10. It counts packets. Here it is chains, of which a frame can take several: so it is
 * interrupted for no more packets than it has said.
 */
static inline struct turn_rules net_rules(const struct device *dev, unsigned int queue,
                                          struct turn_rules rules)
{
    const struct state_net_coal *coal = &dev->state->of_kind.net.coal[queue];
    if (coal->max_packets == 0 || coal->max_usecs == 0)
        return rules;
    rules.signal_chains = coal->max_packets;
    rules.late_chains = coal->max_packets - 1;
    rules.late_ticks = ticks_of_us(coal->max_usecs);
    return rules;
}

/* Count a dropped frame. Log it, unless it only came too late (NET_OFFLOADS). */
void net_dropped(struct device *dev, unsigned int queue, uint32_t length, enum net_check check);

/* Serve a queue of pair `pair`, or the control queue, as device_ops.turn. */
enum serve net_rx_turn(struct device *dev, unsigned int pair, struct guest_fault *ret_fault);
enum serve net_tx_turn(struct device *dev, unsigned int pair, struct guest_fault *ret_fault);
enum serve net_ctrl_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);

/* Forget the chains and the frame in hand. */
void net_rx_stop(unsigned int pair);
void net_tx_stop(unsigned int pair);

/* Throw away the frames that the tap held before there was a driver, as far as possible: they are
 * for nobody. */
void net_rx_drain(void);

/* Is a frame waiting for room in the tap? */
bool net_tx_waits(unsigned int pair);

#endif
