/* SPDX-License-Identifier: Apache-2.0 */
/* The names of system calls: a table that the build makes, since programs on a board do not have
 * libseccomp. */
#ifndef POLICY_CALLS_H
#define POLICY_CALLS_H

#include "policy/rule.h"

#define POLICY_NO_CALL UINT32_MAX
#define POLICY_CALLS_END 1024u /* beyond the last system call of any architecture */

/* Every system call of the architectures, whether a policy names it or not. */
struct policy_call {
    const char *name;
    uint32_t number[POLICY_ARCHES]; /* POLICY_NO_CALL where it does not exist */
};

/* Ends with a row whose name is NULL. */
extern const struct policy_call policy_calls[];

#endif
