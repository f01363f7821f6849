/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What network devices of both data planes have: configuration space, VirtIO 1.2 §5.1.4, and
 * the tap's offloads.
 */
#ifndef WORKER_NET_CONFIG_H
#define WORKER_NET_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/newer_net.h"
#include "worker/device.h"

/* What CTRL_GUEST_OFFLOADS can switch, §5.1.6.5.8. */
#define NET_GUEST_OFFLOADS                                                                         \
    (1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4 |                           \
     1ull << VIRTIO_NET_F_GUEST_TSO6 | 1ull << VIRTIO_NET_F_GUEST_ECN |                            \
     1ull << VIRTIO_NET_F_GUEST_UFO | 1ull << VIRTIO_NET_F_GUEST_USO4 |                            \
     1ull << VIRTIO_NET_F_GUEST_USO6)

/* Fill in the configuration space of a device with `pairs` pairs of queues. The link is up until
 * the broker says otherwise. */
void net_config_init(struct device *dev, const struct start_net *from, unsigned int pairs);

/* The field `status` of the configuration space. */
uint16_t net_status(const struct device *dev);
void net_set_status(struct device *dev, uint16_t status);

/* Set its field `mac`. */
void net_set_mac(struct device *dev, const uint8_t mac[6]);

/* device_ops.backend_changed: the link. */
bool net_backend_changed(struct device *dev);

/* The features, for both directions, that a tap with these offloads (TUN_F_*) makes possible. */
uint64_t net_offload_features(uint32_t tun_offloads);

/* Make the tap send only frames that the driver takes, by the VIRTIO_NET_F_GUEST_* in
 * `features`. */
void net_set_offloads(int tap, uint64_t features);

#endif
