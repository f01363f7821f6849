/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy in the words of others' tools, so that it can be compared with theirs. What such a form
 * can't express is said beside it, one line "lost: ..." each: a comment, or on stderr for JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/gap.h"
#include "policy/audit/json.h"

/* The next rule of the same call after `last` (NULL: the first rule of this call), or NULL. */
static const struct policy_rule *next_of_call(const struct policy_listing *listing, uint32_t number,
                                              const struct policy_rule *last)
{
    for (unsigned int r = last ? (unsigned int)(last - listing->rules) + 1 : 0;
         r < listing->rule_count; r++) {
        if (listing->rules[r].number == number)
            return &listing->rules[r];
    }
    return NULL;
}

static bool is_first_of_call(const struct policy_listing *listing, unsigned int index)
{
    const struct policy_rule *rule = &listing->rules[index];
    return next_of_call(listing, rule->number, NULL) == rule;
}

static bool has_fd_names(const struct policy_listing *listing)
{
    return listing->fd_count > 0;
}

static void print_title(const struct policy_listing *listing)
{
    printf("# %s on %s confines\n#   %s\n", listing->program.name, policy_arch_name(listing->arch),
           listing->confines);
}

/* ---- pfc: libseccomp's pseudo filter code ---- */

static void pfc_choice(const struct policy_rule *rule, const unsigned int *choice)
{
    struct ways_test tests[RULE_TESTS_MAX];
    size_t count = rule_tests(rule, choice, tests);
    int indent = 4;
    for (size_t i = count; i-- > 0; indent += 2) {
        unsigned int word = tests[i].word - (unsigned int)WAYS_WORD_OF(args);
        printf("%*sif ($a%u.%s32", indent, "", word / 2, word % 2 == 0 ? "lo" : "hi");
        if (tests[i].mask != UINT32_MAX)
            printf(" & 0x%08" PRIx32, tests[i].mask);
        printf(" == %" PRIu32 ")\n", tests[i].value);
    }
    printf("%*saction ALLOW;\n", indent, "");
}

static void export_pfc(const struct policy_listing *listing)
{
    print_title(listing);
    puts("# lost: the names of constants; of what is allowed, nothing");
    if (has_fd_names(listing))
        puts("# lost: what each fd stands for");
    puts("#\n# pseudo filter code start\n#");
    printf("# filter for arch %s (%" PRIu32 ")\nif ($arch == %" PRIu32 ")\n",
           policy_arch_name(listing->arch), policy_arch_token(listing->arch),
           policy_arch_token(listing->arch));
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        if (!is_first_of_call(listing, r))
            continue;
        printf("  # filter for syscall \"%s\" (%" PRIu32 ")\n  if ($syscall == %" PRIu32 ")\n",
               rule->call, rule->number, rule->number);
        for (; rule; rule = next_of_call(listing, rule->number, rule)) {
            unsigned int choice[POLICY_ARGUMENTS] = {0};
            printf("    # %s\n", rule->reason);
            do {
                pfc_choice(rule, choice);
            } while (policy_next_choice(rule, choice));
        }
    }
    puts("  # default action\n  action KILL_PROCESS;\n# invalid architecture action\n"
         "action KILL_PROCESS;\n#\n# pseudo filter code end\n#");
}

/* ---- minijail ---- */

/* minijail compares with ==; "in" asks that no other bits are set; "&" that some bit is set. */
static void minijail_condition(const struct policy_condition *condition, uint64_t value)
{
    uint64_t whole = condition->bits == 32 ? UINT32_MAX : UINT64_MAX;
    uint64_t zero = condition->mask & ~value, set = condition->mask & value;
    const char *between = "";
    if (condition->mask == whole) {
        printf("arg%u == 0x%" PRIx64, condition->index, value);
        return;
    }
    if (zero != 0) {
        printf("arg%u in 0x%" PRIx64, condition->index, ~zero);
        between = " && ";
    }
    for (; set != 0; set &= set - 1, between = " && ")
        printf("%sarg%u & 0x%" PRIx64, between, condition->index, set & ~(set - 1));
}

static void minijail_rule(const struct policy_rule *rule, const char *between)
{
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    do {
        fputs(between, stdout);
        between = " || ";
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            fputs(c > 0 ? " && " : "", stdout);
            minijail_condition(&rule->conditions[c], rule->conditions[c].values[choice[c]]);
        }
        if (rule->condition_count == 0)
            putchar('1');
    } while (policy_next_choice(rule, choice));
}

/* It compares all 64 bits of a register. */
static void minijail_losses(const struct policy_listing *listing)
{
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            const struct policy_condition *condition = &rule->conditions[c];
            if (condition->bits == 32 && condition->mask == UINT32_MAX)
                printf("# lost: %s of %s has 32 bits: compared in 64, it is refused if the upper "
                       "half is not 0\n",
                       condition->argument, rule->call);
        }
    }
}

static void export_minijail(const struct policy_listing *listing)
{
    print_title(listing);
    puts("# lost: what happens otherwise: compile with --default-action=kill-process");
    puts("# lost: the names of constants");
    if (has_fd_names(listing))
        puts("# lost: what each fd stands for");
    minijail_losses(listing);
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        if (!is_first_of_call(listing, r))
            continue;
        for (const struct policy_rule *at = rule; at; at = next_of_call(listing, rule->number, at))
            printf("# %s\n", at->reason);
        printf("%s: ", rule->call);
        for (const struct policy_rule *at = rule; at; at = next_of_call(listing, rule->number, at))
            minijail_rule(at, at == rule ? "" : " || ");
        putchar('\n');
    }
}

/* ---- OCI ---- */

static void oci_choice(const struct policy_rule *rule, const unsigned int *choice)
{
    json_open('{');
    json_key("names");
    json_open('[');
    json_text(rule->call);
    json_close();
    json_text_of("action", "SCMP_ACT_ALLOW");
    json_key("args");
    json_open('[');
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        json_open('{');
        json_number_of("index", condition->index);
        json_number_of("value", condition->mask);
        json_number_of("valueTwo", condition->values[choice[c]]);
        json_text_of("op", "SCMP_CMP_MASKED_EQ");
        json_close();
    }
    json_close();
    json_close();
}

static void export_oci(const struct policy_listing *listing)
{
    static const char *const arches[POLICY_ARCHES] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64",
                                                      "SCMP_ARCH_RISCV64"};
    fputs("bao-policy: lost: the reasons of rules, and the names of constants\n"
          "bao-policy: lost: the calls by which a runtime starts a process, which it needs there\n"
          "bao-policy: lost: the order of calls, by which frequent ones are compared first\n",
          stderr);
    if (has_fd_names(listing))
        fputs("bao-policy: lost: what each fd stands for\n", stderr);
    json_open('{');
    json_text_of("defaultAction", "SCMP_ACT_KILL_PROCESS");
    json_key("architectures");
    json_open('[');
    json_text(arches[listing->arch]);
    json_close();
    json_key("syscalls");
    json_open('[');
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        unsigned int choice[POLICY_ARGUMENTS] = {0};
        do {
            oci_choice(&listing->rules[r], choice);
        } while (policy_next_choice(&listing->rules[r], choice));
    }
    json_close();
    json_close();
}

/* ---- systemd ---- */

static void export_systemd(const struct policy_listing *listing)
{
    print_title(listing);
    puts("# lost: systemd allows more by itself: execve, exit, exit_group, getrlimit, "
         "rt_sigreturn,\n"
         "#   sigreturn, and calls that ask for the time or sleep");
    puts("# lost: the reasons of rules");
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        const struct policy_rule *rule = &listing->rules[r];
        if (rule->condition_count == 0)
            continue;
        printf("# lost: %s is allowed only if ", rule->call);
        for (unsigned int c = 0; c < rule->condition_count; c++)
            printf("%s%s", c > 0 ? "; " : "", rule->conditions[c].words);
        putchar('\n');
    }
    printf("[Service]\nSystemCallArchitectures=native\nSystemCallFilter=");
    const char *between = "";
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        if (!is_first_of_call(listing, r))
            continue;
        printf("%s%s", between, listing->rules[r].call);
        between = " ";
    }
    putchar('\n');
}

static const struct form {
    const char *name;
    void (*export)(const struct policy_listing *listing);
} forms[] = {{"pfc", export_pfc},
             {"minijail", export_minijail},
             {"oci", export_oci},
             {"systemd", export_systemd}};

int audit_export_as(const struct question *question)
{
    if (question->argc != 2)
        return audit_complain("export with", question->argc > 2 ? question->argv[2] : "too little",
                              "a format and one policy");
    const struct selection selection = {question->argv[1], question->selection.arch};
    const struct policy_listing *listing = selection_next(&selection, NULL);
    if (question->selection.arch == POLICY_ARCHES)
        return audit_complain("export with --arch", "all", "one architecture");
    if (!listing)
        return audit_complain("no policy", question->argv[1], "one of those that --help lists");
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(forms[i].name, question->argv[0]) == 0) {
            forms[i].export(listing);
            return AUDIT_GOOD;
        }
    }
    return audit_complain("no format", question->argv[0], "pfc, minijail, oci or systemd");
}
