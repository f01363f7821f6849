/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "policy/audit/json.h"

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

void report_equal(struct report *report, const struct process *process, const char *check,
                  const char *expected, const char *found)
{
    bool equal = strcmp(expected, found) == 0;
    struct report_row *row =
        report_add(report, process, equal ? AS_EXPECTED : NOT_AS_EXPECTED, check);
    snprintf(row->expected, sizeof(row->expected), "%s", expected);
    snprintf(row->found, sizeof(row->found), "%s", found);
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

static void text_report(const struct report *report, size_t process_count)
{
    const struct process *process = NULL;
    for (size_t i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        if (row->process != process)
            printf("%s%s %d \"%s\" %s\n", process ? "\n" : "",
                   process_role_name(row->process->role), (int)row->process->pid,
                   row->process->name, row->process->program);
        process = row->process;
        text_row(row);
    }
    printf("\n%zu process%s, %zu check%s, %zu not readable from outside, %zu not as expected\n",
           process_count, process_count == 1 ? "" : "es", report->count,
           audit_plural(report->count), report->unseen, report->wrong);
}

/* ---- For tools ---- */

static const char *const verdicts[] = {
    [AS_EXPECTED] = "as expected",
    [NOT_AS_EXPECTED] = "not as expected",
    [TO_KNOW] = "to know",
    [NOT_READABLE] = "not readable from outside",
};

static void json_report(const struct report *report)
{
    const struct process *process = NULL;
    json_open('[');
    for (size_t i = 0; i < report->count; i++) {
        const struct report_row *row = &report->rows[i];
        if (row->process != process) {
            if (process) {
                json_close();
                json_close();
            }
            json_open('{');
            json_number_of("pid", (uint64_t)row->process->pid);
            json_text_of("role", process_role_name(row->process->role));
            json_text_of("name", row->process->name);
            json_text_of("program", row->process->program);
            json_key("checks");
            json_open('[');
        }
        process = row->process;
        json_open('{');
        json_text_of("check", row->check);
        json_text_of("verdict", verdicts[row->verdict]);
        json_text_of("expected", row->expected);
        json_text_of("found", row->found);
        json_close();
    }
    if (process) {
        json_close();
        json_close();
    }
    json_close();
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

static void markdown_head(const struct report *report, size_t process_count)
{
    struct utsname machine = {0};
    char date[32] = "";
    time_t now = time(NULL);
    struct tm utc;
    uname(&machine);
    if (gmtime_r(&now, &utc))
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &utc);
    printf("# Audit of a running bao-virtio-dm\n\n| | |\n| --- | --- |\n| date | %s |\n| host | ",
           date);
    markdown_text(machine.nodename);
    printf(" |\n| kernel | ");
    markdown_text(machine.release);
    printf(", %s |\n| compared with | bao-seccomp %s |\n", machine.machine, BVDM_VERSION);
    printf("| processes | %zu |\n| checks | %zu |\n| not readable from outside | %zu |\n"
           "| **not as expected** | **%zu** |\n\n",
           process_count, report->count, report->unseen, report->wrong);
    puts("The programs of this bao-seccomp, by their SHA-256:\n");
    const struct selection native = {NULL, POLICY_ARCH_NATIVE};
    for (const struct policy_listing *at = selection_next(&native, NULL); at;
         at = selection_next(&native, at))
        printf("- `%s` %s\n", at->program.hash, at->program.name);
}

static void markdown_report(const struct report *report, size_t process_count)
{
    const struct process *process = NULL;
    markdown_head(report, process_count);
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

void report_print(const struct report *report, size_t process_count, enum format format)
{
    switch (format) {
    case FORMAT_TEXT:
        text_report(report, process_count);
        break;
    case FORMAT_JSON:
        json_report(report);
        break;
    case FORMAT_MARKDOWN:
        markdown_report(report, process_count);
        break;
    }
}
