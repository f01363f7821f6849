/* SPDX-License-Identifier: Apache-2.0 */
/* The queue that the virtqueue tests work on: one for each program. */
#ifndef TESTS_UNIT_QUEUE_UNDER_TEST_H
#define TESTS_UNIT_QUEUE_UNDER_TEST_H

#include <CUnit/CUnit.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "tests/unit/guest.h"
#include "worker/virtqueue/virtqueue.h"

#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define F_NEXT VRING_DESC_F_NEXT
#define F_WRITE VRING_DESC_F_WRITE
#define F_INDIRECT VRING_DESC_F_INDIRECT
#define BUFFER(n) (GUEST_BASE + GUEST_BUFFERS + (n)*0x10000ull)

static struct state_queue state;
static struct virtqueue vq;
static struct chain chain;
static struct guest_fault fault;

static int pop(void)
{
    return virtqueue_pop(&vq, &chain, &fault);
}

/* Asserts that the next chain is refused for this reason. */
static void expect_refused(enum log_code code, enum ring_check check)
{
    CU_ASSERT_EQUAL(pop(), -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, code);
    CU_ASSERT_EQUAL(fault.args[2], check);
}

#endif
