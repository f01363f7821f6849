/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process may do by all of its programs together: --effective. A process of ours has the
 * keeper's program and its own. Which calls are allowed is read out of the programs; the policies,
 * where there are any, tell why.
 */
#ifndef POLICY_AUDIT_EFFECTIVE_H
#define POLICY_AUDIT_EFFECTIVE_H

#include "policy/audit/audit.h"
#include "policy/audit/process.h"
#include "policy/audit/stack.h"

/* The programs of a process, and the policies whose programs they are. */
struct effective {
    char name[PROCESS_TEXT]; /* "block/virtio"; "process 12" */
    enum policy_arch arch;
    struct filters filters;                             /* of a running process */
    struct stack stack;                                 /* in the order in which they are loaded */
    const struct policy_listing *listings[FILTERS_MAX]; /* NULL: a program of someone else's */
};

/*
 * Answers about each process that the question selects: the process of a policy of this build, or
 * the running one whose pid stands in place of the policy. `tell` returns 0 or -errno. Returns what
 * a verb does.
 */
int effective_answer(const struct question *question,
                     int (*tell)(const struct effective *effective, bool json));

/* list --effective */
int effective_list(const struct question *question);

#endif
