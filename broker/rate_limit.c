/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/rate_limit.h"

bool rate_limit_pass(struct rate_limit *limit, int64_t now_ms, uint64_t *ret_suppressed)
{
    int64_t refills = (now_ms - limit->refilled_at) / RATE_LIMIT_INTERVAL_MS;
    if (refills >= (int64_t)limit->spent) {
        limit->spent = 0;
        limit->refilled_at = now_ms;
    } else if (refills > 0) {
        limit->spent -= (uint32_t)refills;
        limit->refilled_at += refills * RATE_LIMIT_INTERVAL_MS;
    }
    if (limit->spent >= RATE_LIMIT_BURST) {
        limit->suppressed++;
        return false;
    }
    limit->spent++;
    *ret_suppressed = limit->suppressed;
    limit->suppressed = 0;
    return true;
}
