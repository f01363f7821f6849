/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of device: what the two sides must agree on, one row a kind. The broker's half of
 * a kind (opening its backend) is a row of broker/backend.c; the worker's half (its
 * behaviour) a row of worker/device.c.
 */
#ifndef COMMON_DEVICE_KIND_H
#define COMMON_DEVICE_KIND_H

#include <stdint.h>

enum device_kind {
    DEVICE_BLOCK_VIRTIO,
    DEVICE_VSOCK_VHOST,
    DEVICE_KINDS,
};

struct device_kind_info {
    const char *type;       /* YAML `type` */
    const char *data_plane; /* YAML `data_plane` */
    const char *policy;     /* policy/NAME.policy, and the embedded program's name */
    uint32_t virtio_id;     /* VirtIO 1.2 §5: DeviceID */
    uint32_t queue_count;
    uint32_t backend_fd_count; /* WORKER_FD_BACKEND onwards */
};

/* One row a kind, indexed by enum device_kind. */
extern const struct device_kind_info device_kinds[DEVICE_KINDS];

#endif
