/* SPDX-License-Identifier: Apache-2.0 */
/* A report for tools, and as statements that can be compared with those of another one. */
#include <stdio.h>
#include <string.h>

#include "policy/audit/json.h"
#include "policy/audit/report.h"

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

/* Steps to the first row of each process: `at` is the row before, or the count to begin with.
 * Returns the count after the last one. */
static size_t next_process(const struct report *report, size_t at)
{
    size_t next = at == report->count ? 0 : at + 1;
    while (at != report->count && next < report->count &&
           report->rows[next].process == report->rows[at].process)
        next++;
    return next;
}

/* Whether no row before this one has a process with this configuration. */
static bool is_first_of_configuration(const struct report *report, size_t row)
{
    const char *name = report->rows[row].process->origin.configuration;
    for (size_t i = 0; i < row; i++) {
        if (strcmp(report->rows[i].process->origin.configuration, name) == 0)
            return false;
    }
    return name[0] != '\0';
}

/* ---- JSON ---- */

static void print_machine(const struct evidence *evidence)
{
    json_text_of("time", evidence->time);
    json_text_of("host", evidence->host);
    json_key("kernel");
    json_open('{');
    json_text_of("release", evidence->kernel);
    json_text_of("version", evidence->kernel_version);
    json_text_of("machine", evidence->machine);
    json_close();
    json_key("auditor");
    json_open('{');
    json_text_of("version", BVDM_VERSION);
    json_text_of("sha256", or_null(evidence->auditor));
    json_close();
}

static void print_policies(void)
{
    const struct selection native = {NULL, POLICY_ARCH_NATIVE};
    json_key("policies");
    json_open('[');
    for (const struct policy_listing *at = selection_next(&native, NULL); at;
         at = selection_next(&native, at)) {
        json_open('{');
        json_text_of("policy", at->program.name);
        json_text_of("arch", policy_arch_name(at->arch));
        json_text_of("sha256", at->program.hash);
        json_close();
    }
    json_close();
}

static void print_configurations(const struct report *report)
{
    json_key("configurations");
    json_open('[');
    for (size_t i = 0; i < report->count; i++) {
        const struct origin *origin = &report->rows[i].process->origin;
        if (!is_first_of_configuration(report, i))
            continue;
        json_open('{');
        json_text_of("file", origin->configuration);
        json_text_of("sha256", or_null(origin->configuration_hash));
        json_close();
    }
    json_close();
}

static void print_row(const struct report_row *row)
{
    json_open('{');
    json_text_of("check", row->check);
    json_text_of("verdict", report_verdict_name(row->verdict));
    json_text_of("expected", row->expected);
    json_text_of("found", row->found);
    json_bool_of("lasting", report_is_lasting(row));
    json_close();
}

static void print_processes(const struct report *report)
{
    json_key("processes");
    json_open('[');
    for (size_t first = next_process(report, report->count); first < report->count;) {
        const struct process *process = report->rows[first].process;
        size_t end = next_process(report, first);
        json_open('{');
        json_number_of("pid", (uint64_t)process->pid);
        json_text_of("role", process_role_name(process->role));
        json_text_of("name", process->name);
        json_text_of("program", process->program);
        json_text_of("sha256", or_null(process->origin.program_hash));
        json_text_of("configuration", or_null(process->origin.configuration));
        json_key("checks");
        json_open('[');
        for (size_t i = first; i < end; i++)
            print_row(&report->rows[i]);
        json_close();
        json_close();
        first = end;
    }
    json_close();
}

static void print_summary(const struct report *report)
{
    json_key("summary");
    json_open('{');
    json_number_of("processes", report->process_count);
    json_number_of("others", report->other_count);
    json_number_of("checks", report->count);
    json_number_of("not_readable", report->unseen);
    json_number_of("not_as_expected", report->wrong);
    json_close();
}

static void print_changes(const struct report *report)
{
    json_text_of("against", report->changes ? report->baseline : NULL);
    json_key("changes");
    json_open('[');
    for (size_t i = 0; report->changes && i < report->changes->count; i++) {
        const struct change *change = &report->changes->items[i];
        json_open('{');
        json_text_of("where", change->where);
        json_text_of("what", change->what);
        json_text_of("before", change->before);
        json_text_of("after", change->after);
        json_close();
    }
    json_close();
}

void report_print_json(const struct report *report)
{
    json_open('{');
    json_text_of("report", REPORT_NAME);
    json_number_of("version", REPORT_VERSION);
    print_machine(&report->evidence);
    print_policies();
    print_configurations(report);
    print_processes(report);
    print_summary(report);
    print_changes(report);
    json_close();
}

/* ---- Statements ---- */

static void add_process(const struct report *report, size_t first, size_t end, struct entries *ret)
{
    const struct process *process = report->rows[first].process;
    char where[3 * PROCESS_TEXT], program[PROCESS_TEXT + SHA256_TEXT + 16];
    bool lasting = false;
    for (size_t i = first; i < end; i++)
        lasting |= report_is_lasting(&report->rows[i]);
    if (!lasting)
        return;
    entries_name_process(process_role_name(process->role), process->name,
                         process->origin.configuration, where, sizeof(where));
    entries_program(process->program, process->origin.program_hash, program, sizeof(program));
    entries_add(ret, where, ENTRY_PROGRAM, program);
    for (size_t i = first; i < end; i++) {
        const struct report_row *row = &report->rows[i];
        const struct entry_check check = {where,         process_role_name(process->role),
                                          row->check,    report_verdict_name(row->verdict),
                                          row->expected, row->found};
        if (report_is_lasting(row))
            entries_add_check(ret, &check);
    }
}

void report_entries(const struct report *report, struct entries *ret)
{
    const struct evidence *evidence = &report->evidence;
    const struct selection native = {NULL, POLICY_ARCH_NATIVE};
    *ret = (struct entries){0};
    entries_add(ret, ENTRY_MACHINE, "host", evidence->host);
    entries_add(ret, ENTRY_MACHINE, "kernel", evidence->kernel);
    entries_add(ret, ENTRY_MACHINE, "kernel's version", evidence->kernel_version);
    entries_add(ret, ENTRY_MACHINE, "machine", evidence->machine);
    entries_add(ret, ENTRY_AUDITOR, "version", BVDM_VERSION);
    entries_add(ret, ENTRY_AUDITOR, "sha256", evidence->auditor);
    for (const struct policy_listing *at = selection_next(&native, NULL); at;
         at = selection_next(&native, at))
        entries_add(ret, ENTRY_POLICIES, at->program.name, at->program.hash);
    for (size_t i = 0; i < report->count; i++) {
        const struct origin *origin = &report->rows[i].process->origin;
        if (is_first_of_configuration(report, i))
            entries_add(ret, ENTRY_CONFIGURATIONS, origin->configuration,
                        origin->configuration_hash);
    }
    for (size_t first = next_process(report, report->count); first < report->count;) {
        size_t end = next_process(report, first);
        add_process(report, first, end, ret);
        first = end;
    }
}
