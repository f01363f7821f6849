/* SPDX-License-Identifier: Apache-2.0 */
/* What verify found: one row for each check, in three forms. */
#ifndef POLICY_AUDIT_REPORT_H
#define POLICY_AUDIT_REPORT_H

#include "policy/audit/audit.h"
#include "policy/audit/entries.h"
#include "policy/audit/evidence.h"
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
    bool passing; /* if it is good: true of this moment, and not to be compared with another report
                   */
    char check[48];
    char expected[REPORT_TEXT];
    char found[REPORT_TEXT];
};

struct report {
    size_t count, wrong, unseen;
    bool out_of_memory;
    struct report_row *rows;
    size_t process_count, other_count; /* of ours, and of others */
    struct evidence evidence;
    const char *baseline;          /* the time of the report that it was compared with, or NULL */
    const struct changes *changes; /* since then */
};

/* Adds a row; the caller fills in the texts. If memory is short, it returns a row that is not
 * reported. */
struct report_row *report_add(struct report *report, const struct process *process,
                              enum verdict verdict, const char *check);

/* Forgets every row. */
void report_clear(struct report *report);

/* Adds a row that compares two texts. Returns it. */
struct report_row *report_equal(struct report *report, const struct process *process,
                                const char *check, const char *expected, const char *found);

/* Adds a row on something that can't be read from outside; `known` is what is known about it
 * nevertheless. */
void report_unseen(struct report *report, const struct process *process, const char *check,
                   const char *known);

/* Adds a row that compares two numbers. */
void report_number(struct report *report, const struct process *process, const char *check,
                   unsigned long expected, unsigned long found);

/* Whether another report can say otherwise of the same thing: false for good rows that are passing.
 */
bool report_is_lasting(const struct report_row *row);

/* "as expected" and so on: as reports for tools have it. */
const char *report_verdict_name(enum verdict verdict);

/* What the report says, to be compared. Free with entries_free(). */
void report_entries(const struct report *report, struct entries *ret);

/*
 * Writes the whole report; the rows of each process are together. For people, a report that was
 * compared shows only what is wrong and what is different.
 */
void report_print(const struct report *report, enum format format);

#define REPORT_NAME "bao-virtio-dm audit"
#define REPORT_VERSION 1 /* changes when a reader of the older one would misread the newer one */

/* ---- report_json.c ---- */

void report_print_json(const struct report *report);

#endif
