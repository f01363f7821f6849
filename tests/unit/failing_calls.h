/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that fail when a test wants it, and files that get the number 0. A program that includes
 * this defines a function in front of each call (--wrap):
 *
 *     WRAPPED(int, fchmod, (int fd, mode_t mode), (fd, mode))
 *
 * and is linked with -Wl,--wrap=fchmod.
 */
#ifndef TESTS_UNIT_FAILING_CALLS_H
#define TESTS_UNIT_FAILING_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The call, NULL: none; it fails once, after `later` calls have not. */
static struct {
    const char *call;
    int error;
    unsigned int later;
} failing;

static const char *gives_0; /* the next file that this call makes gets the number 0 */
static int standard_input = -1;

static inline void fail_once(const char *call, int error, unsigned int later)
{
    failing.call = call;
    failing.error = error;
    failing.later = later;
}

/* The number 0 is free from now on: the next file gets it. */
static inline void free_0(void)
{
    standard_input = fcntl(0, F_DUPFD_CLOEXEC, 3);
    close(0);
}

static inline bool call_fails(const char *call)
{
    if (gives_0 && strcmp(gives_0, call) == 0) { /* the lowest number that is free */
        free_0();
        gives_0 = NULL;
    }
    if (!failing.call || strcmp(failing.call, call) != 0 || failing.later-- > 0)
        return false;
    failing.call = NULL;
    errno = failing.error;
    return true;
}

/* After the file that got the number 0 was closed, or to close it. */
static inline void take_0_back(void)
{
    if (standard_input < 0)
        abort();
    dup2(standard_input, 0);
    close(standard_input);
    standard_input = -1;
}

#define WRAPPED(type, name, parameters, arguments)                                                 \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return call_fails(#name) ? (type)-1 : __real_##name arguments;                             \
    }

#endif
