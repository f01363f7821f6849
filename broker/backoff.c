/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backoff.h"

/* Returns the pause for now. The next one is twice as long, from `first` up to the maximum. */
static uint32_t grow(uint32_t *next, uint32_t first)
{
    uint32_t wait = *next;
    if (wait == 0)
        *next = first;
    else if (wait >= BACKOFF_MAX_MS / 2)
        *next = BACKOFF_MAX_MS;
    else
        *next = wait * 2;
    return wait;
}

uint32_t backoff_after_death(struct backoff *backoff, int64_t lived_ms)
{
    if (lived_ms > BACKOFF_HEALTHY_MS)
        backoff->next_ms = 0;
    return grow(&backoff->next_ms, BACKOFF_FIRST_MS);
}

uint32_t backoff_after_worker(struct worker_backoff *backoff, const struct worker_life *life)
{
    uint32_t cost = life->start_ms < BACKOFF_COST_MAX_MS ? life->start_ms : BACKOFF_COST_MAX_MS;
    if (backoff->worth < life->now)
        backoff->worth = life->now;
    backoff->worth += (int64_t)cost * BACKOFF_SHARE;
    int64_t dear = backoff->worth - life->now - BACKOFF_AHEAD_MS;

    uint32_t fruitless = 0;
    if (life->did_something || life->lived_ms > BACKOFF_HEALTHY_MS)
        backoff->fruitless_ms = BACKOFF_IDLE_MS;
    else
        fruitless = grow(&backoff->fruitless_ms, BACKOFF_IDLE_MS);
    return dear > fruitless ? (uint32_t)dear : fruitless;
}
