/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/entropy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "broker/clock.h"
#include "common/eventfd.h"

#define STACK_SIZE ((size_t)256 * 1024) /* like a relay's stack */
#define START_MS 5000

/* Not getrandom of the C library: newer versions map memory of their own for it. */
ssize_t entropy_of_kernel(void *to, size_t length, unsigned int flags)
{
    return syscall(SYS_getrandom, to, length, flags);
}

static void *wait_for_it(void *argument)
{
    struct entropy *entropy = argument;
    uint8_t byte;
    (void)eventfd_signal(entropy->report); /* the system calls that start a thread are done */
    while (entropy->ask(&byte, sizeof(byte), 0) < 0 && errno == EINTR)
        ;
    atomic_store(&entropy->is_ready, 1);
    (void)eventfd_signal(entropy->report);
    /* Not by the C library: it frees the stack with system calls that the filter does not allow. */
    syscall(SYS_exit, 0);
    return NULL;
}

/* The thread blocks all signals: they are for the other threads. */
static int start_thread(struct entropy *entropy)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int result = -pthread_create(&thread, &attributes, wait_for_it, entropy);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* Wait, since the filter does not allow the system calls by which a thread is started. */
static int wait_until_it_runs(struct entropy *entropy)
{
    uint64_t count;
    struct pollfd report = {.fd = entropy->report, .events = POLLIN};
    if (poll(&report, 1, START_MS) <= 0 ||
        read(entropy->report, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return -ETIMEDOUT;
    if (atomic_load(&entropy->is_ready) != 0)
        (void)eventfd_signal(entropy->report); /* the second signal may have been read, too */
    return 0;
}

int entropy_begin(struct entropy *entropy, int report, entropy_ask *ask)
{
    uint8_t byte;
    *entropy = (struct entropy){.ask = ask, .report = report};
    if (ask(&byte, sizeof(byte), GRND_NONBLOCK) >= 0 || errno != EAGAIN)
        return 0;
    entropy->since = clock_ms();
    int result = start_thread(entropy);
    if (result == 0)
        result = wait_until_it_runs(entropy);
    return result < 0 ? result : 1;
}

int64_t entropy_came(struct entropy *entropy)
{
    if (entropy->since == 0 || atomic_load(&entropy->is_ready) == 0)
        return 0;
    int64_t took = clock_ms() - entropy->since;
    entropy->since = 0;
    return took > 0 ? took : 1;
}
