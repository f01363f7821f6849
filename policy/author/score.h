/* SPDX-License-Identifier: Apache-2.0 */
/* lint --score: how much power policies give, by the ranks of danger.h. */
#ifndef POLICY_AUTHOR_SCORE_H
#define POLICY_AUTHOR_SCORE_H

#include "policy/audit/audit.h"

/* Answers about the policies, which end with NULL, as far as the question selects them. Returns
 * AUDIT_GOOD. */
int score(const struct question *question, const struct policy_listing *const *listings);

#endif
