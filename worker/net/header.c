/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/net/header.h"

#include <stdbool.h>

#define BIT(n) (1ull << (n))

/* What each kind of frame needs, in one direction. */
struct gso_features {
    uint64_t tcp4, tcp6, udp, udp_l4, ecn;
};

static const struct gso_features of_host = {
    .tcp4 = BIT(VIRTIO_NET_F_HOST_TSO4),
    .tcp6 = BIT(VIRTIO_NET_F_HOST_TSO6),
    .udp = BIT(VIRTIO_NET_F_HOST_UFO),
    .udp_l4 = BIT(VIRTIO_NET_F_HOST_USO),
    .ecn = BIT(VIRTIO_NET_F_HOST_ECN),
};

static const struct gso_features of_guest = {
    .tcp4 = BIT(VIRTIO_NET_F_GUEST_TSO4),
    .tcp6 = BIT(VIRTIO_NET_F_GUEST_TSO6),
    .udp = BIT(VIRTIO_NET_F_GUEST_UFO),
    /* The type does not say which IP it is; a tap does both or none (worker/net/config.c). */
    .udp_l4 = BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6),
    .ecn = BIT(VIRTIO_NET_F_GUEST_ECN),
};

/* The features that a gso_type needs; 0: no feature allows this type. */
static uint64_t needed_for(uint8_t gso_type, const struct gso_features *of)
{
    uint64_t needed = (gso_type & VIRTIO_NET_HDR_GSO_ECN) != 0 ? of->ecn : 0;
    switch (gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        return needed | of->tcp4;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return needed | of->tcp6;
    case VIRTIO_NET_HDR_GSO_UDP:
        return needed == 0 ? of->udp : 0;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return needed == 0 ? of->udp_l4 : 0;
    default:
        return 0;
    }
}

static bool negotiated(uint64_t needed, uint64_t features)
{
    return needed != 0 && (needed & ~features) == 0;
}

static bool csum_valid(const struct virtio_net_hdr_v1 *header, uint64_t features, uint32_t length)
{
    uint32_t end = (uint32_t)header->csum_start + header->csum_offset + sizeof(uint16_t);
    return (features & BIT(VIRTIO_NET_F_CSUM)) != 0 && end <= length;
}

static bool gso_valid(const struct virtio_net_hdr_v1 *header, uint64_t features)
{
    return negotiated(needed_for(header->gso_type, &of_host), features) && header->gso_size != 0 &&
           (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0;
}

enum net_check net_header_from_driver(struct virtio_net_hdr_v1 *header, uint64_t features,
                                      uint32_t mtu, uint32_t length)
{
    bool gso = header->gso_type != VIRTIO_NET_HDR_GSO_NONE;
    uint32_t longest = mtu != 0 && !gso ? mtu + ETH_HLEN + NET_TAGS : NET_FRAME_MAX;
    if (length < ETH_HLEN)
        return NET_SHORT;
    if (length > longest)
        return NET_LARGE;
    header->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
    header->num_buffers = 0;
    if (header->flags != 0 && !csum_valid(header, features, length))
        return NET_CSUM;
    if (!gso) {
        header->gso_size = 0;
        header->hdr_len = 0; /* it has no meaning then, and a driver may leave any value there */
        return NET_OK;
    }
    if (!gso_valid(header, features))
        return NET_GSO;
    return header->hdr_len <= length ? NET_OK : NET_HDR_LEN;
}

enum net_check net_header_from_kernel(struct virtio_net_hdr_v1 *header, uint64_t offloads)
{
    if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE &&
        !negotiated(needed_for(header->gso_type, &of_guest), offloads))
        return NET_OFFLOADS;
    if ((offloads & BIT(VIRTIO_NET_F_GUEST_CSUM)) != 0)
        return NET_OK;
    if ((header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0)
        return NET_OFFLOADS;
    header->flags = 0; /* §5.1.6.4.1 */
    return NET_OK;
}
