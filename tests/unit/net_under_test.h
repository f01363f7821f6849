/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network device for unit tests. Its taps are sockets that keep the limits of messages and can be
 * full, as a tap can. ioctl() of the program is defined here.
 */
#ifndef TESTS_UNIT_NET_UNDER_TEST_H
#define TESTS_UNIT_NET_UNDER_TEST_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "tests/unit/guest.h"
#include "worker/net/net.h"

#define BIT(n) (1ull << (n))
#define VERSION_1 BIT(VIRTIO_F_VERSION_1)
#define RX 0u
#define TX 1u
#define BUFFER(n) (GUEST_BASE + GUEST_BUFFERS + (n)*0x20000ull)

#define TAPS 3

extern struct guest_ring net_rings[2 * TAPS + 1];
extern int net_wire[TAPS];         /* the other ends of the taps */
extern unsigned int net_offloads;  /* of the last TUNSETOFFLOAD */
extern unsigned int offload_calls; /* how many there were */
extern uint32_t net_irq_delay_us;  /* of workers from now on */
extern const uint8_t net_mac[6];   /* the device's own address */

/* What the taps answer instead of what is in them: one error first, then so many frames of zeros.
 */
extern struct net_reads {
    int error;           /* 0: none */
    unsigned int frames; /* that are left */
    uint32_t length;     /* of each, with its header */
} net_reads;

/* A device with up to TAPS taps, fresh, whose driver accepts `features` and has set up all its
 * queues with rings of `size`. Frames that the taps held before are gone. */
void net_running(unsigned int taps, uint64_t features, uint16_t size);

/* The same in two steps. */
void net_worker(unsigned int taps);
void net_driver(unsigned int taps, uint64_t features, uint16_t size);

/* Offer one buffer as the chain `head`. */
void net_offer(unsigned int queue, uint16_t head, uint64_t addr, uint32_t length, uint16_t flags);

/* The length of the next used element, which must have that head; -1: there is none. */
int64_t net_used(unsigned int queue, uint32_t id);

/* Offer NET_FULL frames by a queue to the tap: the n-th has 32 KiB of n, from 1 on, and is the
 * chain n - 1. Returns how many the tap took. The next one waits. */
#define NET_FULL 16u
unsigned int net_fill_tap(unsigned int queue);

/* The kernel sends a frame of `length` bytes, all of them `fill`, behind a header of zeros, by
 * queue `tap`. */
void net_send(unsigned int tap, uint32_t length, uint8_t fill);

/* What arrived on the wire, with its header; -1: nothing. */
ssize_t net_received(unsigned int tap, void *to, size_t size);

bool net_needs_reset(void);

#endif
