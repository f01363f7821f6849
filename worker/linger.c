/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/linger.h"

#include <sched.h>
#include <stdint.h>
#include <time.h>

/* About the time that a driver takes from its interrupt to its next requests. */
#define LINGER_NS 50000u
#define SAMPLE_LOOKS 1000u
#define LOOKS_MAX 100000u /* a bound for a clock that stands still */

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

unsigned int linger_calibrate(void)
{
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof(processors), &processors) < 0 || CPU_COUNT(&processors) < 2)
        return 0;
    uint64_t start = now_ns();
    for (unsigned int i = 0; i < SAMPLE_LOOKS; i++)
        relax();
    uint64_t taken = now_ns() - start;
    uint64_t looks = (uint64_t)SAMPLE_LOOKS * LINGER_NS / (taken > 0 ? taken : 1);
    return looks < LOOKS_MAX ? (unsigned int)looks : LOOKS_MAX;
}

bool linger(unsigned int looks, const struct virtqueue *vq, const struct state_mailbox *mailbox)
{
    for (unsigned int i = 0; i < looks; i++) {
        /* These loads are hints: the code that takes the chain or the access reads the index again,
         * with acquire. */
        uint32_t request = atomic_load_explicit(&mailbox->request_seq, memory_order_relaxed);
        if (virtqueue_available(vq) ||
            request != atomic_load_explicit(&mailbox->response_seq, memory_order_relaxed))
            return true;
        relax();
    }
    return false;
}
