/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process can do by a system call that is dangerous in most processes. A policy should not
 * allow such a call without a reason in its text.
 */
#ifndef POLICY_AUDIT_DANGER_H
#define POLICY_AUDIT_DANGER_H

#include "policy/audit/ways.h"
#include "policy/rule.h"

/* How far a power reaches, if everything else that confines the process were gone. */
enum rank {
    RANK_LOW,    /* it concerns what the process has already */
    RANK_MEDIUM, /* it reaches others, as far as other layers let it; or helps to use a hole */
    RANK_HIGH,   /* it reaches much of the kernel, or everyone */
    RANKS,
};

struct danger {
    const char *can; /* "runs another program" */
    enum rank rank;
    const char *reason; /* of the rank */
};

/* What the calls that meet these tests can do, if that is dangerous, or NULL. `call` may be NULL.
 */
const struct danger *danger_of_way(const char *call, const struct ways_test *tests, size_t count);

/* The worst that a rule allows, or NULL. */
const struct danger *danger_of(const struct policy_rule *rule);

const char *rank_name(enum rank rank);
unsigned int rank_points(enum rank rank);

/* "1 high, 2 low"; "" if there are none. */
void ranks_in_words(const size_t counts[RANKS], char *ret, size_t size);

#endif
