/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/prove.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define STEPS_MAX 10000000u /* a program that takes more is none that libseccomp makes of rules */
#define WORDS (sizeof(struct seccomp_data) / sizeof(uint32_t))
#define WORD_OF(field) (offsetof(struct seccomp_data, field) / sizeof(uint32_t))

/* What is known of a 32-bit word of the input. */
struct word {
    uint32_t known; /* bits */
    uint32_t value; /* of the known bits; 0 in others */
};

/* What is known on one way through the program. The accumulator is a word under a mask. */
struct state {
    struct word words[WORDS];
    size_t loaded;
    uint32_t mask;
};

struct prover {
    const struct policy_listing *listing;
    struct policy_error *error;
    const struct policy_rule *rule; /* whose calls must be allowed; NULL: see leaf() */
    unsigned int steps;
};

enum answer { NO, YES, EITHER };

/* ---- What a comparison tells ---- */

static enum answer equal(const struct word *word, uint32_t mask, uint32_t k)
{
    uint32_t known = word->known & mask;
    if ((k & ~mask) != 0 || ((word->value ^ k) & known) != 0)
        return NO;
    return known == mask ? YES : EITHER;
}

static enum answer has_bits(const struct word *word, uint32_t mask, uint32_t k)
{
    uint32_t bits = mask & k;
    if ((word->value & bits) != 0)
        return YES;
    return (word->known & bits) == bits ? NO : EITHER;
}

static enum answer at_least(const struct word *word, uint32_t mask, uint64_t k)
{
    uint32_t lowest = word->value & mask;
    uint32_t highest = lowest | (mask & ~word->known);
    if (lowest >= k)
        return YES;
    return highest < k ? NO : EITHER;
}

static enum answer compare(const struct sock_filter *at, const struct state *state)
{
    const struct word *word = &state->words[state->loaded];
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

static void learn(struct word *word, uint32_t bits, uint32_t value)
{
    word->known |= bits;
    word->value = (word->value & ~bits) | (value & bits);
}

/* After a comparison that could go either way and went this way. What can't be told in known bits
 * ("is not 5") is left out: more ways are then followed than there are, but never fewer. */
static void learn_from(const struct sock_filter *at, struct state *state, bool taken)
{
    struct word *word = &state->words[state->loaded];
    uint32_t open = state->mask & ~word->known;
    bool one_bit = (open & (open - 1)) == 0;
    if (BPF_OP(at->code) == BPF_JEQ && taken)
        learn(word, state->mask, at->k);
    else if (BPF_OP(at->code) == BPF_JEQ && one_bit)
        learn(word, open, ~at->k);
    else if (BPF_OP(at->code) == BPF_JSET && !taken)
        learn(word, state->mask & at->k, 0);
}

/* ---- What the rules say ---- */

static void know_argument(struct state *state, unsigned int index, uint64_t mask, uint64_t value)
{
    struct word *low = &state->words[WORD_OF(args) + (size_t)2 * index], *high = low + 1;
    learn(low, (uint32_t)mask, (uint32_t)value);
    learn(high, (uint32_t)(mask >> 32), (uint32_t)(value >> 32));
}

static bool asks_for(const struct state *state, const struct policy_condition *condition)
{
    const struct word *low = &state->words[WORD_OF(args) + (size_t)2 * condition->index],
                      *high = low + 1;
    uint64_t known = (uint64_t)high->known << 32 | low->known;
    uint64_t value = (uint64_t)high->value << 32 | low->value;
    if ((condition->mask & ~known) != 0)
        return false;
    for (unsigned int v = 0; v < condition->value_count; v++) {
        if ((value & condition->mask) == condition->values[v])
            return true;
    }
    return false;
}

static bool asks_for_all(const struct state *state, const struct policy_rule *rule)
{
    if (equal(&state->words[WORD_OF(nr)], UINT32_MAX, rule->number) != YES)
        return false;
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        if (!asks_for(state, &rule->conditions[i]))
            return false;
    }
    return true;
}

static bool asks_for_some_rule(const struct prover *prover, const struct state *state)
{
    const struct policy_listing *listing = prover->listing;
    uint32_t token = policy_arch_token(listing->arch);
    if (equal(&state->words[WORD_OF(arch)], UINT32_MAX, token) != YES)
        return false;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (asks_for_all(state, &listing->rules[i]))
            return true;
    }
    return false;
}

/* ---- The ways through the program ---- */

/* `state` as a call: the bits that are not known can be anything, here 0. */
static bool not_shown(const struct prover *prover, const struct state *state, const char *what)
{
    struct seccomp_data data;
    uint32_t words[WORDS] = {0};
    for (size_t i = 0; i < WORDS; i++)
        words[i] = state->words[i].value;
    memcpy(&data, words, sizeof(data));
    snprintf(prover->error->text, sizeof(prover->error->text),
             "policy/%s.policy: the program compiled for %s %s call %" PRIu32
             " (%#llx, %#llx, %#llx, %#llx, %#llx, %#llx) of architecture %#" PRIx32 "%s%s",
             prover->listing->program.name, policy_arch_name(prover->listing->arch), what,
             (uint32_t)data.nr, data.args[0], data.args[1], data.args[2], data.args[3],
             data.args[4], data.args[5], data.arch,
             prover->rule ? ", which is allowed at " : ", which no rule allows",
             prover->rule ? prover->rule->source : "");
    return false;
}

static bool leaf(const struct prover *prover, const struct state *state, bool allow)
{
    if (prover->rule)
        return allow || not_shown(prover, state, "may not allow");
    return !allow || asks_for_some_rule(prover, state) || not_shown(prover, state, "may allow");
}

/* Follows every way from the instruction on. Recursion goes no deeper than the program is long. */
static bool follow(struct prover *prover, const struct sock_filter *at, struct state state)
{
    for (;; at++) {
        if (++prover->steps > STEPS_MAX)
            return not_shown(prover, &state, "has too many ways to");
        switch (BPF_CLASS(at->code)) {
        case BPF_LD:
            state.loaded = at->k / sizeof(uint32_t);
            state.mask = UINT32_MAX;
            continue;
        case BPF_ALU:
            state.mask &= at->k;
            continue;
        case BPF_RET:
            return leaf(prover, &state, at->k == SECCOMP_RET_ALLOW);
        default:
            break;
        }
        if (BPF_OP(at->code) == BPF_JA) {
            at += at->k;
            continue;
        }
        enum answer answer = compare(at, &state);
        if (answer == EITHER) {
            struct state taken = state;
            learn_from(at, &taken, true);
            if (!follow(prover, at + 1 + at->jt, taken))
                return false;
            learn_from(at, &state, false);
        }
        at += answer == YES ? at->jt : at->jf;
    }
}

static bool prove_rule(struct prover *prover, const struct policy_rule *rule)
{
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    prover->rule = rule;
    do {
        struct state state = {0};
        learn(&state.words[WORD_OF(nr)], UINT32_MAX, rule->number);
        learn(&state.words[WORD_OF(arch)], UINT32_MAX, policy_arch_token(prover->listing->arch));
        for (unsigned int i = 0; i < rule->condition_count; i++) {
            const struct policy_condition *condition = &rule->conditions[i];
            know_argument(&state, condition->index, condition->mask, condition->values[choice[i]]);
        }
        if (!follow(prover, prover->listing->program.filter, state))
            return false;
    } while (policy_next_choice(rule, choice));
    return true;
}

bool policy_prove(const struct policy_listing *listing, struct policy_error *ret_error)
{
    struct prover prover = {.listing = listing, .error = ret_error};
    if (!follow(&prover, listing->program.filter, (struct state){0}))
        return false;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (!prove_rule(&prover, &listing->rules[i]))
            return false;
    }
    return true;
}
