/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From rules to the program that the kernel runs.
 */
#ifndef POLICY_COMPILER_COMPILE_H
#define POLICY_COMPILER_COMPILE_H

#include "policy/compiler/parse.h"

/*
 * Compiles the policy's rules for its architecture, proves the result (prove.h), and completes
 * policy->listing.program. On false the error is set.
 */
bool policy_compile(struct parsed_policy *policy, struct policy_error *ret_error);

#define POLICY_INSTRUCTION_SIZE 8

/* An instruction as it lies in the target's memory, whose byte order is little-endian. The hash of
 * a program is the SHA-256 of these bytes. */
void policy_instruction_bytes(const struct sock_filter *instruction,
                              uint8_t bytes[static POLICY_INSTRUCTION_SIZE]);

#endif
