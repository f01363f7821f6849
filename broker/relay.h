/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register path of one device: a thread that takes the frontend's register accesses from the
 * dispatcher, has the worker answer them, and completes them. It runs for the life of the broker,
 * across every restart of the worker. An access takes four system calls (ATTACH, write,
 * epoll_pwait2, COMPLETE). An access to an interrupt register takes two, since the relay answers it
 * itself.
 *
 * Its promise: no vCPU waits for ever. A worker that does not answer is reported and replaced, and
 * the access stays in the mailbox for its successor. If no successor comes in time, the access is
 * answered with fixed values.
 *
 * The worker writes the state page. The relay believes only response_seq and the answer in it, and
 * cuts the answer to what the register can hold.
 */
#ifndef BROKER_RELAY_H
#define BROKER_RELAY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "broker/attempt.h"
#include "broker/gate.h"
#include "broker/generations.h"
#include "broker/journal.h"
#include "common/state.h"

extern const struct relay_limits relay_limits_default;

struct relay {
    /* Set before relay_start and constant from then on. The fds are borrowed. */
    uint32_t dm_id;
    uint64_t mmio_addr;
    int dm;
    enum bao_generation generation; /* of the driver that serves the device */
    int request;                    /* eventfd: an access is in the mailbox */
    int reply;                      /* eventfd: the access is answered */
    int report; /* eventfd, shared by all relays: the supervisor has something to look at */
    struct state_page *state;
    struct journal *journal;
    struct gate_line *interrupt; /* the device's */
    struct relay_limits limits;

    /* Written by the supervisor. */
    _Atomic uint32_t ready; /* the worker that serves the mailbox, or a value for none: attempt.h */
    _Atomic bool started;   /* lock-down is over */
    _Atomic bool stopping;  /* answer at once: the device model ends */

    /* Written by the thread, read by the supervisor. */
    _Atomic uint32_t unusable;  /* the worker that missed the deadline, or must not go on */
    _Atomic uint64_t given_up;  /* accesses that got fixed values since a worker was READY */
    _Atomic uint64_t malformed; /* requests that were not an access to this device */
    _Atomic uint64_t refused;   /* completions that the dispatcher refused, except with EPERM */
    _Atomic int attach_error;   /* the last unexpected failure of ATTACH, positive errno */
    _Atomic bool gone;          /* the driver has given the device up: no more requests come */

    /* Used only by the thread. */
    pthread_t thread;
    int epoll;
    int wake;
    timer_t timer; /* for recovery, if a completion is in doubt */
    uint32_t sequence;
    struct attempt attempt; /* the access in hand, and since when the device is silent */
};

/*
 * Start the thread. Needs all signals blocked in the calling thread. The thread makes the kernel
 * objects that it needs, and says so by one signal of `report`. It uses the dispatcher only after
 * relay_go. *relay must not move. Returns 0 or -errno.
 */
int relay_start(struct relay *relay);

/* Lock-down is over: begin. */
void relay_go(struct relay *relay);

/*
 * Three states of the worker: there is none; one is being started, from the state page as it is
 * now; it is READY and serves the mailbox. Accesses wait for a worker that is being started even if
 * the device was given up. Otherwise a driver that polls would keep the device given up for ever.
 */
void relay_worker_gone(struct relay *relay);
void relay_worker_starting(struct relay *relay);
void relay_worker_ready(struct relay *relay, uint32_t incarnation);

/* Answer everything with fixed values from now on. */
void relay_stop(struct relay *relay);

/* Is there a request that was taken and not completed? */
bool relay_busy(const struct relay *relay);

/* The worker that the relay can't go on with, as its incarnation + 1. Each one is returned once;
 * otherwise RELAY_NO_WORKER. */
uint32_t relay_take_unusable(struct relay *relay);

#endif
