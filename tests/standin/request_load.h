/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that keeps every request of a block driver under way, in a thread of its own, at random
 * sectors of a generated image. What it reads is compared with the image. It writes what the image
 * already holds, so that a write that is done twice does no harm.
 */
#ifndef TESTS_STANDIN_REQUEST_LOAD_H
#define TESTS_STANDIN_REQUEST_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/standin/fixture.h"

#define REQUEST_LOAD_SIZE 4096u /* of a request */

struct request_load {
    struct guest_block block; /* owned by the caller: it starts it before, with room for requests of
                                 that size, and frees it after the end */
    bool writes;              /* besides reads */
    atomic_bool stop;
    _Atomic unsigned int requests; /* completed so far */
    unsigned int wrong; /* read it after the end: the first wrong request ends the thread */
    pthread_t thread;
};

void request_load_start(struct request_load *load, bool writes);
/* Stop it and wait for its end. Asserts that every request got the right answer: a device that has
 * lost some requests would go on with the others. */
void request_load_stop(struct request_load *load);

#endif
