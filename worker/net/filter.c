/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/net/filter.h"

#include <linux/if_ether.h>
#include <string.h>

#define VLAN_ID_MASK 0xfffu

static uint16_t big_endian16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static bool vlan_passes(const struct state_net *state, const uint8_t *frame, uint32_t length)
{
    if ((state->rx_mode & NET_RX_VLANS) == 0 || length < NET_ADDRESS_PART ||
        big_endian16(frame + (size_t)2 * ETH_ALEN) != ETH_P_8021Q)
        return true;
    unsigned int id = big_endian16(frame + ETH_HLEN) & VLAN_ID_MASK;
    return (state->vlans[id / 8] & 1u << id % 8) != 0;
}

static bool listed(const struct state_net *state, unsigned int first, unsigned int count,
                   const uint8_t *address)
{
    for (unsigned int i = first; i < first + count; i++) {
        if (memcmp(state->macs[i], address, ETH_ALEN) == 0)
            return true;
    }
    return false;
}

static bool multicast_passes(const struct state_net *state, const uint8_t *address)
{
    static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    if (memcmp(address, broadcast, ETH_ALEN) == 0)
        return (state->rx_mode & NET_RX_NOBCAST) == 0;
    if ((state->rx_mode & NET_RX_NOMULTI) != 0)
        return false;
    return (state->rx_mode & (NET_RX_ALLMULTI | NET_RX_MULTICAST_FULL)) != 0 ||
           listed(state, state->unicast, state->multicast, address);
}

static bool unicast_passes(const struct state_net *state, const uint8_t *address)
{
    if ((state->rx_mode & NET_RX_NOUNI) != 0)
        return false;
    return (state->rx_mode & (NET_RX_ALLUNI | NET_RX_UNICAST_FULL)) != 0 ||
           memcmp(state->mac, address, ETH_ALEN) == 0 || listed(state, 0, state->unicast, address);
}

bool net_filter_passes(const struct state_net *state, const uint8_t *frame, uint32_t length)
{
    if ((state->rx_mode & NET_RX_PROMISC) != 0)
        return true;
    if (!vlan_passes(state, frame, length))
        return false;
    return (frame[0] & 1) != 0 ? multicast_passes(state, frame) : unicast_passes(state, frame);
}

bool net_filter_valid(const struct state_net *state)
{
    return (state->rx_mode & ~NET_RX_MODES) == 0 && state->unicast <= STATE_NET_MACS &&
           state->multicast <= STATE_NET_MACS - state->unicast;
}
