/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's random generator, whose bytes an entropy device hands out. On a machine where little
 * happens it gets ready only when a thread waits for it: then the kernel gathers what it needs, in
 * about a second. If no thread waits, it may take minutes. A worker must not wait, since its driver
 * would wait, too. A thread that has other work must not wait either. So if the generator is not
 * ready at the start, one thread of the broker waits for it once, and then ends.
 */
#ifndef BROKER_ENTROPY_H
#define BROKER_ENTROPY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Like getrandom(2). */
typedef ssize_t entropy_ask(void *to, size_t length, unsigned int flags);

struct entropy {
    entropy_ask *ask;
    int report;    /* eventfd: borrowed, signalled when the generator is ready */
    int64_t since; /* ms: since when a thread waits; 0: none does, or entropy_came has told */
    _Atomic int is_ready; /* the thread's last write to *entropy */
};

/* getrandom itself. */
ssize_t entropy_of_kernel(void *to, size_t length, unsigned int flags);

/*
 * Ask the generator. If it is not ready, start the thread, which uses *entropy as long as it runs.
 * Call it before the filter is loaded, since the filter has no clone, and while nobody else signals
 * `report`. Returns 1 if a thread waits for it now, 0 if it is ready (or can't be asked at all),
 * -errno.
 */
int entropy_begin(struct entropy *entropy, int report, entropy_ask *ask);

/* Has the generator become ready since the last call? If so, returns how long that took, in ms, at
 * least 1; otherwise 0. */
int64_t entropy_came(struct entropy *entropy);

#endif
