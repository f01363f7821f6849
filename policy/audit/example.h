/* SPDX-License-Identifier: Apache-2.0 */
/* Whether any call meets the tests of a way, and which one does. */
#ifndef POLICY_AUDIT_EXAMPLE_H
#define POLICY_AUDIT_EXAMPLE_H

#include "policy/audit/ways.h"

enum example {
    EXAMPLE_NONE,    /* the tests contradict each other */
    EXAMPLE_FOUND,   /* this call meets all of them */
    EXAMPLE_UNKNOWN, /* not found out within EXAMPLE_STEPS_MAX */
};

#define EXAMPLE_STEPS_MAX 4096u /* for each word of the call */

/* Bits that no test asks for are 0 in the example. It is set if one is found. */
enum example example_find(const struct ways_test *tests, size_t count, struct seccomp_data *ret);

/* False if the tests contradict each other for certain. */
bool example_may_exist(const struct ways_test *tests, size_t count);

#endif
