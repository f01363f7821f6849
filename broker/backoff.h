/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before something that died is started again. The answer is never "give up": a
 * device that is switched off for good only because of time would need an operator. Pure; times in
 * milliseconds.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_MAX_MS 5000u
#define BACKOFF_HEALTHY_MS 10000 /* a longer life is not part of a crash loop */

/* ---- A broker, or a daemon: first no wait, then 100 ms, then doubled up to the maximum ---- */

#define BACKOFF_FIRST_MS 100u

struct backoff {
    uint32_t next_ms; /* {0} to begin */
};

/* After a death: the wait before the next start. For a process that lived long, the waits start
 * from the beginning. */
uint32_t backoff_after_death(struct backoff *backoff, int64_t lived_ms);

/* ---- A worker: the wait depends on what starts cost, and on whether its device makes progress */

/* Over time, starts take at most 1/BACKOFF_SHARE of one processor. */
#define BACKOFF_SHARE 10
#define BACKOFF_COST_MAX_MS 100u /* of one start: on a busy machine all look expensive */
#define BACKOFF_AHEAD_MS 1000    /* starts may use up this much time in advance */
#define BACKOFF_IDLE_MS 30u      /* the first pause if nothing was done; then doubled */

struct worker_backoff {
    int64_t worth;         /* ms: end of the time that the starts so far have used up */
    uint32_t fruitless_ms; /* the pause after the next death if the worker did nothing */
};

struct worker_life {
    int64_t now;
    int64_t lived_ms;
    uint32_t start_ms;  /* how long its start took, until READY */
    bool did_something; /* it did something for its driver: requests were completed */
};

/*
 * After a worker's death: the wait before the next start. At most 1/BACKOFF_SHARE of a processor is
 * used for starts, whatever the workers do. The first death causes no pause. A further death of a
 * device that makes progress causes no pause either, as long as that bound allows it. Other devices
 * wait longer each time.
 */
uint32_t backoff_after_worker(struct worker_backoff *backoff, const struct worker_life *life);

#endif
