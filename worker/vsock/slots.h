/* SPDX-License-Identifier: Apache-2.0 */
/* A set of slots: the connections of a socket device that have something in common. */
#ifndef WORKER_VSOCK_SLOTS_H
#define WORKER_VSOCK_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/vsock/table.h"

#define SLOT_WORDS (VSOCK_CONNECTIONS_MAX / 64)

_Static_assert(VSOCK_CONNECTIONS_MAX % 64 == 0, "one bit each");

struct slots {
    uint32_t count;
    uint64_t words[SLOT_WORDS];
};

static inline bool slots_has(const struct slots *slots, uint32_t slot)
{
    return (slots->words[slot / 64] >> slot % 64 & 1) != 0;
}

static inline void slots_add(struct slots *slots, uint32_t slot)
{
    slots->count += !slots_has(slots, slot);
    slots->words[slot / 64] |= 1ull << slot % 64;
}

static inline void slots_drop(struct slots *slots, uint32_t slot)
{
    slots->count -= slots_has(slots, slot);
    slots->words[slot / 64] &= ~(1ull << slot % 64);
}

/* The first slot of the set from `from` on; after the last slot the search goes on at 0. VSOCK_NONE
 * if the set is empty. */
static inline uint32_t slots_next(const struct slots *slots, uint32_t from)
{
    if (slots->count == 0)
        return VSOCK_NONE;
    uint32_t word = from / 64 % SLOT_WORDS;
    uint64_t bits = slots->words[word] >> from % 64 << from % 64;
    while (bits == 0) {
        word = (word + 1) % SLOT_WORDS;
        bits = slots->words[word]; /* the first word again, now all of it: there is a slot */
    }
    return word * 64 + (uint32_t)__builtin_ctzll(bits);
}

#endif
