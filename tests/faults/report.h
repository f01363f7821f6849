/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix as text: what is expected, or what has come of it. */
#ifndef TESTS_FAULTS_REPORT_H
#define TESTS_FAULTS_REPORT_H

#include <stdio.h>

#include "tests/faults/cell.h"

struct matrix_cell {
    const struct row *row;
    enum moment moment;
    bool chosen; /* it is run */
    struct cell_result *result;
};

/* The cells of a row are beside one another, MOMENTS of them. */
struct matrix {
    struct matrix_cell *cells;
    unsigned int count;
};

/* For people, moments as columns; and the notes on what can't be had. */
void report_table(FILE *file, const struct matrix *matrix);
/* The same, as a table of Markdown, of what is expected. */
void report_markdown(FILE *file, const struct matrix *matrix);
/* Does this document hold that table, word for word? */
bool report_is_in(const char *document, const struct matrix *matrix);
void report_json(FILE *file, const struct matrix *matrix);

#endif
