/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads through an io_uring, and nothing else: the bound of what a file's disk can do. It is made
 * as our workers' rings are (common/ring.h), but registers its buffers, and takes as many requests
 * as there are.
 */
#ifndef TESTS_BENCH_BARE_RING_H
#define TESTS_BENCH_BARE_RING_H

#include "tests/bench/bench.h"

struct bare_ring_load {
    const char *path;
    bool direct;        /* O_DIRECT */
    unsigned int depth; /* reads under way, each with a buffer of its own */
    uint32_t size;      /* of a read, in bytes; they are at random multiples of it */
    uint64_t random;    /* goes on from turn to turn */
};

/* Run one turn. Only the reads count, not the making of the ring. Returns 0 or -errno. */
int bare_ring_turn(struct bare_ring_load *load, struct load_turn *turn);

#endif
