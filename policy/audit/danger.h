/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that a policy should not allow to a confined process without a reason in its
 * text. */
#ifndef POLICY_AUDIT_DANGER_H
#define POLICY_AUDIT_DANGER_H

#include "policy/rule.h"

/* What a process can do by the calls that this rule allows, if that is dangerous, or NULL. */
const char *danger_of(const struct policy_rule *rule);

#endif
