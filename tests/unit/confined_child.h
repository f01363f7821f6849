/* SPDX-License-Identifier: Apache-2.0 */
/* A process for a test to look at: it has loaded seccomp programs, and waits to be ended. */
#ifndef TESTS_UNIT_CONFINED_CHILD_H
#define TESTS_UNIT_CONFINED_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct confined_child {
    pid_t pid;
    int fd; /* the child lives no longer than this end of a socket is open */
};

/*
 * Start a child in which `confine` has returned true. It needs read, write and exit_group from then
 * on. If it ends before, that is a fatal CUnit failure.
 */
struct confined_child confined_child_start(bool (*confine)(void));
void confined_child_end(struct confined_child *child);

#endif
