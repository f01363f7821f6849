/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is doubtful in policies that the compiler accepts. It does not accept a policy that
 * contradicts itself: when texts are read, that is reported here, too.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/device_kind.h"
#include "policy/audit/audit.h"
#include "policy/audit/danger.h"
#include "policy/audit/gap.h"
#include "policy/audit/json.h"
#include "policy/audit/texts.h"
#include "policy/author/score.h"
#include "policy/catalog.h"
#include "policy/compiler/vocabulary.h"
#include "policy/walk.h"

#define FINDINGS_MAX 512
#define FINDING_SIZE 640
#define LISTINGS_MAX ((size_t)NAMES_MAX * POLICY_ARCHES)

/* Each finding is reported once, though it may hold for several architectures, or for an include of
 * several policies. */
struct findings {
    size_t count;
    bool too_many;
    char texts[FINDINGS_MAX][FINDING_SIZE];
};

struct lint {
    struct findings *findings;
};

static void note(void *context, const char *text)
{
    struct findings *findings = context;
    for (size_t i = 0; i < findings->count; i++) {
        if (strcmp(findings->texts[i], text) == 0)
            return;
    }
    if (findings->count == FINDINGS_MAX) {
        findings->too_many = true;
        return;
    }
    snprintf(findings->texts[findings->count++], FINDING_SIZE, "%s", text);
}

__attribute__((format(printf, 2, 3))) static void found(struct lint *lint, const char *format, ...)
{
    char text[FINDING_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    note(lint->findings, text);
}

/* ---- One rule ---- */

static void check_reason(struct lint *lint, const struct policy_rule *rule)
{
    if (!strchr(rule->reason, ' '))
        found(lint, "%s: \"%s\" is no reason for '%s': expected what the call is for", rule->source,
              rule->reason, rule->call);
}

static void check_danger(struct lint *lint, const struct policy_rule *rule)
{
    const struct danger *danger = danger_of(rule);
    if (danger && !rule->justified)
        found(lint,
              "%s: '%s' %s: expected conditions that prevent it, or: justified \"why it can "
              "do no harm here\"",
              rule->source, rule->call, danger->can);
}

static void check_widths(struct lint *lint, const struct policy_rule *rule)
{
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        if (condition->bits == 32 && condition->mask > UINT32_MAX)
            found(lint, "%s: '%s' of '%s' has 32 bits, but is compared in more", rule->source,
                  condition->argument, rule->call);
    }
}

/* A worker has fixed fds: a rule that does not name the fd allows the call on all of them. */
static void check_fds(struct lint *lint, const struct policy_listing *listing,
                      const struct policy_rule *rule)
{
    const struct call_signature *signature = call_signature_find(rule->call);
    for (unsigned int i = 0; listing->fd_count > 0 && signature && i < POLICY_ARGUMENTS; i++) {
        const char *name = signature->arguments[i].name;
        size_t length = name ? strlen(name) : 0;
        bool pinned = false;
        if (length < 2 || strcmp(name + length - 2, "fd") != 0)
            continue;
        for (unsigned int c = 0; c < rule->condition_count; c++)
            pinned |= rule->conditions[c].index == i;
        if (!pinned && !rule->justified)
            found(lint, "%s: '%s' is allowed on any file: expected a condition on '%s'",
                  rule->source, rule->call, name);
    }
}

/* ---- The program ---- */

struct widths {
    struct lint *lint;
    const struct policy_listing *listing;
};

/* On a way to ALLOW, nothing may depend on the upper half of a 32-bit argument: it has any value
 * that the caller's register held. */
static bool check_way(void *context, const struct walk_state *state, uint32_t result)
{
    const struct widths *widths = context;
    const struct policy_listing *listing = widths->listing;
    uint32_t number = state->words[WALK_WORD_OF(nr)].value;
    const char *name = audit_call_name(number, listing->arch);
    const struct call_signature *signature = name ? call_signature_find(name) : NULL;
    for (unsigned int i = 0; result == SECCOMP_RET_ALLOW && signature && i < POLICY_ARGUMENTS;
         i++) {
        if (signature->arguments[i].bits == 32 && (walk_known(state, i) >> 32) != 0)
            found(widths->lint,
                  "policy/%s.policy: the program for %s compares the upper half of "
                  "'%s' of '%s', which the kernel ignores",
                  listing->program.name, policy_arch_name(listing->arch),
                  signature->arguments[i].name, name);
    }
    return true;
}

static void check_program(struct lint *lint, const struct policy_listing *listing)
{
    struct widths widths = {lint, listing};
    struct walk walk = {.leaf = check_way, .context = &widths};
    if (listing->program.filter)
        walk_program(&walk, listing->program.filter, (struct walk_state){0});
}

/* ---- Architectures ---- */

/* Two names for one thing: an architecture may have the older name, the newer one, or both. */
static const char *const pairs[][2] = {
    {"access", "faccessat"},    {"chmod", "fchmodat"},
    {"dup2", "dup3"},           {"epoll_wait", "epoll_pwait"},
    {"getpgrp", "getpgid"},     {"mkdir", "mkdirat"},
    {"open", "openat"},         {"poll", "ppoll"},
    {"readlink", "readlinkat"}, {"rename", "renameat2"},
    {"rmdir", "unlinkat"},      {"stat", "newfstatat"},
    {"symlink", "symlinkat"},   {"unlink", "unlinkat"},
};

static const char *counterpart(const char *call)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        for (size_t side = 0; side < 2; side++) {
            if (strcmp(pairs[i][side], call) == 0)
                return pairs[i][1 - side];
        }
    }
    return NULL;
}

static bool exists(const char *call, enum policy_arch arch)
{
    for (const struct policy_call *row = policy_calls; row->name; row++) {
        if (strcmp(row->name, call) == 0)
            return row->number[arch] != POLICY_NO_CALL;
    }
    return false;
}

static bool names(const struct policy_listing *listing, const char *call)
{
    for (unsigned int r = 0; call && r < listing->rule_count; r++) {
        if (strcmp(listing->rules[r].call, call) == 0)
            return true;
    }
    return false;
}

/* A call that one architecture needs, the other needs too: under the same name, or as its
 * counterpart. */
static void check_other_arch(struct lint *lint, const struct policy_listing *here,
                             const struct policy_listing *there)
{
    for (unsigned int r = 0; r < here->rule_count; r++) {
        const struct policy_rule *rule = &here->rules[r];
        const char *other = counterpart(rule->call);
        bool could = exists(rule->call, there->arch) || (other && exists(other, there->arch));
        if (could && !names(there, rule->call) && !names(there, other))
            found(lint, "%s: '%s' is allowed on %s, but neither it nor another name for it on %s",
                  rule->source, rule->call, policy_arch_name(here->arch),
                  policy_arch_name(there->arch));
    }
}

/* ---- Inheritance ---- */

/*
 * Whatever process makes a call, the kernel also asks the keeper's filter: what a policy allows
 * beyond it is not in force, and the process would die of it. All ways through both are followed,
 * so that no call is missed.
 */
struct inheritance {
    struct lint *lint;
    const struct policy_listing *keeper, *listing;
    const struct policy_rule *rule; /* NULL: the compiled program is looked at */
};

/* "preadv2(0x8, 0x0)" */
static void call_in_words(const struct seccomp_data *call, enum policy_arch arch, char *ret,
                          size_t size)
{
    const char *name = audit_call_name((uint32_t)call->nr, arch);
    const struct call_signature *signature = name ? call_signature_find(name) : NULL;
    size_t used = (size_t)snprintf(ret, size, "%s(", name ? name : "an unknown call");
    for (unsigned int i = 0;
         signature && i < POLICY_ARGUMENTS && signature->arguments[i].name && used < size; i++)
        used +=
            (size_t)snprintf(ret + used, size - used, "%s%#llx", i > 0 ? ", " : "", call->args[i]);
    if (used < size)
        snprintf(ret + used, size - used, ")");
}

static bool note_gap(void *context, const struct gap *gap)
{
    const struct inheritance *inheritance = context;
    const struct policy_listing *listing = inheritance->listing;
    const char *keeper = inheritance->keeper->program.name;
    char call[160] = "a call that could not be followed";
    if (gap->certain)
        call_in_words(&gap->example, listing->arch, call, sizeof(call));
    if (inheritance->rule)
        found(inheritance->lint,
              "%s: '%s' is allowed here, but not by policy/%s.policy, whose filter this process "
              "inherits: %s",
              inheritance->rule->source, inheritance->rule->call, keeper, call);
    else
        found(inheritance->lint,
              "policy/%s.policy: the program for %s allows what that of policy/%s.policy does not, "
              "whose filter this process inherits: %s",
              listing->program.name, policy_arch_name(listing->arch), keeper, call);
    return false; /* one example is enough */
}

/* Shows that `more` allows nothing that `less` does not, or notes what. */
static void prove_within(struct inheritance *inheritance, const struct stack *more,
                         const struct stack *less)
{
    int error = gaps_find(more, less, NULL, 0, note_gap, inheritance);
    if (error < 0 && error != -ECANCELED)
        found(inheritance->lint,
              "policy/%s.policy: it could not be shown that the keeper's allows "
              "all of it: %s",
              inheritance->listing->program.name, strerror(-error));
}

static void check_inherited_rules(struct inheritance *inheritance, const struct stack *keeper)
{
    const struct policy_listing *listing = inheritance->listing;
    for (unsigned int r = 0; r < listing->rule_count; r++) {
        struct sock_filter *program;
        size_t length;
        inheritance->rule = &listing->rules[r];
        if (rules_program(listing, inheritance->rule, 1, &program, &length) < 0) {
            found(inheritance->lint, "policy/%s.policy: there is not enough memory to look at it",
                  listing->program.name);
            return;
        }
        const struct stack own = {1, {program}, {length}};
        prove_within(inheritance, &own, keeper);
        free(program);
    }
    inheritance->rule = NULL;
}

static void check_inherited(struct lint *lint, const struct policy_listing *keeper,
                            const struct policy_listing *listing)
{
    struct inheritance inheritance = {lint, keeper, listing, NULL};
    struct stack own = {0}, inherited = {0};
    struct sock_filter *program;
    size_t length;
    if (rules_program(keeper, keeper->rules, keeper->rule_count, &program, &length) < 0) {
        found(lint, "policy/%s.policy: there is not enough memory to look at it",
              keeper->program.name);
        return;
    }
    const struct stack text = {1, {program}, {length}};
    check_inherited_rules(&inheritance, &text);
    free(program);
    if (listing->program.filter && keeper->program.filter &&
        stack_add(&own, listing->program.filter, listing->program.length) &&
        stack_add(&inherited, keeper->program.filter, keeper->program.length))
        prove_within(&inheritance, &own, &inherited);
}

/* ---- All of it ---- */

/* `listings` ends with NULL. */
static void check_all(struct lint *lint, const struct policy_listing *const *listings)
{
    for (size_t i = 0; listings[i]; i++) {
        const struct policy_listing *listing = listings[i];
        check_program(lint, listing);
        for (unsigned int r = 0; r < listing->rule_count; r++) {
            check_reason(lint, &listing->rules[r]);
            check_danger(lint, &listing->rules[r]);
            check_widths(lint, &listing->rules[r]);
            check_fds(lint, listing, &listing->rules[r]);
        }
        for (size_t j = 0; listings[j]; j++) {
            const struct policy_listing *other = listings[j];
            if (strcmp(listing->program.name, other->program.name) == 0 && i != j)
                check_other_arch(lint, listing, other);
            /* The keeper starts all other processes. */
            const char *ancestor = device_kind_keeper(listing->program.name);
            if (strcmp(other->program.name, ancestor) == 0 && listing->arch == other->arch)
                check_inherited(lint, other, listing);
        }
    }
}

/* Splits "policy/FILE:LINE: WORDS", perhaps with a column, into place and words. */
static void json_finding(const char *text)
{
    char place[FINDING_SIZE];
    const char *colon = strstr(text, ": ");
    snprintf(place, sizeof(place), "%.*s", colon ? (int)(colon - text) : 0, text);
    json_open('{');
    json_text_of("source", colon ? place : NULL);
    json_text_of("finding", colon ? colon + 2 : text);
    json_close();
}

static int report(const struct findings *findings, enum format format)
{
    if (format == FORMAT_JSON) {
        json_open('[');
        for (size_t i = 0; i < findings->count; i++)
            json_finding(findings->texts[i]);
        json_close();
    } else {
        for (size_t i = 0; i < findings->count; i++)
            puts(findings->texts[i]);
        if (findings->count > 0)
            printf("%s%zu finding%s\n", findings->too_many ? "more than " : "", findings->count,
                   audit_plural(findings->count));
    }
    return findings->count == 0 ? AUDIT_GOOD : AUDIT_OBJECTS;
}

/* ---- Whose policies ---- */

struct subjects {
    struct texts *texts;                                     /* NULL: this build's */
    const struct policy_listing *listings[LISTINGS_MAX + 1]; /* ends with NULL */
};

/* Reads the policies of a directory; NULL: takes those of this build. Mistakes in a text are
 * findings. */
static int find_subjects(const char *directory, struct lint *lint, struct subjects *ret)
{
    *ret = (struct subjects){0};
    for (size_t i = 0; !directory && i < LISTINGS_MAX && policy_catalog[i].program.name; i++)
        ret->listings[i] = &policy_catalog[i];
    if (!directory)
        return 0;
    int error = texts_read(directory, note, lint->findings, &ret->texts);
    for (size_t i = 0; error == 0 && i < ret->texts->count; i++)
        ret->listings[i] = &ret->texts->policies[i].listing;
    if (error == 0 && ret->texts->count == 0 && lint->findings->count == 0)
        found(lint, "%s: expected at least one policy that can be read, found none", directory);
    return error;
}

int audit_lint(const struct question *question)
{
    if (question->argc > 1)
        return audit_complain("unexpected argument", question->argv[1], "one directory at most");
    struct findings *findings = calloc(1, sizeof(*findings));
    struct subjects subjects;
    if (!findings)
        return -ENOMEM;
    struct lint lint = {.findings = findings};
    int result = find_subjects(question->argv[0], &lint, &subjects);
    if (result < 0) {
        fprintf(stderr, "bao-policy: %s can't be read: %s\n", question->argv[0], strerror(-result));
        result = AUDIT_TROUBLE;
    } else if (question->score && findings->count == 0) {
        result = score(question, subjects.listings);
    } else {
        check_all(&lint, subjects.listings);
        result = report(findings, question->format);
    }
    texts_free(subjects.texts);
    free(findings);
    return result;
}
