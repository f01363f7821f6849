/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend.h"

const struct backend_ops *const backend_kinds[DEVICE_KINDS] = {
    [DEVICE_BLOCK_VIRTIO] = &backend_block,      [DEVICE_CONSOLE_VIRTIO] = &backend_console,
    [DEVICE_NET_VIRTIO] = &backend_net,          [DEVICE_RNG_VIRTIO] = &backend_rng,
    [DEVICE_VSOCK_VHOST] = &backend_vsock_vhost,
    [DEVICE_VSOCK_VIRTIO] = &backend_vsock_virtio,
};
