/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/rule.h"

#include <string.h>

static const struct {
    const char *name;
    uint32_t token;
} arches[POLICY_ARCHES] = {
#define X(constant, name, token) [POLICY_ARCH_##constant] = {(name), (token)},
    POLICY_ARCHES_X(X)
#undef X
};

const char *policy_arch_name(enum policy_arch arch)
{
    return arches[arch].name;
}

uint32_t policy_arch_token(enum policy_arch arch)
{
    return arches[arch].token;
}

enum policy_arch policy_arch_find(const char *name)
{
    enum policy_arch arch = 0;
    while (arch < POLICY_ARCHES && strcmp(arches[arch].name, name) != 0)
        arch++;
    return arch;
}

bool policy_condition_holds(const struct policy_condition *condition, const uint64_t *arguments)
{
    uint64_t seen = arguments[condition->index] & condition->mask;
    for (unsigned int i = 0; i < condition->value_count; i++) {
        if (seen == condition->values[i])
            return true;
    }
    return false;
}

bool policy_next_choice(const struct policy_rule *rule, unsigned int choice[POLICY_ARGUMENTS])
{
    unsigned int i = 0;
    while (i < rule->condition_count && ++choice[i] == rule->conditions[i].value_count)
        choice[i++] = 0;
    return i < rule->condition_count;
}

static bool rule_allows(const struct policy_rule *rule, const struct seccomp_data *data)
{
    if (rule->number != (uint32_t)data->nr)
        return false;
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        uint64_t arguments[POLICY_ARGUMENTS];
        memcpy(arguments, data->args, sizeof(arguments));
        if (!policy_condition_holds(&rule->conditions[i], arguments))
            return false;
    }
    return true;
}

const struct policy_rule *policy_allows(const struct policy_listing *listing,
                                        const struct seccomp_data *data)
{
    if (data->arch != arches[listing->arch].token)
        return NULL;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        if (rule_allows(&listing->rules[i], data))
            return &listing->rules[i];
    }
    return NULL;
}
