/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Polling: a driver that has just got what it waited for makes its next chains available within
 * microseconds. If the worker looks at its rings for that long before it asks for a kick, the
 * driver need not kick, which would trap, and this process need not sleep and wake up.
 *
 * How long it looks follows from what it has seen, the same way for every kind of device:
 *
 *   - A kick that came soon after the last work would have been caught. So from now on the worker
 *     looks for twice that time, at most for the key poll_us.
 *   - If it has looked in vain, or another process had the processor meanwhile, it does not look
 *     any more until kicks come soon again. Each time in a row it waits for twice as many of them.
 *
 * So a worker whose driver is idle sleeps after one look, and one that shares its processor with
 * others stops looking. With a single processor it never looks: it would keep that processor from
 * the broker, which answers the driver's interrupt. Looking makes no system call.
 */
#ifndef WORKER_POLLING_H
#define WORKER_POLLING_H

#include <stdbool.h>
#include <stdint.h>

/* All times are in ticks (worker/ticks.h). */
struct polling {
    uint64_t max;    /* a window is never longer; 0: the worker never looks */
    uint64_t slice;  /* it looks for so long, then at the backend's events */
    uint64_t gap;    /* a look that comes later than this: another process had the processor */
    uint64_t window; /* it looks for so long after work; 0: not at all */
    uint64_t idle_since;
    uint32_t skip;   /* so many more kicks come before a window opens again */
    uint32_t misses; /* how often it has looked in vain, less how often not */
    bool idle;       /* there has been nothing to do since idle_since */
};

enum polling_result {
    POLLING_FOUND, /* there is something to do */
    POLLING_ON,    /* nothing yet; the window is still open */
    POLLING_OVER,  /* the window is closed: sleep */
};

/*
 * Before lock-down, since it asks for the number of processors, and after ticks_init. A window is
 * at most max_us microseconds; 0: the worker never looks. backend_events: the backend has events,
 * which must not wait for a whole window.
 */
void polling_init(struct polling *polling, uint32_t max_us, bool backend_events);

/* Will the worker look before it sleeps? If not, kicks are asked for at once. */
static inline bool polling_pays(const struct polling *polling)
{
    return polling->window > 0 && polling->skip == 0;
}

/*
 * There is nothing to do. Look for a slice of the window: `found(context)` says whether there is
 * something now. It is called at least once, if a window is open.
 */
enum polling_result polling_look(struct polling *polling, bool (*found)(void *context),
                                 void *context);

/* There is something to do again; `kicked`: the worker slept, and the driver has kicked. */
void polling_ends(struct polling *polling, bool kicked);

#endif
