/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bucket of tokens, one a log line: a guest or a worker that was taken over cannot fill the
 * user's disk; or one a message, so that it cannot keep the broker busy. Pure; times in
 * milliseconds.
 */
#ifndef BROKER_RATE_LIMIT_H
#define BROKER_RATE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_LIMIT_BURST 20u
#define RATE_LIMIT_INTERVAL_MS 200 /* one line more: five a second */

struct rate_limit {
    uint32_t spent;      /* {0} to begin: a full bucket */
    int64_t refilled_at; /* ms */
    uint64_t suppressed; /* lines left out since the last one that was let through */
};

/* What a bucket holds, and how long it takes for one token more. */
struct rate {
    uint32_t burst;
    int64_t interval_ms;
};

/* May something be done now, at that rate? If so, *ret_suppressed says how often it was not
 * since it last was. */
bool rate_limit_take(struct rate_limit *limit, const struct rate *rate, int64_t now_ms,
                     uint64_t *ret_suppressed);

/* May a line be printed now? If so, *ret_suppressed says how many were left out before it. */
bool rate_limit_pass(struct rate_limit *limit, int64_t now_ms, uint64_t *ret_suppressed);

/*
 * So many a millisecond, and no more saved up for later: for what is left to wait where it is, and
 * costs nothing there. {0} to begin.
 */
struct pace {
    int64_t at;        /* ms: when the last was done, */
    unsigned int done; /* as one of so many in that millisecond */
};

/* May one more be done in this millisecond? */
bool pace_has(const struct pace *pace, unsigned int most, int64_t now_ms);
/* It is done. */
void pace_count(struct pace *pace, int64_t now_ms);

#endif
