/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct report_row *report_add(struct report *report, const struct process *process,
                              enum verdict verdict, const char *check)
{
    static struct report_row thrown_away;
    struct report_row *rows = realloc(report->rows, (report->count + 1) * sizeof(*rows));
    struct report_row *row = &thrown_away;
    if (rows) {
        report->rows = rows;
        row = &rows[report->count++];
    } else {
        report->out_of_memory = true;
    }
    *row = (struct report_row){.process = process, .verdict = verdict};
    snprintf(row->check, sizeof(row->check), "%s", check);
    report->wrong += verdict == NOT_AS_EXPECTED;
    report->unseen += verdict == NOT_READABLE;
    return row;
}

void report_clear(struct report *report)
{
    report->count = report->wrong = report->unseen = 0;
}

struct report_row *report_equal(struct report *report, const struct process *process,
                                const char *check, const char *expected, const char *found)
{
    bool equal = strcmp(expected, found) == 0;
    struct report_row *row =
        report_add(report, process, equal ? AS_EXPECTED : NOT_AS_EXPECTED, check);
    snprintf(row->expected, sizeof(row->expected), "%s", expected);
    snprintf(row->found, sizeof(row->found), "%s", found);
    return row;
}

void report_number(struct report *report, const struct process *process, const char *check,
                   unsigned long expected, unsigned long found)
{
    char texts[2][24];
    snprintf(texts[0], sizeof(texts[0]), "%lu", expected);
    snprintf(texts[1], sizeof(texts[1]), "%lu", found);
    report_equal(report, process, check, texts[0], texts[1]);
}

void report_unseen(struct report *report, const struct process *process, const char *check,
                   const char *known)
{
    struct report_row *row = report_add(report, process, NOT_READABLE, check);
    snprintf(row->found, sizeof(row->found), "not readable from outside; %s", known);
}

bool report_is_lasting(const struct report_row *row)
{
    return !row->passing || row->verdict == NOT_AS_EXPECTED;
}

const char *report_verdict_name(enum verdict verdict)
{
    static const char *const names[] = {
        [AS_EXPECTED] = "as expected",
        [NOT_AS_EXPECTED] = "not as expected",
        [TO_KNOW] = "to know",
        [NOT_READABLE] = "not readable from outside",
    };
    return names[verdict];
}

/* ---- For people ---- */

static const char *const marks[] = {
    [AS_EXPECTED] = "ok",
    [NOT_AS_EXPECTED] = "WRONG",
    [TO_KNOW] = "note",
    [NOT_READABLE] = "?",
};

static void text_row(const struct report_row *row)
{
    printf("  %-5s  %-22s  %s\n", marks[row->verdict], row->check, row->found);
    if (row->verdict == NOT_AS_EXPECTED)
        printf("  %-5s  %-22s  expected: %s\n", "", "", row->expected);
}

static void text_head(const struct report *report)
{
    const struct evidence *evidence = &report->evidence;
    printf("%s, %s, Linux %s %s, bao-seccomp " BVDM_VERSION "\n\n", evidence->time, evidence->host,
           evidence->kernel, evidence->machine);
}

static void text_process(const struct process *process)
{
    const struct origin *origin = &process->origin;
    printf("%s %d \"%s\" %s\n", process_role_name(process->role), (int)process->pid, process->name,
           process->program);
    if (origin->program_hash[0] != '\0')
        printf("         program                 SHA-256 %s\n", origin->program_hash);
    if (process->role == PROCESS_KEEPER && origin->configuration_hash[0] != '\0')
        printf("         configuration           SHA-256 %s, %s as it was read\n",
               origin->configuration_hash, origin->configuration);
}

static void text_changes(const struct report *report)
{
    for (size_t i = 0; i < report->changes->count; i++) {
        const struct change *change = &report->changes->items[i];
        printf("%s: %s\n", change->where, change->what);
        printf("  before  %s\n", change->before ? change->before : "not there");
        printf("  now     %s\n", change->after ? change->after : "not there");
    }
    printf("%s%zu change%s since the report of %s\n", report->changes->count > 0 ? "\n" : "",
           report->changes->count, audit_plural(report->changes->count), report->baseline);
}

static void text_report(const struct report *report)
{
    const struct process *process = NULL;
    text_head(report);
    for (size_t i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        if (report->changes && row->verdict != NOT_AS_EXPECTED)
            continue;
        if (row->process != process) {
            if (process)
                putchar('\n');
            text_process(row->process);
        }
        process = row->process;
        text_row(row);
    }
    if (process)
        putchar('\n');
    if (report->changes)
        text_changes(report);
    printf("%zu process%s, %zu of others, %zu check%s, %zu not readable from outside, %zu not as "
           "expected\n",
           report->process_count, report->process_count == 1 ? "" : "es", report->other_count,
           report->count, audit_plural(report->count), report->unseen, report->wrong);
}

/* ---- For a file that somebody signs ---- */

/* Text that is found on a machine must not be read as Markdown. */
static void markdown_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("|\\`*_[]<>#", *text))
            putchar('\\');
        putchar(*text);
    }
}

static void markdown_fact(const char *name, const char *value, const char *more)
{
    printf("| %s | ", name);
    markdown_text(value);
    if (more[0] != '\0')
        printf(", %s", more);
    puts(" |");
}

static void markdown_hash(const char *name, const char *hash)
{
    printf("- `%s` ", hash[0] != '\0' ? hash : "not readable");
    markdown_text(name);
    putchar('\n');
}

/* Each program and configuration once. */
static void markdown_origins(const struct report *report)
{
    puts("\nThe programs that run and the configuration as it was read, by their SHA-256:\n");
    for (size_t i = 0; i < report->count; i++) {
        const struct process *process = report->rows[i].process;
        bool first_row = true, first_program = true;
        for (size_t j = 0; j < i; j++) {
            const struct process *other = report->rows[j].process;
            first_row &= other != process;
            first_program &= strcmp(other->program, process->program) != 0 ||
                             strcmp(other->origin.program_hash, process->origin.program_hash) != 0;
        }
        if (first_row && first_program)
            markdown_hash(process->program, process->origin.program_hash);
        if (first_row && process->role == PROCESS_KEEPER)
            markdown_hash(process->origin.configuration, process->origin.configuration_hash);
    }
}

static void markdown_changes(const struct report *report)
{
    printf("\n## Changes since the report of ");
    markdown_text(report->baseline);
    puts("\n\n| where | what | before | now |\n| --- | --- | --- | --- |");
    for (size_t i = 0; i < report->changes->count; i++) {
        const struct change *change = &report->changes->items[i];
        const char *const cells[] = {change->where, change->what,
                                     change->before ? change->before : "not there",
                                     change->after ? change->after : "not there"};
        for (size_t c = 0; c < sizeof(cells) / sizeof(cells[0]); c++) {
            printf("| ");
            markdown_text(cells[c]);
            putchar(' ');
        }
        puts("|");
    }
}

static void markdown_head(const struct report *report)
{
    const struct evidence *evidence = &report->evidence;
    puts("# Audit of a running bao-virtio-dm\n\n| | |\n| --- | --- |");
    markdown_fact("date", evidence->time, "");
    markdown_fact("host", evidence->host, "");
    markdown_fact("kernel", evidence->kernel, evidence->machine);
    markdown_fact("of", evidence->kernel_version, "");
    markdown_fact("compared with", "bao-seccomp " BVDM_VERSION, "");
    markdown_fact("its SHA-256", evidence->auditor, "");
    printf("| processes | %zu |\n| processes of others | %zu |\n| checks | %zu |\n| not readable "
           "from outside | %zu |\n"
           "| **not as expected** | **%zu** |\n\n",
           report->process_count, report->other_count, report->count, report->unseen,
           report->wrong);
    puts("The policies of this bao-seccomp, by their SHA-256:\n");
    const struct selection native = {NULL, POLICY_ARCH_NATIVE};
    for (const struct policy_listing *at = selection_next(&native, NULL); at;
         at = selection_next(&native, at))
        markdown_hash(at->program.name, at->program.hash);
    markdown_origins(report);
    if (report->changes)
        markdown_changes(report);
}

static void markdown_report(const struct report *report)
{
    const struct process *process = NULL;
    markdown_head(report);
    for (size_t i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        if (row->process != process) {
            printf("\n## %s %d: ", process_role_name(row->process->role), (int)row->process->pid);
            markdown_text(row->process->name);
            puts("\n\n| | check | expected | found |\n| --- | --- | --- | --- |");
        }
        process = row->process;
        printf("| %s | ", row->verdict == NOT_AS_EXPECTED ? "**WRONG**" : marks[row->verdict]);
        markdown_text(row->check);
        printf(" | ");
        markdown_text(row->expected);
        printf(" | ");
        markdown_text(row->found);
        puts(" |");
    }
    puts("\n## Reviewed\n\n| name | date | signature |\n| --- | --- | --- |\n| | | |");
}

void report_print(const struct report *report, enum format format)
{
    switch (format) {
    case FORMAT_TEXT:
        text_report(report);
        break;
    case FORMAT_JSON:
        report_print_json(report);
        break;
    case FORMAT_MARKDOWN:
        markdown_report(report);
        break;
    }
}
