/* SPDX-License-Identifier: Apache-2.0 */
/* Monotonic time, for deadlines and measurements. */
#ifndef TESTS_STANDIN_CLOCK_H
#define TESTS_STANDIN_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_us(void)
{
    return now_ns() / 1000;
}

static inline uint64_t now_ms(void)
{
    return now_ns() / 1000000;
}

#endif
