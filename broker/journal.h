/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay's journal: the requests that were taken from the dispatcher and not yet completed. A
 * request that is lost stops a frontend's vCPU for ever, so the journal must survive the broker.
 *
 * It lies in its own memfd. The keeper holds the memfd, and no worker ever gets it: a process that
 * could write to it could make the broker complete requests of its choice.
 *
 * The driver's ATTACH copies a request straight into a slot of it. So a request is never in the
 * broker's memory only. A slot goes through
 *
 *     EMPTY ---ATTACH fills request_id--> TAKEN ---phase = COMPLETING; COMPLETE--> EMPTY
 *
 * and a kill between any two instructions leaves one of these:
 *   EMPTY       nothing to do;
 *   TAKEN       the vCPU certainly waits: carry out the access (again: that is harmless, see
 *               `acknowledges`) and complete it;
 *   COMPLETING  the kill came around COMPLETE, and the vCPU waits or has gone on. Request ids are
 *               used again, so the same id may stand for a newer request by now. The successor
 *               looks for that request: it attaches into another slot for a while. If a request
 *               with the same id comes, the old one had been completed and is dropped. If none
 *               comes, its vCPU is most likely still waiting, and it is completed with the answer
 *               that the slot holds (if the dispatcher refuses, it had been completed).
 *
 * It is only "most likely" because a vCPU that has gone on can make its next access between the
 * last look and that completion. Then the completion goes to that new access. The driver does not
 * know this, and still hands out the new request later. If the broker completed it then, that would
 * complete the request after it, and so on for ever. So the id of a request that was completed in
 * doubt is noted in `doubts`. The next request with that id is then also in doubt when it has to be
 * completed.
 *
 * Only the device's relay thread writes the slots. All functions are pure except that they write to
 * this memory.
 *
 * The interrupt's state lies here as well (gate.h): a successor must know whether an interrupt is
 * outstanding, and must not take a worker's word for it.
 */
#ifndef BROKER_JOURNAL_H
#define BROKER_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/bao_abi.h"

#define JOURNAL_MAGIC 0x6c6e726a64766221ull /* "!bvdjrnl" */
#define JOURNAL_VERSION 2u
#define JOURNAL_SIZE 4096u
/* In normal use one slot is enough. A successor that looks for newer requests, and is killed as
 * well, leaves more. The dispatcher has at most one request in flight for each physical CPU. */
#define JOURNAL_SLOTS 8u
#define JOURNAL_NO_REQUEST UINT64_MAX /* request_id of a slot that ATTACH has not filled */

enum journal_phase { PHASE_ATTACHING = 0, PHASE_COMPLETING = 1 };

enum slot_state { SLOT_EMPTY, SLOT_TAKEN, SLOT_COMPLETING };

/*
 * `interrupt` of struct journal is one word, so that a kill never leaves half of a step. Bits 0 and
 * 1 are one of the states, bits 2 and 3 are InterruptStatus (VirtIO 1.2 §4.2.2), and the rest
 * counts the interrupts that were raised.
 */
#define INTERRUPT_STATE UINT64_C(3)
#define INTERRUPT_IDLE UINT64_C(0)    /* none is outstanding */
#define INTERRUPT_RAISING UINT64_C(1) /* the irqfd is being signalled */
#define INTERRUPT_RAISED UINT64_C(2)  /* the driver has not acknowledged it yet */
#define INTERRUPT_STATUS_SHIFT 2
#define INTERRUPT_STATUS (UINT64_C(3) << INTERRUPT_STATUS_SHIFT)
#define INTERRUPT_COUNT_SHIFT 4

struct journal_slot {
    struct bao_io_request request; /* written by the kernel in ATTACH */
    _Atomic uint32_t phase;        /* enum journal_phase */
    uint32_t reserved;
    /* For a write that acknowledges an interrupt: the count of that interrupt, + 1; 0: not yet. A
     * successor that carries out the write again then acknowledges the same interrupt, and not one
     * that was raised in the meantime. */
    uint64_t acknowledges;
};

struct journal {
    uint64_t magic;
    uint32_t version;
    /* The device was given up at some access: its driver has been told values that the state
     * page does not hold. Set by the relay, cleared by the supervisor between two workers. */
    _Atomic uint32_t given_up;
    uint64_t doubts;            /* bit id: its request was completed in doubt; ids below 64 */
    _Atomic uint64_t interrupt; /* written by the gate and the relay */
    uint64_t reserved[4];
    struct journal_slot slots[JOURNAL_SLOTS];
};

_Static_assert(sizeof(struct journal_slot) == 64, "one cache line");
_Static_assert(sizeof(struct journal) <= JOURNAL_SIZE, "one page");

/* Make an empty journal from the zeroes of a new memfd. */
void journal_init(struct journal *journal);

/* Was it written by this version? If not, a new journal has to be started. */
bool journal_usable(const struct journal *journal);

enum slot_state journal_slot_state(const struct journal_slot *slot);

/* The first empty slot, ready for ATTACH; NULL if there is none. */
struct journal_slot *journal_attach_slot(struct journal *journal);

/* TAKEN to COMPLETING: from here on the answer is in the slot. */
void journal_completing(struct journal_slot *slot, uint64_t answer);

/* To EMPTY: COMPLETE has returned, or the request turned out to have been completed. */
void journal_done(struct journal_slot *slot);

/* A request has come into `slot`. If another slot is COMPLETING with the same id, its request had
 * been completed, and that slot is dropped. Returns how many were dropped. */
unsigned int journal_drop_older(struct journal *journal, const struct journal_slot *slot);

/* A request with the slot's id was completed in doubt (`doubt`), or there is no doubt any more. */
void journal_set_doubt(struct journal *journal, const struct journal_slot *slot, bool doubt);
bool journal_in_doubt(const struct journal *journal, const struct journal_slot *slot);

/* The first slot in that state; NULL if there is none. */
struct journal_slot *journal_find(struct journal *journal, enum slot_state state);

#endif
