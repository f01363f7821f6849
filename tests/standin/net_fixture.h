/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A net device on a tap, in a network namespace of the test's own. The interface tap0 has the
 * address 10.9.0.1, the guest uses 10.9.0.2. Nothing outside the namespace is reached.
 */
#ifndef TESTS_STANDIN_NET_FIXTURE_H
#define TESTS_STANDIN_NET_FIXTURE_H

#include <linux/if_ether.h>

#include "tests/standin/fixture.h"
#include "tests/standin/guest_net.h"

#define NET_FIXTURE_TYPE 0x88b5 /* EtherType for experiments; not used by the kernel */
#define NET_FIXTURE_MAC "52:54:00:12:34:56"

extern const uint8_t net_fixture_mac[ETH_ALEN]; /* the guest's */
/* A driver with one pair, buffers of 1536 bytes for what it receives, and all features. */
extern const struct guest_net_options net_fixture_plain;

struct net_fixture {
    struct fixture fixture;
    struct guest_net net;
    int packets; /* packet socket: sees NET_FIXTURE_TYPE on tap0, and sends any frame to the guest
                  */
    uint8_t host_mac[ETH_ALEN];
};

/* Enter a new network namespace. A test program calls this before anything else. Returns false
 * after printing a message. */
bool net_fixture_namespace(void);

/* Make tap0 with these words of `ip tuntap` ("mode tap"), a device on it with these additional
 * lines of YAML, and its driver. */
void net_fixture_start(struct net_fixture *net, const char *tap, const char *yaml,
                       const struct guest_net_options *options);
/* The same with another data plane. */
void net_fixture_start_plane(struct net_fixture *net, const char *plane, const char *tap,
                             const char *yaml, const struct guest_net_options *options);
void net_fixture_stop(struct net_fixture *net);
/* The same, and no worker died. */
void net_fixture_stop_well(struct net_fixture *net);

/* The same in parts: tap0 alone; and the driver of net->net.guest, which is initialised, with
 * `packets`. */
void net_fixture_interface(const char *tap);
void net_fixture_driver(struct net_fixture *net, const struct guest_net_options *options);

/* Runs `ip` with these words; asserts that it succeeds. */
void net_fixture_ip(const char *words);

/* Make a frame of `length` bytes with these addresses; its other bytes are computed from `seed`. */
void net_fixture_frame(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint32_t length,
                       uint32_t seed);
bool net_fixture_is_frame(const uint8_t *frame, uint32_t length, uint32_t seed);

/* Send from the host to the guest; and receive on the host what the guest sends: its length, or
 * -ETIMEDOUT. */
void net_fixture_host_send(struct net_fixture *net, const uint8_t *frame, uint32_t length);
int net_fixture_host_receive(struct net_fixture *net, uint8_t *frame, int timeout_ms);

/* Wait (up to 20 s) until `status` of the configuration space has `value` in the bits of `mask`. */
bool net_fixture_wait_status(struct net_fixture *net, uint16_t mask, uint16_t value);

#endif
