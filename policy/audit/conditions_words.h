/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold of a call's arguments on one way through a program, in words. */
#ifndef POLICY_AUDIT_CONDITIONS_WORDS_H
#define POLICY_AUDIT_CONDITIONS_WORDS_H

#include "policy/audit/ways.h"
#include "policy/rule.h"

#define CONDITIONS_MAX 256 /* of one way; for more, the text says "more than is told here" */

/* A test of one argument, or of the instruction pointer (argument POLICY_ARGUMENTS), of up to 64
 * bits: (argument & mask) RELATION value. */
struct condition {
    unsigned int argument;
    enum ways_relation relation;
    uint64_t mask, value;
};

struct conditions {
    size_t count;
    struct condition items[CONDITIONS_MAX];
    bool more; /* than there is place for */
};

/* Collects what a way asks of the arguments; number and entry are left out. A test that follows
 * from other tests is left out, and the two halves of an argument are put together. Returns false
 * if no call can meet all the tests. */
bool conditions_collect(const struct ways_leaf *leaf, struct conditions *ret);

/*
 * For an auditor: "fd is the image (fd 8); flags is 0", or "" if the way asks for nothing.
 * `listing` names fds and constants; it may be NULL. `ret` is truncated if it is too small.
 */
void conditions_for_auditor(const struct ways_leaf *leaf, uint32_t number,
                            const struct policy_listing *listing, enum policy_arch arch, char *ret,
                            size_t size);

/*
 * "fd == 0x3 and flags & 0x7 != 0", or "" if the way asks for nothing. `call` gives the names of
 * the arguments; NULL: they are numbered. Returns false if no call can meet all the tests.
 */
bool conditions_in_words(const struct ways_leaf *leaf, const char *call, char *ret, size_t size);

#endif
