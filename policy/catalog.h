/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every policy on every architecture, as the build compiled it: what bao-seccomp carries along, so
 * that it can be asked on a board without the sources. Generated.
 */
#ifndef POLICY_CATALOG_H
#define POLICY_CATALOG_H

#include "policy/calls.h"
#include "policy/rule.h"

/* By name, then by architecture. Ends with a row whose program has no name. */
extern const struct policy_listing policy_catalog[];

#endif
