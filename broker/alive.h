/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks whether a worker is alive while no register access waits for it. The broker asks the
 * worker every ALIVE_MS, and the worker has ALIVE_MS to answer. To answer takes a few instructions,
 * wherever the worker is in its loop. A worker that is stopped or that spins does not answer. A
 * worker that waits for a disk says so beforehand, and is left alone.
 *
 * The whole machine may have stood still in the meantime (a virtual machine whose host was busy),
 * and the broker may be the first process that runs again. So a worker that has not answered is
 * asked once more. If the broker itself looks too late, the worker has ALIVE_MS again; if not, it
 * has one second, since the machine may have stood still from the question until now.
 */
#ifndef BROKER_ALIVE_H
#define BROKER_ALIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"

/* How long a worker has for an answer. In a build for debugging (BVDM_PATIENT) a worker may stand
 * at a breakpoint for an hour, as CONTRIBUTING.md says. */
#ifdef BVDM_PATIENT
#define WORKER_ANSWER_MS 3600000
#else
#define WORKER_ANSWER_MS 5000
#endif
#define ALIVE_MS WORKER_ANSWER_MS
#define ALIVE_LATE_MS 1000 /* a later look of the broker gives ALIVE_MS again */
#define ALIVE_LAST_MS 1000 /* how long a worker has to answer the second question */

struct alive {
    int64_t when; /* ms: time of the next look */
    bool asked;
    bool forgiven; /* no answer came to the last question; this is forgiven only once in a row */
};

/* A worker has become ready. */
void alive_begin(struct alive *alive, int64_t now);

/* Ask, if it is time. Returns false if the worker did not answer the last two questions: it is
 * stuck. */
bool alive_look(struct alive *alive, struct state_watch *watch, int request, int64_t now);

#endif
