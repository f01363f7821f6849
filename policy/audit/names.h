/* SPDX-License-Identifier: Apache-2.0 */
/* Which policies a directory holds, as files in it or in a directory below it. */
#ifndef POLICY_AUDIT_NAMES_H
#define POLICY_AUDIT_NAMES_H

#include <stddef.h>

#define NAMES_MAX 64
#define NAME_SIZE 256

struct names {
    size_t count; /* sorted; without the suffix: "block/virtio" */
    char names[NAMES_MAX][NAME_SIZE];
};

/* Returns 0 or -errno; -E2BIG if there are more than NAMES_MAX. */
int names_find(const char *directory, const char *suffix, struct names *ret);

#endif
