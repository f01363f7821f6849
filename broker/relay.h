/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register path of one device: a thread that takes the frontend's register accesses from
 * the dispatcher, has the worker answer them, and completes them; for the life of the broker,
 * across every restart of the worker. Four system calls an access (ATTACH, write, epoll_wait,
 * COMPLETE), two for the interrupt registers, which it answers itself.
 *
 * Its promise: no vCPU waits for ever. A worker that does not answer is reported and replaced,
 * the access stays in the mailbox for its successor, and if none comes in time the access is
 * answered with fixed values.
 *
 * It believes of the state page, which the worker writes, only response_seq and the answer, and
 * cuts that to what the register can hold.
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
    enum bao_generation generation; /* of the driver behind it */
    int request;                    /* eventfd: an access is in the mailbox */
    int reply;                      /* eventfd: it is answered */
    int report; /* eventfd, of all relays: the supervisor has something to look at */
    struct state_page *state;
    struct journal *journal;
    struct gate_line *interrupt; /* the device's */
    struct relay_limits limits;

    /* Written by the supervisor. */
    _Atomic uint32_t ready; /* the worker that serves the mailbox, or none: attempt.h */
    _Atomic bool started;   /* lock-down is over */
    _Atomic bool stopping;  /* answer at once, the device model ends */

    /* Written by the thread, read by the supervisor. */
    _Atomic uint32_t unusable;  /* this worker missed the deadline, or must not go on */
    _Atomic uint64_t given_up;  /* accesses answered with fixed values since a worker was READY */
    _Atomic uint64_t malformed; /* requests that were not an access to this device */
    _Atomic uint64_t refused;   /* completions that the dispatcher refused (but for EPERM) */
    _Atomic int attach_error;   /* the last unexpected failure of ATTACH, positive errno */
    _Atomic bool gone;          /* the driver has given the device up: nothing comes any more */

    /* The thread's own. */
    pthread_t thread;
    int epoll;
    int wake;
    timer_t timer; /* of recovery, if there is anything in doubt */
    uint32_t sequence;
    struct attempt attempt; /* the access in hand, and since when the device is silent */
};

/*
 * Start the thread; needs all signals blocked in the calling thread. It makes what it needs of
 * the kernel, says so by one signal of `report`, and touches the dispatcher only after
 * relay_go. *relay must not move. Returns 0 or -errno.
 */
int relay_start(struct relay *relay);

/* Lock-down is over: begin. */
void relay_go(struct relay *relay);

/*
 * There is no worker; one is being started, from the state page as it is now; it is READY and
 * serves the mailbox. Accesses wait for one that is being started even if the device has been
 * given up, since else a driver that polls would keep it given up for ever.
 */
void relay_worker_gone(struct relay *relay);
void relay_worker_starting(struct relay *relay);
void relay_worker_ready(struct relay *relay, uint32_t incarnation);

/* Answer everything with fixed values from now on. */
void relay_stop(struct relay *relay);

/* Is a request taken and not completed? */
bool relay_busy(const struct relay *relay);

/* The worker's incarnation + 1 that the relay can't go on with, taken once; else
 * RELAY_NO_WORKER. */
uint32_t relay_take_unusable(struct relay *relay);

#endif
