/* SPDX-License-Identifier: Apache-2.0 */
/* The packed ring of the queue under test. */
#ifndef TESTS_UNIT_PACKED_UNDER_TEST_H
#define TESTS_UNIT_PACKED_UNDER_TEST_H

#include "tests/unit/guest_packed.h"
#include "tests/unit/queue_under_test.h"

#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define PACKED_SIZE_MAX 32768u /* the standard's maximum, §2.8 */

static struct guest_packed ring;

static int start(uint64_t features)
{
    return virtqueue_start(&vq, 0, &guest_window, &state, PACKED_SIZE_MAX, features | PACKED,
                           &fault);
}

static void fresh(uint32_t size, uint64_t features)
{
    packed_init(&ring, size);
    state = packed_state(&ring);
    memset(&fault, 0, sizeof(fault));
    CU_ASSERT_EQUAL_FATAL(start(features), 0);
}

#endif
