/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a policy to its rules on one architecture. The grammar is in docs/POLICY.md.
 */
#ifndef POLICY_COMPILER_PARSE_H
#define POLICY_COMPILER_PARSE_H

#include <stdbool.h>

#include "policy/compiler/lex.h"
#include "policy/compiler/vocabulary.h"
#include "policy/rule.h"

#define POLICY_RULES_MAX 250 /* in one policy: there are 255 priorities for calls */
#define POLICY_VALUES_MAX 32 /* alternatives in one condition */
#define POLICY_CONSTANTS_MAX 128

struct parsed_policy {
    struct arena arena; /* owns everything below */
    struct policy_listing listing;
    /* The constants that the text names: the target's compiler checks them again. */
    size_t constant_count;
    const struct constant *constants[POLICY_CONSTANTS_MAX];
};

/* The number of a system call by its name; false if the architecture has no such call. The compiler
 * asks libseccomp; the tools use the table that the compiler has made from it. */
typedef bool call_number_of(const char *name, enum policy_arch arch, uint32_t *ret_number);

/*
 * Reads DIRECTORY/NAME.policy with its includes. On success *ret is to be freed by policy_free()
 * and its listing has everything but the program. On false *ret_error says why, and nothing is
 * left to be freed.
 */
bool policy_parse(const char *directory, const char *name, enum policy_arch arch,
                  call_number_of *number_of, struct parsed_policy *ret,
                  struct policy_error *ret_error);

void policy_free(struct parsed_policy *policy);

#endif
