/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of a process's main thread, as the kernel hands them out; verify_threads.c compares
 * those of the other threads. All filters of a thread are in force, and the strictest answer
 * counts.
 */
#include <stdio.h>
#include <string.h>

#include "policy/audit/elf_notes.h"
#include "policy/audit/gap.h"
#include "policy/audit/verify.h"

/* How a filter that is not the policy's program differs from it. */
static void describe(const struct filters *filters, const struct policy_listing *policy, char *ret,
                     size_t size)
{
    struct stack loaded = {0}, expected = {0};
    if (filters->count == 0) {
        snprintf(ret, size, "no filter");
        return;
    }
    size_t last = filters->count - 1;
    unsigned short length = filters->items[last].length;
    stack_add(&loaded, filters->items[last].filter, length);
    stack_add(&expected, policy->program.filter, policy->program.length);
    if (stack_allows_unnamed(&loaded, policy_arch_token(policy->arch)))
        snprintf(ret, size, "a program of %u instructions that allows more than named calls",
                 length);
    else
        snprintf(ret, size, "another program, of %u instructions: allows %zu more, %zu less",
                 length, gaps_count(&loaded, &expected), gaps_count(&expected, &loaded));
}

static void verify_own_filter(struct report *report, const struct verified *verified)
{
    const struct policy_listing *policy = verified->policy;
    const struct filters *filters = &verified->filters;
    bool same = filters->count > 0 && process_has_program(filters, filters->count - 1, policy);
    struct report_row *row =
        report_add(report, verified->process, same ? AS_EXPECTED : NOT_AS_EXPECTED, "filter");
    snprintf(row->expected, sizeof(row->expected), "%s, %u instructions, SHA-256 %s",
             policy->program.name, policy->program.length, policy->program.hash);
    if (same)
        snprintf(row->found, sizeof(row->found), "%s", row->expected);
    else
        describe(filters, policy, row->found, sizeof(row->found));
}

/*
 * Whether the process has loaded what the ELF note of its program says of the policy. The hash of
 * what is loaded is that of the kernel's instructions, not that of this build.
 */
static void verify_note(struct report *report, const struct verified *verified)
{
    const struct filters *filters = &verified->filters;
    char path[64], loaded[SHA256_TEXT] = "no filter";
    struct elf_notes notes;
    snprintf(path, sizeof(path), "/proc/%d/exe", (int)verified->process->pid);
    int error = elf_notes_read(path, &notes);
    const char *hash =
        error == 0 ? elf_notes_find(&notes, verified->policy->program.name) : "can't be read";
    if (filters->count > 0)
        sha256_of_bytes(filters->items[filters->count - 1].filter,
                        filters->items[filters->count - 1].length * sizeof(struct sock_filter),
                        loaded);
    report_equal(report, verified->process, "note of its program", loaded,
                 hash ? hash : "has none of this policy");
}

/* All filters are in force, and the strictest answer counts: the process also has the keeper's
 * filter, below its own. */
static void verify_inherited(struct report *report, const struct verified *verified,
                             const struct filters *keeper_filters)
{
    const struct filters *filters = &verified->filters;
    size_t own = verified->policy ? 1 : 0;
    if (!verified->keeper) {
        size_t outer = filters->count > own ? filters->count - own : 0;
        if (outer > 0)
            snprintf(report_add(report, verified->process, TO_KNOW, "outer filters")->found,
                     REPORT_TEXT, "%zu, of whoever started it: they can only deny more", outer);
        return;
    }
    report_number(report, verified->process, "filters in force", keeper_filters->count + own,
                  filters->count);
    report_number(report, verified->process, "inherited filters", keeper_filters->count,
                  filters_alike(filters, keeper_filters));
}

void verify_field(struct report *report, const struct process *process, const char *key,
                  const char *expected)
{
    char found[REPORT_TEXT] = "";
    if (!process_field(process->pid, "status", key, found, sizeof(found)))
        snprintf(found, sizeof(found), "not shown by this kernel");
    report_equal(report, process, key, expected, found);
}

void verify_filters(struct report *report, const struct verified *verified,
                    const struct filters *keeper_filters)
{
    if (verified->policy) {
        verify_own_filter(report, verified);
        verify_note(report, verified);
    } else if (verified->process->role != PROCESS_OTHER) {
        snprintf(report_add(report, verified->process, NOT_AS_EXPECTED, "filter")->found,
                 REPORT_TEXT, "this build has no policy for a device of this name");
    }
    verify_inherited(report, verified, keeper_filters);
    verify_threads(report, verified);
    verify_field(report, verified->process, "Seccomp", "2");
    verify_field(report, verified->process, "NoNewPrivs", "1");
}
