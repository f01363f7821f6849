/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A net device on a tap in a network namespace of the test's own: the interface tap0 has the
 * address 10.9.0.1, the guest plays 10.9.0.2. Nothing outside the namespace is reached.
 */
#ifndef TESTS_STANDIN_NET_FIXTURE_H
#define TESTS_STANDIN_NET_FIXTURE_H

#include <linux/if_ether.h>

#include "tests/standin/fixture.h"
#include "tests/standin/guest_net.h"

#define NET_FIXTURE_TYPE 0x88b5 /* Ethernet: for experiments, so no frame of the kernel's own */
#define NET_FIXTURE_MAC "52:54:00:12:34:56"

extern const uint8_t net_fixture_mac[ETH_ALEN]; /* the guest's */

struct net_fixture {
    struct fixture fixture;
    struct guest_net net;
    int packets; /* sees NET_FIXTURE_TYPE on tap0, and sends anything to the guest */
    uint8_t host_mac[ETH_ALEN];
};

/* Before anything else in a test program: a namespace of its own. False with a message. */
bool net_fixture_namespace(void);

/* A tap0, made with these words of `ip tuntap` ("mode tap"), a device on it with these lines of
 * YAML besides, and its driver. */
void net_fixture_start(struct net_fixture *net, const char *tap, const char *yaml,
                       const struct guest_net_options *options);
/* The same by another data plane. */
void net_fixture_start_plane(struct net_fixture *net, const char *plane, const char *tap,
                             const char *yaml, const struct guest_net_options *options);
void net_fixture_stop(struct net_fixture *net);

/* In pieces: tap0 alone; and the driver of net->net.guest, which is initialised, with `packets`. */
void net_fixture_interface(const char *tap);
void net_fixture_driver(struct net_fixture *net, const struct guest_net_options *options);

/* Runs `ip` with these words; asserts that it succeeds. */
void net_fixture_ip(const char *words);

/* A frame of `length` bytes with these addresses, whose bytes follow from `seed`. */
void net_fixture_frame(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint32_t length,
                       uint32_t seed);
bool net_fixture_is_frame(const uint8_t *frame, uint32_t length, uint32_t seed);

/* Host to guest, and what the host gets from it: its length, or -ETIMEDOUT. */
void net_fixture_host_send(struct net_fixture *net, const uint8_t *frame, uint32_t length);
int net_fixture_host_receive(struct net_fixture *net, uint8_t *frame, int timeout_ms);

/* Wait (up to 3 s) until the configuration's status has `value` in `mask`. */
bool net_fixture_wait_status(struct net_fixture *net, uint16_t mask, uint16_t value);

#endif
