/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/net/config.h"

#include <linux/if_ether.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#define BIT(n) (1ull << (n))

void net_config_init(struct device *dev, const struct start_net *from, unsigned int pairs)
{
    struct virtio_net_config config = {
        .status = VIRTIO_NET_S_LINK_UP,
        .max_virtqueue_pairs = (uint16_t)pairs,
        .mtu = from->mtu,
    };
    memcpy(config.mac, from->mac, sizeof(config.mac));
    _Static_assert(sizeof(config) <= DEVICE_CONFIG_MAX, "fits");
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = offsetof(struct virtio_net_config, speed); /* fields before it are offered */
}

uint16_t net_status(const struct device *dev)
{
    uint16_t status;
    memcpy(&status, dev->config + offsetof(struct virtio_net_config, status), sizeof(status));
    return status;
}

void net_set_status(struct device *dev, uint16_t status)
{
    memcpy(dev->config + offsetof(struct virtio_net_config, status), &status, sizeof(status));
}

void net_set_mac(struct device *dev, const uint8_t mac[ETH_ALEN])
{
    memcpy(dev->config + offsetof(struct virtio_net_config, mac), mac, ETH_ALEN);
}

bool net_backend_changed(struct device *dev)
{
    uint32_t up = atomic_load_explicit(&dev->state->backend.link_up, memory_order_relaxed);
    uint16_t before = net_status(dev);
    uint16_t status = before & (uint16_t)~VIRTIO_NET_S_LINK_UP;
    if (up != 0)
        status |= VIRTIO_NET_S_LINK_UP;
    net_set_status(dev, status);
    return status != before;
}

/* ---- Offloads ---- */

/* Which features need which offloads of the tap. The others mean something only together with
 * TUN_F_CSUM. */
static const struct {
    uint32_t tun;
    unsigned int host, guest;
} offload_rows[] = {
    {TUN_F_CSUM, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_GUEST_CSUM},
    {TUN_F_TSO4, VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_GUEST_TSO4},
    {TUN_F_TSO6, VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_GUEST_TSO6},
    {TUN_F_TSO_ECN, VIRTIO_NET_F_HOST_ECN, VIRTIO_NET_F_GUEST_ECN},
    {TUN_F_UFO, VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_GUEST_UFO},
    {TUN_F_USO4, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO4},
    {TUN_F_USO6, VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_GUEST_USO6},
};

#define OFFLOAD_ROWS (sizeof(offload_rows) / sizeof(offload_rows[0]))

uint64_t net_offload_features(uint32_t tun_offloads)
{
    uint64_t features = 0;
    for (size_t i = 0; i < OFFLOAD_ROWS; i++) {
        if ((tun_offloads & offload_rows[i].tun) != 0)
            features |= BIT(offload_rows[i].host) | BIT(offload_rows[i].guest);
    }
    return features;
}

/*
 * A tap that has been removed refuses the call, but it has no frames, either. A frame that needs an
 * offload that is not in force is dropped in any case.
 */
void net_set_offloads(int tap, uint64_t features)
{
    unsigned int flags = 0;
    for (size_t i = 0; i < OFFLOAD_ROWS; i++) {
        if ((features & BIT(offload_rows[i].guest)) != 0)
            flags |= offload_rows[i].tun;
    }
    if ((flags & TUN_F_CSUM) == 0)
        flags = 0;
    if ((flags & (TUN_F_TSO4 | TUN_F_TSO6)) == 0)
        flags &= ~(unsigned int)TUN_F_TSO_ECN;
    if ((flags & TUN_F_USO4) == 0 || (flags & TUN_F_USO6) == 0) /* Linux takes only both */
        flags &= ~(unsigned int)(TUN_F_USO4 | TUN_F_USO6);
    (void)ioctl(tap, TUNSETOFFLOAD, (unsigned long)flags);
}
