/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that keeps every request of a block driver under way, in a thread of its own, at random
 * sectors of a generated image. What is read is compared; what is written is what the image has, so
 * that a second try is no harm.
 */
#ifndef TESTS_STANDIN_REQUEST_LOAD_H
#define TESTS_STANDIN_REQUEST_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/standin/fixture.h"

#define REQUEST_LOAD_SIZE 4096u /* of a request */

struct request_load {
    struct guest_block block; /* the caller's: started before, with room for requests of that size,
                                 and freed after the end */
    bool writes;              /* besides reads */
    atomic_bool stop;
    _Atomic unsigned int requests; /* completed so far */
    unsigned int wrong;            /* to be read after the end: the first of them ends it */
    pthread_t thread;
};

void request_load_start(struct request_load *load, bool writes);
/* Wait for its end; asserts that every request was answered, and rightly: a device that has lost
 * some would go on with the others. */
void request_load_stop(struct request_load *load);

#endif
