/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/journal.h"

#include <stddef.h>

/*
 * The order of stores matters only for a kill, never for another CPU: the successor maps what this
 * process stored before it died. So it is enough that the compiler keeps the order. Release stores
 * and volatile accesses ensure this.
 */

static uint64_t request_id_of(const struct journal_slot *slot)
{
    return *(const volatile uint64_t *)&slot->request.request_id;
}

void journal_init(struct journal *journal)
{
    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++)
        journal_done(&journal->slots[i]);
    atomic_store(&journal->given_up, 0);
    journal->doubts = 0;
    atomic_store(&journal->interrupt, INTERRUPT_IDLE);
    journal->version = JOURNAL_VERSION;
    journal->magic = JOURNAL_MAGIC;
}

bool journal_usable(const struct journal *journal)
{
    return journal->magic == JOURNAL_MAGIC && journal->version == JOURNAL_VERSION;
}

enum slot_state journal_slot_state(const struct journal_slot *slot)
{
    uint32_t phase = atomic_load_explicit(&slot->phase, memory_order_acquire);
    if (request_id_of(slot) == JOURNAL_NO_REQUEST)
        return SLOT_EMPTY; /* in any phase: journal_attach_slot sets it */
    return phase == PHASE_COMPLETING ? SLOT_COMPLETING : SLOT_TAKEN;
}

struct journal_slot *journal_attach_slot(struct journal *journal)
{
    struct journal_slot *slot = journal_find(journal, SLOT_EMPTY);
    if (slot) {
        *(volatile uint64_t *)&slot->acknowledges = 0;
        atomic_store_explicit(&slot->phase, PHASE_ATTACHING, memory_order_release);
    }
    return slot;
}

void journal_completing(struct journal_slot *slot, uint64_t answer)
{
    slot->request.value = answer;
    /* Stored after the answer: a successor completes with the answer that it finds there. */
    atomic_store_explicit(&slot->phase, PHASE_COMPLETING, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
}

void journal_done(struct journal_slot *slot)
{
    atomic_signal_fence(memory_order_seq_cst);
    *(volatile uint64_t *)&slot->request.request_id = JOURNAL_NO_REQUEST;
}

unsigned int journal_drop_older(struct journal *journal, const struct journal_slot *newer)
{
    unsigned int dropped = 0;
    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++) {
        struct journal_slot *slot = &journal->slots[i];
        if (slot != newer && journal_slot_state(slot) == SLOT_COMPLETING &&
            request_id_of(slot) == request_id_of(newer)) {
            journal_done(slot);
            dropped++;
        }
    }
    return dropped;
}

static uint64_t doubt_bit(const struct journal_slot *slot)
{
    uint64_t id = request_id_of(slot);
    return id < 64 ? 1ull << id : 0;
}

void journal_set_doubt(struct journal *journal, const struct journal_slot *slot, bool doubt)
{
    volatile uint64_t *doubts = &journal->doubts;
    *doubts = doubt ? *doubts | doubt_bit(slot) : *doubts & ~doubt_bit(slot);
}

bool journal_in_doubt(const struct journal *journal, const struct journal_slot *slot)
{
    return (journal->doubts & doubt_bit(slot)) != 0;
}

struct journal_slot *journal_find(struct journal *journal, enum slot_state state)
{
    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++) {
        if (journal_slot_state(&journal->slots[i]) == state)
            return &journal->slots[i];
    }
    return NULL;
}
