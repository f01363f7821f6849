/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill storm: a thread that kills device 0's worker, the broker or the keeper again and again, at
 * random moments, while the calling thread is the guest and verifies what it gets.
 *
 * A worker dies of two causes, both of them SIGKILL: the thread's own, after which its successor
 * is held back longer and longer, and a restart that is asked for by the control socket, which
 * sets the pauses back to none. By turns, they make many deaths in little time. Three of four
 * strikes come when the successor has completed something for the guest, and some time later;
 * the fourth as soon as there is a successor, while it starts or takes over. (Not all of them:
 * a device whose workers die without getting anything done is given up, and rightly.)
 */
#ifndef TESTS_STANDIN_STORM_H
#define TESTS_STANDIN_STORM_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/standin/fixture.h"

#define STORM_TIMES_MAX 2048

struct storm {
    const struct fixture *fixture;
    unsigned int kills, restarts; /* wanted */
    _Atomic uint64_t progress;
    atomic_bool over;
    pthread_t thread;
    const char *(*rage)(struct storm *storm);
    uint64_t random;
    _Atomic uint64_t struck_ns; /* monotonic: when the last one was killed, and the guest knows of
                                   it not yet; 0: it does */
    struct storm_times {
        uint32_t us[STORM_TIMES_MAX];
        unsigned int count;
    } at_work, told; /* since the strike: there is a successor at work; the guest was told */
    /* What came of it; to be read after storm_end. */
    unsigned int deaths;
    unsigned int calm;  /* of them, after progress */
    const char *failed; /* NULL: nothing */
};

/* Whoever begins one lets it rage over a device 0 that is at work. */
typedef void storm_begin(struct storm *storm, const struct fixture *fixture);

/* How many deaths a kind of device has: many with BVDM_LONG=1 in the environment. */
void storm_workers(struct storm *storm, const struct fixture *fixture);
/* Not so many, unless with BVDM_LONG=1: for a slow machine. */
void storm_fewer_workers(struct storm *storm, const struct fixture *fixture);
/* Of the broker: few, since nothing sets its pauses back. They are gone with the device model. */
void storm_brokers(struct storm *storm, const struct fixture *fixture);
/* How many device models they take: `rounds`; with BVDM_LONG=1 for so many deaths. */
unsigned int storm_broker_rounds(unsigned int rounds, unsigned int long_deaths);
/* Of the keeper, which a service manager (service_manager.c) starts again at once. */
void storm_keepers(struct storm *storm, const struct fixture *fixture);

/* The guest got something done that it has checked. */
static inline void storm_progress(struct storm *storm)
{
    atomic_fetch_add_explicit(&storm->progress, 1, memory_order_relaxed);
}

/* The guest was told, by whatever its kind has for that, that somebody has died. */
void storm_told(struct storm *storm);

static inline bool storm_rages(const struct storm *storm)
{
    return !atomic_load(&storm->over);
}

/* Wait for its end. Asserts that all the deaths were died, and no others. */
void storm_end(struct storm *storm);

/* Print how long it took, after storm_end. Returns the longest that the guest was not told, ms. */
unsigned int storm_report(struct storm *storm, const char *words);

#endif
