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

#define WORKER_UID_BASE 0x70000000u /* + dispatcher id: no user of any distribution */
/* A start takes some milliseconds. On a slow machine, where many start at once, it takes seconds;
 * who is ended then only makes the others wait for its successor. */
#define WORKER_START_MS 60000

enum worker_phase { WORKER_DUE, WORKER_STARTING, WORKER_READY, WORKER_ENDING };

struct worker {
    enum worker_phase phase;
    int64_t when;    /* ms. DUE: start then; STARTING: READY until then */
    int socket;      /* -1: none */
    pid_t pid;       /* 0: not known yet */
    uint32_t cgroup; /* what bounds it: common/cgroup_limit.h */
    uint32_t incarnation;
    int64_t started_at; /* ms */
    uint32_t start_ms;  /* what its start took, begun ms included; 0: it was never ready */
    uint64_t requests;  /* that the device's counter had at its start */
    uint32_t layers;    /* that confine it, as it said in READY */
    uint32_t layers_logged;
    char last_death[WORDS_SIZE]; /* in words, "" at first */
    pid_t last_pid;              /* who died so */
    struct worker_backoff backoff;
    struct alive alive;
    struct rate_limit troubles; /* lines of the log, for the device: errors and warnings, */
    struct rate_limit news;     /* and the others, which can't take their place */
    struct rate_limit messages; /* of any type but MSG_CONNECT */
    struct pace connections;    /* that it asks for, */
    struct pace clients;        /* and that come from this machine */
    unsigned int connects;      /* that it has asked for, and that are not answered yet */
    int64_t no_room_since;      /* ms: it has left too much unread since then; 0: it has not */
    bool excused;               /* its end is asked for, and no fault of what it serves */
    bool clients_wait;          /* perhaps, on a listener of the backend */
    bool left_unread;           /* what it sends, until the next millisecond */
    bool outage_logged;         /* accesses are answered without a worker, and the user knows */
};

#define WORKER_NONE ((struct worker){.phase = WORKER_DUE, .socket = -1})

#endif
