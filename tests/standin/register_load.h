/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that accesses registers of a block device all the while, in a thread of its own: different
 * ones by turns, so that an answer that belongs to an earlier access shows.
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
    unsigned int wrong;            /* to be read after the end: the first such access ends it */
    pthread_t thread;
};

/* Of device `id`, which is a block device with an image of FIXTURE_IMAGE_SECTORS. An access that is
 * not answered within `timeout_ms` is wrong. */
void register_load_start(struct register_load *load, struct fixture *fixture, unsigned int id,
                         int timeout_ms);
/* Wait for its end; asserts that there were accesses, and that each was answered rightly. */
void register_load_stop(struct register_load *load);

#endif
