/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/polling.h"

#include <sched.h>

#include "worker/ticks.h"

#define SLICE_US 20u
#define GAP_US 100u
#define LOOKS_MAX 100000u /* in one slice: a bound for a counter that stands still */
#define MISSES_MAX 8u

void polling_init(struct polling *polling, uint32_t max_us, bool backend_events)
{
    *polling = (struct polling){0};
    cpu_set_t processors;
    if (max_us == 0 || sched_getaffinity(0, sizeof(processors), &processors) < 0 ||
        CPU_COUNT(&processors) < 2)
        return;
    polling->max = ticks_of_us(max_us);
    polling->slice = backend_events ? ticks_of_us(SLICE_US) : polling->max;
    polling->gap = ticks_of_us(GAP_US);
}

static enum polling_result missed(struct polling *polling)
{
    polling->window = 0;
    polling->skip = 1u << polling->misses;
    if (polling->misses < MISSES_MAX)
        polling->misses++;
    return POLLING_OVER;
}

enum polling_result polling_look(struct polling *polling, bool (*found)(void *context),
                                 void *context)
{
    if (polling->max == 0)
        return POLLING_OVER;
    uint64_t start = ticks_now(), last = start;
    if (!polling->idle) {
        polling->idle = true;
        polling->idle_since = start;
    }
    if (!polling_pays(polling))
        return POLLING_OVER;
    for (unsigned int looks = 0; looks < LOOKS_MAX; looks++) {
        if (found(context)) {
            polling->misses /= 2;
            return POLLING_FOUND;
        }
        ticks_relax();
        uint64_t now = ticks_now();
        if (now - last > polling->gap || now - polling->idle_since > polling->window)
            return missed(polling);
        if (now - start > polling->slice)
            return POLLING_ON;
        last = now;
    }
    return missed(polling);
}

void polling_ends(struct polling *polling, bool kicked)
{
    if (!polling->idle)
        return;
    polling->idle = false;
    if (!kicked)
        return;
    if (polling->skip > 0) {
        polling->skip--;
        return;
    }
    uint64_t slept = ticks_now() - polling->idle_since;
    uint64_t wanted = 2 * slept < polling->max ? 2 * slept : polling->max;
    if (slept <= polling->max && wanted > polling->window)
        polling->window = wanted;
}
