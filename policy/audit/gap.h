/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which calls some programs allow and others do not: a proof, by every way through both. Nothing is
 * sampled. If no gap is found, there is none.
 */
#ifndef POLICY_AUDIT_GAP_H
#define POLICY_AUDIT_GAP_H

#include "policy/audit/stack.h"

struct gap {
    const struct ways_leaf *way;  /* through the programs that allow the calls */
    const struct ways_leaf *both; /* the calls of this way that the others do not allow */
    bool certain;                 /* false: no call was found, but there may be some */
    struct seccomp_data example;  /* such a call, if it is certain */
};

/*
 * `found` is called for each pair of ways by which `more` allows a call that `less` does not; false
 * ends the search. Only calls for which the given tests hold are looked at. Returns 0; -ECANCELED
 * if `found` ended it; -E2BIG if there are too many ways; -ENOMEM.
 */
int gaps_find(const struct stack *more, const struct stack *less, const struct ways_test *given,
              size_t count, bool (*found)(void *context, const struct gap *gap), void *context);

/* How many pairs of ways there are, of as many as can be followed. */
size_t gaps_count(const struct stack *more, const struct stack *less);

/* The tests that one choice of a rule's alternatives asks for. Returns how many there are. */
#define RULE_TESTS_MAX (2 * POLICY_ARGUMENTS)
size_t rule_tests(const struct policy_rule *rule, const unsigned int *choice,
                  struct ways_test ret[RULE_TESTS_MAX]);

/*
 * A program that allows what the rules allow, built in the most simple way: one alternative after
 * the other. The kernel may refuse it as too long. It is to be freed. Returns 0 or -ENOMEM.
 */
int rules_program(const struct policy_listing *listing, const struct policy_rule *rules,
                  size_t rule_count, struct sock_filter **ret, size_t *ret_length);

#endif
