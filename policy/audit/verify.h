/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of verify, each group of which adds rows to a report. */
#ifndef POLICY_AUDIT_VERIFY_H
#define POLICY_AUDIT_VERIFY_H

#include "policy/audit/report.h"

/* One process, and what it is compared with. */
struct verified {
    const struct process *process;
    const struct process *keeper; /* its parent; NULL for a keeper, or if there is none */
    const struct process *all;    /* every process of ours */
    size_t count;
    struct filters filters;
    const struct policy_listing *policy; /* NULL: none is to be in force */
};

void verify_filters(struct report *report, const struct verified *verified,
                    const struct filters *keeper_filters);
void verify_privileges(struct report *report, const struct verified *verified);
void verify_namespaces(struct report *report, const struct verified *verified);
void verify_memory(struct report *report, const struct verified *verified);
void verify_fds(struct report *report, const struct verified *verified);

#endif
