/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay's journal: which requests were taken from the dispatcher and not yet completed. A
 * request that is lost freezes a frontend's vCPU for good, so it must survive the broker.
 *
 * It lies in a memfd of its own that the keeper holds and that no worker ever gets: whoever
 * could write it could make the broker complete requests of its choice.
 *
 * The driver's ATTACH copies a request straight into a slot of it, so there is no moment at
 * which a request is in the broker's memory only. A slot goes through
 *
 *     EMPTY ---ATTACH fills request_id--> TAKEN ---phase = COMPLETING; COMPLETE--> EMPTY
 *
 * and a kill between any two instructions leaves one of these:
 *   EMPTY       nothing to do;
 *   TAKEN       the vCPU certainly waits: carry the access out (again: that is harmless, see
 *               `acknowledges`) and complete it;
 *   COMPLETING  the kill fell around COMPLETE, and the vCPU waits or has gone on. Request ids
 *               are used again, so the same id may stand for a newer request by now. The
 *               successor looks for that one: it attaches into another slot for a while. If a
 *               request with the same id comes, the old one had been completed and is dropped;
 *               if none comes, its vCPU is most likely still waiting, and it is completed with
 *               the answer that the slot holds (if the dispatcher refuses, it had been
 *               completed).
 *
 * Most likely: a vCPU that had gone on can make its next access between the last look and that
 * completion, which then is its own. The driver does not know that, and still has the request to
 * hand out; were it completed when it comes, that would be the completion of the one after it, and
 * so on for ever. So the id of a request that was completed in doubt is noted in `doubts`: the
 * next request under it is in doubt as well when it is to be completed.
 *
 * Single writer of the slots: the device's relay thread. All functions are pure but for the memory.
 *
 * The interrupt's state lies here as well (gate.h), since a successor must know whether one is
 * outstanding, and no worker may say so.
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
/* In normal use one slot is enough; a successor that looks for newer requests, and is killed
 * as well, leaves more. The dispatcher has one request in flight for each physical CPU. */
#define JOURNAL_SLOTS 8u
#define JOURNAL_NO_REQUEST UINT64_MAX /* request_id of a slot that ATTACH has not filled */

enum journal_phase { PHASE_ATTACHING = 0, PHASE_COMPLETING = 1 };

enum slot_state { SLOT_EMPTY, SLOT_TAKEN, SLOT_COMPLETING };

/*
 * struct journal, interrupt, is one word, so that no kill leaves half of a step: bits 0 and 1 are
 * one of the states, bits 2 and 3 InterruptStatus (VirtIO 1.2 §4.2.2), and the rest is the count of
 * the interrupts that were raised.
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
    /* Of a write that acknowledges an interrupt: its count, + 1; 0: not yet. A successor that
     * carries the write out again then acknowledges the same one, and none that was raised
     * meanwhile. */
    uint64_t acknowledges;
};

struct journal {
    uint64_t magic;
    uint32_t version;
    /* The device was given up at some access: its driver has been told values that the state
     * page does not hold. Set by the relay, cleared by the supervisor between two workers. */
    _Atomic uint32_t given_up;
    uint64_t doubts; /* bit id: a request under it was completed in doubt; ids below 64 */
    _Atomic uint64_t interrupt; /* by the gate and the relay */
    uint64_t reserved[4];
    struct journal_slot slots[JOURNAL_SLOTS];
};

_Static_assert(sizeof(struct journal_slot) == 64, "one cache line");
_Static_assert(sizeof(struct journal) <= JOURNAL_SIZE, "one page");

/* Make an empty journal of a new memfd's zeroes. */
void journal_init(struct journal *journal);

/* Was it written by this version? If not, it has to be started anew. */
bool journal_usable(const struct journal *journal);

enum slot_state journal_slot_state(const struct journal_slot *slot);

/* The first empty slot, ready for ATTACH; NULL if there is none. */
struct journal_slot *journal_attach_slot(struct journal *journal);

/* TAKEN to COMPLETING: from here on the answer is in the slot. */
void journal_completing(struct journal_slot *slot, uint64_t answer);

/* To EMPTY: COMPLETE has returned, or the request turned out to have been completed. */
void journal_done(struct journal_slot *slot);

/* A request has come into `slot`: every other slot that is COMPLETING under the same id had
 * been completed; they are dropped. Returns how many. */
unsigned int journal_drop_older(struct journal *journal, const struct journal_slot *slot);

/* A request under the slot's id was completed in doubt, or is no longer. */
void journal_set_doubt(struct journal *journal, const struct journal_slot *slot, bool doubt);
bool journal_in_doubt(const struct journal *journal, const struct journal_slot *slot);

/* The first slot in that state; NULL if there is none. */
struct journal_slot *journal_find(struct journal *journal, enum slot_state state);

#endif
