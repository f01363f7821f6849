/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before something that died is started again. It never says "give up": a device
 * that is latched off for good by time alone would need an operator. Pure; times in milliseconds.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_MAX_MS 5000u
#define BACKOFF_HEALTHY_MS 10000 /* a life longer than this is no part of a crash loop */

/* ---- A broker, or a daemon: not at all the first time, then 100 ms, doubling to the most ---- */

#define BACKOFF_FIRST_MS 100u

struct backoff {
    uint32_t next_ms; /* {0} to begin */
};

/* After a death: the wait before the next start. Whoever lived long starts from the beginning. */
uint32_t backoff_after_death(struct backoff *backoff, int64_t lived_ms);

/* ---- A worker: the wait follows what starts cost, and whether its device gets on ---- */

/* Over time, starts take at most this part of one processor. */
#define BACKOFF_SHARE 10
#define BACKOFF_COST_MAX_MS 100u /* of one start: a busy machine makes all appear dear */
#define BACKOFF_AHEAD_MS 1000    /* so much of the time that starts have to be worth may be owed */
#define BACKOFF_IDLE_MS 30u      /* the first pause where nothing was done, doubling to the most */

struct worker_backoff {
    int64_t worth;         /* until then goes the time that the starts so far have to be worth */
    uint32_t fruitless_ms; /* the pause after a further death without anything done */
};

struct worker_life {
    int64_t now;
    int64_t lived_ms;
    uint32_t start_ms;  /* what its start took, READY included */
    bool did_something; /* for its driver: requests were completed */
};

/*
 * After a worker's death: the wait before the next start. At most BACKOFF_SHARE of a processor goes
 * into starts, whatever the workers do. The first death costs no pause; nor does a further one of a
 * device that gets on, as long as that bound allows; others wait longer each time.
 */
uint32_t backoff_after_worker(struct worker_backoff *backoff, const struct worker_life *life);

#endif
