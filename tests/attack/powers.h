/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left to a worker that was taken over: each power that a policy leaves it, and each that
 * needs no system call; what bounds it; and the attack that shows the bound. test_powers holds this
 * against the policies, against the attacks, and against the table in docs/SECURITY.md, which is
 * made from it (test_powers --markdown).
 */
#ifndef TESTS_ATTACK_POWERS_H
#define TESTS_ATTACK_POWERS_H

#include "tests/attack/attacks.h"

struct power {
    /* A rule as policies have it, call and conditions: whoever changes one looks at its powers
     * again. NULL: of memory and time, which needs no call. */
    const char *rule;
    const char *power;
    const char *bound;
    enum attack attack; /* or ATTACK_NONE, and */
    const char *test;   /* what shows the bound instead */
};

/* Ends with a row without a power. */
extern const struct power powers[];

#endif
