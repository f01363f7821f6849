/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rate_limit.h"

bool rate_limit_take(struct rate_limit *limit, const struct rate *rate, int64_t now_ms,
                     uint64_t *ret_suppressed)
{
    int64_t refills = (now_ms - limit->refilled_at) / rate->interval_ms;
    if (refills >= (int64_t)limit->spent) {
        limit->spent = 0;
        limit->refilled_at = now_ms;
    } else if (refills > 0) {
        limit->spent -= (uint32_t)refills;
        limit->refilled_at += refills * rate->interval_ms;
    }
    if (limit->spent >= rate->burst) {
        limit->suppressed++;
        return false;
    }
    limit->spent++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}

bool rate_limit_pass(struct rate_limit *limit, int64_t now_ms, uint64_t *ret_suppressed)
{
    static const struct rate lines = {RATE_LIMIT_BURST, RATE_LIMIT_INTERVAL_MS};
    return rate_limit_take(limit, &lines, now_ms, ret_suppressed);
}

bool pace_has(const struct pace *pace, unsigned int most, int64_t now_ms)
{
    return pace->at != now_ms || pace->done < most;
}

void pace_count(struct pace *pace, int64_t now_ms)
{
    if (pace->at != now_ms)
        *pace = (struct pace){.at = now_ms};
    pace->done++;
}
