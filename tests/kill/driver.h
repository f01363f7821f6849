/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block driver for one queue in either ring format, VirtIO 1.2 §2.7 and §2.8. It counts what
 * comes back. It shares no code with the device model.
 */
#ifndef TESTS_KILL_DRIVER_H
#define TESTS_KILL_DRIVER_H

#include <linux/virtio_blk.h>

#include "tests/kill/harness.h"

#define DRIVER_QUEUE_SIZE 64u
#define DRIVER_REQUESTS 8u /* of one batch, at most */
#define DRIVER_DATA 4096u  /* bytes of a request, at most */

enum ring_format { RING_SPLIT, RING_PACKED };

struct request {
    uint32_t type;
    uint32_t sector;
    uint32_t length;     /* bytes of data */
    unsigned int pieces; /* descriptors that the data is spread over */
    unsigned int used;   /* how often the device gave it back */
    uint32_t used_length;
};

struct driver {
    struct harness *harness;
    enum ring_format format;
    struct request requests[DRIVER_REQUESTS];
    unsigned int count;             /* number of requests in the batch */
    uint16_t avail;                 /* split: free-running index; packed: position */
    uint16_t used;                  /* the same */
    bool avail_wrap, used_wrap;     /* packed */
    uint16_t skip[DRIVER_REQUESTS]; /* packed: descriptors of the chain with that Buffer ID */
};

/* Reset the device, negotiate, set up the queue, DRIVER_OK. False: the device does not offer the
 * format. */
bool driver_start(struct driver *driver, struct harness *harness, enum ring_format format);

/* A request's data in the window. */
uint8_t *driver_data(struct driver *driver, unsigned int request);
uint8_t driver_status(struct driver *driver, unsigned int request);

/* Make requests[0 .. count) available, as one batch, without a kick. */
void driver_submit(struct driver *driver);

/* Take what has been used. Returns how many came back for the first time. */
unsigned int driver_collect(struct driver *driver);

#endif
