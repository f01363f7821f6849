/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long to wait before something that died is started again: not at all the first time,
 * then 100 ms, doubling to 5 s. Whoever lived long enough starts from the beginning. It never
 * says "give up": a device that is latched off for good by time alone would need an operator.
 * Pure; times in milliseconds.
 */
#ifndef BROKER_BACKOFF_H
#define BROKER_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 100u
#define BACKOFF_MAX_MS 5000u
#define BACKOFF_HEALTHY_MS 10000 /* a life longer than this is no part of a crash loop */

struct backoff {
    uint32_t next_ms; /* {0} to begin */
};

/* After a death: the wait before the next start. */
uint32_t backoff_after_death(struct backoff *backoff, int64_t lived_ms);

#endif
