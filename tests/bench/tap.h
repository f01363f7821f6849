/* SPDX-License-Identifier: Apache-2.0 */
/* Taps in a network namespace of the bench's own, and the host's end of them: packet sockets. */
#ifndef TESTS_BENCH_TAP_H
#define TESTS_BENCH_TAP_H

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <stdatomic.h>

#include "tests/bench/bench.h"

#define TAP_BULK_TYPE 0x88b5 /* EtherTypes for experiments; not used by the kernel */
#define TAP_PING_TYPE 0x88b6
#define TAP_HEADER_SIZE ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define TAP_HEADERS 54u /* Ethernet, IP, TCP */
#define TAP_SEGMENT 1448u
#define TAP_LARGE (TAP_HEADERS + 45 * TAP_SEGMENT) /* 64 KiB for segmentation offload */
#define TAP_PEER "peer0"
#define TAP_UNDER_WAY 256u /* most frames to send at once; a tap has room for 500 */

struct tap_frame {
    struct virtio_net_hdr_v1 header;
    uint8_t bytes[TAP_LARGE];
};

extern const uint8_t tap_guest_mac[ETH_ALEN];

/*
 * Make a frame of `length` bytes. One that is longer than ETH_FRAME_LEN is of TCP, and the kernel
 * could make segments of it. The addresses are not those of the tap, so no socket but ours gets it.
 */
void tap_make_frame(struct tap_frame *frame, uint16_t ether_type, uint32_t length, bool to_guest);

/* Enter a network namespace with the taps bench0, bench4 (for several queues), bare0 and peer0. The
 * kernel has nothing to say on them. Returns 0 or -errno. */
int tap_make_all(void);
/* Open bare0, without waiting, as the device model opens its tap. Returns an fd or -errno. */
int tap_open_bare(void);

/* A packet socket for frames of that type. Returns an fd or -errno. */
int tap_open_host(const char *tap, uint16_t type);
/* Frames that have come since the last call. */
uint64_t tap_host_count(int host);
/* Send the frame so many times, at most TAP_UNDER_WAY. Returns 0 or -errno. */
int tap_host_send(int host, const struct tap_frame *frame, uint32_t length, unsigned int count);

/* A program of the host that sends each frame back. */
struct tap_echo {
    int host;
    bool anywhere; /* the scheduler places it, as it would beside a bare loop */
    _Atomic bool end;
    pthread_t thread;
};

/* Returns 0 or -errno. */
int tap_echo_start(struct tap_echo *echo, int host, bool anywhere);
void tap_echo_stop(struct tap_echo *echo);

#endif
