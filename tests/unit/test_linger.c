/* SPDX-License-Identifier: Apache-2.0 */
/* Lingering: it is bounded, and ends as soon as there is something to do. */
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "tests/cunit_main.h"
#include "worker/linger.h"

#define LOOKS 1000u

static struct {
    struct vring_avail avail;
    uint16_t ring[16];
} driver;
static struct virtqueue vq = {.split.avail = &driver.avail, .size = 16};
static struct state_mailbox mailbox;

static void set(uint16_t avail, uint16_t taken, uint32_t request, uint32_t response)
{
    driver.avail.idx = avail;
    vq.next_avail = taken;
    atomic_store(&mailbox.request_seq, request);
    atomic_store(&mailbox.response_seq, response);
}

static void test_ends(void)
{
    set(7, 7, 3, 3);
    CU_ASSERT_FALSE(linger(LOOKS, &vq, &mailbox));
    CU_ASSERT_FALSE(linger(0, &vq, &mailbox));
}

static void test_chain(void)
{
    set(8, 7, 3, 3);
    CU_ASSERT_TRUE(linger(LOOKS, &vq, &mailbox));
    set(0, UINT16_MAX, 3, 3);
    CU_ASSERT_TRUE(linger(LOOKS, &vq, &mailbox));
    CU_ASSERT_FALSE(linger(0, &vq, &mailbox));
}

static void test_register_access(void)
{
    set(7, 7, 4, 3);
    CU_ASSERT_TRUE(linger(LOOKS, &vq, &mailbox));
}

static double linger_us(unsigned int looks)
{
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    CU_ASSERT_FALSE(linger(looks, &vq, &mailbox));
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) * 1e6 + (double)(end.tv_nsec - start.tv_nsec) / 1e3;
}

/* Some tens of microseconds. We take the shortest of many, since this process may lose its
 * processor. */
static void test_time(void)
{
    set(7, 7, 3, 3);
    double shortest = 1e9;
    unsigned int looks = linger_calibrate();
    for (int i = 0; i < 100; i++) {
        double us = linger_us(looks);
        shortest = us < shortest ? us : shortest;
    }
    cpu_set_t all;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    if (CPU_COUNT(&all) > 1)
        CU_ASSERT(looks > 0);
    CU_ASSERT(shortest < 500);
}

/* With a single processor, lingering would keep the processor from the broker. */
static void test_single_processor(void)
{
    cpu_set_t all, one;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &all))
            CPU_SET(i, &one);
    }
    CU_ASSERT_EQUAL_FATAL(sched_setaffinity(0, sizeof(one), &one), 0);
    CU_ASSERT_EQUAL(linger_calibrate(), 0);
    CU_ASSERT_EQUAL(sched_setaffinity(0, sizeof(all), &all), 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"it ends", test_ends},
        {"a chain ends it", test_chain},
        {"a register access ends it", test_register_access},
        {"it is short", test_time},
        {"not with a single processor", test_single_processor},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "lingering", tests);
}
