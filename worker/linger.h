/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lingering: a driver that keeps many requests under way makes new ones available within
 * microseconds of its interrupt. If the worker looks at the ring for that long before it asks for a
 * kick, the driver need not kick, which would trap, and this process need not sleep and wake up.
 * Lingering is bounded and makes no system call. With a single processor it is left out: it would
 * keep that processor from the broker, which answers the driver's interrupt.
 */
#ifndef WORKER_LINGER_H
#define WORKER_LINGER_H

#include <stdbool.h>

#include "common/state.h"
#include "worker/virtqueue/virtqueue.h"

/* How many looks take about as long as lingering should; 0 with a single processor. Before
 * lock-down: it asks for the number of processors and reads the clock. */
unsigned int linger_calibrate(void);

/* Look this many times. Returns true if a chain is available or a register access waits, false
 * after the last look. */
bool linger(unsigned int looks, const struct virtqueue *vq, const struct state_mailbox *mailbox);

#endif
