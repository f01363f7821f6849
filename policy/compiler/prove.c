/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/prove.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/bpf.h"
#include "policy/walk.h"

struct prover {
    const struct policy_listing *listing;
    struct policy_error *error;
    const struct policy_rule *rule; /* the rule whose calls must be allowed; NULL: see leaf() */
};

/* ---- What the rules say ---- */

static bool asks_for(const struct walk_state *state, const struct policy_condition *condition)
{
    if ((condition->mask & ~walk_known(state, condition->index)) != 0)
        return false;
    uint64_t value = walk_value(state, condition->index) & condition->mask;
    for (unsigned int v = 0; v < condition->value_count; v++) {
        if (value == condition->values[v])
            return true;
    }
    return false;
}

static bool is_known(const struct walk_word *word, uint32_t value)
{
    return word->known == UINT32_MAX && word->value == value;
}

static bool asks_for_all(const struct walk_state *state, const struct policy_rule *rule)
{
    if (!is_known(&state->words[WALK_WORD_OF(nr)], rule->number))
        return false;
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        if (!asks_for(state, &rule->conditions[i]))
            return false;
    }
    return true;
}

static bool asks_for_some_rule(const struct prover *prover, const struct walk_state *state)
{
    const struct policy_listing *listing = prover->listing;
    if (!is_known(&state->words[WALK_WORD_OF(arch)], policy_arch_token(listing->arch)))
        return false;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (asks_for_all(state, &listing->rules[i]))
            return true;
    }
    return false;
}

/* ---- What the program does ---- */

/* Sets the error, with `state` as a call: bits that are not known can have any value, here 0. */
static bool not_shown(const struct prover *prover, const struct walk_state *state, const char *what)
{
    struct seccomp_data data;
    uint32_t words[WALK_WORDS] = {0};
    for (size_t i = 0; i < WALK_WORDS; i++)
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

static bool leaf(void *context, const struct walk_state *state, uint32_t result)
{
    const struct prover *prover = context;
    bool allow = result == SECCOMP_RET_ALLOW;
    if (prover->rule)
        return allow || not_shown(prover, state, "may not allow");
    return !allow || asks_for_some_rule(prover, state) || not_shown(prover, state, "may allow");
}

static bool walk(struct prover *prover, const struct walk_state *start)
{
    struct walk walk = {.leaf = leaf, .context = prover};
    if (walk_program(&walk, prover->listing->program.filter, *start))
        return true;
    return walk.steps <= WALK_STEPS_MAX ? false : not_shown(prover, start, "has too many ways to");
}

static bool prove_rule(struct prover *prover, const struct policy_rule *rule)
{
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    prover->rule = rule;
    do {
        struct walk_state state = {0};
        walk_learn(&state.words[WALK_WORD_OF(nr)], UINT32_MAX, rule->number);
        walk_learn(&state.words[WALK_WORD_OF(arch)], UINT32_MAX,
                   policy_arch_token(prover->listing->arch));
        for (unsigned int i = 0; i < rule->condition_count; i++) {
            const struct policy_condition *condition = &rule->conditions[i];
            walk_learn_argument(&state, condition->index, condition->mask,
                                condition->values[choice[i]]);
        }
        if (!walk(prover, &state))
            return false;
    } while (policy_next_choice(rule, choice));
    return true;
}

bool policy_prove(const struct policy_listing *listing, struct policy_error *ret_error)
{
    struct prover prover = {.listing = listing, .error = ret_error};
    size_t index;
    const char *wrong = bpf_validate(listing->program.filter, listing->program.length, &index);
    if (wrong) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "policy/%s.policy: instruction %zu of the program compiled for %s %s",
                 listing->program.name, index, policy_arch_name(listing->arch), wrong);
        return false;
    }
    if (!walk(&prover, &(struct walk_state){0}))
        return false;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (!prove_rule(&prover, &listing->rules[i]))
            return false;
    }
    return true;
}
