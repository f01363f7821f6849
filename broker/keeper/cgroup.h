/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup (version 2) for each worker, where the keeper may make some: in its own cgroup, if that
 * is not the root and holds no other process, as it is under a service manager that delegates it.
 *
 *     BASE                the keeper's cgroup at its start
 *     BASE/keeper         keeper and broker: a cgroup with children may hold no process itself
 *     BASE/workers        memory.max: three quarters of the machine's
 *     BASE/workers/N      the worker of device N (index in the configuration): memory.max, a half;
 *                         pids.max; cpu.weight, the same for all
 *
 * BASE is one keeper's at a time: its directory is locked (flock) as long as that one lives, and
 * another one that was started in it does without.
 *
 * If BASE is itself called "keeper" (DelegateSubgroup=keeper), its parent is BASE. What the kernel
 * or whoever delegates lacks is left out, and said. These are bounds behind others, so it is never
 * an error that there are none.
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
    8 /* it is one; a vhost thread of the kernel's counts, as may one that dies */

struct cgroups {
    bool entered;                      /* the keeper is in BASE/keeper by its own doing */
    bool controls[CGROUP_CONTROLLERS]; /* of the workers' cgroups */
    char base[PATH_MAX];               /* "": there are none */
    int base_procs, base_subtree;      /* files of BASE, for the end; -1 */
    int base_lock;                     /* its directory, locked; -1 */
    int workers[BAO_DEVICES_MAX];      /* directories, for clone3; -1 */
    char words[CGROUP_WORDS_SIZE];     /* for the start message */
};

/* Before lock-down. Whatever comes of it is in `words`. */
void cgroups_enter(struct cgroups *ret);

/* What a worker of that device has if it is started in its cgroup (common/cgroup_limit.h). */
uint32_t cgroups_of_worker(const struct cgroups *cgroups, uint32_t device);

/* At the end, when all children are gone: leave BASE as it was, as far as that can be done. */
void cgroups_leave(struct cgroups *cgroups);

#endif
