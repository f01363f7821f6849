/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every policy on every architecture, as the build compiled it: what bao-seccomp carries along, so
 * that it can be asked on a board without the sources. Generated.
 */
#ifndef POLICY_CATALOG_H
#define POLICY_CATALOG_H

#include "policy/rule.h"

/* By name, then by architecture. Ends with a row whose program has no name. */
extern const struct policy_listing policy_catalog[];

#define POLICY_NO_CALL UINT32_MAX
#define POLICY_CALLS_END 1024u /* beyond the last system call of any architecture */

/* Every system call of the architectures, in policies or not. */
struct policy_call {
    const char *name;
    uint32_t number[POLICY_ARCHES]; /* POLICY_NO_CALL where it does not exist */
};

/* Ends with a row whose name is NULL. */
extern const struct policy_call policy_calls[];

#endif
