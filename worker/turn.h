/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The turn of a queue: what all devices do in the same way while they serve a queue. A device says
 * how much a turn may take (struct turn_rules), and hands over a function that does one step.
 * turn_run
 *
 *   1  asks the driver not to kick;
 *   2  takes steps until one does not return SERVE_DONE, or the turn has taken as much as it may.
 *      After each step the driver sees what has been completed, and is interrupted if the rules
 *      say so;
 *   3  interrupts the driver, if that is due and can't wait;
 *   4  if the ring is empty: asks the driver to kick, and looks at the ring once more. If the
 * worker polls before it sleeps (worker/polling.h), loop.c does that later.
 *
 * turn_run and turn_serve are inlined into their callers, so that the step is called directly. It
 * is called for each request, and so no address of code lies in memory.
 */
#ifndef WORKER_TURN_H
#define WORKER_TURN_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/device.h"

struct turn {
    struct device *dev;
    struct virtqueue *vq;
    struct guest_fault *ret_fault; /* set by the function that returns SERVE_FAULT */
    /* The bounds of struct turn_rules count these. turn_serve counts each step; a step that takes
     * several chains counts the others itself, and the bytes that it has moved. */
    uint32_t steps, bytes;
    uint32_t completed_bytes; /* in the chains completed in this step, if the device counts */
};

/* What a device asks for. Constants, but for late_ticks and what a driver may set. */
struct turn_rules {
    /* A turn ends after this many steps or bytes, so that no register access and no other queue
     * waits for long. bytes 0: there is no bound of bytes. */
    uint32_t steps, bytes;
    /* The driver is interrupted after this many chains without an interrupt, or if one step has
     * completed this many bytes. 0: it is interrupted only at the end of the turn. */
    uint32_t signal_chains, signal_bytes;
    /* If the driver has not heard of so few chains, the interrupt for them can wait at the end of
     * the turn: for that of another queue of the device, and for late_ticks (worker/ticks.h) at
     * most; or, with late_polling, for the end of polling. late_polling is for queues whose driver
     * does not sleep until it gets its buffers back. */
    uint32_t late_chains;
    bool late_polling;
    uint64_t late_ticks;
};

/* One step: takes what it needs off the ring (turn_take), and completes it by virtqueue_push. */
typedef enum serve turn_step(struct turn *turn);

/*
 * Take the next chain, of at least `readable` and `writable` bytes. Returns SERVE_DONE;
 * SERVE_WAIT_ROOM if there is none; SERVE_FAULT if the ring is broken, or the chain is too short.
 */
enum serve turn_take(struct turn *turn, struct chain *ret_chain, size_t readable, size_t writable);

/* The three parts of turn_run, for a device that has something to do between them. */
struct turn turn_begin(struct device *dev, unsigned int queue, struct guest_fault *ret_fault);
enum serve turn_end(struct turn *turn, const struct turn_rules *rules, enum serve last);

__attribute__((always_inline)) static inline enum serve
turn_serve(struct turn *turn, const struct turn_rules *rules, turn_step *step)
{
    enum serve r = SERVE_DONE;
    while (r == SERVE_DONE && turn->steps < rules->steps &&
           (rules->bytes == 0 || turn->bytes < rules->bytes)) {
        turn->steps++;
        turn->completed_bytes = 0;
        r = step(turn);
        virtqueue_publish(turn->vq);
        if ((rules->signal_chains > 0 &&
             virtqueue_since_interrupt(turn->vq) >= rules->signal_chains) ||
            (rules->signal_bytes > 0 && turn->completed_bytes >= rules->signal_bytes))
            device_signal(turn->dev, turn->vq);
    }
    return r;
}

/* A whole turn, as of device_ops.turn. */
__attribute__((always_inline)) static inline enum serve
turn_run(struct device *dev, unsigned int queue, const struct turn_rules *rules, turn_step *step,
         struct guest_fault *ret_fault)
{
    struct turn turn = turn_begin(dev, queue, ret_fault);
    return turn_end(&turn, rules, turn_serve(&turn, rules, step));
}

#endif
