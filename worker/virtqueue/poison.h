/* SPDX-License-Identifier: Apache-2.0 */
/*
 * If a worker dies on a request, its successor serves that request again, and a driver can make a
 * request on which every worker dies. So deaths are counted that happen in the turn of a queue that
 * has made no progress since the last death. After POISON_DEATHS of them the device needs a reset,
 * from which the driver can recover. A worker that was killed by chance does not count for long:
 * with the next chain that is completed, the count starts anew.
 *
 * The count comes from a predecessor and may be false. A false count can only do what that
 * predecessor could do itself: make the device need a reset, or make more workers die.
 */
#ifndef WORKER_VIRTQUEUE_POISON_H
#define WORKER_VIRTQUEUE_POISON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/state.h"

#define POISON_DEATHS 5u

/* A turn of a queue begins, and ends. A death between the two is counted for this queue. */
static inline void poison_turn_begins(struct state_page *state, unsigned int queue)
{
    state->deaths.turn = queue + 1;
    atomic_signal_fence(memory_order_seq_cst); /* a process dies between two instructions */
}

static inline void poison_turn_ends(struct state_page *state)
{
    atomic_signal_fence(memory_order_seq_cst);
    state->deaths.turn = 0;
}

/* At the start of a successor, once the page has been checked: count the death. Returns true if the
 * next chain of queue *ret_queue must not be served again. */
bool poison_found(struct state_page *state, unsigned int *ret_queue);

/* The driver has reset the device. */
void poison_forget(struct state_page *state);

#endif
