/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that a policy can use: system calls with the names and widths of their arguments,
 * and constants of the kernel's interface.
 */
#ifndef POLICY_COMPILER_VOCABULARY_H
#define POLICY_COMPILER_VOCABULARY_H

#include <stdint.h>

#include "policy/rule.h"

struct call_argument {
    const char *name;
    unsigned int bits; /* 32 or 64: the part of the register that the kernel looks at */
};

struct call_signature {
    const char *name;
    struct call_argument arguments[POLICY_ARGUMENTS]; /* up to the first without a name */
};

/* Sorted by name; ends with a row whose name is NULL. */
extern const struct call_signature call_signatures[];

struct constant {
    const char *name;
    uint64_t value[POLICY_ARCHES]; /* negative ones sign-extended */
};

/* Ends with a row whose name is NULL. */
extern const struct constant constants[];

/* NULL if there is none. */
const struct call_signature *call_signature_find(const char *name);
const struct constant *constant_find(const char *name);

#endif
