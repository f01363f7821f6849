/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a worker alive that no register access waits for? It is asked every ALIVE_MS and has as long
 * to answer, which takes it a few instructions wherever it is in its loop: one that is stopped or
 * spins does not. A worker that waits for a disk says so beforehand, and is left alone.
 *
 * The whole machine may have stood still meanwhile (a virtual one whose host had something else to
 * do), and the broker be the first to go on. So whoever has not answered is asked once more: it has
 * as long again where the broker itself comes too late to look, and a second where it does not,
 * since the machine may have stood still from the question on until now.
 */
#ifndef BROKER_ALIVE_H
#define BROKER_ALIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"

/* How long a worker has for an answer. In a build for debugging (BVDM_PATIENT) it may stand at a
 * breakpoint for an hour, as CONTRIBUTING.md says. */
#ifdef BVDM_PATIENT
#define WORKER_ANSWER_MS 3600000
#else
#define WORKER_ANSWER_MS 5000
#endif
#define ALIVE_MS WORKER_ANSWER_MS
#define ALIVE_LATE_MS 1000 /* so late nobody is judged */
#define ALIVE_LAST_MS 1000 /* to answer the second question */

struct alive {
    int64_t when; /* ms: when to look again */
    bool asked;
    bool forgiven; /* the last question: not twice in a row */
};

/* A worker has become ready. */
void alive_begin(struct alive *alive, int64_t now);

/* Ask, if it is time. Returns false if the last two questions were not answered: it is stuck. */
bool alive_look(struct alive *alive, struct state_watch *watch, int request, int64_t now);

#endif
