/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/effective.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/conditions_words.h"
#include "policy/audit/example.h"
#include "policy/audit/fate.h"
#include "policy/audit/gap.h"
#include "policy/audit/json.h"
#include "policy/compiler/parse.h"

#define WORDS_SIZE 1024

/* One way by which a call is allowed. */
struct allowed {
    uint32_t number;
    bool asks; /* some other process or the tracer is asked */
    bool unclear;
    char conditions[WORDS_SIZE];
    /* Which rules of each policy let it through. */
    uint64_t rules[FILTERS_MAX][(POLICY_RULES_MAX + 63) / 64];
};

struct list {
    const struct effective *effective;
    const struct stack_entry *entry;
    uint32_t number;
    size_t count;
    struct allowed *items;
};

/* Whether a call of this way can meet one choice of the rule's alternatives. */
static bool lets_through(const struct policy_rule *rule, const struct ways_leaf *way)
{
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    struct ways_test tests[CONDITIONS_MAX + RULE_TESTS_MAX];
    if (way->count > CONDITIONS_MAX)
        return true;
    do {
        size_t count = rule_tests(rule, choice, tests);
        memcpy(tests + count, way->tests, way->count * sizeof(tests[0]));
        if (example_may_exist(tests, count + way->count))
            return true;
    } while (policy_next_choice(rule, choice));
    return false;
}

static void find_rules(const struct effective *effective, const struct ways_leaf *way,
                       struct allowed *ret)
{
    for (size_t p = 0; p < effective->stack.count; p++) {
        const struct policy_listing *listing = effective->listings[p];
        for (unsigned int r = 0; listing && r < listing->rule_count; r++) {
            if (listing->rules[r].number == ret->number && lets_through(&listing->rules[r], way))
                ret->rules[p][r / 64] |= UINT64_C(1) << (r % 64);
        }
    }
}

static bool note_way(void *context, const struct ways_leaf *way)
{
    struct list *list = context;
    const struct effective *effective = list->effective;
    const struct policy_listing *own =
        effective->stack.count > 0 ? effective->listings[effective->stack.count - 1] : NULL;
    if (!stack_allows(way))
        return true;
    struct allowed *items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (!items)
        return false;
    list->items = items;
    struct allowed *next = &items[list->count++];
    uint32_t action = way->result & SECCOMP_RET_ACTION_FULL;
    *next = (struct allowed){.number = list->number,
                             .asks = action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG,
                             .unclear = way->unclear || way->is_computed};
    bool is_own = list->entry->arch == effective->arch;
    conditions_for_auditor(way, list->number, is_own ? own : NULL, list->entry->arch,
                           next->conditions, WORDS_SIZE);
    if (is_own)
        find_rules(effective, way, next);
    return true;
}

static int note_call(struct list *list, uint32_t number)
{
    struct ways_test given[WAYS_CALL_TESTS];
    bool has_name =
        list->entry->arch != POLICY_ARCHES && audit_call_name(number, list->entry->arch) != NULL;
    bool others = list->count > 0 && list->items[0].number == STACK_UNNAMED_CALL &&
                  list->items[0].conditions[0] == '\0';
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].number == number)
            return 0;
    }
    if (others && !has_name) /* it is among those that have no name */
        return 0;
    ways_call_tests(list->entry->token, number, given);
    list->number = number;
    return stack_follow(&list->effective->stack, given, WAYS_CALL_TESTS, note_way, list);
}

/* All that is allowed by one entry. The items are to be freed in any case. Returns 0 or -errno. */
static int list_entry(const struct effective *effective, const struct stack_entry *entry,
                      struct list *ret)
{
    *ret = (struct list){.effective = effective, .entry = entry};
    int error = note_call(ret, STACK_UNNAMED_CALL);
    uint32_t number;
    for (size_t at = 0; error == 0 && stack_next_number(&effective->stack, &at, &number);)
        error = note_call(ret, number);
    return error == -ECANCELED ? -ENOMEM : error;
}

static bool goes_on(const struct list *list, size_t index)
{
    const struct allowed *one = &list->items[index], *next = one + 1;
    return index + 1 < list->count && one->number == next->number &&
           memcmp(one->rules, next->rules, sizeof(one->rules)) == 0;
}

static void print_reasons(const struct effective *effective, const struct allowed *allowed)
{
    for (size_t p = effective->stack.count; p-- > 0;) {
        const struct policy_listing *listing = effective->listings[p];
        for (unsigned int r = 0; listing && r < listing->rule_count; r++) {
            const struct policy_rule *rule = &listing->rules[r];
            if ((allowed->rules[p][r / 64] >> (r % 64) & 1) == 0)
                continue;
            printf("      %s: %s\n", listing->program.name, rule->reason);
            if (rule->only)
                printf("        only %s\n", rule->only);
            if (rule->justified)
                printf("        safe %s\n", rule->justified);
            printf("        at   %s\n", rule->source);
        }
    }
}

/* "keeper and block/virtio" */
static void print_names(const struct effective *effective)
{
    size_t count = effective->stack.count;
    for (size_t i = 0; i < count; i++) {
        const struct policy_listing *listing = effective->listings[i];
        fputs(i == 0 ? "" : i + 1 < count ? ", " : " and ", stdout);
        if (listing)
            fputs(listing->program.name, stdout);
        else
            printf("a program of %zu instructions that is none of this build's",
                   effective->stack.lengths[i]);
    }
}

static void print_list(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct allowed *allowed = &list->items[i];
        char call[80];
        printf("  %-16s %s%s%s\n",
               allowed->number == STACK_UNNAMED_CALL
                   ? "calls that have no name here"
                   : fate_call_words(list->entry, allowed->number, call, sizeof(call)),
               allowed->conditions[0] ? allowed->conditions : "with any arguments",
               allowed->asks ? " (another process is asked)" : "",
               allowed->unclear ? " (perhaps)" : "");
        if (!goes_on(list, i))
            print_reasons(list->effective, allowed);
    }
}

static size_t count_calls(const struct list *list)
{
    size_t calls = 0;
    for (size_t i = 0; i < list->count; i++)
        calls += i == 0 || list->items[i].number != list->items[i - 1].number;
    return calls;
}

static void json_allowed(const struct list *list, const struct allowed *allowed)
{
    const struct effective *effective = list->effective;
    bool has_names = list->entry->arch != POLICY_ARCHES;
    json_open('{');
    json_text_of("syscall", has_names ? audit_call_name(allowed->number, list->entry->arch) : NULL);
    json_number_of("number", allowed->number);
    json_parts_of("conditions", allowed->conditions);
    json_bool_of("certain", !allowed->unclear && !allowed->asks);
    json_key("rules");
    json_open('[');
    for (size_t p = 0; p < effective->stack.count; p++) {
        const struct policy_listing *listing = effective->listings[p];
        for (unsigned int r = 0; listing && r < listing->rule_count; r++) {
            if ((allowed->rules[p][r / 64] >> (r % 64) & 1) == 0)
                continue;
            json_open('{');
            json_text_of("policy", listing->program.name);
            json_text_of("reason", listing->rules[r].reason);
            json_text_of("source", listing->rules[r].source);
            json_close();
        }
    }
    json_close();
    json_close();
}

static void json_list(const struct list *list, const char *otherwise)
{
    json_open('{');
    json_text_of("process", list->effective->name);
    json_text_of("arch", list->entry->name);
    json_key("programs");
    json_open('[');
    for (size_t i = 0; i < list->effective->stack.count; i++) {
        const struct policy_listing *listing = list->effective->listings[i];
        json_text(listing ? listing->program.name : NULL);
    }
    json_close();
    json_key("allowed");
    json_open('[');
    for (size_t i = 0; i < list->count; i++)
        json_allowed(list, &list->items[i]);
    json_close();
    json_text_of("otherwise", otherwise);
    json_close();
}

static int list_by_entry(const struct effective *effective, const struct stack_entry *entry,
                         bool json)
{
    struct list list;
    char *otherwise = NULL;
    int error = list_entry(effective, entry, &list);
    if (error == 0)
        error = fate_of_others(&effective->stack, entry, &otherwise);
    if (error == 0 && json) {
        json_list(&list, otherwise);
    } else if (error == 0 && (list.count > 0 || entry->arch == effective->arch)) {
        size_t calls = count_calls(&list);
        printf("%s by the entry of %s: ", effective->name, entry->name);
        print_names(effective);
        printf("\nallowed together: %zu system call%s; everything else: %s\n", calls,
               audit_plural(calls), otherwise);
        print_list(&list);
        putchar('\n');
    }
    free(otherwise);
    free(list.items);
    return error;
}

static int list_effective(const struct effective *effective, bool json)
{
    int error = 0;
    for (const struct stack_entry *entry = stack_entries; entry->name && error == 0; entry++) {
        bool own = entry->arch == effective->arch && effective->stack.count == 0;
        if (own || (effective->stack.count > 0 && stack_asks_for(&effective->stack, entry)))
            error = list_by_entry(effective, entry, json);
    }
    return error;
}

int effective_list(const struct question *question)
{
    return effective_answer(question, list_effective);
}
