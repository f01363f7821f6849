/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: it outlives the brokers. It has the fds that must not be closed while the device
 * model runs. It starts the broker and, at the broker's request, the workers, and it reaps them. It
 * parses only its own data and that of its service manager, opens nothing after its start, and sees
 * no byte of a guest.
 *
 * The kernel driver depends on two rules:
 * - A new broker starts only after the old one was reaped, so that two relay threads are never in
 *   ATTACH on one device. (If a keeper died, the next keeper can't reap its broker: device_restore
 *   makes sure that it is gone.) The new broker does not wait for the old one's workers, since any
 *   of them may hang in a call to its disk: device_claim makes sure that no two workers use one
 *   state page.
 * - A stored DM file is never closed.
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
    char **broker_argv; /* [1]: --config or --kept-config: which text it uses */
    int signals;        /* signalfd: SIGTERM, SIGINT */

    struct child broker;
    int socket; /* to the broker; -1: none */
    struct child workers[BAO_DEVICES_MAX];
    bool of_broker[BAO_DEVICES_MAX]; /* that worker is this broker's, and not an earlier broker's */
    struct child openers[BAO_DEVICES_MAX];    /* indexed by the dispatcher's id */
    struct child connectors[BAO_DEVICES_MAX]; /* indexed in the same way */
    struct watch watch;                       /* of the broker */
    struct fd_store store;
    struct notify notify; /* the service manager */
    struct cgroups cgroups;

    bool has_run; /* a broker of this keeper or of an earlier one has said RUNNING: from then on a
                     broker that dies is replaced */
    bool running; /* this broker has said RUNNING */
    bool ready;   /* the service manager knows that a broker runs */
    int64_t started_at; /* ms: start of this broker */
    int64_t restart_at; /* ms: no new broker before this time, while there is none */
    int64_t stop_by;    /* ms: when the broker must have stopped; 0: we are not stopping */
    struct backoff backoff;
    int exit_status; /* -1: go on */
};

/* Fill in the rest of a structure in which executables, broker_argv, signals, store, notify,
 * cgroups and has_run are set. */
void keeper_init(struct keeper *keeper);

/* Run until a signal says to stop, or until the start of the first broker has failed. Returns the
 * exit status. */
int keeper_run(struct keeper *keeper);

#endif
