/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mixed load on a block device with several queues. It keeps a copy of what the image must hold:
 * it compares each read with the copy, and at the end the whole image. Each slot of each queue has
 * its own part of the image, so that no two requests under way touch the same sectors.
 */
#ifndef TESTS_STANDIN_BLOCK_LOAD_H
#define TESTS_STANDIN_BLOCK_LOAD_H

#include "tests/standin/guest.h"

struct block_load;

/* Bring the device up with `queues` queues of `format` (0 or GUEST_PACKED) and read `image`, which
 * has `sectors` sectors. Returns NULL if that failed. Both are borrowed. */
struct block_load *block_load_start(struct guest *guest, unsigned int queues, int image,
                                    uint64_t sectors, uint64_t format);

/* Run until this many more requests have completed; others stay under way. Returns how many went
 * wrong, or -errno. */
int block_load_run(struct block_load *load, unsigned int requests);

/* Complete the requests under way, compare the image, free. Returns how many went wrong, or -errno.
 */
int block_load_end(struct block_load *load);

#endif
