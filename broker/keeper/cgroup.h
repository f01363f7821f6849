/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup (version 2) for each worker, where the keeper may make cgroups. They are made in the
 * keeper's own cgroup, if that is not the root and has no other process in it. This is so under a
 * service manager that delegates the cgroup.
 *
 *     BASE                the keeper's cgroup at its start
 *     BASE/keeper         keeper and broker: a cgroup with children may have no process itself
 *     BASE/workers        memory.max: three quarters of the machine's memory
 *     BASE/workers/N      the worker of device N (index in the configuration): memory.max, a half;
 *                         pids.max; cpu.weight, the same for all
 *
 * One keeper has BASE at a time: it locks the directory (flock) for as long as it lives. Another
 * keeper that is started in BASE works without cgroups.
 *
 * If BASE is itself called "keeper" (DelegateSubgroup=keeper), its parent is BASE. A controller
 * that the kernel lacks or that is not delegated is left out, and the log says so. These limits are
 * only a second line behind other limits, so it is never an error that there are none.
 */
#ifndef BROKER_KEEPER_CGROUP_H
#define BROKER_KEEPER_CGROUP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/bao_abi.h"
#include "common/cgroup_limit.h"

#define CGROUP_WORDS_SIZE 192
#define CGROUP_WORKER_PIDS                                                                         \
    8 /* it has one; a vhost thread of the kernel counts, and so may a dying process */

struct cgroups {
    bool rings;   /* set it before cgroups_enter: workers have threads for an io_uring as well */
    bool entered; /* the keeper itself has moved to BASE/keeper */
    bool controls[CGROUP_CONTROLLERS]; /* which the workers' cgroups have */
    char base[PATH_MAX];               /* "": there are no cgroups */
    int base_procs, base_subtree;      /* files of BASE, for cgroups_leave; -1 */
    int base_lock;                     /* the directory of BASE, locked; -1 */
    int workers[BAO_DEVICES_MAX];      /* directories, for clone3; -1 */
    char words[CGROUP_WORDS_SIZE];     /* for the start message */
};

/* Before lock-down. `words` says what has come of it. */
void cgroups_enter(struct cgroups *ret);

/* The limits of a worker of that device that is started in its cgroup (common/cgroup_limit.h). */
uint32_t cgroups_of_worker(const struct cgroups *cgroups, uint32_t device);

/* At the end, when all children are gone: restore BASE as far as possible. */
void cgroups_leave(struct cgroups *cgroups);

#endif
