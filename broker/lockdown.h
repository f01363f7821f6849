/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What confines the broker once everything is open: no capability; no file but the nodes that it
 * must open again; no system calls but those of its policy, which depends on the generation of
 * Bao's driver (generations.h). And what confines a connector: no path but its directory of
 * sockets, and policy/connector.policy.
 */
#ifndef BROKER_LOCKDOWN_H
#define BROKER_LOCKDOWN_H

#include "broker/supervisor.h"

struct lockdown {
    struct supervisor *supervisor; /* set for the broker: the relays of its devices are prepared */
    int directory;                 /* set for a connector: a detached mount of its directory */
    unsigned int landlock_abi;     /* set by the lock-down: of Landlock; 0: the kernel has none */
};

/*
 * Carry out the table of steps in lockdown.c. Needs root and a single thread. Afterwards the
 * process has one more thread for each device, one for the gate, and one if the kernel's random
 * generator is not ready. Returns 0, or -errno with the failed step in *ret_step: then the process
 * must end.
 */
int lockdown_enter(struct lockdown *lockdown, const char **ret_step);

/* The same for a connector, which starts no thread. */
int lockdown_enter_connector(struct lockdown *lockdown, const char **ret_step);

/* The steps, for lockdown.c. */
int lockdown_own_root(struct lockdown *lockdown);
int lockdown_connector_root(struct lockdown *lockdown);
int lockdown_landlock(struct lockdown *lockdown);

#endif
