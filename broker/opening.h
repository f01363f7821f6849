/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a device gets its backend: from the keeper, which kept the files of an earlier broker's; or
 * from an opener (broker/opener.h). A device whose backend can't be opened, or is not yet, waits
 * alone: its opener is started again after a second, then after twice as long each time, up to
 * half a minute. What it fails of is said once, and again when it is something else.
 *
 *     DUE --opening_look--> RUNS --MSG_OPENED--> DONE
 *      ^                     |
 *      +------failed---------+
 *
 * Nothing here waits, so that all of it can be called in the main loop.
 */
#ifndef BROKER_OPENING_H
#define BROKER_OPENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/failure.h"
#include "common/message.h"

#define OPENING_SLOW_MS 10000 /* then the log says what the device waits for */
#define OPENING_WAIT_FIRST_MS 1000u
#define OPENING_WAIT_MAX_MS 30000u

struct device;

enum opening_phase { OPENING_DUE, OPENING_RUNS, OPENING_DONE };

struct opening {
    enum opening_phase phase;
    int socket;          /* to the opener; -1: none */
    int64_t when;        /* ms. DUE: start one then; RUNS: how long since is said; DONE: hand copies
                            to the keeper then */
    uint32_t wait_ms;    /* before this attempt; 0: it is the first */
    bool told_slow;      /* that it takes long */
    bool unkept;         /* the keeper is yet to be given copies */
    bool again;          /* an earlier broker has had it open, */
    uint32_t tap_index;  /* and, if it is a tap, this interface by this name; 0: not known */
    bool tap_held;       /* tap_hold */
    struct failure said; /* of the last attempt, "" at first */
    enum config_key said_key;
};

/* The wait before the next attempt. Pure. */
uint32_t opening_next_wait(uint32_t wait_ms);

/* What the keeper had kept. Before lock-down. The fds are the device's. Returns false if it is of
 * no use; then it is closed and forgotten, here and there. */
bool opening_take_kept(struct device *device, const struct message_opened *kept, const int *fds,
                       size_t fd_count, int keeper);

/* The keeper keeps nothing of this device from now on. Returns 0 or -errno. */
int opening_forget(uint32_t dm_id, int keeper);

struct opening_context {
    const struct config *config;  /* for the places of errors, which are logged */
    const struct device *devices; /* all: no two of them may have one file */
    size_t device_count;
    int text;         /* it, for openers */
    int keeper;       /* socket */
    bool locked_down; /* is this broker? */
    bool quiet;       /* errors are the caller's to tell: `said` */
};

/*
 * What can be done now: start an opener, take its answer, give the keeper copies. Returns when to
 * call again, in ms; INT64_MAX: when the opener's socket is readable.
 */
int64_t opening_look(struct device *device, const struct opening_context *context, int64_t now);

#endif
