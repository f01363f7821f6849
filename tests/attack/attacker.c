/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/attack/attacker.h"

#include <errno.h>
#include <string.h>

#define STEPS_AN_ANSWER 64u

/* These names come from the linker (--wrap). */
void __real_transport_serve_mailbox(struct device *dev);
void __wrap_transport_serve_mailbox(struct device *dev);

static attack_run *const runs[ATTACK_COUNT] = {
#define X(name, words) [ATTACK_##name] = attack_##name,
    ATTACKS(X)
#undef X
};

static struct attack_report *report_of(const struct device *dev)
{
    return (struct attack_report *)(void *)(dev->window.base + attack_window_size(dev));
}

static void begin(struct device *dev, struct attack_report *report, uint32_t attack)
{
    if (attack == ATTACK_NONE || attack >= ATTACK_COUNT)
        return;
    atomic_store(&report->begun, attack);
    runs[attack](dev, report);
    atomic_store(&report->over, 1);
}

/* The attack that the access in the mailbox names; ATTACK_NONE if the access names none. */
static uint32_t named_in_mailbox(const struct device *dev)
{
    const struct state_mailbox *mailbox = &dev->state->mailbox;
    uint32_t seq = atomic_load_explicit(&mailbox->request_seq, memory_order_acquire);
    if (seq == atomic_load(&mailbox->response_seq) || !mailbox->is_write || mailbox->width != 4 ||
        mailbox->offset != ATTACK_REGISTER)
        return ATTACK_NONE;
    return (uint32_t)mailbox->value;
}

/* The access is answered first: for whoever made it, it is an access to a register that does not
 * exist. */
void __wrap_transport_serve_mailbox(struct device *dev)
{
    struct attack_report *report = report_of(dev);
    begin(dev, report, atomic_load(&report->each));
    uint32_t attack = named_in_mailbox(dev);
    __real_transport_serve_mailbox(dev);
    begin(dev, report, attack);
}

void attack_answer(struct device *dev)
{
    device_alive(dev);
    __real_transport_serve_mailbox(dev);
}

void attack_count(struct attack_report *report, long result)
{
    if (result < 0)
        atomic_store_explicit(&report->error, (uint32_t)errno, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&report->done, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&report->calls, 1, memory_order_relaxed);
}

void attack_step(struct device *dev, struct attack_report *report, long result)
{
    static uint32_t steps;
    attack_count(report, result);
    if (++steps % STEPS_AN_ANSWER == 0)
        attack_answer(dev);
}

uint64_t attack_random(void)
{
    static uint64_t state = 0x2545f4914f6cdd1dull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

void attack_spoil(void *at, size_t size)
{
    unsigned char *bytes = at;
    for (size_t i = 0; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
        uint64_t random = attack_random();
        memcpy(bytes + i, &random, sizeof(random));
    }
}

size_t attack_window_size(const struct device *dev)
{
    return (size_t)dev->window.size - ATTACK_REPORT_SIZE;
}
