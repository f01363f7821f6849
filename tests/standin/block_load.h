/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mixed load on a block device of several queues, with a copy of what the image must hold: reads
 * are compared with it, and at the end the image is. Each slot of each queue has a part of
 * the image of its own, so that no two requests under way touch the same sectors.
 */
#ifndef TESTS_STANDIN_BLOCK_LOAD_H
#define TESTS_STANDIN_BLOCK_LOAD_H

#include "tests/standin/guest.h"

struct block_load;

/* Bring the device up with `queues` queues of `format` (0 or GUEST_PACKED) and read `image`, of
 * `sectors`. NULL: it failed. Both are borrowed. */
struct block_load *block_load_start(struct guest *guest, unsigned int queues, int image,
                                    uint64_t sectors, uint64_t format);

/* Until so many more requests have completed; others stay under way. Returns how many went wrong,
 * or -errno. */
int block_load_run(struct block_load *load, unsigned int requests);

/* Complete what is under way, compare the image, free. Returns what went wrong, as above. */
int block_load_end(struct block_load *load);

#endif
