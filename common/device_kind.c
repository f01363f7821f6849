/* SPDX-License-Identifier: Apache-2.0 */
#include "common/device_kind.h"

const struct device_kind_info device_kinds[DEVICE_KINDS] = {
    [DEVICE_BLOCK_VIRTIO] =
        {
            .type = "block",
            .data_plane = "virtio",
            .policy = "block/virtio",
            .virtio_id = 2,
            .queue_count = 1,
            .backend_fd_count = 1, /* the image */
        },
    [DEVICE_VSOCK_VHOST] =
        {
            .type = "vsock",
            .data_plane = "vhost",
            .policy = "vsock/vhost",
            .virtio_id = 19,
            .queue_count = 3,
            .backend_fd_count =
                2, /* vhost-vsock, and the eventfd on which it reports ring errors */
        },
};
