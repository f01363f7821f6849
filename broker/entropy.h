/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's random generator, which an entropy device hands out. On a machine where little
 * happens it gets ready only when somebody waits for it: then the kernel gathers what it needs, in
 * a second or so, and nobody waits for it there by himself for minutes. A worker must not wait,
 * since its driver would; nor must anybody else who has other work. So where the generator is not
 * ready at the start, a thread of the broker's waits for it, once, and ends.
 */
#ifndef BROKER_ENTROPY_H
#define BROKER_ENTROPY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* As getrandom(2). */
typedef ssize_t entropy_ask(void *to, size_t length, unsigned int flags);

struct entropy {
    entropy_ask *ask;
    int report;           /* eventfd: borrowed, signalled when it is ready */
    int64_t since;        /* ms: waited for since then; 0: it is not, or that has been told */
    _Atomic int is_ready; /* the thread's last word */
};

/* getrandom itself. */
ssize_t entropy_of_kernel(void *to, size_t length, unsigned int flags);

/*
 * Ask, and if it is not ready start the thread, which uses *entropy as long as it runs. Before the
 * filter, which has no clone, and when nobody else signals `report`. Returns 1 if it is waited for
 * now, 0 if it is ready (or can't be asked for at all), -errno.
 */
int entropy_begin(struct entropy *entropy, int report, entropy_ask *ask);

/* Has it become ready since the last call? Then returns how long that took, in ms, at least 1; else
 * 0. */
int64_t entropy_came(struct entropy *entropy);

#endif
