/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames from the tap a driver wants, VirtIO 1.2 §5.1.6.5.1 to §5.1.6.5.3: modes, addresses
 * and VLANs, as it set them by the control queue. The filter does not protect guests from each
 * other: frames of all kinds have passed through the buffers, and a driver can ask for all of them.
 */
#ifndef WORKER_NET_FILTER_H
#define WORKER_NET_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"

/* Bits of rx_mode. The first six are the commands of VIRTIO_NET_CTRL_RX, each at its number. */
enum net_rx_mode {
    NET_RX_PROMISC = 1 << 0,
    NET_RX_ALLMULTI = 1 << 1,
    NET_RX_ALLUNI = 1 << 2,
    NET_RX_NOMULTI = 1 << 3,
    NET_RX_NOUNI = 1 << 4,
    NET_RX_NOBCAST = 1 << 5,
    NET_RX_UNICAST_FULL = 1 << 6,   /* more addresses than `macs` has room for: all pass */
    NET_RX_MULTICAST_FULL = 1 << 7, /* more multicast addresses than fit: all pass */
    NET_RX_VLANS = 1 << 8,          /* VIRTIO_NET_F_CTRL_VLAN: only the VLANs in `vlans` pass */
    NET_RX_MODES = (1 << 9) - 1,
};

#define NET_ADDRESS_PART 18u /* bytes that decide about a frame: addresses, VLAN tag */

/* Does a frame that begins with these bytes pass? `length`: how many bytes there are, at least
 * 14. */
bool net_filter_passes(const struct state_net *state, const uint8_t *frame, uint32_t length);

/* Is the state that a predecessor left usable? Nothing in it may lead outside the tables. */
bool net_filter_valid(const struct state_net *state);

#endif
