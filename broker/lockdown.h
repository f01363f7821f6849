/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What confines the broker once everything is open: no capability, no file but the nodes that it
 * must open again, no system call but those of its policy, which depends on the generation of Bao's
 * driver (generations.h). And a connector: no name but that of its directory of sockets, and
 * policy/connector.policy.
 */
#ifndef BROKER_LOCKDOWN_H
#define BROKER_LOCKDOWN_H

#include <stdbool.h>

#include "broker/supervisor.h"

struct lockdown {
    struct supervisor *supervisor; /* the broker's, whose devices' relays are prepared */
    int directory;                 /* a connector's: a mount of it in hand */
    bool landlock;                 /* set by it: the kernel has Landlock */
};

/*
 * Carry out the table of steps in lockdown.c. Needs root and a single thread; afterwards the
 * process has one thread more for each device, the gate's, and one if the kernel's random generator
 * is not ready. Returns 0, or -errno and in *ret_step what failed: then the process must end.
 */
int lockdown_enter(struct lockdown *lockdown, const char **ret_step);

/* The same for a connector, which starts no thread. */
int lockdown_enter_connector(struct lockdown *lockdown, const char **ret_step);

/* The steps, for lockdown.c. */
int lockdown_own_root(struct lockdown *lockdown);
int lockdown_connector_root(struct lockdown *lockdown);
int lockdown_landlock(struct lockdown *lockdown);

#endif
