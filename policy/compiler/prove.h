/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proof that a compiled program allows exactly what its rules allow. Programs have no loops and
 * compare words of seccomp_data with constants. So every way through a program can be followed with
 * what is known of each bit of the input, instead of trying inputs.
 */
#ifndef POLICY_COMPILER_PROVE_H
#define POLICY_COMPILER_PROVE_H

#include "policy/compiler/lex.h"
#include "policy/rule.h"

/*
 * Proves for the listing's (validated) program that
 * - what a rule allows, the program allows: if the input is as the rule asks, every way ends in
 *   ALLOW, whatever the other bits are;
 * - what the program allows, some rule allows: on every way to ALLOW, the comparisons ask for all
 *   that one of the rules asks for.
 * On false the error tells a call for which this could not be shown. (A wrong program never passes.
 * A right program can fail, if it is too clever for this proof.)
 */
bool policy_prove(const struct policy_listing *listing, struct policy_error *ret_error);

#endif
