/* SPDX-License-Identifier: Apache-2.0 */
/* The limits that a worker's cgroup (version 2) can put on it: broker/keeper/cgroup.h. */
#ifndef COMMON_CGROUP_LIMIT_H
#define COMMON_CGROUP_LIMIT_H

/* X(constant, controller, file of the limit) */
#define CGROUP_LIMITS(X)                                                                           \
    X(MEMORY, "memory", "memory.max")                                                              \
    X(PIDS, "pids", "pids.max")                                                                    \
    X(CPU, "cpu", "cpu.weight")

enum cgroup_controller {
#define X(constant, controller, file) CGROUP_##constant,
    CGROUP_LIMITS(X)
#undef X
        CGROUP_CONTROLLERS,
};

/* The limits of a worker, in one word: this bit, and 1 << enum cgroup_controller for each limit
 * that is in force. 0: it has no cgroup of its own. */
#define CGROUP_OWN (1u << 31)

#endif
