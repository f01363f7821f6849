/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every policy on every architecture, as the build compiled it. bao-seccomp contains this table, so
 * that it can answer on a board without the sources. Generated.
 */
#ifndef POLICY_CATALOG_H
#define POLICY_CATALOG_H

#include "policy/calls.h"
#include "policy/rule.h"

/* By name, then by architecture. Ends with a row whose program has no name. */
extern const struct policy_listing policy_catalog[];

#endif
