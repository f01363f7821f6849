/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/backend.h"

const struct backend_ops *const backend_kinds[DEVICE_KINDS] = {
    [DEVICE_BLOCK_VIRTIO] = &backend_block,
    [DEVICE_CONSOLE_VIRTIO] = &backend_console,
    [DEVICE_CONSOLE_SOCKET] = &backend_console_socket,
    [DEVICE_NET_VIRTIO] = &backend_net,
    [DEVICE_NET_VHOST] = &backend_net_vhost,
    [DEVICE_RNG_VIRTIO] = &backend_rng,
    [DEVICE_VSOCK_VHOST] = &backend_vsock_vhost,
    [DEVICE_VSOCK_VIRTIO] = &backend_vsock_virtio,
    [DEVICE_VSOCK_VHOST_USER] = &backend_vsock_vhost_user,
    [DEVICE_FS_VHOST_USER] = &backend_fs_vhost_user,
    [DEVICE_OTHER_VHOST_USER] = &backend_other_vhost_user,
};
