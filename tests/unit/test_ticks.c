/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times by the processor's counter: how they are compared with the kernel's clock, and how they are
 * rounded. The clock is this test's: it runs faster or slower than the kernel's, and some calls
 * take long, as if another process had had the processor meanwhile.
 */
#include <time.h>

#include "tests/cunit_main.h"
#include "worker/ticks.h"

#define ROUNDS 20u

static struct {
    uint64_t times, divided_by; /* its speed */
    uint64_t slow_ticks;        /* so long take some calls */
    bool slow_after;            /* after the clock was read, not before */
} clock_is = {1, 1, 0, false};

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

static void wait_a_while(void)
{
    for (uint64_t start = ticks_now(); ticks_now() - start < clock_is.slow_ticks;)
        ticks_relax();
}

/* Every other call is slow, in a pattern that has no period of eight. */
static bool is_slow(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return clock_is.slow_ticks > 0 && (state >> 20) % 2 == 0;
}

/* If it is set, the clock stands still for so many calls, and then goes on by 50 us with each. */
static struct {
    bool set;
    uint64_t from; /* nanoseconds */
    unsigned int still, calls;
} steps;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (steps.set) {
        steps.calls++;
        const unsigned int moved = steps.calls > steps.still ? steps.calls - steps.still : 0;
        const uint64_t now = steps.from + moved * 50000ull;
        *ret = (struct timespec){.tv_sec = (time_t)(now / 1000000000u),
                                 .tv_nsec = (long)(now % 1000000000u)};
        return 0;
    }
    const bool slow = is_slow();
    CU_ASSERT_EQUAL(clock, CLOCK_MONOTONIC);
    if (slow && !clock_is.slow_after)
        wait_a_while();
    int result = __real_clock_gettime(clock, ret);
    if (slow && clock_is.slow_after)
        wait_a_while();
    const uint64_t now = (uint64_t)ret->tv_sec * 1000000000u + (uint64_t)ret->tv_nsec;
    const uint64_t mine = now * clock_is.times / clock_is.divided_by;
    *ret = (struct timespec){.tv_sec = (time_t)(mine / 1000000000u),
                             .tv_nsec = (long)(mine % 1000000000u)};
    return result;
}

/* Ticks of a millisecond of that clock. */
static uint64_t measured(uint64_t times, uint64_t divided_by, uint64_t slow_ticks, bool slow_after)
{
    clock_is.times = times;
    clock_is.divided_by = divided_by;
    clock_is.slow_ticks = slow_ticks;
    clock_is.slow_after = slow_after;
    ticks_init();
    return ticks_of_us(1000);
}

/* How many measurements agree with this one. A busy machine may spoil some. */
static unsigned int agreeing(uint64_t ticks, uint64_t times, uint64_t divided_by,
                             uint64_t slow_ticks, bool slow_after)
{
    unsigned int count = 0;
    for (unsigned int i = 0; i < ROUNDS; i++) {
        uint64_t other = measured(times, divided_by, slow_ticks, slow_after);
        count += other > ticks - ticks / 10 && other < ticks + ticks / 10;
    }
    return count;
}

/* A millisecond, measured over a long time. */
static uint64_t reference(void)
{
    struct timespec from, to;
    clock_is.times = clock_is.divided_by = 1;
    clock_is.slow_ticks = 0;
    __real_clock_gettime(CLOCK_MONOTONIC, &from);
    uint64_t first = ticks_now(), ns;
    do {
        __real_clock_gettime(CLOCK_MONOTONIC, &to);
        ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000u + (uint64_t)to.tv_nsec -
             (uint64_t)from.tv_nsec;
    } while (ns < 5000000);
    return (ticks_now() - first) * 1000000u / ns;
}

static void test_the_clock_says_how_long_a_tick_is(void)
{
    const uint64_t ticks = reference();
    CU_ASSERT(agreeing(ticks, 1, 1, 0, false) >= ROUNDS * 3 / 4);
    CU_ASSERT(agreeing(2 * ticks, 1, 2, 0, false) >= ROUNDS * 3 / 4);
    CU_ASSERT(agreeing(ticks / 3, 3, 1, 0, false) >= ROUNDS * 3 / 4);
}

/* Of several looks at the clock the quickest one counts. */
static void test_other_processes_have_the_processor(void)
{
    const uint64_t ticks = reference();
    if (processor_is_emulated()) {
        case_skipped("a processor that is not emulated: this is about microseconds");
        return;
    }
    CU_ASSERT(agreeing(ticks, 1, 1, ticks / 20, false) >= ROUNDS * 3 / 4);
    CU_ASSERT(agreeing(ticks, 1, 1, ticks / 20, true) >= ROUNDS * 3 / 4);
}

/* A clock that is far too fast leaves a tick a millisecond, and not none: times are divided by
 * it. */
static void test_there_is_no_tick_of_length_zero(void)
{
    CU_ASSERT_EQUAL(measured(1ull << 20, 1, 0, false) > 0, true);
    CU_ASSERT_EQUAL(measured(100000000, 1, 0, false), 1);
    CU_ASSERT_EQUAL(ticks_to_ns(1), 1000000);
    CU_ASSERT_EQUAL(ticks_of_us(999), 0);
}

/* Eight looks at each end, and a time of 50 us between them, also across a second. */
static void test_how_long_it_measures(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        steps.set = true;
        steps.from = i == 0 ? 5000000000 : 5999990000;
        steps.still = 8;
        steps.calls = 0;
        ticks_init();
        steps.set = false;
        CU_ASSERT_EQUAL(steps.calls, 8 + 1 + 8);
        CU_ASSERT(ticks_of_us(1000) > 1);
    }
}

static void test_rounding(void)
{
    const uint64_t ms = measured(1, 1, 0, false);
    CU_ASSERT_EQUAL(ticks_of_us(0), 0);
    CU_ASSERT_EQUAL(ticks_to_ns(0), 0);
    for (uint32_t us = 1; us < 20000; us += 7) {
        CU_ASSERT_EQUAL(ticks_of_us(us), ms * us / 1000);
        CU_ASSERT(ticks_to_ns(ticks_of_us(us)) <= us * 1000ull);
    }
    for (uint64_t ticks = 1; ticks < 10000; ticks++) {
        const uint64_t ns = ticks_to_ns(ticks); /* the least that is not too short */
        CU_ASSERT(ns * ms >= ticks * 1000000u);
        CU_ASSERT((ns - 1) * ms < ticks * 1000000u);
    }
    CU_ASSERT_EQUAL(ticks_to_ns(ms), 1000000);
    CU_ASSERT_EQUAL(ticks_to_ns(ms + 1), 1000001 + (1000000 - 1) / ms);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the clock says how long a tick is", test_the_clock_says_how_long_a_tick_is},
        {"other processes have the processor", test_other_processes_have_the_processor},
        {"there is no tick of length zero", test_there_is_no_tick_of_length_zero},
        {"how long it measures", test_how_long_it_measures},
        {"rounding", test_rounding},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "ticks", tests);
}
