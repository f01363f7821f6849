/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/effective.h"
#include "common/device_kind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/json.h"

/* ---- Where the programs come from ---- */

static void add_policy(struct effective *effective, const struct policy_listing *listing)
{
    effective->listings[effective->stack.count] = listing;
    stack_add(&effective->stack, listing->program.filter, listing->program.length);
}

static const struct policy_listing *policy_of(const char *name, enum policy_arch arch)
{
    const struct selection selection = {name, arch};
    return selection_next(&selection, NULL);
}

static void of_policy(const struct policy_listing *own, struct effective *ret)
{
    const struct policy_listing *keeper =
        policy_of(device_kind_keeper(own->program.name), own->arch);
    *ret = (struct effective){.arch = own->arch};
    snprintf(ret->name, sizeof(ret->name), "%s", own->program.name);
    if (own != keeper)
        add_policy(ret, keeper);
    add_policy(ret, own);
}

/* The policy of a program: that of the process, or the first that has it. */
static const struct policy_listing *policy_of_filter(const struct filters *filters, size_t index,
                                                     const struct policy_listing *own)
{
    const struct selection all = {NULL, POLICY_ARCH_NATIVE};
    if (own && process_has_program(filters, index, own))
        return own;
    for (const struct policy_listing *at = selection_next(&all, NULL); at;
         at = selection_next(&all, at)) {
        if (process_has_program(filters, index, at))
            return at;
    }
    return NULL;
}

static int of_process(pid_t pid, struct effective *ret)
{
    struct process process;
    *ret = (struct effective){.arch = POLICY_ARCH_NATIVE};
    snprintf(ret->name, sizeof(ret->name), "process %d", (int)pid);
    int error = process_read(pid, &process);
    if (error == 0)
        error = filters_read(pid, &ret->filters);
    if (error < 0 && error != -EINVAL) /* -EINVAL: a process that has no filter */
        return error;
    const struct policy_listing *own = process_policy(&process, &ret->filters);
    for (size_t i = 0; i < ret->filters.count; i++) {
        ret->listings[i] = policy_of_filter(&ret->filters, i, own);
        stack_add(&ret->stack, ret->filters.items[i].filter, ret->filters.items[i].length);
    }
    return 0;
}

/* ---- Which processes ---- */

static int answer(const struct question *question,
                  int (*tell)(const struct effective *effective, bool json),
                  struct effective *effective)
{
    int error = tell(effective, question->format == FORMAT_JSON);
    filters_free(&effective->filters);
    return error;
}

int effective_answer(const struct question *question,
                     int (*tell)(const struct effective *effective, bool json))
{
    const struct selection *selection = &question->selection;
    struct effective effective;
    pid_t pid = audit_pid(selection->policy);
    int error = pid > 0 ? of_process(pid, &effective) : 0;
    if (error < 0) {
        fprintf(stderr, "bao-seccomp: can't read the programs of '%s': %s\n", selection->policy,
                strerror(-error));
        return AUDIT_TROUBLE;
    }
    if (question->format == FORMAT_JSON)
        json_open('[');
    if (pid > 0)
        error = answer(question, tell, &effective);
    for (const struct policy_listing *at = pid > 0 ? NULL : selection_next(selection, NULL);
         at && error == 0; at = selection_next(selection, at)) {
        of_policy(at, &effective);
        error = answer(question, tell, &effective);
    }
    if (question->format == FORMAT_JSON && error == 0)
        json_close();
    return error;
}
