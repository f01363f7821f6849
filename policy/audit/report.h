/* SPDX-License-Identifier: Apache-2.0 */
/* What verify found: a row a check, in three forms. */
#ifndef POLICY_AUDIT_REPORT_H
#define POLICY_AUDIT_REPORT_H

#include "policy/audit/audit.h"
#include "policy/audit/process.h"

#define REPORT_TEXT 384

enum verdict {
    AS_EXPECTED,
    NOT_AS_EXPECTED,
    TO_KNOW, /* nothing to object to, but for the reader to judge */
};

struct report_row {
    const struct process *process;
    enum verdict verdict;
    char check[48];
    char expected[REPORT_TEXT];
    char found[REPORT_TEXT];
};

struct report {
    size_t count, wrong;
    bool out_of_memory;
    struct report_row *rows;
};

/* Adds a row; fill in the texts. On lack of memory a row that is thrown away. */
struct report_row *report_add(struct report *report, const struct process *process,
                              enum verdict verdict, const char *check);

/* Adds a row that compares two texts. */
void report_equal(struct report *report, const struct process *process, const char *check,
                  const char *expected, const char *found);

/* Adds a row that compares two numbers. */
void report_number(struct report *report, const struct process *process, const char *check,
                   unsigned long expected, unsigned long found);

/* Writes it all; `process_count` processes, each of whose rows stand together. */
void report_print(const struct report *report, size_t process_count, enum format format);

#endif
