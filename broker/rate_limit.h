/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket of tokens. If each log line takes a token, a guest or a worker that was taken over
 * cannot fill the user's disk. If each message takes one, it cannot keep the broker busy. Pure;
 * times in milliseconds.
 */
#ifndef BROKER_RATE_LIMIT_H
#define BROKER_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_LIMIT_BURST 20u
#define RATE_LIMIT_INTERVAL_MS 200 /* one more line after this time: five per second */

struct rate_limit {
    uint32_t spent;      /* {0} to begin: a full bucket */
    int64_t refilled_at; /* ms */
    uint64_t suppressed; /* lines that were left out since the last one that passed */
};

/* How many tokens a bucket holds, and how long it takes until there is one more. */
struct rate {
    uint32_t burst;
    int64_t interval_ms;
};

/* May something be done now, at that rate? If so, *ret_suppressed says how often it was refused
 * since it was last allowed. */
bool rate_limit_take(struct rate_limit *limit, const struct rate *rate, int64_t now_ms,
                     uint64_t *ret_suppressed);

/* May a line be printed now? If so, *ret_suppressed says how many were left out before it. */
bool rate_limit_pass(struct rate_limit *limit, int64_t now_ms, uint64_t *ret_suppressed);

/*
 * A limited number per millisecond, and nothing is saved up for later. For work that can wait where
 * it is and costs nothing there. Start with {0}.
 */
struct pace {
    int64_t at;        /* ms: when the last one was done */
    unsigned int done; /* how many were done in that millisecond */
};

/* May one more be done in this millisecond? */
bool pace_has(const struct pace *pace, unsigned int most, int64_t now_ms);
/* One was done. */
void pace_count(struct pace *pace, int64_t now_ms);

#endif
