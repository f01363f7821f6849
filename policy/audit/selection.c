/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/catalog.h"

const struct policy_listing *selection_next(const struct selection *selection,
                                            const struct policy_listing *last)
{
    for (const struct policy_listing *at = last ? last + 1 : policy_catalog; at->program.name;
         at++) {
        bool named = !selection->policy || strcmp(selection->policy, at->program.name) == 0;
        if (named && (selection->arch == POLICY_ARCHES || selection->arch == at->arch))
            return at;
    }
    return NULL;
}
