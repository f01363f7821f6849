/* SPDX-License-Identifier: Apache-2.0 */
/* Block reads on many queues and many devices, by one vCPU. */
#ifndef TESTS_BENCH_LANES_H
#define TESTS_BENCH_LANES_H

#include "tests/bench/bench.h"

#define LANE_QUEUES 8u
#define LANES_MAX 16u

struct lane_request {
    struct virtio_blk_outhdr *header;
    uint8_t *data, *status;
    uint64_t header_addr, data_addr, status_addr;
    struct guest_queue *queue;
};

/* One device and its driver. */
struct lane {
    struct guest guest;
    struct guest_queue queues[LANE_QUEUES];
    unsigned int queue_count, depth;
    struct lane_request *requests;
};

/* What a turn is to do. */
struct lanes_load {
    unsigned int first, devices; /* these work, one after the other */
    unsigned int queues;         /* of each */
    unsigned int depth;          /* requests under way on each device, spread over its queues */
    uint32_t size;               /* bytes */
};

struct lanes {
    struct lane lanes[LANES_MAX];
    struct image *image; /* of all devices */
    uint64_t random;
    uint32_t size;
    uint64_t submitted, done;
    int error;
};

void lanes_init(struct lanes *lanes, struct standin *standin, struct image *image);
/* Start the drivers anew for this load. Returns 0 or -errno. */
int lanes_start(struct lanes *lanes, const struct lanes_load *load);
/* Random reads for that time. Returns 0 or -errno, and how many there were and how long they took.
 */
int lanes_turn(struct lanes *lanes, const struct lanes_load *load, uint64_t duration_ns,
               uint64_t *ret_count, uint64_t *ret_ns);
void lanes_free(struct lanes *lanes);

#endif
