/* SPDX-License-Identifier: Apache-2.0 */
/* Packets as a guest's driver makes them. */
#ifndef TESTS_UNIT_VSOCK_PACKET_H
#define TESTS_UNIT_VSOCK_PACKET_H

#include <linux/virtio_vsock.h>
#include <stdint.h>

#define CID 3u
#define HOST 2u
#define STREAM VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET VIRTIO_VSOCK_TYPE_SEQPACKET
#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define CREDIT 1000u /* bytes that the guest has room for */

/* A packet of a stream without data. */
static inline struct virtio_vsock_hdr from_guest(uint16_t op, uint32_t guest_port,
                                                 uint32_t host_port)
{
    return (struct virtio_vsock_hdr){
        .src_cid = CID,
        .dst_cid = HOST,
        .src_port = guest_port,
        .dst_port = host_port,
        .type = STREAM,
        .op = op,
        .buf_alloc = CREDIT,
    };
}

#endif
