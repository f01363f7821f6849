/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long one register access waits, which worker it waits for, and what happens then. Nothing
 * here reads a clock, makes a system call or looks at shared memory: a decision depends only on the
 * attempt and on what the relay has seen.
 *
 * A READY worker has answer_ms to answer, or slow_ms in total while it says that it waits for a
 * disk. After that it has to be replaced. An access without a worker waits until the device has
 * been silent for give_up_ms. It waits at least answer_ms for a worker that is being started.
 *
 * The whole machine may have stood still (broker/alive.h). The relay sees that when it wakes up too
 * late. Such a time is not counted, nor is the second before it. For a worker that was told, the
 * first wait ends a second before the deadline, since the clock is read only then.
 */
#ifndef BROKER_ATTEMPT_H
#define BROKER_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

struct relay_limits {
    int answer_ms;  /* how long a READY worker has for an access */
    int slow_ms;    /* how long a worker has if it says that it waits for a disk */
    int give_up_ms; /* how long an access waits while no worker of the device answers */
    int recover_ms; /* how long a successor looks for newer requests (journal.h) */
};

/* A worker is given as its incarnation + 1, or as one of these two values. */
#define RELAY_NO_WORKER 0u
#define RELAY_WORKER_STARTING UINT32_MAX /* an access waits for it */

/* Times are of CLOCK_MONOTONIC, in ms, as clock_ms() returns them; 0: not set. */
struct attempt {
    uint32_t told;        /* the worker that has been told of the access */
    uint32_t missed;      /* the worker that missed its deadline with it */
    bool is_asked;        /* a worker has been told; it may be gone again */
    int64_t deadline;     /* of `told`; 0: the clock was not read since it was told */
    int64_t excused;      /* until then, a worker that waits for a disk is not late */
    int64_t patient;      /* until then, the access waits for a worker that is being started */
    int64_t silent_since; /* of the device, over all accesses; 0: a worker answered the last one */
    int64_t wake_by;      /* when the present wait ends; 0: the clock was not read before it */
    uint32_t stalls;      /* how often the relay woke up too late */
};

/* What the relay has seen when it looks. */
struct attempt_seen {
    uint32_t worker;   /* the worker that may be asked */
    bool is_timed_out; /* the last wait ended without an event */
    bool is_in_io;     /* the worker says that it waits for a disk */
    bool is_stopping;  /* the device model ends */
    int64_t now;
};

enum attempt_step {
    ATTEMPT_TELL,    /* tell `worker` of the access, then wait */
    ATTEMPT_WAIT,    /* wait */
    ATTEMPT_REPLACE, /* report `missed`, and look again */
    ATTEMPT_GIVE_UP, /* answer with fixed values */
};

struct attempt_next {
    enum attempt_step step;
    bool is_again;   /* TELL: not the first worker: the mailbox's content may be damaged */
    int64_t wait_ms; /* TELL, WAIT: the longest time to wait for an event; positive */
};

/* A new access to the same device. */
void attempt_begin(struct attempt *attempt);

/* A worker answered the access. */
void attempt_answered(struct attempt *attempt);

/* Is it a worker, and not one of the two special values above? */
bool attempt_is_worker(uint32_t worker);

/* Whether attempt_next needs `now` with this worker. The clock is read only when something goes
 * wrong: if the first wait ends without an event, the last part of the worker's time begins. */
bool attempt_needs_clock(const struct attempt *attempt, uint32_t worker);

/* What to do next. */
struct attempt_next attempt_next(struct attempt *attempt, const struct relay_limits *limits,
                                 const struct attempt_seen *seen);

#endif
