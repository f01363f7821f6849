/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix as text: what is expected, or what has happened. */
#ifndef TESTS_FAULTS_REPORT_H
#define TESTS_FAULTS_REPORT_H

#include <stdio.h>

#include "tests/faults/cell.h"

struct matrix_cell {
    const struct row *row;
    enum moment moment;
    bool chosen; /* it is to be run */
    struct cell_result *result;
};

/* The cells of a row are next to each other: MOMENTS of them. */
struct matrix {
    struct matrix_cell *cells;
    unsigned int count;
};

/* A table for people, with a column for each moment, and notes on the cells that are not
 * applicable. */
void report_table(FILE *file, const struct matrix *matrix);
/* The expected results as a table in Markdown. */
void report_markdown(FILE *file, const struct matrix *matrix);
/* Whether this document contains that table, word for word. */
bool report_is_in(const char *document, const struct matrix *matrix);
void report_json(FILE *file, const struct matrix *matrix);

#endif
