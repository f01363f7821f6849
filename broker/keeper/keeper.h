/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: it outlives the brokers. It holds the fds that must not be closed while the
 * device model runs, makes the broker and, on its request, the workers, and reaps them. It
 * parses nothing that is not its own or its service manager's, opens nothing after its start, and
 * sees no byte of a guest.
 *
 * Two rules that the kernel driver and the state pages depend on:
 * - a new broker starts only after the old one and all its workers were reaped: no two relay
 *   threads in ATTACH on one device, no two workers on one state page. (Those of a keeper that
 *   died are not this one's to reap: device_restore sees to it that they are gone.)
 * - a stored DM file is never closed.
 */
#ifndef BROKER_KEEPER_KEEPER_H
#define BROKER_KEEPER_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backoff.h"
#include "broker/keeper/cgroup.h"
#include "broker/keeper/fd_store.h"
#include "broker/keeper/notify.h"
#include "broker/keeper/spawn.h"
#include "common/bao_abi.h"
#include "common/message.h"

struct keeper {
    struct executables executables;
    char *const *broker_argv;
    int signals; /* signalfd: SIGTERM, SIGINT */

    struct child broker;
    int socket; /* to the broker; -1: none */
    struct child workers[BAO_DEVICES_MAX];
    struct fd_store store;
    struct notify notify; /* the service manager */
    struct cgroups cgroups;

    bool has_run; /* a broker has once said RUNNING, or an earlier keeper's: from then on it is
                     replaced */
    bool ready;   /* the service manager knows that one runs */
    int64_t started_at; /* ms: of this broker */
    int64_t restart_at; /* ms: not before, while there is no broker */
    int64_t stop_by;    /* ms: when stopping, the end of the broker's time; 0: not stopping */
    struct backoff backoff;
    int exit_status; /* -1: go on */
};

/* Fill in the rest of a structure whose executables, broker_argv, signals, store, notify, cgroups
 * and has_run are set. */
void keeper_init(struct keeper *keeper);

/* Run until told to stop, or until the first broker's start failed. Returns the exit status. */
int keeper_run(struct keeper *keeper);

#endif
