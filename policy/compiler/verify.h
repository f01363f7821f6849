/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That a compiled program does what its text says is not taken on trust from libseccomp, but
 * checked on every build in two ways that share no code: proved (prove.h), and tried out in an
 * interpreter (policy/bpf.h).
 */
#ifndef POLICY_COMPILER_VERIFY_H
#define POLICY_COMPILER_VERIFY_H

#include "policy/compiler/lex.h"
#include "policy/rule.h"

/*
 * Proves the listing's program, and runs it on every call number from 0 to beyond the last and on
 * those of the x32 ABI; for every rule on its allowed arguments and on each of their bits flipped,
 * and on combinations across all rules of a call; and with every other architecture's token. Each
 * answer must be what the rules say. On false the error tells the first call that differs.
 */
bool policy_verify(const struct policy_listing *listing, struct policy_error *ret_error);

#endif
