/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the fuzzers of devices whose memory accesses are not watched: a guest of
 * tests/unit/guest.h, whose driver has one small split ring for each queue.
 */
#ifndef TESTS_FUZZ_RINGS_H
#define TESTS_FUZZ_RINGS_H

#include <stdint.h>

#include "tests/fuzz/input.h"
#include "tests/unit/guest.h"

#define RING_SIZE 16u

extern struct guest_ring rings[STATE_QUEUES_MAX];

/* Let the worker take turns until it has nothing left to do. It is a violation if that never
 * happens. */
void rings_settle(void);

/* A driver takes the device from reset to DRIVER_OK, with VERSION_1, with those of `features` that
 * the device offers, and with empty rings. */
void rings_driver(uint64_t features);

/* Flip bits of up to seven bytes of the state page, as the input says. */
void rings_spoil_page(struct input *input);

#endif
