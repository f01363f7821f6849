/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child process in the state of a worker before lock-down: the first process of a pid namespace,
 * in its own net namespace, with its fds at their numbers, as root. The test decides what the child
 * does then. How it ended is the test's evidence.
 */
#ifndef TESTS_UNIT_SANDBOX_CHILD_H
#define TESTS_UNIT_SANDBOX_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/device_kind.h"
#include "worker/sandbox/sandbox.h"
#include "worker/sandbox/step.h"

#define CHILD_UID 54321u
#define CHILD_FILE_SIZE_MAX (1u << 20) /* bytes */

#define EXIT_EXPECTATION 99 /* a CHILD_EXPECT did not hold */

/* Shared with the child. The child can still write to it, whatever system calls are forbidden. */
struct child_report {
    volatile int line; /* of the CHILD_EXPECT that did not hold */
    volatile int error;
    volatile int step;
    volatile uint32_t layers;
    volatile uint64_t values[8];
};
extern struct child_report *report;

/* In the child: it ends here if the condition does not hold. */
#define CHILD_EXPECT(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            report->line = __LINE__;                                                               \
            _exit(EXIT_EXPECTATION);                                                               \
        }                                                                                          \
    } while (0)

typedef void child_act(const struct sandbox *sandbox, const void *argument);

struct child_plan {
    child_act *act; /* when it returns, the child exits with status 0 */
    const void *argument;
    enum device_kind kind;  /* whose fds and policy; 0 is block/virtio */
    uint64_t no_namespaces; /* CLONE_NEW* to leave out */
};

/* Run the child to its end; returns its wait status. Prints where an expectation failed. */
int run_child(const struct child_plan *plan);

/* Start it, and leave the waiting to the caller. */
pid_t start_child(const struct child_plan *plan);

/* Take one step as sandbox_enter would, including its check. Returns its result. */
int take(enum worker_step step, const struct sandbox *sandbox);

/* Call sandbox_enter, and put its outcome into the report. Returns its result. */
int enter_all(const struct sandbox *sandbox);

/* Take every step except `left_out`. Each must succeed. */
void enter_all_but(enum worker_step left_out, const struct sandbox *sandbox);

bool exited(int status, int code);
bool killed(int status, int signal);

/* The optional layers of this kernel. It finds them without the sandbox's code. */
uint32_t kernel_layers(void);

#endif
