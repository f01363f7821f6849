/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel may have no room for a thread, as failing_calls.h says. One source file of a program
 * includes this; it is linked with --wrap=pthread_create. */
#ifndef TESTS_UNIT_FAILING_THREADS_H
#define TESTS_UNIT_FAILING_THREADS_H

#include <CUnit/CUnit.h>
#include <errno.h>
#include <pthread.h>

#include "tests/unit/failing_calls.h"

extern size_t stack_size;
size_t stack_size; /* of the last thread that was started */

int __real_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);
int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument);

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attributes, void *(*run)(void *),
                          void *argument)
{
    CU_ASSERT_EQUAL(pthread_attr_getstacksize(attributes, &stack_size), 0);
    return call_fails("pthread_create") ? errno
                                        : __real_pthread_create(ret, attributes, run, argument);
}

#endif
