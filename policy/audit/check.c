/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What would happen to one call. The answer comes from interpreting the compiled program; the rule
 * that allows the call is looked up separately.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/json.h"
#include "policy/bpf.h"
#include "policy/compiler/scope.h"

#define WORDS_SIZE 160

/* Parse one argument in the grammar of policies. */
static bool parse_argument(const struct policy_listing *listing, const char *text,
                           uint64_t *ret_value)
{
    struct parsed_policy policy = {.listing = *listing};
    struct policy_error error = {""};
    struct lexer lexer = {
        .arena = &policy.arena,
        .error = &error,
        .path = "argument",
        .at = text,
        .line = 1,
        .column = 1,
        .token = {.text = ""},
    };
    struct scope scope = {.policy = &policy, .fd_count = listing->fd_count};
    for (unsigned int i = 0; i < listing->fd_count; i++)
        scope.fds[i] = listing->fds[i];
    struct value value = {0};
    bool good = lex_next(&lexer) && scope_value(&scope, &lexer, 64, &value);
    if (good && lexer.token.kind != TOKEN_END)
        good = lex_error(&lexer, "expected '|' or the end, found %s", lex_describe(&lexer));
    if (good)
        *ret_value = value.number;
    else
        fprintf(stderr, "bao-seccomp: '%s': %s\n", text, error.text);
    arena_free(&policy.arena);
    return good;
}

static bool is_pinned(const struct policy_listing *listing, uint32_t number, unsigned int index)
{
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        for (unsigned int c = 0; c < rule->condition_count && rule->number == number; c++) {
            if (rule->conditions[c].index == index)
                return true;
        }
    }
    return false;
}

/* Print why the call is denied: for each rule for this call, the first condition that fails. */
static void explain_denial(const struct policy_listing *listing, const struct seccomp_data *data)
{
    bool any = false;
    uint64_t arguments[POLICY_ARGUMENTS];
    memcpy(arguments, data->args, sizeof(arguments));
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        if (rule->number != (uint32_t)data->nr)
            continue;
        any = true;
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            if (policy_condition_holds(&rule->conditions[c], arguments))
                continue;
            printf("  the rule at %s asks that %s\n", rule->source, rule->conditions[c].words);
            break;
        }
    }
    if (!any)
        puts("  no rule names this call");
}

static void print_answer(const struct policy_listing *listing, const struct seccomp_data *data,
                         const char *call, int given, const struct policy_rule *rule, bool allowed)
{
    char words[WORDS_SIZE];
    printf("%s on %s: %s(", listing->program.name, policy_arch_name(listing->arch), call);
    for (int i = 0; i < given; i++)
        printf("%s%s %s", i == 0 ? "" : ", ", audit_argument_name(call, (unsigned int)i),
               audit_value_words(listing, (uint32_t)data->nr, (unsigned int)i, UINT64_MAX,
                                 data->args[i], words, sizeof(words)));
    puts(allowed ? ") is allowed" : ") ends the process with SIGSYS");
    for (unsigned int i = (unsigned int)given; i < POLICY_ARGUMENTS; i++) {
        if (is_pinned(listing, (uint32_t)data->nr, i))
            printf("  %s is not given and taken as 0\n", audit_argument_name(call, i));
    }
    if (rule)
        printf("  by the rule at %s: %s\n", rule->source, rule->reason);
    else
        explain_denial(listing, data);
}

static void json_answer(const struct policy_listing *listing, const struct seccomp_data *data,
                        const char *call, const struct policy_rule *rule, bool allowed)
{
    json_open('{');
    json_text_of("policy", listing->program.name);
    json_text_of("arch", policy_arch_name(listing->arch));
    json_text_of("syscall", call);
    json_number_of("number", (uint32_t)data->nr);
    json_key("arguments");
    json_open('[');
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++)
        json_hex(data->args[i]);
    json_close();
    json_bool_of("allowed", allowed);
    json_text_of("source", rule ? rule->source : NULL);
    json_text_of("reason", rule ? rule->reason : NULL);
    json_close();
}

/* The number of a call by name, or a number as it is. */
static bool find_call(const char *name, enum policy_arch arch, uint32_t *ret_number)
{
    int end = 0;
    if (audit_call_number(name, arch, ret_number))
        return true;
    return sscanf(name, "%" SCNu32 "%n", ret_number, &end) == 1 && name[end] == '\0';
}

/* Returns AUDIT_GOOD, AUDIT_OBJECTS or AUDIT_TROUBLE. */
static int check(const struct policy_listing *listing, const struct question *question)
{
    const char *call = question->argv[0];
    struct seccomp_data data = {.arch = policy_arch_token(listing->arch)};
    uint32_t number;
    if (!find_call(call, listing->arch, &number)) {
        fprintf(stderr, "bao-seccomp: no system call '%s' on %s\n", call,
                policy_arch_name(listing->arch));
        return AUDIT_TROUBLE;
    }
    data.nr = (int)number;
    for (int i = 1; i < question->argc; i++) {
        uint64_t value;
        if (!parse_argument(listing, question->argv[i], &value))
            return AUDIT_TROUBLE;
        data.args[i - 1] = value;
    }
    const struct policy_rule *rule = policy_allows(listing, &data);
    bool allowed = bpf_run(listing->program.filter, &data) == SECCOMP_RET_ALLOW;
    if (allowed != (rule != NULL)) {
        fprintf(stderr, "bao-seccomp: the program and the rules of %s do not agree\n",
                listing->program.name);
        return AUDIT_TROUBLE;
    }
    const char *name = audit_call_name(number, listing->arch);
    if (question->format == FORMAT_JSON)
        json_answer(listing, &data, name ? name : call, rule, allowed);
    else
        print_answer(listing, &data, name ? name : call, question->argc - 1, rule, allowed);
    return allowed ? AUDIT_GOOD : AUDIT_OBJECTS;
}

int audit_check(const struct question *question)
{
    if (question->argc == 0 || question->argc > 1 + POLICY_ARGUMENTS)
        return audit_complain("check", question->argc == 0 ? "" : question->argv[0],
                              "POLICY CALL and up to six ARGUMENTs");
    int answer = AUDIT_GOOD;
    if (question->format == FORMAT_JSON)
        json_open('[');
    for (const struct policy_listing *at = selection_next(&question->selection, NULL); at;
         at = selection_next(&question->selection, at)) {
        int one = check(at, question);
        answer = one > answer ? one : answer;
    }
    if (question->format == FORMAT_JSON)
        json_close();
    return answer;
}
