/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs of bao-seccomp. Each writes to stdout, for people or as JSON, about a selection of
 * the catalogue's listings.
 */
#ifndef POLICY_AUDIT_AUDIT_H
#define POLICY_AUDIT_AUDIT_H

#include <stdbool.h>

#include "policy/rule.h"

struct selection {
    const char *policy;    /* NULL: every one */
    enum policy_arch arch; /* POLICY_ARCHES: every one */
};

/* The first listing of the selection after `last` (NULL: from the start), or NULL. */
const struct policy_listing *selection_next(const struct selection *selection,
                                            const struct policy_listing *last);

/* Each returns 0, or -errno. */
int audit_list(const struct selection *selection, bool json);
int audit_show(const struct selection *selection, bool json);
int audit_hash(const struct selection *selection, bool json);

/* Writes a string in quotes. */
void json_string(const char *text);

#endif
