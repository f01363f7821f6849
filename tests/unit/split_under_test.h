/* SPDX-License-Identifier: Apache-2.0 */
/* The split ring of the queue under test. */
#ifndef TESTS_UNIT_SPLIT_UNDER_TEST_H
#define TESTS_UNIT_SPLIT_UNDER_TEST_H

#include "tests/unit/queue_under_test.h"

static struct guest_ring ring;

static int start(uint64_t features)
{
    return virtqueue_start(&vq, 0, &guest_window, &state, QUEUE_SIZE_MAX, features, &fault);
}

static void fresh(uint16_t size, uint64_t features)
{
    guest_ring_init(&ring, 0, size);
    state = guest_ring_state(&ring);
    memset(&fault, 0, sizeof(fault));
    CU_ASSERT_EQUAL_FATAL(start(features), 0);
}

#endif
