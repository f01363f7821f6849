/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user front end: it shows a daemon's device to a guest of tests/standin/guest.h, as
 * registers of virtio-mmio. It was written from the documents of the protocol and of VirtIO.
 *
 * The registers are in this process. So the guest pays nothing for an access to one, and an
 * interrupt is the daemon's eventfd: neither a trap nor a process lies between guest and daemon.
 */
#ifndef TESTS_BENCH_FRONT_END_H
#define TESTS_BENCH_FRONT_END_H

#include "tests/standin/guest.h"

#define FRONT_END_QUEUES 8u
#define FRONT_END_QUEUE_SIZE 1024u
#define FRONT_END_CONFIG 60u /* struct virtio_blk_config, as far as all daemons know it */

struct front_end {
    struct guest_device device; /* what the guest gets */
    int socket, call;
    uint8_t *window;
    uint64_t window_addr, window_size;
    int window_fd;
    uint64_t offered, accepted; /* features */
    uint64_t protocol_features;
    uint32_t features_half[2]; /* DeviceFeaturesSel, DriverFeaturesSel */
    uint32_t status, queue_sel;
    uint8_t config[FRONT_END_CONFIG];
    struct front_end_queue {
        uint32_t size;
        uint64_t areas[3]; /* guest-physical: desc, avail, used */
        bool ready;
        int kick;
    } queues[FRONT_END_QUEUES];
};

/* Connect to the daemon as soon as it listens, and make a window. Returns 0 or -errno;
 * front_end_close is called in both cases. */
int front_end_open(const char *socket_path, uint64_t window_addr, uint64_t window_size,
                   struct front_end *ret);
void front_end_close(struct front_end *front_end);

#endif
