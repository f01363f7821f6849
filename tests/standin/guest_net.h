/* SPDX-License-Identifier: Apache-2.0 */
/* The net driver of a guest on the stand-in: see guest.h. It polls its rings. Only a caller that
 * asks for an interrupt takes one. */
#ifndef TESTS_STANDIN_GUEST_NET_H
#define TESTS_STANDIN_GUEST_NET_H

#include <linux/virtio_net.h>

#include "tests/standin/guest.h"

#define GUEST_NET_PAIRS_MAX 7
#define GUEST_NET_FRAME_MAX 65600u

#define GUEST_NET_FEATURES                                                                         \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX | ((1ull << 24) - 1))

struct guest_net_buffer {
    uint8_t *data;
    uint64_t addr;
    bool busy;
};

struct guest_net {
    struct guest guest;
    struct virtio_net_config config;
    unsigned int pairs; /* set up */
    struct guest_queue rx[GUEST_NET_PAIRS_MAX], tx[GUEST_NET_PAIRS_MAX], ctrl;
    uint32_t rx_size, tx_size; /* bytes of a buffer, with its header */
    unsigned int rx_count, tx_count;
    struct guest_net_buffer *rx_buffers, *tx_buffers; /* the `count` of them for each pair */
    uint8_t *ctrl_data, *ctrl_ack;
    uint64_t ctrl_data_addr, ctrl_ack_addr;
};

struct guest_net_options {
    uint64_t features;
    unsigned int pairs; /* pairs to set up; 0: one */
    unsigned int rx_count, tx_count;
    uint32_t rx_size, tx_size;
};

/* Bring the device up; net->guest is initialised, and all else 0. Returns 0 or -errno. */
int guest_net_start(struct guest_net *net, const struct guest_net_options *options);
void guest_net_free(struct guest_net *net);

/* Make all rx buffers available that are not available yet. */
void guest_net_refill(struct guest_net *net, unsigned int pair);

/* Send one frame by pair `pair`, without a kick. Returns 0, or -ENOSPC if no buffer is free. */
int guest_net_put(struct guest_net *net, unsigned int pair, const struct virtio_net_hdr_v1 *header,
                  const void *frame, uint32_t length);
void guest_net_kick(struct guest_net *net, unsigned int pair);
/* The same with a kick; waits for a buffer. Returns 0; -ETIMEDOUT. */
int guest_net_send(struct guest_net *net, unsigned int pair, const struct virtio_net_hdr_v1 *header,
                   const void *frame, uint32_t length);
/* Wait until everything that was sent has come back. 0; -ETIMEDOUT. */
int guest_net_flush(struct guest_net *net, unsigned int pair);

/*
 * Receive the next frame; there is room for GUEST_NET_FRAME_MAX bytes. Returns its length, or
 * -ETIMEDOUT; -EPROTO if it breaks the rules. Its buffers are made available again unless `keep`.
 */
int guest_net_receive(struct guest_net *net, unsigned int pair, struct virtio_net_hdr_v1 *header,
                      void *frame, bool keep, int timeout_ms);

/* A command of the control queue. Returns VIRTIO_NET_OK or _ERR, or -ETIMEDOUT. */
int guest_net_command(struct guest_net *net, uint8_t class, uint8_t command, const void *data,
                      uint32_t length);
/* The same, with an answer of `size` bytes before the ack. */
int guest_net_ask(struct guest_net *net, uint8_t class, uint8_t command, const void *data,
                  uint32_t length, void *ret_answer, uint32_t size);

#endif
