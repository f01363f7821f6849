/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header before each frame, struct virtio_net_hdr_v1, VirtIO 1.2 §5.1.6: a header from the
 * driver is hostile and goes to the kernel. A header from the kernel may name offloads that the
 * driver has given up since. These are pure functions on copies.
 */
#ifndef WORKER_NET_HEADER_H
#define WORKER_NET_HEADER_H

#include <linux/if_ether.h>
#include <stdint.h>

#include "common/newer_net.h"

#define NET_HEADER_SIZE 12u
#define NET_TAGS 8u          /* bytes of two VLAN tags */
#define NET_FRAME_MAX 65557u /* an IP packet of 65535 bytes, Ethernet header and two tags */

_Static_assert(sizeof(struct virtio_net_hdr_v1) == NET_HEADER_SIZE, "as a tap is told");
_Static_assert(NET_FRAME_MAX == 65535 + ETH_HLEN + NET_TAGS, "");

/* Why a frame was dropped: the `check` of LOG_FRAME_DROPPED. */
enum net_check {
    NET_OK = 0,
    NET_SHORT,   /* less than a header and an Ethernet header */
    NET_LARGE,   /* §5.1.6.2.1: longer than the MTU, or than any frame */
    NET_CSUM,    /* §5.1.6.2.1: NEEDS_CSUM not negotiated, or its fields point outside the frame */
    NET_GSO,     /* §5.1.6.2.1: gso_type not negotiated, or without NEEDS_CSUM or gso_size */
    NET_HDR_LEN, /* §5.1.6.2.1: hdr_len is longer than the frame */
    NET_NO_ROOM, /* §5.1.6.3.1: the driver's buffers cannot hold it */
    NET_OFFLOADS, /* it needs an offload that the driver has given up since */
};

/*
 * A header from the driver, with a frame of `length` bytes behind it: may the kernel see it? Fields
 * that mean nothing to the kernel are cleared. `features` are the negotiated ones; `mtu` is 0 if
 * VIRTIO_NET_F_MTU is not among them.
 */
enum net_check net_header_from_driver(struct virtio_net_hdr_v1 *header, uint64_t features,
                                      uint32_t mtu, uint32_t length);

/* A header from the kernel: may the driver see it? `offloads`: VIRTIO_NET_F_GUEST_* in force. */
enum net_check net_header_from_kernel(struct virtio_net_hdr_v1 *header, uint64_t offloads);

#endif
