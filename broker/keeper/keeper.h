/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: it outlives the brokers. It holds the fds that must not be closed while the
 * device model runs, makes the broker and, on its request, the workers, and reaps them. It
 * parses nothing that is not its own or its service manager's, opens nothing after its start, and
 * sees no byte of a guest.
 *
 * Two rules that the kernel driver depends on:
 * - a new broker starts only after the old one was reaped: no two relay threads in ATTACH on one
 *   device. (One of a keeper that died is not this one's to reap: device_restore sees to it that it
 *   is gone.) It does not wait for the old one's workers, any of which may hang in a call to its
 *   disk: device_claim sees to it that no two workers are on one state page.
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
#include "broker/keeper/watch.h"
#include "common/bao_abi.h"
#include "common/message.h"

struct keeper {
    struct executables executables;
    char **broker_argv; /* [1]: --config, or --kept-config: by what text it goes */
    int signals;        /* signalfd: SIGTERM, SIGINT */

    struct child broker;
    int socket; /* to the broker; -1: none */
    struct child workers[BAO_DEVICES_MAX];
    bool of_broker[BAO_DEVICES_MAX];       /* that worker is this broker's, not an earlier one's */
    struct child openers[BAO_DEVICES_MAX]; /* by the dispatcher's id */
    struct child connectors[BAO_DEVICES_MAX]; /* likewise */
    struct watch watch;                       /* over the broker */
    struct fd_store store;
    struct notify notify; /* the service manager */
    struct cgroups cgroups;

    bool has_run; /* a broker has once said RUNNING, or an earlier keeper's: from then on it is
                     replaced */
    bool running; /* this broker has said RUNNING */
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
