/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls were made under a policy, by which rules they were allowed, and which were not. */
#ifndef POLICY_AUTHOR_USAGE_H
#define POLICY_AUTHOR_USAGE_H

#include "policy/audit/audit.h"

#define USAGE_VALUES_MAX 4 /* values of one argument that are remembered */

/* A call that no rule allows. */
struct usage_denied {
    uint32_t number, arch_token;
    unsigned long count;
    struct {
        unsigned int count; /* beyond USAGE_VALUES_MAX: there were more */
        uint64_t values[USAGE_VALUES_MAX];
    } arguments[POLICY_ARGUMENTS];
};

struct usage {
    const struct policy_listing *listing;
    unsigned long processes, calls;
    unsigned long *rule_counts; /* one for each rule */
    /* How often each alternative of each condition was used; all are one after the other. */
    unsigned long *value_counts;
    size_t denied_count;
    struct usage_denied *denied;
};

/* Returns 0 or -ENOMEM. */
int usage_init(struct usage *usage, const struct policy_listing *listing);
int usage_note(struct usage *usage, const struct seccomp_data *data);
void usage_free(struct usage *usage);

/* Writes what was found about one policy. */
void usage_print(const struct usage *usage);
void usage_json(const struct usage *usage);

#endif
