/* SPDX-License-Identifier: Apache-2.0 */
/* Network features that the kernel's headers of Debian 12 (Linux 6.1) lack. Whether a kernel has
 * them is found out when a tap is opened. */
#ifndef COMMON_NEWER_NET_H
#define COMMON_NEWER_NET_H

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#ifndef TUN_F_USO4 /* Linux 6.2: UDP segmentation */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO 56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#ifndef VIRTIO_NET_F_VQ_NOTF_COAL /* Linux 6.6 */
#define VIRTIO_NET_F_VQ_NOTF_COAL 52
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET 2
#define VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET 3
#endif

#endif
