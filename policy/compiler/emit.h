/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the compiler writes: C source for the programs of the project, and the bare programs. The
 * same input gives the same bytes, wherever the build directory is.
 */
#ifndef POLICY_COMPILER_EMIT_H
#define POLICY_COMPILER_EMIT_H

#include <stdio.h>

#include "policy/compiler/parse.h"

/*
 * policy_programs (common/policy.h), with assertions that the target's own headers agree with
 * every number of a system call or constant in it.
 */
void emit_table(FILE *file, const struct parsed_policy *policies, size_t count);

/* policy_catalog (policy/catalog.h). */
void emit_catalog(FILE *file, const struct parsed_policy *policies, size_t count);

/* The instructions as the kernel takes them. */
void emit_program(FILE *file, const struct policy_program *program);

/* The table of policy/calls.h. */
void emit_calls(FILE *file);

#endif
