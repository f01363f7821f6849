/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/ticks.h"

#include <time.h>

#define SAMPLE_NS 50000u
#define TRIES 8u

static uint64_t per_ms = 1;

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The clock and the counter at one moment: the best of some tries, since another process may have
 * had the processor in between. */
static uint64_t both(uint64_t *ret_ticks)
{
    uint64_t shortest = UINT64_MAX, ns = 0;
    for (unsigned int i = 0; i < TRIES; i++) {
        uint64_t before = ticks_now(), now = now_ns(), took = ticks_now() - before;
        if (took >= shortest)
            continue;
        shortest = took;
        ns = now;
        *ret_ticks = before;
    }
    return ns;
}

void ticks_init(void)
{
    uint64_t first = 0, last = 0;
    const uint64_t start = both(&first);
    while (now_ns() - start < SAMPLE_NS)
        ticks_relax();
    const uint64_t end = both(&last);
    per_ms = (last - first) * 1000000u / (end - start);
    if (per_ms == 0)
        per_ms = 1;
}

uint64_t ticks_of_us(uint32_t us)
{
    return per_ms * us / 1000;
}

uint64_t ticks_to_ns(uint64_t ticks)
{
    return (ticks * 1000000u + per_ms - 1) / per_ms;
}
