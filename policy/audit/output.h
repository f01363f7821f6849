/* SPDX-License-Identifier: Apache-2.0 */
/* An answer in a file: whole, or not there, so that nobody signs half of one. */
#ifndef POLICY_AUDIT_OUTPUT_H
#define POLICY_AUDIT_OUTPUT_H

#include <stdbool.h>

#define OUTPUT_PATH 512

struct output {
    const char *path;            /* NULL: stdout is what it was */
    char temporary[OUTPUT_PATH]; /* beside it; only its owner may read it */
};

/* From now on, stdout is a new file. Returns 0 or -errno. */
int output_begin(const char *path, struct output *ret);

/* After the last byte. Gives the file its name and replaces one that has it, or removes the file.
 * Returns 0 or -errno. */
int output_end(struct output *output, bool keep);

#endif
