/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long one register access waits, for whom, and what comes then. Nothing here reads a clock,
 * makes a system call or looks at shared memory: what is decided depends on the attempt and on
 * what the relay has seen, and on nothing else.
 *
 * A READY worker has answer_ms, or slow_ms in all while it says that it waits for a disk. After
 * that it is to be replaced. An access without a worker waits until the device has been silent for
 * give_up_ms, and at least answer_ms for a worker that is being started.
 */
#ifndef BROKER_ATTEMPT_H
#define BROKER_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

struct relay_limits {
    int answer_ms;  /* how long a READY worker has for an access */
    int slow_ms;    /* how long a worker has that says that it waits for a disk */
    int give_up_ms; /* how long an access, or a device without a worker that answers, is kept */
    int recover_ms; /* how long a successor looks for newer requests (journal.h) */
};

/* A worker is its incarnation + 1, or one of these. */
#define RELAY_NO_WORKER 0u
#define RELAY_WORKER_STARTING UINT32_MAX /* worth waiting for */

/* Times are CLOCK_MONOTONIC's, in ms, as clock_ms() has them; 0: not set. */
struct attempt {
    uint32_t told;        /* the worker that has been told of the access */
    uint32_t missed;      /* the worker that missed its deadline with it */
    bool is_asked;        /* a worker has been told, whether it is still there or not */
    int64_t deadline;     /* of `told`; 0: the clock has not been read since it was told */
    int64_t excused;      /* until then a worker that waits for a disk has not missed it */
    int64_t patient;      /* until then a worker that is being started is waited for */
    int64_t silent_since; /* of the device, over all attempts; 0: a worker answered the last one */
};

/* What the relay has seen when it looks. */
struct attempt_seen {
    uint32_t worker;   /* that may be asked */
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
    bool is_again;   /* TELL: not the first worker: what lies in the mailbox may be spoilt */
    int64_t wait_ms; /* TELL, WAIT: at most so long, for an event; positive */
};

/* A new access of the same device. */
void attempt_begin(struct attempt *attempt);

/* A worker answered it. */
void attempt_answered(struct attempt *attempt);

/* Is it a worker, and not one of the two words above? */
bool attempt_is_worker(uint32_t worker);

/* Whether attempt_next needs `now` with this worker. The clock is not read unless things go wrong:
 * the first wait is as long as a worker may take, so that its end without an event is the deadline
 * itself. */
bool attempt_needs_clock(const struct attempt *attempt, uint32_t worker);

/* What to do next. */
struct attempt_next attempt_next(struct attempt *attempt, const struct relay_limits *limits,
                                 const struct attempt_seen *seen);

#endif
