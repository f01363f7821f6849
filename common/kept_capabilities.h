/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The capabilities that the keeper keeps; it gives up all others. The audit uses this list, too. A
 * child that runs as root has what the keeper has, so each capability is for the keeper or for a
 * child.
 */
#ifndef COMMON_KEPT_CAPABILITIES_H
#define COMMON_KEPT_CAPABILITIES_H

#include <linux/capability.h>

/* X(capability, reason) */
#define KEPT_CAPABILITIES(X)                                                                       \
    X(CAP_SYS_ADMIN, "keeper: namespaces of the workers; broker and worker: mount their root")     \
    X(CAP_SYS_CHROOT, "broker and worker: enter their root where pivot_root can't (initramfs)")    \
    X(CAP_SETUID, "worker: become its own user")                                                   \
    X(CAP_SETGID, "worker: become its own group, and leave all others")                            \
    X(CAP_SETPCAP, "broker and worker: empty their bounding set, lock their securebits")           \
    X(CAP_KILL, "keeper: end workers, which run as other users")                                   \
    X(CAP_SYSLOG, "broker: open the kernel's log: which call a filter killed a worker for")        \
    X(CAP_SYS_NICE, "worker: key sched: become SCHED_FIFO")                                        \
    X(CAP_NET_ADMIN, "broker: attach to the tap of a net device")                                  \
    X(CAP_DAC_OVERRIDE, "broker: configuration, nodes and images that root does not own")

#endif
