/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lingering: a driver that keeps many requests under way makes new ones available within
 * microseconds of its interrupt. Looking at the ring for so long before asking for a kick saves
 * the driver the kick, which it would be trapped for, and this process a sleep and a waking. It is
 * bounded, makes no system call, and is left out where it would keep the only processor from
 * the broker, which answers the driver's interrupt.
 */
#ifndef WORKER_LINGER_H
#define WORKER_LINGER_H

#include <stdbool.h>

#include "common/state.h"
#include "worker/virtqueue/virtqueue.h"

/* How many looks take about as long as lingering should; 0 with a single processor. Before
 * lock-down: asks for the processors and measures by the clock. */
unsigned int linger_calibrate(void);

/* Look so often. Returns true if a chain is available or a register access waits, false after the
 * last look. */
bool linger(unsigned int looks, const struct virtqueue *vq, const struct state_mailbox *mailbox);

#endif
