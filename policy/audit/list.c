/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "policy/audit/effective.h"
#include "policy/audit/json.h"

static void print_rule(const struct policy_rule *rule)
{
    printf("  %-16s ", rule->call);
    if (rule->condition_count == 0)
        fputs("with any arguments", stdout);
    for (unsigned int i = 0; i < rule->condition_count; i++)
        printf("%s%s", i == 0 ? "" : "; ", rule->conditions[i].words);
    printf("\n      why  %s\n", rule->reason);
    if (rule->only)
        printf("      only %s\n", rule->only);
    if (rule->justified)
        printf("      safe %s\n", rule->justified);
    printf("      at   %s", rule->source);
    if (rule->included)
        printf(", included at %s", rule->included);
    putchar('\n');
}

static void print_listing(const struct policy_listing *listing)
{
    printf("%s on %s confines\n  %s\n", listing->program.name, policy_arch_name(listing->arch),
           listing->confines);
    printf("allowed: %u system call%s by %u rule%s; everything else ends the process with SIGSYS\n",
           listing->program.calls, audit_plural(listing->program.calls), listing->rule_count,
           audit_plural(listing->rule_count));
    for (unsigned int i = 0; i < listing->rule_count; i++)
        print_rule(&listing->rules[i]);
    putchar('\n');
}

static void print_total(const struct selection *selection)
{
    unsigned int programs = 0, rules = 0, calls = 0;
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        programs++;
        rules += at->rule_count;
        calls += at->program.calls;
    }
    printf("total: %u program%s, %u rule%s, %u system call%s\n", programs, audit_plural(programs),
           rules, audit_plural(rules), calls, audit_plural(calls));
}

static void json_tests(const struct policy_rule *rule)
{
    json_key("tests");
    json_open('[');
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        const struct policy_condition *condition = &rule->conditions[i];
        json_open('{');
        json_text_of("argument", condition->argument);
        json_number_of("index", condition->index);
        json_number_of("bits", condition->bits);
        json_key("mask");
        json_hex(condition->mask);
        json_key("values");
        json_open('[');
        for (unsigned int v = 0; v < condition->value_count; v++)
            json_hex(condition->values[v]);
        json_close();
        json_text_of("text", condition->text);
        json_close();
    }
    json_close();
}

static void json_rule(const struct policy_rule *rule)
{
    json_open('{');
    json_text_of("syscall", rule->call);
    json_number_of("number", rule->number);
    json_key("conditions");
    json_open('[');
    for (unsigned int i = 0; i < rule->condition_count; i++)
        json_text(rule->conditions[i].words);
    json_close();
    json_tests(rule);
    json_text_of("reason", rule->reason);
    json_text_of("justified", rule->justified);
    json_text_of("only", rule->only);
    json_text_of("source", rule->source);
    json_text_of("included", rule->included);
    json_close();
}

static void json_listing(const struct policy_listing *listing)
{
    json_open('{');
    json_text_of("policy", listing->program.name);
    json_text_of("arch", policy_arch_name(listing->arch));
    json_text_of("confines", listing->confines);
    json_number_of("syscalls", listing->program.calls);
    json_text_of("sha256", listing->program.hash);
    json_key("rules");
    json_open('[');
    for (unsigned int i = 0; i < listing->rule_count; i++)
        json_rule(&listing->rules[i]);
    json_close();
    json_close();
}

int audit_list(const struct question *question)
{
    const struct selection *selection = &question->selection;
    bool json = question->format == FORMAT_JSON;
    if (question->effective)
        return effective_list(question);
    if (json)
        json_open('[');
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        if (json)
            json_listing(at);
        else
            print_listing(at);
    }
    if (json)
        json_close();
    else
        print_total(selection);
    return AUDIT_GOOD;
}
