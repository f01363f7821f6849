/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of device. All that is known of a kind is in one row of common/kinds.def. The tables
 * here, in the broker and in the worker are made from it.
 */
#ifndef COMMON_DEVICE_KIND_H
#define COMMON_DEVICE_KIND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/worker_fds.h"

#define QUEUE_SIZE_MAX 1024u /* VirtIO 1.2 §2.6: Queue Size; a worker has room for this */
#define QUEUE_SIZE_ALWAYS 256u
/* No interrupt waits longer, whatever a key or a driver says. */
#define IRQ_DELAY_US_MAX 10000u

enum device_kind {
#define DEVICE_KIND(name, ...) DEVICE_##name,
#include "common/kinds.def"
#undef DEVICE_KIND
    DEVICE_KINDS,
};

/* Device nodes of the kernel that a kind needs, bits. */
enum kind_node { NODE_VHOST_VSOCK = 1, NODE_VHOST_NET = 2, NODE_TUN = 4 };

struct device_kind_info {
    const char *type;       /* YAML `type` */
    const char *data_plane; /* YAML `data_plane` */
    const char *policy;     /* policy/NAME.policy, and the embedded program's name */
    bool by_socket_path;    /* it replaces the kind with the same type and data plane if the key
                               socket_path is given */
    bool ring;          /* it has an io_uring (worker/ring.h); it replaces the kind with the same
                           type and data plane if the key io_engine asks for it */
    bool daemon;        /* a vhost-user daemon at socket_path serves the device */
    uint32_t virtio_id; /* VirtIO 1.2 §5: DeviceID; 0: the configuration says */
    uint32_t nodes;     /* enum kind_node */

    /* What a device has with only the required keys, and the maximum, up to STATE_QUEUES_MAX and
     * BACKEND_FDS_MAX. START says what the device has. */
    uint32_t queue_count, queues_max;
    uint32_t backend_fd_count, backend_fds_max; /* WORKER_FD_BACKEND onwards */

    /* QueueNumMax, and QueueNum after a reset, unless the configuration or a small window requires
     * less. These are the values of the Rust device model: some drivers never write QueueNum. */
    uint32_t queue_size;

    bool connections;         /* the broker sends it connections while it runs, MSG_CONNECTION */
    uint32_t connections_max; /* maximum in a START message; 0: it has no such number */
};

/* For the user it is the same kind as another one, which it replaces if some key asks for it. */
static inline bool device_kind_replaces(const struct device_kind_info *info)
{
    return info->by_socket_path || info->ring;
}

/* How many fds a worker has after lock-down, from 0 on, with this number of backend files and
 * queues. */
static inline uint32_t device_kind_fds(const struct device_kind_info *info, uint32_t backend_fds,
                                       uint32_t queues)
{
    if (info->ring)
        return WORKER_FD_RING + 1;
    return info->connections ? WORKER_FD_CONNECTION : WORKER_FD_BACKEND + backend_fds + queues;
}

/*
 * The Queue Size that is offered if the configuration gives none. A Linux driver fills every
 * receive queue of a console, a network or a socket device with buffers of one page, taken from the
 * window. If that would take more than half of a window of `window` bytes, the size is smaller,
 * down to QUEUE_SIZE_ALWAYS.
 */
uint32_t device_kind_queue_size(const struct device_kind_info *info, uint32_t queues,
                                uint64_t window);

/* The policy of the keeper below which a process with this policy runs: io_uring is allowed there
 * only if a device has one. */
const char *device_kind_keeper(const char *policy);

/* One row for each kind, indexed by enum device_kind. */
extern const struct device_kind_info device_kinds[DEVICE_KINDS];

/* The row of a kind that somebody else has named; NULL: there is no such kind. */
const struct device_kind_info *device_kind_info(uint32_t kind);

#endif
