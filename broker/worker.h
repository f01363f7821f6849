/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's worker, as the broker sees it.
 *
 *     DUE --start--> STARTING --READY--> READY
 *      ^                |                  |   a missed deadline, a protocol error,
 *      |                v                  v   the end of its socket
 *      +--reaped----- ENDING <-------------+
 *
 * A worker that dies by itself is DUE again as soon as the keeper has reaped it.
 */
#ifndef BROKER_WORKER_H
#define BROKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/alive.h"
#include "broker/backoff.h"
#include "broker/rate_limit.h"
#include "broker/words.h"

#define WORKER_UID_BASE 0x70000000u /* + dispatcher id; no distribution has users in this range */
/* A start takes some milliseconds. On a slow machine, where many workers start at once, it takes
 * seconds. To end one of them would only make the others wait for its successor. */
#define WORKER_START_MS 60000

enum worker_phase { WORKER_DUE, WORKER_STARTING, WORKER_READY, WORKER_ENDING };

struct worker {
    enum worker_phase phase;
    int64_t when;    /* ms. DUE: when to start; STARTING: when it must be READY */
    int socket;      /* -1: none */
    pid_t pid;       /* 0: not known yet */
    uint32_t cgroup; /* the limits of its cgroup: common/cgroup_limit.h */
    uint32_t incarnation;
    int64_t started_at; /* ms */
    uint32_t start_ms;  /* how long its start took, rounded up to whole ms; 0: it was never ready */
    uint64_t requests;  /* the value of the device's request counter at its start */
    uint32_t layers;    /* the layers that confine it, as it said in READY */
    uint32_t layers_logged;
    char last_death[WORDS_SIZE]; /* in words, "" at first */
    pid_t last_pid;              /* the pid of the worker that died */
    struct worker_backoff backoff;
    struct alive alive;
    struct rate_limit troubles; /* log lines about the device: errors and warnings */
    struct rate_limit news;     /* the other log lines; they can't take the place of the first */
    struct rate_limit messages; /* of any type but MSG_CONNECT */
    struct pace connections;    /* connections that it asks for */
    struct pace clients;        /* clients that come from this machine */
    unsigned int connects; /* connections that it has asked for and that are not answered yet */
    int64_t no_room_since; /* ms: since when it has left too much unread; 0: it has not */
    bool judged;           /* the broker ended it for what it did, or did not do */
    bool excused;          /* a user asked for its end; what it serves is not to blame */
    bool clients_wait;     /* clients may wait on a listener of the backend */
    bool left_unread;      /* its messages stay unread until the next millisecond */
    bool outage_logged;    /* the log says that accesses are answered without a worker */
};

#define WORKER_NONE ((struct worker){.phase = WORKER_DUE, .socket = -1})

#endif
