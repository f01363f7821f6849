/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short times, measured by the processor's counter. The vDSO's clock reads it, too; but where the
 * kernel has chosen another clock, asking for the time is a system call, and reading the counter
 * never is.
 */
#ifndef WORKER_TICKS_H
#define WORKER_TICKS_H

#include <stdint.h>

static inline uint64_t ticks_now(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
#elif defined(__riscv) && __riscv_xlen == 64
    uint64_t value;
    __asm__ volatile("rdtime %0" : "=r"(value));
    return value;
#else
#error "which counter of this processor can a process read?"
#endif
}

/* Let another thread of the same processor core go on for a moment. */
static inline void ticks_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" : : : "memory");
#else
    __asm__ volatile("" : : : "memory");
#endif
}

/* Before lock-down, and before the next two: compare the counter with the clock. */
void ticks_init(void);

uint64_t ticks_of_us(uint32_t us);
/* Rounded up, so that a wait of that time is not too short. */
uint64_t ticks_to_ns(uint64_t ticks);

#endif
