/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
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

void json_string(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}
