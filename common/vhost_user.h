/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wire format of the vhost-user protocol (QEMU, docs/interop/vhost-user), as far as this front
 * end uses it. The broker begins each dialogue with a daemon (broker/backend/dialogue.h), and the
 * worker continues it (worker/vhost/vhost_user.c).
 *
 * A message is the header, then `size` bytes of payload, in the machine's byte order, on a
 * SOCK_STREAM socket. Rings have 32-bit indices. Addresses of rings are guest-physical addresses:
 * the memory table makes "user" and guest addresses equal.
 */
#ifndef COMMON_VHOST_USER_H
#define COMMON_VHOST_USER_H

#include <linux/vhost_types.h>
#include <stdint.h>

#define VHOST_USER_CONFIG_MAX 256u /* bytes of configuration space in one message */

enum vhost_user_request {
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_RESET_DEVICE = 34,
};

/* A message of a daemon on the socket that SET_BACKEND_REQ_FD gave it. */
#define VHOST_USER_BACKEND_CONFIG_CHANGE_MSG 2u

/* Header flags. */
#define VHOST_USER_VERSION 0x1u
#define VHOST_USER_VERSION_MASK 0x3u
#define VHOST_USER_REPLY (1u << 2)
#define VHOST_USER_NEED_REPLY (1u << 3)

/* A bit of GET_FEATURES that no driver sees. It means: there are protocol features. */
#define VHOST_USER_F_PROTOCOL_FEATURES 30

enum vhost_user_protocol_feature {
    VHOST_USER_PROTOCOL_F_MQ = 0,
    VHOST_USER_PROTOCOL_F_REPLY_ACK = 3,
    VHOST_USER_PROTOCOL_F_BACKEND_REQ = 5,
    VHOST_USER_PROTOCOL_F_CONFIG = 9,
    VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD = 12,
    VHOST_USER_PROTOCOL_F_RESET_DEVICE = 13,
};

struct vhost_user_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* bytes of payload */
};

struct vhost_user_memory { /* one region */
    uint32_t nregions, padding;
    uint64_t guest_addr, size, user_addr, mmap_offset;
};

struct vhost_user_config {
    uint32_t offset, size, flags;
    uint8_t region[VHOST_USER_CONFIG_MAX]; /* `size` of them are sent */
};

#define VHOST_USER_CONFIG_HEADER 12u /* bytes before `region` */

struct vhost_user_inflight {
    uint64_t mmap_size, mmap_offset;
    uint16_t num_queues, queue_size;
    uint32_t padding; /* not in the document, but every implementation sends it, since structures
                         are sent with the padding of C */
};

union vhost_user_payload {
    uint64_t u64;
    struct vhost_vring_state state;
    struct vhost_vring_addr addr;
    struct vhost_user_memory memory;
    struct vhost_user_config config;
    struct vhost_user_inflight inflight;
};

_Static_assert(sizeof(struct vhost_user_header) == 12, "as on the wire");
_Static_assert(sizeof(struct vhost_user_memory) == 40, "as on the wire");
_Static_assert(sizeof(struct vhost_vring_addr) == 40, "as on the wire");
_Static_assert(sizeof(struct vhost_user_inflight) == 24, "as on the wire");

#endif
