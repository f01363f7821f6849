/* SPDX-License-Identifier: Apache-2.0 */
#include "common/device_kind.h"

#include "common/state.h"

const struct device_kind_info device_kinds[DEVICE_KINDS] = {
    [DEVICE_BLOCK_VIRTIO] =
        {
            .type = "block",
            .data_plane = "virtio",
            .policy = "block/virtio",
            .built = true,
            .virtio_id = 2,
            .queue_count = 1,
            .queues_max = STATE_QUEUES_MAX,
            .queue_size = QUEUE_SIZE_ALWAYS,
            /* the image */
            .backend_fd_count = 1,
            .backend_fds_max = 1,
        },
    [DEVICE_VSOCK_VHOST] =
        {
            .type = "vsock",
            .data_plane = "vhost",
            .policy = "vsock/vhost",
            .built = true,
            .virtio_id = 19,
            .queue_count = 3,
            .queues_max = 3,
            .queue_size = QUEUE_SIZE_MAX,
            /* vhost-vsock, and the eventfd on which it reports ring errors */
            .backend_fd_count = 2,
            .backend_fds_max = 2,
        },
    [DEVICE_NET_VIRTIO] =
        {
            .type = "net",
            .data_plane = "virtio",
            .policy = "net/virtio",
            .built = true,
            .virtio_id = 1,
            /* pairs of rx and tx, and the control queue */
            .queue_count = 3,
            .queues_max = 15,
            .queue_size = QUEUE_SIZE_MAX,
            /* a queue of the tap for each pair */
            .backend_fd_count = 1,
            .backend_fds_max = 7,
        },
    [DEVICE_NET_VHOST] =
        {
            .type = "net",
            .data_plane = "vhost",
            .policy = "net/vhost",
            .built = true,
            .virtio_id = 1,
            .queue_count = 2,
            .queues_max = 2,
            .queue_size = QUEUE_SIZE_MAX,
            /* vhost-net, the tap, and the eventfd for ring errors */
            .backend_fd_count = 3,
            .backend_fds_max = 3,
        },
    [DEVICE_CONSOLE_VIRTIO] =
        {
            .type = "console",
            .data_plane = "virtio",
            .policy = "console/virtio",
            .built = true,
            .virtio_id = 3,
            .queue_count = 2,
            .queues_max = 16,
            .queue_size = QUEUE_SIZE_MAX,
            /* an epoll instance that tells who has no reader, and the ports; where there are fewer
             * than seven, the first again, so that each number always means the same */
            .backend_fd_count = 8,
            .backend_fds_max = 8,
        },
    [DEVICE_CONSOLE_SOCKET] =
        {
            .type = "console",
            .data_plane = "virtio",
            .policy = "console/socket",
            .built = true,
            .virtio_id = 3,
            .queue_count = 2,
            .queues_max = 2,
            .queue_size = QUEUE_SIZE_MAX,
            .connections = true,
        },
    [DEVICE_RNG_VIRTIO] =
        {
            .type = "rng",
            .data_plane = "virtio",
            .policy = "rng/virtio",
            .built = true,
            .virtio_id = 4,
            .queue_count = 1,
            .queues_max = 1,
            .queue_size = QUEUE_SIZE_ALWAYS,
        },
    [DEVICE_VSOCK_VIRTIO] =
        {
            .type = "vsock",
            .data_plane = "virtio",
            .policy = "vsock/virtio",
            .built = true,
            .virtio_id = 19,
            .queue_count = 3,
            .queues_max = 3,
            .queue_size = QUEUE_SIZE_MAX,
            .connections = true,
        },
    [DEVICE_VSOCK_VHOST_USER] =
        {
            .type = "vsock",
            .data_plane = "vhost_user",
            .policy = "vsock/vhost_user",
            .built = true,
            .virtio_id = 19,
            .queue_count = 3,
            .queues_max = 3,
            /* Daemons differ in what they take; all known ones take this. */
            .queue_size = QUEUE_SIZE_ALWAYS,
            /* the socket to the daemon, the eventfd for ring errors, the channel for the daemon's
             * requests, its buffer for requests in flight; an eventfd for each that it wants not */
            .backend_fd_count = 4,
            .backend_fds_max = 4,
        },
    [DEVICE_FS_VHOST_USER] =
        {
            .type = "fs",
            .data_plane = "vhost_user",
            .policy = "fs/vhost_user",
            .built = true,
            .virtio_id = 26,
            .queue_count = 2,
            .queues_max = 16,
            .queue_size = QUEUE_SIZE_ALWAYS,
            /* the socket to the daemon, the eventfd for ring errors, the channel for the daemon's
             * requests, its buffer for requests in flight; an eventfd for each that it wants not */
            .backend_fd_count = 4,
            .backend_fds_max = 4,
        },
    [DEVICE_OTHER_VHOST_USER] =
        {
            .type = "other",
            .data_plane = "vhost_user",
            .policy = "other/vhost_user",
            .built = true,
            .queue_count = 1,
            .queues_max = 16,
            .queue_size = QUEUE_SIZE_ALWAYS,
            /* as of the two above */
            .backend_fd_count = 4,
            .backend_fds_max = 4,
        },
};

uint32_t device_kind_queue_size(const struct device_kind_info *info, uint32_t queues,
                                uint64_t window)
{
    const uint64_t buffer = 4096, filled = (queues + 1) / 2;
    uint32_t size = info->queue_size;
    while (size > QUEUE_SIZE_ALWAYS && filled * size * buffer > window / 2)
        size /= 2;
    return size;
}
