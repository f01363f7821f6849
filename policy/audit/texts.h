/* SPDX-License-Identifier: Apache-2.0 */
/* The policies of a directory of texts. */
#ifndef POLICY_AUDIT_TEXTS_H
#define POLICY_AUDIT_TEXTS_H

#include "policy/audit/names.h"
#include "policy/compiler/parse.h"

struct texts {
    size_t count; /* by name, then by architecture */
    struct parsed_policy policies[NAMES_MAX * POLICY_ARCHES];
};

/* Whether the directory has a *.policy in it, or in a directory below it. */
bool texts_are_in(const char *directory);

/* Reads every policy for every architecture. `mistake` is called for each policy that can't be
 * read; the others are returned. Free with texts_free(). Returns 0 or -errno. */
int texts_read(const char *directory, void (*mistake)(void *context, const char *text),
               void *context, struct texts **ret);

void texts_free(struct texts *texts);

#endif
