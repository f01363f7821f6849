/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that a compiled program allows exactly what its rules allow. Programs have no loops
 * and compare words of seccomp_data with constants, so that every way through one can be followed
 * with what is known of each bit of the input, instead of trying inputs.
 */
#ifndef POLICY_COMPILER_PROVE_H
#define POLICY_COMPILER_PROVE_H

#include "policy/compiler/lex.h"
#include "policy/rule.h"

/*
 * Proves for the listing's (validated) program that
 * - whatever a rule allows, the program allows: from what the rule asks of the input, every way
 *   that the other bits can lead ends in ALLOW;
 * - whatever the program allows, some rule allows: on every way to ALLOW, the comparisons on it
 *   ask for all that one of the rules asks for.
 * On false the error tells a call for which that could not be shown. (Never so for a program that
 * is wrong; for one that is right but too clever, it can be.)
 */
bool policy_prove(const struct policy_listing *listing, struct policy_error *ret_error);

#endif
