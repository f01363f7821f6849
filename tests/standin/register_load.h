/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that accesses registers of a block device all the time, in a thread of its own. It
 * accesses different registers in turn, so that an answer that belongs to an earlier access is
 * detected.
 */
#ifndef TESTS_STANDIN_REGISTER_LOAD_H
#define TESTS_STANDIN_REGISTER_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/standin/fixture.h"

struct register_load {
    struct guest guest;
    atomic_bool stop;
    _Atomic unsigned int accesses; /* so far */
    unsigned int wrong; /* read it after the end: the first wrong access ends the thread */
    pthread_t thread;
};

/* Start it on device `id`, a block device with an image of FIXTURE_IMAGE_SECTORS. An access that is
 * not answered within `timeout_ms` is wrong. */
void register_load_start(struct register_load *load, struct fixture *fixture, unsigned int id,
                         int timeout_ms);
/* Stop it and wait for its end. Asserts that there were accesses, and that each got the right
 * answer. */
void register_load_stop(struct register_load *load);

#endif
