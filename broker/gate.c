/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gate.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <sys/epoll.h>

#include "common/eventfd.h"
#include "common/wait.h"

#define STACK_SIZE ((size_t)256 * 1024) /* aarch64 takes no less than 128 KiB */
#define EVENTS_MAX 16
#define BITS (VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG)

/* --- Raising ------------------------------------------------------------------------------- */

static bool is_idle(uint64_t interrupt)
{
    return (interrupt & INTERRUPT_STATE) == INTERRUPT_IDLE;
}

/* The line is RAISING: this thread or a predecessor has set it so. */
static void signal_irq(struct gate_line *line, uint64_t raising)
{
    atomic_store(&line->state->interrupt.raised, 1);
    (void)eventfd_signal(line->irq);
    /* This fails if the driver has already acknowledged the interrupt. The count tells that
     * interrupt from a later one. */
    atomic_compare_exchange_strong(&line->journal->interrupt, &raising,
                                   raising - INTERRUPT_RAISING + INTERRUPT_RAISED);
}

/* Returns whether an interrupt was raised. */
static bool raise_pending(struct gate_line *line)
{
    _Atomic uint64_t *interrupt = &line->journal->interrupt;
    _Atomic uint32_t *pending = &line->state->interrupt.pending;
    uint64_t now = atomic_load(interrupt), raising;
    uint32_t bits;
    do {
        bits = atomic_load(pending) & BITS;
        if (bits == 0 || !is_idle(now))
            return false;
        raising = (now | (uint64_t)bits << INTERRUPT_STATUS_SHIFT | INTERRUPT_RAISING) +
                  (UINT64_C(1) << INTERRUPT_COUNT_SHIFT);
    } while (!atomic_compare_exchange_weak(interrupt, &now, raising));
    /* Only after the bits are in InterruptStatus: then a kill between the two tells the driver
     * twice. In the other order it would never be told. */
    atomic_fetch_and(pending, ~bits);
    signal_irq(line, raising);
    return true;
}

/* --- Watching the call ----------------------------------------------------------------------- */

static int control(const struct gate_line *line, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLET, .data.u32 = line->number};
    return epoll_ctl(line->epoll, operation, line->call, &event) < 0 ? -errno : 0;
}

/* The entry is modified, not removed: adding it again could fail. If mute and unmute run at the
 * same time, the second one sees what the first has done, so in the end the call is watched. */
static void mute(struct gate_line *line)
{
    atomic_store(&line->muted, 1);
    (void)control(line, EPOLL_CTL_MOD, 0);
    if (!atomic_load(&line->muted))
        (void)control(line, EPOLL_CTL_MOD, EPOLLIN);
}

/* Take the calls that came while nobody listened. Set them pending before the call is emptied: then
 * a kill between the two tells the driver twice. In the other order it would never be told. A call
 * that comes after the poll is heard. */
static void take_unheard(struct gate_line *line)
{
    struct pollfd call = {.fd = line->call, .events = POLLIN};
    if (poll(&call, 1, 0) != 1)
        return;
    if (line->sets_no_bits)
        atomic_fetch_or(&line->state->interrupt.pending, VIRTIO_MMIO_INT_VRING);
    (void)eventfd_drain(line->call);
}

static void unmute(struct gate_line *line)
{
    if (!atomic_exchange(&line->muted, 0))
        return;
    take_unheard(line);
    /* This reports at once a signal that came after take_unheard. */
    (void)control(line, EPOLL_CTL_MOD, EPOLLIN);
}

static void hear(struct gate_line *line)
{
    if (!atomic_load(&line->open))
        return; /* gate_open takes this call */
    if (line->sets_no_bits)
        atomic_fetch_or(&line->state->interrupt.pending, VIRTIO_MMIO_INT_VRING);
    if (!raise_pending(line) && atomic_fetch_add(&line->unheard, 1) + 1 >= GATE_UNHEARD_MAX)
        mute(line);
}

static void *gate_thread(void *argument)
{
    struct gate *gate = argument;
    (void)eventfd_signal(gate->report);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = wait_events(gate->epoll, events, EVENTS_MAX, WAIT_FOR_EVER);
        for (int i = 0; i < count; i++)
            hear(gate->lines[events[i].data.u32]);
    }
    return NULL;
}

int gate_start(struct gate *gate)
{
    gate->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (gate->epoll < 0)
        return -errno;
    for (size_t i = 0; i < gate->line_count; i++) {
        gate->lines[i]->epoll = gate->epoll;
        gate->lines[i]->number = (uint32_t)i;
        int result = control(gate->lines[i], EPOLL_CTL_ADD, EPOLLIN);
        if (result < 0)
            return result;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    int result = -pthread_create(&gate->thread, &attributes, gate_thread, gate);
    pthread_attr_destroy(&attributes);
    return result;
}

/* --- For the relay --------------------------------------------------------------------------- */

void gate_open(struct gate_line *line)
{
    uint64_t interrupt = atomic_load(&line->journal->interrupt);
    /* A predecessor was killed around its signal. It is not known whether the driver has got the
     * signal, and one interrupt too many is harmless. */
    if ((interrupt & INTERRUPT_STATE) == INTERRUPT_RAISING)
        signal_irq(line, interrupt);
    atomic_store(&line->state->interrupt.raised, !is_idle(interrupt));
    atomic_store(&line->open, true);
    take_unheard(line);
    (void)raise_pending(line);
}

uint32_t gate_interrupt_status(struct gate_line *line)
{
    _Atomic uint32_t *pending = &line->state->interrupt.pending;
    /* The loads pair with the worker's store that sets the bit. The guest must not see the bit and
     * then an older used ring or configuration space. */
    uint32_t bits = atomic_load(pending) & BITS;
    uint64_t now = atomic_load(&line->journal->interrupt);
    while (bits != 0 && !is_idle(now)) {
        uint64_t told = now | (uint64_t)bits << INTERRUPT_STATUS_SHIFT;
        if (!atomic_compare_exchange_weak(&line->journal->interrupt, &now, told))
            continue;
        atomic_fetch_and(pending, ~bits); /* after the exchange, as in raise_pending */
        return (uint32_t)((told & INTERRUPT_STATUS) >> INTERRUPT_STATUS_SHIFT);
    }
    return (uint32_t)((now & INTERRUPT_STATUS) >> INTERRUPT_STATUS_SHIFT);
}

void gate_acknowledge(struct gate_line *line, uint64_t *acknowledges, uint32_t bits)
{
    volatile uint64_t *which = acknowledges;
    _Atomic uint64_t *interrupt = &line->journal->interrupt;
    uint64_t now = atomic_load(interrupt);
    if (*which == 0)
        *which = (now >> INTERRUPT_COUNT_SHIFT) + 1;
    /* Before the line is idle: a thread that finds it idle, with nothing pending, relies on a call
     * for each bit that is set later. */
    atomic_store(&line->state->interrupt.raised, 0);
    const uint64_t cleared = INTERRUPT_STATE | (uint64_t)(bits & BITS) << INTERRUPT_STATUS_SHIFT;
    while ((now >> INTERRUPT_COUNT_SHIFT) + 1 == *which &&
           !atomic_compare_exchange_weak(interrupt, &now, now & ~cleared))
        ;
    atomic_store(&line->unheard, 0);
    unmute(line);
}

void gate_raise_pending(struct gate_line *line)
{
    (void)raise_pending(line);
}

/* --- For the main thread --------------------------------------------------------------------- */

void gate_renew(struct gate_line *line, uint32_t bits)
{
    struct state_interrupt *interrupt = &line->state->interrupt;
    atomic_fetch_and(&interrupt->pending, BITS);
    atomic_fetch_or(&interrupt->pending, bits);
    /* Store 0 in any case: then the next worker signals at most once too often. */
    atomic_store(&interrupt->raised, 0);
    atomic_store(&line->unheard, 0);
    unmute(line);
    (void)eventfd_drain(line->call);
    /* The gate may not have heard the drained calls yet. */
    if (bits != 0 || !line->sets_no_bits)
        (void)eventfd_signal(line->call);
}
