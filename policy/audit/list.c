/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "policy/audit/audit.h"

static const char *plural(unsigned int count)
{
    return count == 1 ? "" : "s";
}

static void print_rule(const struct policy_rule *rule)
{
    printf("  %-16s ", rule->call);
    if (rule->condition_count == 0)
        fputs("with any arguments", stdout);
    for (unsigned int i = 0; i < rule->condition_count; i++)
        printf("%s%s", i == 0 ? "" : "; ", rule->conditions[i].words);
    printf("\n      why  %s\n      at   %s", rule->reason, rule->source);
    if (rule->included)
        printf(", included at %s", rule->included);
    putchar('\n');
}

static void print_listing(const struct policy_listing *listing)
{
    printf("%s on %s confines\n  %s\n", listing->program.name, policy_arch_name(listing->arch),
           listing->confines);
    printf("allowed: %u system call%s by %u rule%s; everything else ends the process with SIGSYS\n",
           listing->program.calls, plural(listing->program.calls), listing->rule_count,
           plural(listing->rule_count));
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
    printf("total: %u program%s, %u rule%s, %u system call%s\n", programs, plural(programs), rules,
           plural(rules), calls, plural(calls));
}

static void json_condition_tests(const struct policy_rule *rule)
{
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        const struct policy_condition *condition = &rule->conditions[i];
        printf("%s\n          {\"argument\": \"%s\", \"index\": %u, \"bits\": %u, "
               "\"mask\": \"0x%" PRIx64 "\", \"values\": [",
               i == 0 ? "" : ",", condition->argument, condition->index, condition->bits,
               condition->mask);
        for (unsigned int v = 0; v < condition->value_count; v++)
            printf("%s\"0x%" PRIx64 "\"", v == 0 ? "" : ", ", condition->values[v]);
        fputs("], \"text\": ", stdout);
        json_string(condition->text);
        putchar('}');
    }
}

static void json_rule(const struct policy_rule *rule)
{
    printf("      {\"syscall\": \"%s\", \"number\": %" PRIu32 ",\n        \"conditions\": [",
           rule->call, rule->number);
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        fputs(i == 0 ? "" : ", ", stdout);
        json_string(rule->conditions[i].words);
    }
    fputs("],\n        \"tests\": [", stdout);
    json_condition_tests(rule);
    fputs("],\n        \"reason\": ", stdout);
    json_string(rule->reason);
    fputs(",\n        \"source\": ", stdout);
    json_string(rule->source);
    fputs(", \"included\": ", stdout);
    if (rule->included)
        json_string(rule->included);
    else
        fputs("null", stdout);
    putchar('}');
}

static void json_listing(const struct policy_listing *listing)
{
    printf("  {\"policy\": \"%s\", \"arch\": \"%s\", \"confines\": ", listing->program.name,
           policy_arch_name(listing->arch));
    json_string(listing->confines);
    printf(",\n    \"syscalls\": %u, \"sha256\": \"%s\",\n    \"rules\": [", listing->program.calls,
           listing->program.hash);
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        fputs(i == 0 ? "\n" : ",\n", stdout);
        json_rule(&listing->rules[i]);
    }
    fputs("]}", stdout);
}

int audit_list(const struct selection *selection, bool json)
{
    const char *between = "[\n";
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        if (json) {
            fputs(between, stdout);
            json_listing(at);
            between = ",\n";
        } else {
            print_listing(at);
        }
    }
    if (json)
        puts("\n]");
    else
        print_total(selection);
    return 0;
}
