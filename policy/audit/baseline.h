/* SPDX-License-Identifier: Apache-2.0 */
/* A report that was kept, as verify --json writes it, to be compared with a new one. */
#ifndef POLICY_AUDIT_BASELINE_H
#define POLICY_AUDIT_BASELINE_H

#include <stdint.h>

#include "policy/audit/entries.h"

#define BASELINE_ERROR 160
#define BASELINE_SIZE_MAX (16u << 20) /* bytes of the file */
#define BASELINE_ENTRIES_MAX 20000u

struct baseline {
    char time[64]; /* as the report has it */
    struct entries entries;
};

/*
 * Free the entries with entries_free(). Returns false, with a line of words for the user: what was
 * expected. Keys that are not known are skipped, so that a report may have more than this build
 * knows; but its version must be this build's.
 */
bool baseline_parse(const uint8_t *data, size_t size, struct baseline *ret,
                    char ret_error[static BASELINE_ERROR]);

/* The same of a file. */
bool baseline_read(const char *path, struct baseline *ret, char ret_error[static BASELINE_ERROR]);

#endif
