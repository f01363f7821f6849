/* SPDX-License-Identifier: Apache-2.0 */
/* Polling: when does the worker look at its rings before it sleeps, for how long, and when not? */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "tests/cunit_main.h"
#include "worker/polling.h"
#include "worker/ticks.h"

#define LONG 10000000u /* microseconds: far more than any test takes */

static struct polling polling;
static unsigned int looks, found_at;

/* There is something to do at look number found_at. */
static bool found(void *context)
{
    (void)context;
    return ++looks == found_at;
}

static enum polling_result look(unsigned int at)
{
    looks = 0;
    found_at = at;
    return polling_look(&polling, found, NULL);
}

/* Slices follow each other until the window is closed, or something is found. */
static enum polling_result look_to_the_end(void)
{
    enum polling_result r;
    do
        r = look(0);
    while (r == POLLING_ON);
    return r;
}

/* The worker sleeps; a kick comes so many ticks after the work's end. */
static void kick_after(uint64_t ticks)
{
    CU_ASSERT_EQUAL(look(0), POLLING_OVER);
    polling.idle_since = ticks_now() - ticks;
    polling_ends(&polling, true);
}

static void start(void)
{
    polling_init(&polling, LONG, true);
    if (polling.max == 0)
        polling = (struct polling){.max = 1ull << 40, .slice = 1000, .gap = 1ull << 40};
    polling.gap = polling.max;
}

/* At the beginning, and while the driver's kicks come late, the worker sleeps at once. */
static void test_sleeps_at_once(void)
{
    start();
    CU_ASSERT_FALSE(polling_pays(&polling));
    CU_ASSERT_EQUAL(look(1), POLLING_OVER);
    CU_ASSERT_EQUAL(looks, 0);
    kick_after(polling.max + 1);
    CU_ASSERT_FALSE(polling_pays(&polling));
}

/* A kick that came soon opens a window of twice that time, at most poll_us. */
static void test_window_grows(void)
{
    start();
    kick_after(polling.max / 8);
    CU_ASSERT_TRUE(polling_pays(&polling));
    CU_ASSERT(polling.window >= polling.max / 4);
    CU_ASSERT(polling.window < polling.max);
    start();
    kick_after(polling.max / 2 + polling.max / 4);
    CU_ASSERT_EQUAL(polling.window, polling.max);
}

/* An old kick that is seen while the worker looks does not make the window smaller. */
static void test_window_stays(void)
{
    start();
    kick_after(polling.max / 8);
    uint64_t window = polling.window;
    CU_ASSERT_EQUAL(look(0), POLLING_ON);
    polling_ends(&polling, true);
    CU_ASSERT_EQUAL(polling.window, window);
}

/* Events of the backend say nothing about kicks. */
static void test_backend_events(void)
{
    start();
    CU_ASSERT_EQUAL(look(0), POLLING_OVER);
    polling_ends(&polling, false);
    CU_ASSERT_FALSE(polling_pays(&polling));
    polling_ends(&polling, true); /* nothing was idle: not the time since then */
    CU_ASSERT_FALSE(polling_pays(&polling));
}

/* What is found at the first look, or a later one, ends it; the window stays open. */
static void test_found(void)
{
    for (unsigned int at = 1; at <= 3; at++) {
        start();
        kick_after(polling.max / 8);
        polling.misses = 5;
        CU_ASSERT_EQUAL(look(at), POLLING_FOUND);
        CU_ASSERT_EQUAL(looks, at);
        CU_ASSERT_EQUAL(polling.misses, 2);
        polling_ends(&polling, false);
        CU_ASSERT_TRUE(polling_pays(&polling));
    }
}

/* Between two slices the worker looks at its backend's events. A window is several slices. */
static void test_slices(void)
{
    start();
    kick_after(polling.max / 8);
    CU_ASSERT_EQUAL(look(0), POLLING_ON);
    CU_ASSERT(looks > 0);
    uint64_t since = polling.idle_since;
    CU_ASSERT_EQUAL(look(0), POLLING_ON);
    CU_ASSERT_EQUAL(polling.idle_since, since);
}

/* Looking in vain costs one window. After that the worker sleeps at once until so many kicks have
 * come soon; the number doubles each time in a row, up to a bound. */
static void test_in_vain(void)
{
    start();
    kick_after(polling.slice);
    for (unsigned int round = 0; round < 10; round++) {
        CU_ASSERT_TRUE(polling_pays(&polling));
        CU_ASSERT_EQUAL(look_to_the_end(), POLLING_OVER);
        CU_ASSERT_FALSE(polling_pays(&polling));
        CU_ASSERT_EQUAL(look(1), POLLING_OVER);
        CU_ASSERT_EQUAL(looks, 0);
        polling_ends(&polling, false);
        unsigned int kicks = 0;
        while (!polling_pays(&polling) && kicks < 10000) {
            kick_after(polling.slice);
            kicks++;
        }
        CU_ASSERT_EQUAL(kicks, 1 + (1u << (round < 8 ? round : 8)));
    }
}

/* If another process had the processor, this one looks no more. */
static void test_other_work(void)
{
    start();
    kick_after(polling.max / 8);
    polling.gap = 0;
    CU_ASSERT_EQUAL(look(0), POLLING_OVER);
    CU_ASSERT(looks >= 1 && looks < 10000); /* a slow counter stands still for some looks */
    CU_ASSERT_FALSE(polling_pays(&polling));
}

/* Looks that follow each other closely are no gap, however long they go on. */
static void test_no_gap(void)
{
    enum polling_result r = POLLING_OVER;
    for (unsigned int tries = 0; r != POLLING_ON && tries < 100; tries++) {
        start(); /* a busy machine may have gaps of its own */
        kick_after(polling.max / 8);
        polling.slice = ticks_of_us(600);
        polling.gap = ticks_of_us(200);
        r = look(0);
    }
    CU_ASSERT_EQUAL(r, POLLING_ON);
}

/* poll_us: 0 switches it off. With a single processor, looking would keep that processor from the
 * broker. */
static void test_off(void)
{
    cpu_set_t all, one;
    polling_init(&polling, 0, true);
    CU_ASSERT_EQUAL(polling.max, 0);
    CU_ASSERT_EQUAL(look(1), POLLING_OVER);
    polling_ends(&polling, true);
    CU_ASSERT_FALSE(polling_pays(&polling));
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    }
    CU_ASSERT_EQUAL_FATAL(sched_setaffinity(0, sizeof(one), &one), 0);
    polling_init(&polling, 100, true);
    CU_ASSERT_EQUAL(polling.max, 0);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof(all), &all), 0);
}

/* Windows are as long as poll_us says, by the kernel's clock. */
static void test_time(void)
{
    cpu_set_t all;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    if (CPU_COUNT(&all) < 2) {
        case_skipped("one processor");
        return;
    }
    polling_init(&polling, 1, false);
    CU_ASSERT(polling.max > 0);
    polling_init(&polling, 1000, false);
    CU_ASSERT_EQUAL(polling.slice, polling.max); /* nothing else is to be looked at */
    polling_init(&polling, 1000, true);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    uint64_t first = ticks_now(), ticks, us;
    do {
        clock_gettime(CLOCK_MONOTONIC, &end);
        ticks = ticks_now() - first;
        us = (uint64_t)(end.tv_sec - start.tv_sec) * 1000000u + (uint64_t)(end.tv_nsec / 1000) -
             (uint64_t)(start.tv_nsec / 1000);
    } while (us < 20000);
    double of_clock = (double)ticks * 1000 / (double)us;
    CU_ASSERT((double)polling.max > of_clock * 0.9);
    CU_ASSERT((double)polling.max < of_clock * 1.1);
    CU_ASSERT((double)polling.slice > of_clock / 60);
    CU_ASSERT((double)polling.slice < of_clock / 40);
    CU_ASSERT((double)polling.gap > of_clock / 12);
    CU_ASSERT((double)polling.gap < of_clock / 8);
}

int main(int argc, char **argv)
{
    ticks_init();
    CU_TestInfo tests[] = {
        {"while kicks come late the worker sleeps at once", test_sleeps_at_once},
        {"a kick that came soon opens a window", test_window_grows},
        {"an old kick does not make it smaller", test_window_stays},
        {"events of the backend do not open one", test_backend_events},
        {"what is found ends it", test_found},
        {"a window is several slices", test_slices},
        {"looking in vain closes it, each time for longer", test_in_vain},
        {"other work on the processor closes it", test_other_work},
        {"looks without a gap between them", test_no_gap},
        {"it can be switched off, and is with a single processor", test_off},
        {"it is as long as the key says", test_time},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "polling", tests);
}
