/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/texts.h"

#include <errno.h>
#include <stdlib.h>

#include "policy/audit/audit.h"
#include "policy/audit/names.h"

bool texts_are_in(const char *directory)
{
    struct names names = {0};
    return names_find(directory, ".policy", &names) == 0 && names.count > 0;
}

int texts_read(const char *directory, void (*mistake)(void *context, const char *text),
               void *context, struct texts **ret)
{
    struct names names = {0};
    int error = names_find(directory, ".policy", &names);
    if (error < 0)
        return error;
    struct texts *texts = calloc(1, sizeof(*texts));
    if (!texts)
        return -ENOMEM;
    for (size_t i = 0; i < names.count; i++) {
        for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
            struct policy_error wrong;
            struct parsed_policy *policy = &texts->policies[texts->count];
            if (policy_parse(directory, names.names[i], arch, audit_call_number, policy, &wrong))
                texts->count++;
            else
                mistake(context, wrong.text);
        }
    }
    *ret = texts;
    return 0;
}

void texts_free(struct texts *texts)
{
    for (size_t i = 0; texts && i < texts->count; i++)
        policy_free(&texts->policies[i]);
    free(texts);
}
