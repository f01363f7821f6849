/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that fail when a test wants it, and files that get the number 0. For each such call, a
 * program defines a function that stands in front of it:
 *
 *     WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode))
 *
 * and CMakeLists.txt names them: calls_that_fail(PROGRAM fchmod).
 */
#ifndef TESTS_UNIT_FAILING_CALLS_H
#define TESTS_UNIT_FAILING_CALLS_H

#include <stdbool.h>

/* The call that fails next, once, after `later` calls have not; NULL: none. */
extern struct failing {
    const char *call;
    int error;
    unsigned int later;
} failing;

void fail_once(const char *call, int error, unsigned int later);

/* The next file that this call makes gets the number 0; NULL: none does. */
extern const char *gives_0;

/* The number 0 is free from now on: the next file gets it. */
void free_0(void);

/* After the file that got the number 0 was closed, or to close it. */
void take_0_back(void);

/* For the functions in front: does this call fail now? Then errno is set. */
bool call_fails(const char *call);

#define WRAPPED(type, name, parameters, arguments)                                                 \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return call_fails(#name) ? (type)-1 : __real_##name arguments;                             \
    }

#endif
