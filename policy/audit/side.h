/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What diff compares: the programs of a build, of a directory, of a file, or of a running process.
 * Texts are made into programs first, so that all of them can be compared with each other.
 */
#ifndef POLICY_AUDIT_SIDE_H
#define POLICY_AUDIT_SIDE_H

#include "policy/audit/audit.h"
#include "policy/audit/names.h"
#include "policy/audit/stack.h"

struct subject {
    char name[NAME_SIZE];
    enum policy_arch arch; /* POLICY_ARCHES: a foreign one, for whichever entries it asks for */
    struct stack stack;
    struct sock_filter *owned; /* by this subject, or NULL */
};

struct side {
    const char *words;      /* as asked for */
    bool single;            /* one policy, file or process: no others are missing */
    struct filters filters; /* of the process, if it is one */
    size_t count;
    struct subject subjects[NAMES_MAX * POLICY_ARCHES];
};

/* Loads into a side that is all zeros; free it with side_free(). Returns AUDIT_GOOD or
 * AUDIT_TROUBLE. */
int side_load(const char *what, struct side *side);
void side_free(struct side *side);

#endif
