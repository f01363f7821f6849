/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/report.h"

#include <stdlib.h>
#include <string.h>

static const struct expected *expected_of(const struct matrix_cell *cell)
{
    return &cell->row->at[cell->moment];
}

/* "works 12": the fate and the longest pause of the others, in ms. */
static void word_of(const struct matrix_cell *cell, char ret[32])
{
    const struct cell_result *result = cell->result;
    const enum fate wanted = expected_of(cell)->fate;
    if (wanted == NOT_APPLICABLE)
        strcpy(ret, "-");
    else if (!cell->chosen)
        strcpy(ret, "(not run)");
    else if (result->skipped)
        strcpy(ret, "skipped");
    else if (!result->over || result->failed)
        strcpy(ret, "FAILED");
    else if (wanted == REFUSED)
        strcpy(ret, fate_word(wanted));
    else
        snprintf(ret, 32, "%s %u", fate_word(wanted == COPES ? result->seen : wanted),
                 result->pause_ms);
}

static void note(FILE *file, const struct row *row, const char *begin)
{
    for (unsigned int m = 0; m < MOMENTS; m++) {
        if (row->at[m].fate == NOT_APPLICABLE && row->at[m].why)
            fprintf(file, "%s%s, %s, %s: %s.\n", begin, row->resource, row->fault, moment_words[m],
                    row->at[m].why);
    }
}

void report_table(FILE *file, const struct matrix *matrix)
{
    char words[32];
    fprintf(file, "%-54s", "");
    for (unsigned int m = 0; m < MOMENTS; m++)
        fprintf(file, "%-16s", moment_words[m]);
    fputc('\n', file);
    for (unsigned int i = 0; i < matrix->count; i++) {
        const struct matrix_cell *cell = &matrix->cells[i];
        if (i % MOMENTS == 0)
            fprintf(file, "%-16s%-38s", cell->row->resource, cell->row->fault);
        word_of(cell, words);
        fprintf(file, "%-16s", words);
        if (i % MOMENTS == MOMENTS - 1)
            fputc('\n', file);
    }
    fputs("(what becomes of the device concerned, and the longest pause of the others in ms)\n",
          file);
    for (unsigned int i = 0; i < matrix->count; i += MOMENTS)
        note(file, matrix->cells[i].row, "not applicable: ");
}

void report_markdown(FILE *file, const struct matrix *matrix)
{
    fputs("| resource | fault |", file);
    for (unsigned int m = 0; m < MOMENTS; m++)
        fprintf(file, " %s |", moment_words[m]);
    fputs("\n| --- | --- | --- | --- | --- | --- | --- |\n", file);
    for (unsigned int i = 0; i < matrix->count; i++) {
        const struct matrix_cell *cell = &matrix->cells[i];
        const struct expected *expected = expected_of(cell);
        if (i % MOMENTS == 0)
            fprintf(file, "| %s | %s |", cell->row->resource, cell->row->fault);
        fprintf(file, " %s%s |", fate_word(expected->fate), expected->everybody ? " (all)" : "");
        if (i % MOMENTS == MOMENTS - 1)
            fputc('\n', file);
    }
    fputc('\n', file);
    for (unsigned int i = 0; i < matrix->count; i += MOMENTS)
        note(file, matrix->cells[i].row, "- ");
}

bool report_is_in(const char *document, const struct matrix *matrix)
{
    static char text[65536];
    char *table = NULL;
    size_t size = 0;
    FILE *file = fopen(document, "re");
    FILE *memory = open_memstream(&table, &size);
    bool found = false;
    if (file && memory) {
        report_markdown(memory, matrix);
        fflush(memory);
        text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
        found = strstr(text, table) != NULL;
    }
    if (file)
        fclose(file);
    if (memory)
        fclose(memory);
    free(table);
    return found;
}

void report_json(FILE *file, const struct matrix *matrix)
{
    fputs("[\n", file);
    for (unsigned int i = 0; i < matrix->count; i++) {
        const struct matrix_cell *cell = &matrix->cells[i];
        const struct expected *expected = expected_of(cell);
        const bool applies = expected->fate != NOT_APPLICABLE;
        const char *result = !applies                                      ? "not applicable"
                             : !cell->chosen                               ? "not run"
                             : cell->result->over && !cell->result->failed ? "passed"
                                                                           : "failed";
        fprintf(file,
                "  {\"resource\": \"%s\", \"fault\": \"%s\", \"moment\": \"%s\", "
                "\"expected\": \"%s\", \"everybody\": %s, \"result\": \"%s\", \"seen\": \"%s\", "
                "\"longest_pause_ms\": %u, \"longest_register_ms\": %u, \"seconds\": %.1f}%s\n",
                cell->row->resource, cell->row->fault, moment_words[cell->moment],
                fate_word(expected->fate), expected->everybody ? "true" : "false", result,
                fate_word(cell->result->seen), cell->result->pause_ms, cell->result->register_ms,
                cell->result->total_ms / 1000.0, i + 1 < matrix->count ? "," : "");
    }
    fputs("]\n", file);
}
