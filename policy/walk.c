/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/walk.h"

enum answer { NO, YES, EITHER };

/* ---- What a comparison tells ---- */

static enum answer equal(const struct walk_word *word, uint32_t mask, uint32_t k)
{
    uint32_t known = word->known & mask;
    if ((k & ~mask) != 0 || ((word->value ^ k) & known) != 0)
        return NO;
    return known == mask ? YES : EITHER;
}

static enum answer has_bits(const struct walk_word *word, uint32_t mask, uint32_t k)
{
    uint32_t bits = mask & k;
    if ((word->value & bits) != 0)
        return YES;
    return (word->known & bits) == bits ? NO : EITHER;
}

static enum answer at_least(const struct walk_word *word, uint32_t mask, uint64_t k)
{
    uint32_t lowest = word->value & mask;
    uint32_t highest = lowest | (mask & ~word->known);
    if (lowest >= k)
        return YES;
    return highest < k ? NO : EITHER;
}

static enum answer compare(const struct sock_filter *at, const struct walk_state *state)
{
    const struct walk_word *word = &state->words[state->loaded];
    switch (BPF_OP(at->code)) {
    case BPF_JEQ:
        return equal(word, state->mask, at->k);
    case BPF_JSET:
        return has_bits(word, state->mask, at->k);
    case BPF_JGE:
        return at_least(word, state->mask, at->k);
    default: /* BPF_JGT */
        return at_least(word, state->mask, (uint64_t)at->k + 1);
    }
}

void walk_learn(struct walk_word *word, uint32_t bits, uint32_t value)
{
    word->known |= bits;
    word->value = (word->value & ~bits) | (value & bits);
}

/* Notes what follows from a comparison that could go either way, and went this way. */
static void learn_from(const struct sock_filter *at, struct walk_state *state, bool taken)
{
    struct walk_word *word = &state->words[state->loaded];
    uint32_t open = state->mask & ~word->known;
    bool one_bit = (open & (open - 1)) == 0;
    if (BPF_OP(at->code) == BPF_JEQ && taken)
        walk_learn(word, state->mask, at->k);
    else if (BPF_OP(at->code) == BPF_JEQ && one_bit)
        walk_learn(word, open, ~at->k);
    else if (BPF_OP(at->code) == BPF_JSET && !taken)
        walk_learn(word, state->mask & at->k, 0);
}

/* ---- The ways through the program ---- */

uint64_t walk_known(const struct walk_state *state, unsigned int index)
{
    const struct walk_word *low = &state->words[WALK_WORD_OF(args) + (size_t)2 * index];
    return (uint64_t)low[1].known << 32 | low[0].known;
}

uint64_t walk_value(const struct walk_state *state, unsigned int index)
{
    const struct walk_word *low = &state->words[WALK_WORD_OF(args) + (size_t)2 * index];
    return (uint64_t)low[1].value << 32 | low[0].value;
}

void walk_learn_argument(struct walk_state *state, unsigned int index, uint64_t mask,
                         uint64_t value)
{
    struct walk_word *low = &state->words[WALK_WORD_OF(args) + (size_t)2 * index];
    walk_learn(&low[0], (uint32_t)mask, (uint32_t)value);
    walk_learn(&low[1], (uint32_t)(mask >> 32), (uint32_t)(value >> 32));
}

/* The recursion is not deeper than the program is long. */
bool walk_program(struct walk *walk, const struct sock_filter *at, struct walk_state state)
{
    for (;; at++) {
        if (++walk->steps > WALK_STEPS_MAX)
            return false;
        switch (BPF_CLASS(at->code)) {
        case BPF_LD:
            state.loaded = at->k / sizeof(uint32_t);
            state.mask = UINT32_MAX;
            continue;
        case BPF_ALU:
            state.mask &= at->k;
            continue;
        case BPF_RET:
            return walk->leaf(walk->context, &state, at->k);
        default:
            break;
        }
        if (BPF_OP(at->code) == BPF_JA) {
            at += at->k;
            continue;
        }
        enum answer answer = compare(at, &state);
        if (answer == EITHER) {
            struct walk_state taken = state;
            learn_from(at, &taken, true);
            if (!walk_program(walk, at + 1 + at->jt, taken))
                return false;
            learn_from(at, &state, false);
        }
        at += answer == YES ? at->jt : at->jf;
    }
}
