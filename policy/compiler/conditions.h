/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The conditions of a rule.
 */
#ifndef POLICY_COMPILER_CONDITIONS_H
#define POLICY_COMPILER_CONDITIONS_H

#include "policy/compiler/scope.h"

/* Parses [ '(' [ condition { ',' condition } ] ')' ] into the rule. On false the error is set. */
bool conditions_parse(struct scope *scope, struct lexer *lexer,
                      const struct call_signature *signature, struct policy_rule *rule);

/*
 * Whether one rule allows a call that the other one also allows with fewer or the same conditions,
 * so that one of them is superfluous. Returns how `later` does that ("repeats", ...), or NULL if no
 * rule is superfluous.
 */
const char *conditions_clash(const struct policy_rule *earlier, const struct policy_rule *later);

#endif
