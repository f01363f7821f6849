/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/polling.h"

#include <sched.h>
#include <time.h>

#define SAMPLE_NS 50000u
#define SLICE_NS 20000u
#define GAP_NS 100000u
#define LOOKS_MAX 100000u /* in one slice: a bound for a counter that stands still */
#define MISSES_MAX 8u

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory");
#else
    __asm__ volatile("" : : : "memory");
#endif
}

static uint64_t now_ns(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* How many ticks there are in a millisecond. */
static uint64_t ticks_per_ms(void)
{
    uint64_t start = now_ns(), first = polling_ticks(), ns;
    do {
        relax();
        ns = now_ns() - start;
    } while (ns < SAMPLE_NS);
    return (polling_ticks() - first) * 1000000u / ns;
}

void polling_init(struct polling *polling, uint32_t max_us, bool backend_events)
{
    *polling = (struct polling){0};
    cpu_set_t processors;
    if (max_us == 0 || sched_getaffinity(0, sizeof(processors), &processors) < 0 ||
        CPU_COUNT(&processors) < 2)
        return;
    uint64_t per_ms = ticks_per_ms();
    polling->max = per_ms * max_us / 1000;
    polling->slice = backend_events ? per_ms * SLICE_NS / 1000000 : polling->max;
    polling->gap = per_ms * GAP_NS / 1000000;
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
    uint64_t start = polling_ticks(), last = start;
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
        relax();
        uint64_t now = polling_ticks();
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
    uint64_t slept = polling_ticks() - polling->idle_since;
    uint64_t wanted = 2 * slept < polling->max ? 2 * slept : polling->max;
    if (slept <= polling->max && wanted > polling->window)
        polling->window = wanted;
}
