/* SPDX-License-Identifier: Apache-2.0 */
/* What verify found: one row for each check, in three forms. */
#ifndef POLICY_AUDIT_REPORT_H
#define POLICY_AUDIT_REPORT_H

#include "policy/audit/audit.h"
#include "policy/audit/process.h"

#define REPORT_TEXT 384

enum verdict {
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    TO_KNOW,      /* nothing to object to, but the reader has to judge */
    NOT_READABLE, /* the kernel does not show it from outside: neither good nor bad */
};

struct report_row {
    const struct process *process;
    enum verdict verdict;
    char check[48];
    char expected[REPORT_TEXT];
    char found[REPORT_TEXT];
};

struct report {
    size_t count, wrong, unseen;
    bool out_of_memory;
    struct report_row *rows;
};

/* Adds a row; the caller fills in the texts. If memory is short, it returns a row that is not
 * reported. */
struct report_row *report_add(struct report *report, const struct process *process,
                              enum verdict verdict, const char *check);

/* Forgets every row. */
void report_clear(struct report *report);

/* Adds a row that compares two texts. */
void report_equal(struct report *report, const struct process *process, const char *check,
                  const char *expected, const char *found);

/* Adds a row on something that can't be read from outside; `known` is what is known about it
 * nevertheless. */
void report_unseen(struct report *report, const struct process *process, const char *check,
                   const char *known);

/* Adds a row that compares two numbers. */
void report_number(struct report *report, const struct process *process, const char *check,
                   unsigned long expected, unsigned long found);

/* Writes the whole report on `process_count` processes; the rows of each process are together. */
void report_print(const struct report *report, size_t process_count, enum format format);

#endif
