/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kill storm: a thread kills device 0's worker, the broker or the keeper again and again, at
 * random moments. In the meantime the calling thread is the guest and verifies what it gets.
 *
 * A worker dies of one of two causes, both of them SIGKILL. One is a kill by this thread; after it
 * the successor has to wait longer each time. The other is a restart that the control socket asks
 * for; it sets the pauses back to none. By turns, the two cause many deaths in little time. Three
 * of four strikes come some time after the successor has completed something for the guest. The
 * fourth comes as soon as there is a successor, while it starts or takes over. (Only some strikes
 * are of this kind: the broker gives up a device whose workers die without completing anything, and
 * that is right.)
 */
#ifndef TESTS_STANDIN_STORM_H
#define TESTS_STANDIN_STORM_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/standin/fixture.h"

#define STORM_TIMES_MAX 2048

struct storm {
    const struct fixture *fixture;
    unsigned int kills, restarts; /* how many are wanted */
    _Atomic uint64_t progress;
    atomic_bool over;
    pthread_t thread;
    const char *(*rage)(struct storm *storm);
    uint64_t random;
    _Atomic uint64_t struck_ns; /* monotonic: when the last process was killed, as long as the guest
                                   does not know of it; 0: it does */
    struct storm_times {
        uint32_t us[STORM_TIMES_MAX];
        unsigned int count;
    } at_work, told; /* from the strike: until a successor works; until the guest was told */
    /* The result; read it after storm_end. */
    unsigned int deaths;
    unsigned int calm;  /* deaths after progress */
    const char *failed; /* NULL: nothing */
};

/* Start a storm. Device 0 must be at work. */
typedef void storm_begin(struct storm *storm, const struct fixture *fixture);

/* Kill workers. BVDM_LONG=1 in the environment: many of them. */
void storm_workers(struct storm *storm, const struct fixture *fixture);
/* Kill fewer workers, unless BVDM_LONG=1 is set: for a slow machine. */
void storm_fewer_workers(struct storm *storm, const struct fixture *fixture);
/* Kill the broker: few times, since nothing sets its pauses back. They end with the device model.
 */
void storm_brokers(struct storm *storm, const struct fixture *fixture);
/* How many device models the deaths of brokers need: `rounds`; with BVDM_LONG=1, as many as
 * `long_deaths` deaths need. */
unsigned int storm_broker_rounds(unsigned int rounds, unsigned int long_deaths);
/* Kill the keeper, which a service manager (service_manager.c) starts again at once. */
void storm_keepers(struct storm *storm, const struct fixture *fixture);

/* The guest has completed something, and has checked it. */
static inline void storm_progress(struct storm *storm)
{
    atomic_fetch_add_explicit(&storm->progress, 1, memory_order_relaxed);
}

/* The guest was told that a process has died, in the way that its kind of device has for that. */
void storm_told(struct storm *storm);

static inline bool storm_rages(const struct storm *storm)
{
    return !atomic_load(&storm->over);
}

/* Wait for its end. Asserts that all wanted deaths happened, and no others. */
void storm_end(struct storm *storm);

/* Print how long the guest and the successors took; call it after storm_end. Returns the longest
 * time until the guest was told, in ms. */
unsigned int storm_report(struct storm *storm, const char *words);

#endif
