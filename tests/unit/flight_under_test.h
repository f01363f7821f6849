/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring for the unit tests of worker/block/flight.c, in front of worker/ring.h's own: it ends
 * requests in the order and with the results that a test wants.
 */
#ifndef TESTS_UNIT_FLIGHT_UNDER_TEST_H
#define TESTS_UNIT_FLIGHT_UNDER_TEST_H

#include "common/ring.h"
#include "tests/unit/block_calls.h"

#define USUAL (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH))
#define DURABLE FEATURE(VIRTIO_F_VERSION_1) /* without FLUSH, each write has to be stable */
#define PAGE 4096u

struct entry {
    uint32_t number;
    const struct iovec *iov;
    unsigned int count;
    uint64_t offset;
    bool writes;
};

extern struct fake_ring {
    struct entry added[RING_ENTRIES], taken[RING_ENTRIES];
    unsigned int added_count, taken_count;
    struct {
        uint32_t number;
        int32_t result;
    } done[RING_ENTRIES];
    unsigned int done_first, done_count;
    /* What the test wants. */
    bool newest_first;
    int enter_error;               /* that the next call returns */
    int32_t results[REQUESTS_MAX]; /* for the next ones in their order; 0: as it comes out */
    unsigned int result_count;
    /* What it sees. */
    unsigned int enters, waits, first_wait, at_once; /* the most that were under way */
    unsigned int moved;
    uint16_t used_idx[REQUESTS_MAX];           /* what the driver saw when the n-th one ended */
    unsigned int enters_before;                /* calls before the first that waited */
    uint64_t interrupts;                       /* that had been sent by then */
    const unsigned char *places[REQUESTS_MAX]; /* the memory of the n-th one that was added */
    unsigned int place_count;
} fake;

/* A new device, and a ring of which nothing is wanted. */
void flight_set_up(unsigned int queues, uint64_t features);
void flight_set_up_direct(uint64_t features, bool window_is_pinned);

/* How many requests are under way. */
static inline unsigned int under_way(void)
{
    return fake.added_count + fake.taken_count;
}

bool flight_data_is(unsigned int number, uint64_t sector, uint32_t length);

/* Reads and writes of one page each, no two of which are neighbours: where they are in the image,
 * and some of them, with a kick. */
uint64_t place(unsigned int number);
void offer_reads(unsigned int count);
void assert_reads(unsigned int count);
void offer_writes(unsigned int count);

#endif
