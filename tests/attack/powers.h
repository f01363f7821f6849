/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker that was taken over can still do: each power that a policy leaves to it, and each
 * power that needs no system call; what bounds the power; and the attack that shows the bound.
 * test_powers compares this with the policies, with the attacks, and with the table in
 * docs/SECURITY.md. That table is made from this one (test_powers --markdown).
 */
#ifndef TESTS_ATTACK_POWERS_H
#define TESTS_ATTACK_POWERS_H

#include "tests/attack/attacks.h"

struct power {
    /* A rule as it stands in policies: call and conditions. So whoever changes a rule has to look
     * at its powers again. NULL: powers of memory and time, which need no call. */
    const char *rule;
    const char *power;
    const char *bound;
    enum attack attack; /* or ATTACK_NONE, and */
    const char *test;   /* the test that shows the bound instead */
};

/* The last row has no power. */
extern const struct power powers[];

#endif
