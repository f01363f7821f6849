/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a call's arguments on one way through a program, in words. */
#ifndef POLICY_AUDIT_CONDITIONS_WORDS_H
#define POLICY_AUDIT_CONDITIONS_WORDS_H

#include "policy/audit/ways.h"

#define CONDITIONS_MAX 256 /* of one way; for more, the text says "more than is told here" */

/* False if the tests contradict each other: no call takes this way. */
bool conditions_can_hold(const struct ways_leaf *leaf);

/*
 * "fd == 0x3 and flags & 0x7 != 0", or "" if the way asks for nothing. A test that follows from
 * other tests is left out, and the two halves of an argument are put together. `call` gives the
 * names of the arguments; NULL: they are numbered. Returns false if no call can meet all the tests.
 */
bool conditions_in_words(const struct ways_leaf *leaf, const char *call, char *ret, size_t size);

#endif
