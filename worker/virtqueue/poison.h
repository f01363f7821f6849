/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on which a worker dies is served again by its successor, and a driver can make one that
 * every worker dies of. So deaths in the turn of a queue that has come no further since the last
 * one are counted, and after POISON_DEATHS of them the device needs a reset, from which the driver
 * can recover. A worker that was killed by chance does not count for long: the next chain that is
 * completed starts anew.
 *
 * The count is a predecessor's word. All that a false one can do is what that predecessor could do
 * itself: have the device need a reset, or die again.
 */
#ifndef WORKER_VIRTQUEUE_POISON_H
#define WORKER_VIRTQUEUE_POISON_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/state.h"

#define POISON_DEATHS 5u

/* A turn of a queue begins, and ends. Between the two a death is laid at the queue's door. */
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

/* At the start of a successor, once the page has been checked: count the death. Returns true if
 * the chain that is next in *ret_queue is not to be served again. */
bool poison_found(struct state_page *state, unsigned int *ret_queue);

/* The driver has reset the device. */
void poison_forget(struct state_page *state);

#endif
