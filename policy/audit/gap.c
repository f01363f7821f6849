/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/gap.h"

#include <errno.h>
#include <stdlib.h>

#include "policy/audit/example.h"

struct finder {
    const struct stack *less;
    const struct ways_leaf *way; /* of the programs that allow more */
    bool (*found)(void *context, const struct gap *gap);
    void *context;
    int error;   /* of the inner walk */
    size_t left; /* ways that may still be followed */
};

/* The end of a way through the programs that allow less, for calls that the others allow. */
static bool look_at_denied(void *context, const struct ways_leaf *leaf)
{
    const struct finder *finder = context;
    struct gap gap = {.way = finder->way, .both = leaf};
    if (stack_allows(leaf) && !leaf->is_computed)
        return true;
    enum example example = example_find(leaf->tests, leaf->count, &gap.example);
    bool unclear =
        leaf->unclear || finder->way->unclear || leaf->is_computed || finder->way->is_computed;
    gap.certain = example == EXAMPLE_FOUND && !unclear;
    return example == EXAMPLE_NONE || finder->found(finder->context, &gap);
}

static bool look_at_allowed(void *context, const struct ways_leaf *leaf)
{
    struct finder *finder = context;
    if (!stack_allows(leaf))
        return true;
    finder->way = leaf;
    finder->error = stack_follow_some(finder->less, leaf->tests, leaf->count, &finder->left,
                                      look_at_denied, finder);
    return finder->error == 0;
}

int gaps_find(const struct stack *more, const struct stack *less, const struct ways_test *given,
              size_t count, bool (*found)(void *context, const struct gap *gap), void *context)
{
    struct finder finder = {
        .less = less, .found = found, .context = context, .left = STACK_WAYS_MAX};
    int error = stack_follow(more, given, count, look_at_allowed, &finder);
    return error == -ECANCELED ? finder.error : error;
}

static bool count_gap(void *context, const struct gap *gap)
{
    (void)gap;
    ++*(size_t *)context;
    return true;
}

size_t gaps_count(const struct stack *more, const struct stack *less)
{
    size_t count = 0;
    (void)gaps_find(more, less, NULL, 0, count_gap, &count);
    return count;
}

/* ---- Rules as a program ---- */

#define OF(field) ((uint32_t)offsetof(struct seccomp_data, field))
#define CHOICE_MAX (3 + 3 * RULE_TESTS_MAX) /* instructions of one choice of alternatives */

static size_t choices_of(const struct policy_rule *rule)
{
    size_t count = 1;
    for (unsigned int c = 0; c < rule->condition_count; c++)
        count *= rule->conditions[c].value_count;
    return count;
}

size_t rule_tests(const struct policy_rule *rule, const unsigned int *choice,
                  struct ways_test ret[RULE_TESTS_MAX])
{
    size_t count = 0;
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        for (unsigned int half = 0; half < 2; half++) {
            uint32_t mask = (uint32_t)(condition->mask >> (32 * half));
            uint32_t value = (uint32_t)(condition->values[choice[c]] >> (32 * half));
            unsigned int word = (unsigned int)WAYS_WORD_OF(args) + 2 * condition->index + half;
            if (mask != 0)
                ret[count++] = (struct ways_test){word, WAYS_EQUAL, mask, value};
        }
    }
    return count;
}

/* Adds a comparison. Where it goes if the word differs is set later. */
static struct sock_filter *add_test(struct sock_filter *at, const struct ways_test *test)
{
    *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4 * test->word);
    if (test->mask != UINT32_MAX)
        *at++ = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, test->mask);
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, test->value, 0, 0);
    return at;
}

static struct sock_filter *add_choice(struct sock_filter *at, const struct policy_rule *rule,
                                      const unsigned int *choice)
{
    struct ways_test tests[RULE_TESTS_MAX];
    size_t count = rule_tests(rule, choice, tests);
    struct sock_filter *first = at;
    at = add_test(at, &(struct ways_test){WAYS_WORD_OF(nr), WAYS_EQUAL, UINT32_MAX, rule->number});
    for (size_t i = 0; i < count; i++)
        at = add_test(at, &tests[i]);
    *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    for (; first < at; first++) {
        if (BPF_CLASS(first->code) == BPF_JMP)
            first->jf = (uint8_t)(at - first - 1);
    }
    return at;
}

int rules_program(const struct policy_listing *listing, const struct policy_rule *rules,
                  size_t rule_count, struct sock_filter **ret, size_t *ret_length)
{
    size_t choices = 0;
    for (size_t r = 0; r < rule_count; r++)
        choices += choices_of(&rules[r]);
    struct sock_filter *program = calloc(4 + choices * CHOICE_MAX, sizeof(*program));
    struct sock_filter *at = program;
    if (!program)
        return -ENOMEM;
    *at++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, OF(arch));
    *at++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                         policy_arch_token(listing->arch), 1, 0);
    *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    for (size_t r = 0; r < rule_count; r++) {
        unsigned int choice[POLICY_ARGUMENTS] = {0};
        do {
            at = add_choice(at, &rules[r], choice);
        } while (policy_next_choice(&rules[r], choice));
    }
    *at++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    *ret = program;
    *ret_length = (size_t)(at - program);
    return 0;
}
