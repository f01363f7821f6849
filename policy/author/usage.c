/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/author/usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/json.h"
#include "policy/compiler/vocabulary.h"

#define LINE_SIZE 1024

/* Where the alternatives of a rule begin in the array of all alternatives. */
static size_t first_value(const struct policy_listing *listing, unsigned int rule)
{
    size_t count = 0;
    for (unsigned int r = 0; r < rule; r++) {
        for (unsigned int c = 0; c < listing->rules[r].condition_count; c++)
            count += listing->rules[r].conditions[c].value_count;
    }
    return count;
}

int usage_init(struct usage *usage, const struct policy_listing *listing)
{
    *usage = (struct usage){.listing = listing};
    usage->rule_counts = calloc(listing->rule_count, sizeof(*usage->rule_counts));
    usage->value_counts =
        calloc(first_value(listing, listing->rule_count) + 1, sizeof(*usage->value_counts));
    return usage->rule_counts && usage->value_counts ? 0 : -ENOMEM;
}

void usage_free(struct usage *usage)
{
    free(usage->rule_counts);
    free(usage->value_counts);
    free(usage->denied);
    *usage = (struct usage){0};
}

/* ---- What is noted ---- */

static struct usage_denied *find_denied(struct usage *usage, const struct seccomp_data *data)
{
    for (size_t i = 0; i < usage->denied_count; i++) {
        struct usage_denied *denied = &usage->denied[i];
        if (denied->number == (uint32_t)data->nr && denied->arch_token == data->arch)
            return denied;
    }
    struct usage_denied *all =
        realloc(usage->denied, (usage->denied_count + 1) * sizeof(*usage->denied));
    if (!all)
        return NULL;
    usage->denied = all;
    struct usage_denied *denied = &all[usage->denied_count++];
    *denied = (struct usage_denied){.number = (uint32_t)data->nr, .arch_token = data->arch};
    return denied;
}

/* False for a pointer or a length, which are different each time, and for an argument that the call
 * does not have. */
static bool is_telling(const char *call, unsigned int index)
{
    const struct call_signature *signature = call ? call_signature_find(call) : NULL;
    for (unsigned int i = 0; signature && i < POLICY_ARGUMENTS; i++) {
        if (!signature->arguments[i].name)
            return false;
        if (i == index)
            return signature->arguments[i].bits == 32;
    }
    return false;
}

static void note_values(struct usage_denied *denied, const struct seccomp_data *data)
{
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        uint64_t value = (uint64_t)data->args[i] & UINT32_MAX;
        unsigned int count = denied->arguments[i].count;
        bool known = count > USAGE_VALUES_MAX;
        for (unsigned int v = 0; v < count && !known; v++)
            known = denied->arguments[i].values[v] == value;
        if (known)
            continue;
        if (count < USAGE_VALUES_MAX)
            denied->arguments[i].values[count] = value;
        denied->arguments[i].count++;
    }
}

static void note_alternatives(struct usage *usage, const struct policy_rule *rule,
                              const struct seccomp_data *data)
{
    unsigned int index = (unsigned int)(rule - usage->listing->rules);
    unsigned long *count = &usage->value_counts[first_value(usage->listing, index)];
    usage->rule_counts[index]++;
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        uint64_t seen = (uint64_t)data->args[condition->index] & condition->mask;
        for (unsigned int v = 0; v < condition->value_count; v++, count++)
            *count += condition->values[v] == seen;
    }
}

int usage_note(struct usage *usage, const struct seccomp_data *data)
{
    usage->calls++;
    const struct policy_rule *rule = policy_allows(usage->listing, data);
    if (rule) {
        note_alternatives(usage, rule, data);
        return 0;
    }
    struct usage_denied *denied = find_denied(usage, data);
    if (!denied)
        return -ENOMEM;
    denied->count++;
    note_values(denied, data);
    return 0;
}

/* ---- What is said ---- */

/* Prints a value in the grammar of policies. */
static void grammar_value(const struct policy_listing *listing, uint32_t number, unsigned int index,
                          uint64_t value, char *ret, size_t size)
{
    const char *argument = audit_argument_name(audit_call_name(number, listing->arch), index);
    size_t length = strlen(argument);
    bool is_fd = length >= 2 && strcmp(argument + length - 2, "fd") == 0;
    for (unsigned int i = listing->fd_count; is_fd && i > 0; i--) {
        if (listing->fds[i - 1].number == value) {
            snprintf(ret, size, "@%s", listing->fds[i - 1].name);
            return;
        }
    }
    audit_value_words(NULL, number, index, UINT32_MAX, value, ret, size);
}

/* Prints the rule that would allow what was seen, without the reason. */
static void propose(const struct policy_listing *listing, const struct usage_denied *denied,
                    char *ret, size_t size)
{
    const char *call = audit_call_name(denied->number, listing->arch);
    const char *between = "";
    size_t used = (size_t)snprintf(ret, size, "allow %s(", call ? call : "?");
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        unsigned int count = denied->arguments[i].count;
        if (!is_telling(call, i) || count > USAGE_VALUES_MAX || used >= size / 2)
            continue;
        used += (size_t)snprintf(ret + used, size - used, "%s%s %s", between,
                                 audit_argument_name(call, i), count == 1 ? "== " : "in {");
        for (unsigned int v = 0; v < count; v++) {
            char value[128];
            grammar_value(listing, denied->number, i, denied->arguments[i].values[v], value,
                          sizeof(value));
            used += (size_t)snprintf(ret + used, size - used, "%s%s", v == 0 ? "" : ", ", value);
        }
        used += (size_t)snprintf(ret + used, size - used, "%s", count == 1 ? "" : "}");
        between = ", ";
    }
    snprintf(ret + used, size - used, ") \"why?\"");
}

static void print_denied(const struct usage *usage, const struct usage_denied *denied)
{
    char proposal[LINE_SIZE];
    const char *call = audit_call_name(denied->number, usage->listing->arch);
    if (denied->arch_token != policy_arch_token(usage->listing->arch)) {
        printf("  %8lu  call %" PRIu32 " through the entry of another architecture\n",
               denied->count, denied->number);
        return;
    }
    if (!call) {
        printf("  %8lu  call %" PRIu32 ", which has no name\n", denied->count, denied->number);
        return;
    }
    propose(usage->listing, denied, proposal, sizeof(proposal));
    printf("  %8lu  %s\n            to allow it: %s\n", denied->count, call, proposal);
}

static void print_rules(const struct usage *usage, bool used)
{
    const struct policy_listing *listing = usage->listing;
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        if ((usage->rule_counts[r] > 0) != used)
            continue;
        printf("  %8lu  %-16s %s", usage->rule_counts[r], rule->call, rule->source);
        for (unsigned int c = 0; c < rule->condition_count; c++)
            printf("%s%s", c == 0 ? "  " : "; ", rule->conditions[c].words);
        putchar('\n');
    }
}

static unsigned int count_unused(const struct usage *usage)
{
    unsigned int unused = 0;
    for (unsigned int r = 0; r < usage->listing->rule_count; r++)
        unused += usage->rule_counts[r] == 0;
    return unused;
}

void usage_print(const struct usage *usage)
{
    const char *name = usage->listing->program.name;
    printf("%s: %lu call%s of %lu process%s\n", name, usage->calls, audit_plural(usage->calls),
           usage->processes, usage->processes == 1 ? "" : "es");
    printf("used but not allowed: %zu\n", usage->denied_count);
    for (size_t i = 0; i < usage->denied_count; i++)
        print_denied(usage, &usage->denied[i]);
    printf("allowed but not used: %u\n", count_unused(usage));
    print_rules(usage, false);
    printf("used: %u\n", usage->listing->rule_count - count_unused(usage));
    print_rules(usage, true);
}

static void json_denied(const struct usage *usage, const struct usage_denied *denied)
{
    char proposal[LINE_SIZE];
    const char *call = audit_call_name(denied->number, usage->listing->arch);
    propose(usage->listing, denied, proposal, sizeof(proposal));
    json_open('{');
    json_text_of("syscall", call);
    json_number_of("number", denied->number);
    json_bool_of("native", denied->arch_token == policy_arch_token(usage->listing->arch));
    json_number_of("count", denied->count);
    json_text_of("proposal", proposal);
    json_key("arguments");
    json_open('[');
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        unsigned int count = denied->arguments[i].count;
        json_open('[');
        for (unsigned int v = 0; v < count && v < USAGE_VALUES_MAX && is_telling(call, i); v++)
            json_hex(denied->arguments[i].values[v]);
        json_close();
    }
    json_close();
    json_close();
}

/* How often each value of each condition was the one that allowed a call. */
static void json_alternatives(const struct policy_rule *rule, const unsigned long *count)
{
    json_key("alternatives");
    json_open('[');
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        for (unsigned int v = 0; v < condition->value_count; v++, count++) {
            json_open('{');
            json_text_of("argument", condition->argument);
            json_text_of("value", condition->spelled[v]);
            json_number_of("count", *count);
            json_close();
        }
    }
    json_close();
}

void usage_json(const struct usage *usage)
{
    const struct policy_listing *listing = usage->listing;
    json_open('{');
    json_text_of("policy", listing->program.name);
    json_number_of("processes", usage->processes);
    json_number_of("calls", usage->calls);
    json_key("denied");
    json_open('[');
    for (size_t i = 0; i < usage->denied_count; i++)
        json_denied(usage, &usage->denied[i]);
    json_close();
    json_key("rules");
    json_open('[');
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        json_open('{');
        json_text_of("syscall", rule->call);
        json_text_of("source", rule->source);
        json_text_of("only", rule->only);
        json_number_of("count", usage->rule_counts[r]);
        json_alternatives(rule, &usage->value_counts[first_value(listing, r)]);
        json_close();
    }
    json_close();
    json_close();
}
