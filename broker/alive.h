/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a worker alive that no register access waits for? It is asked every ALIVE_MS and has as long
 * to answer, which takes it a few instructions wherever it is in its loop: one that is stopped or
 * spins does not. A worker that waits for a disk says so beforehand, and is left alone.
 */
#ifndef BROKER_ALIVE_H
#define BROKER_ALIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/state.h"

#define ALIVE_MS 5000

struct alive {
    int64_t when; /* ms: when to look again */
    bool asked;
};

/* A worker has become ready. */
void alive_begin(struct alive *alive, int64_t now);

/* Ask, if it is time. Returns false if the last question was not answered: it is stuck. */
bool alive_look(struct alive *alive, struct state_watch *watch, int request, int64_t now);

#endif
