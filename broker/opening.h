/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a device gets its backend. The files come from the keeper, which kept those of an earlier
 * broker, or from an opener (broker/opener.h). A device whose backend can't be opened, or is not
 * open yet, waits alone. Its opener is started again after a second, then each time after twice as
 * long, up to half a minute. The log gives the reason of a failure once, and again when it changes.
 *
 *     DUE --opening_look--> RUNS --MSG_OPENED--> DONE
 *      ^                     |
 *      +------failed---------+
 *
 * Nothing here waits, so the main loop can call all of it.
 */
#ifndef BROKER_OPENING_H
#define BROKER_OPENING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/failure.h"
#include "common/message.h"

#define OPENING_SLOW_MS 10000 /* after this time the log says what the device waits for */
#define OPENING_WAIT_FIRST_MS 1000u
#define OPENING_WAIT_MAX_MS 30000u

struct device;

enum opening_phase { OPENING_DUE, OPENING_RUNS, OPENING_DONE };

struct opening {
    enum opening_phase phase;
    int socket;   /* the socket to the opener; -1: none */
    int64_t when; /* ms. DUE: when to start an opener; RUNS: when it was started; DONE: when to hand
                     copies to the keeper */
    uint32_t wait_ms;    /* the wait before this attempt; 0: it is the first */
    bool told_slow;      /* the log says that it takes long */
    bool unkept;         /* the keeper still has to get copies */
    bool again;          /* an earlier broker has had it open */
    uint32_t tap_index;  /* if `again` and it is a tap: the interface by this name, whose kept files
                            are for the opener; 0: not known */
    struct failure said; /* the failure that was last logged, "" at first */
    enum config_key said_key;
};

/* The wait before the next attempt. Pure. */
uint32_t opening_next_wait(uint32_t wait_ms);

/* Take the files that the keeper had kept. Call it before lock-down. The device owns the fds.
 * Returns false if they can't be used; then they are closed, and the keeper forgets them as well,
 * unless they are for the opener (`tap_index`).
 */
bool opening_take_kept(struct device *device, const struct message_opened *kept, const int *fds,
                       size_t fd_count, int keeper);

/* Tell the keeper to keep nothing of this device from now on. Returns 0 or -errno. */
int opening_forget(uint32_t dm_id, int keeper);

struct opening_context {
    const struct config *config;  /* for the places of errors that are logged */
    const struct device *devices; /* all devices: no two of them may have one file */
    size_t device_count;
    int text;         /* the text of the configuration, for openers */
    int keeper;       /* socket */
    bool locked_down; /* this broker is locked down */
    bool quiet;       /* errors are not logged here: the caller tells them, from `said` */
};

/*
 * Do what can be done now: start an opener, take its answer, give the keeper copies. Returns when
 * to call it again, in ms; INT64_MAX: when the opener's socket is readable.
 */
int64_t opening_look(struct device *device, const struct opening_context *context, int64_t now);

#endif
