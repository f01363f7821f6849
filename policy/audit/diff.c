/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one set of programs allows and another does not, in words: a proof by every way through both
 * (gap.h), so that programs of any origin can be compared with each other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/conditions_words.h"
#include "policy/audit/danger.h"
#include "policy/audit/fate.h"
#include "policy/audit/gap.h"
#include "policy/audit/json.h"
#include "policy/audit/side.h"

#define WORDS_SIZE 1024

/* ---- What one side allows more ---- */

/* Calls by which the other side is exceeded, on one way. */
struct excess {
    uint32_t number;
    bool known;                  /* the other side allows the call with other arguments */
    bool certain;                /* false: it could not be followed */
    const struct danger *danger; /* the worst that these calls can do, or NULL */
    char conditions[WORDS_SIZE];
};

struct excesses {
    const struct subject *has;
    const struct stack *lacks;
    const struct stack_entry *entry;
    uint32_t number; /* of the call that is looked at */
    size_t first;    /* the first of this call */
    size_t count;
    struct excess *items;
    int error;
};

static bool note(void *context, const struct gap *gap)
{
    struct excesses *excesses = context;
    enum policy_arch arch = excesses->entry->arch;
    bool has_names = arch != POLICY_ARCHES;
    const struct selection selection = {excesses->has->name, arch};
    const struct policy_listing *listing = has_names ? selection_next(&selection, NULL) : NULL;
    const char *call = has_names ? audit_call_name(excesses->number, arch) : NULL;
    struct ways_test given[WAYS_CALL_TESTS];
    ways_call_tests(excesses->entry->token, excesses->number, given);
    struct excess next = {excesses->number,
                          stack_allows_some(excesses->lacks, given, WAYS_CALL_TESTS), gap->certain,
                          danger_of_way(call, gap->both->tests, gap->both->count), ""};
    conditions_for_auditor(gap->way, excesses->number, listing, arch, next.conditions, WORDS_SIZE);
    for (size_t i = excesses->first; i < excesses->count; i++) {
        struct excess *before = &excesses->items[i];
        if (strcmp(before->conditions, next.conditions) != 0)
            continue;
        before->certain |= next.certain;
        if (next.danger && (!before->danger || next.danger->rank > before->danger->rank))
            before->danger = next.danger;
        return true;
    }
    struct excess *items = realloc(excesses->items, (excesses->count + 1) * sizeof(*items));
    excesses->error = items ? 0 : -ENOMEM;
    if (!items)
        return false;
    excesses->items = items;
    items[excesses->count++] = next;
    return true;
}

static bool was_looked_at(const struct excesses *excesses, uint32_t number)
{
    for (size_t i = 0; i < excesses->count; i++) {
        if (excesses->items[i].number == number)
            return true;
    }
    return false;
}

/* Whether calls without names are exceeded, all of them: then this number is among them. */
static bool goes_without_saying(const struct excesses *excesses, uint32_t number)
{
    enum policy_arch arch = excesses->entry->arch;
    bool named = arch != POLICY_ARCHES && audit_call_name(number, arch) != NULL;
    return !named && number != STACK_UNNAMED_CALL && excesses->count > 0 &&
           excesses->items[0].number == STACK_UNNAMED_CALL &&
           excesses->items[0].conditions[0] == '\0';
}

static int look_at_call(struct excesses *excesses, uint32_t number)
{
    struct ways_test given[WAYS_CALL_TESTS];
    if (was_looked_at(excesses, number) || goes_without_saying(excesses, number))
        return 0;
    ways_call_tests(excesses->entry->token, number, given);
    excesses->number = number;
    excesses->first = excesses->count;
    int error =
        gaps_find(&excesses->has->stack, excesses->lacks, given, WAYS_CALL_TESTS, note, excesses);
    return excesses->error < 0 ? excesses->error : error;
}

/* What `has` allows by this entry and `lacks` does not; the items are to be freed in any case.
 * Returns 0 or -errno. */
static int find_excesses(const struct subject *has, const struct stack *lacks,
                         const struct stack_entry *entry, struct excesses *ret)
{
    *ret = (struct excesses){.has = has, .lacks = lacks, .entry = entry};
    int error = look_at_call(ret, STACK_UNNAMED_CALL);
    uint32_t number;
    for (size_t at = 0; error == 0 && stack_next_number(&has->stack, &at, &number);)
        error = look_at_call(ret, number);
    for (size_t at = 0; error == 0 && stack_next_number(lacks, &at, &number);)
        error = look_at_call(ret, number);
    return error;
}

static bool stop(void *context, const struct gap *gap)
{
    (void)context;
    (void)gap;
    return false;
}

/* Whether there is any call, of any number by any entry, that `has` allows and `lacks` does not. */
static bool exceeds(const struct subject *has, const struct stack *lacks)
{
    return gaps_find(&has->stack, lacks, NULL, 0, stop, NULL) != 0;
}

/* ---- In words ---- */

static void print_excess(const struct excess *excess, const struct stack_entry *entry, char sign)
{
    char call[80];
    printf("  %c %s%s%s%s", sign,
           excess->number == STACK_UNNAMED_CALL
               ? "calls that have no name here"
               : fate_call_words(entry, excess->number, call, sizeof(call)),
           excess->conditions[0] ? " with " : "", excess->conditions,
           excess->certain ? "" : ", perhaps: the program calculates it");
    if (!excess->known)
        fputs(sign == '+' ? " (a call that was not allowed at all)"
                          : " (the call is no longer allowed at all)",
              stdout);
    if (excess->danger)
        printf(" [%s: %s]", rank_name(excess->danger->rank), excess->danger->can);
    putchar('\n');
}

static void json_excess(const struct excess *excess, const struct stack_entry *entry)
{
    bool has_names = entry->arch != POLICY_ARCHES;
    json_open('{');
    json_text_of("syscall", has_names ? audit_call_name(excess->number, entry->arch) : NULL);
    json_number_of("number", excess->number);
    json_parts_of("conditions", excess->conditions);
    json_bool_of("call_in_both", excess->known);
    json_bool_of("certain", excess->certain);
    json_text_of("rank", excess->danger ? rank_name(excess->danger->rank) : NULL);
    json_text_of("can", excess->danger ? excess->danger->can : NULL);
    json_close();
}

static void report_half(const struct excesses *excesses, char sign, bool json)
{
    if (json) {
        json_key(sign == '+' ? "gained" : "lost");
        json_open('[');
    }
    for (size_t i = 0; i < excesses->count; i++) {
        if (json)
            json_excess(&excesses->items[i], excesses->entry);
        else
            print_excess(&excesses->items[i], excesses->entry, sign);
    }
    if (json)
        json_close();
}

/* "gained: 1 high, 2 low": each power of a call once. */
static void print_ranks(const struct excesses *excesses, const char *what)
{
    size_t counts[RANKS] = {0};
    char words[80];
    for (size_t i = 0; i < excesses->count; i++) {
        const struct excess *excess = &excesses->items[i];
        bool counted = !excess->danger;
        for (size_t j = 0; j < i && !counted; j++)
            counted = excesses->items[j].number == excess->number &&
                      excesses->items[j].danger == excess->danger;
        if (!counted)
            counts[excess->danger->rank]++;
    }
    ranks_in_words(counts, words, sizeof(words));
    if (words[0] != '\0')
        printf("  %s: %s\n", what, words);
}

/* ---- The comparison ---- */

/* A policy that does not exist is compared as if it allowed nothing. */
static const struct subject *nothing(void)
{
    static const struct sock_filter deny[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
    static const struct subject subject = {.stack = {1, {deny}, {1}}};
    return &subject;
}

static void print_head(const struct subject *old, const struct subject *new,
                       const struct stack_entry *entry)
{
    const struct subject *any = new ? new : old;
    bool renamed = old && new &&strcmp(old->name, new->name) != 0;
    printf("%s%s%s on %s%s\n", renamed ? old->name : "", renamed ? ", compared with " : "",
           any->name, entry->name,
           !old   ? ": a new policy"
           : !new ? ": no longer there"
                  : "");
}

static void report(const struct subject *old, const struct subject *new,
                   const struct excesses *gained, const struct excesses *lost, bool json)
{
    if (json) {
        json_open('{');
        json_text_of("old", old ? old->name : NULL);
        json_text_of("new", new ? new->name : NULL);
        json_text_of("arch", gained->entry->name);
    } else {
        print_head(old, new, gained->entry);
    }
    report_half(gained, '+', json);
    report_half(lost, '-', json);
    if (json) {
        json_close();
    } else {
        print_ranks(gained, "gained");
        print_ranks(lost, "lost");
    }
}

/* Compares what two subjects do with calls by one entry. Returns 1 if they differ, 0 or -errno. */
static int compare_by_entry(const struct subject *old, const struct subject *new,
                            const struct stack_entry *entry, bool json)
{
    const struct subject *was = old ? old : nothing(), *is = new ? new : nothing();
    struct excesses gained, lost = {0};
    int result = find_excesses(is, &was->stack, entry, &gained);
    if (result == 0)
        result = find_excesses(was, &is->stack, entry, &lost);
    if (result == 0 && gained.count + lost.count > 0) {
        report(old, new, &gained, &lost, json);
        result = 1;
    }
    free(gained.items);
    free(lost.items);
    return result;
}

/* `old` or `new` is NULL if it is on one side only. Returns 1 if they differ, 0 or -errno. */
static int compare(const struct subject *old, const struct subject *new, bool json)
{
    const struct subject *was = old ? old : nothing(), *is = new ? new : nothing();
    int differ = 0;
    if (!exceeds(is, &was->stack) && !exceeds(was, &is->stack))
        return 0;
    for (const struct stack_entry *entry = stack_entries; entry->name && differ >= 0; entry++) {
        if (!stack_asks_for(&was->stack, entry) && !stack_asks_for(&is->stack, entry))
            continue;
        int result = compare_by_entry(old, new, entry, json);
        differ = result < 0 ? result : differ | result;
    }
    return differ;
}

/* A foreign program has no architecture of its own. */
static bool arches_match(enum policy_arch a, enum policy_arch b)
{
    return a == b || a == POLICY_ARCHES || b == POLICY_ARCHES;
}

/* The policy of the same name, on the architecture that is asked for if `like` has none. Two single
 * ones are compared with each other, whatever their names are. */
static const struct subject *find(enum policy_arch asked, const struct side *side,
                                  const struct subject *like, const struct side *of)
{
    for (size_t i = 0; i < side->count; i++) {
        const struct subject *subject = &side->subjects[i];
        if (arches_match(subject->arch, like->arch) && arches_match(subject->arch, asked) &&
            ((side->single && of->single) || strcmp(subject->name, like->name) == 0))
            return subject;
    }
    return NULL;
}

static bool has_arch(const struct side *side, enum policy_arch arch)
{
    for (size_t i = 0; i < side->count; i++) {
        if (arches_match(side->subjects[i].arch, arch))
            return true;
    }
    return false;
}

/* A side with one policy on one architecture does not lack the other policies. */
static bool is_comparable(enum policy_arch asked, const struct side *other,
                          const struct subject *subject, const struct side *of)
{
    if (!arches_match(asked, subject->arch))
        return false;
    return has_arch(other, subject->arch) && (!other->single || find(asked, other, subject, of)) &&
           (!of->single || find(asked, other, subject, of));
}

static bool has_foreign(const struct side *side)
{
    return side->count > 0 && side->subjects[0].arch == POLICY_ARCHES;
}

/* A foreign program is compared with the policy of one architecture. */
static enum policy_arch asked_arch(const struct question *question, const struct side *old,
                                   const struct side *new)
{
    bool foreign = has_foreign(old) || has_foreign(new);
    return question->selection.arch == POLICY_ARCHES && foreign ? POLICY_ARCH_NATIVE
                                                                : question->selection.arch;
}

struct comparison {
    enum policy_arch asked;
    bool json;
    size_t compared, differ;
};

static int compare_all(struct comparison *comparison, const struct side *old,
                       const struct side *new)
{
    int result = 0;
    for (size_t i = 0; i < old->count && result >= 0; i++) {
        const struct subject *subject = &old->subjects[i];
        if (!is_comparable(comparison->asked, new, subject, old))
            continue;
        comparison->compared++;
        result = compare(subject, find(comparison->asked, new, subject, old), comparison->json);
        comparison->differ += result > 0;
    }
    for (size_t i = 0; i < new->count &&result >= 0; i++) {
        const struct subject *subject = &new->subjects[i];
        if (!is_comparable(comparison->asked, old, subject, new) ||
            find(comparison->asked, old, subject, new))
            continue;
        comparison->compared++;
        result = compare(NULL, subject, comparison->json);
        comparison->differ += result > 0;
    }
    return result;
}

static int compare_sides(const struct question *question, const struct side *old,
                         const struct side *new)
{
    struct comparison comparison = {asked_arch(question, old, new), question->format == FORMAT_JSON,
                                    0, 0};
    if (comparison.json)
        json_open('[');
    int result = compare_all(&comparison, old, new);
    if (result < 0) {
        fprintf(stderr, "bao-seccomp: the two can't be compared: %s\n",
                result == -E2BIG ? "there are too many ways through one of the programs"
                                 : strerror(-result));
        return AUDIT_TROUBLE;
    }
    if (comparison.json)
        json_close();
    else if (comparison.compared > 0)
        printf("%zu of %zu program%s differ\n", comparison.differ, comparison.compared,
               audit_plural(comparison.compared));
    if (comparison.compared == 0) {
        fputs("bao-seccomp: the two have no architecture or no policy in common (a single program "
              "has the name ARCH/NAME.bpf)\n",
              stderr);
        return AUDIT_TROUBLE;
    }
    return comparison.differ == 0 ? AUDIT_GOOD : AUDIT_OBJECTS;
}

int audit_diff(const struct question *question)
{
    if (question->argc != 2)
        return audit_complain("diff with", question->argc > 2 ? question->argv[2] : "nothing",
                              "OLD and NEW");
    struct side *old = calloc(1, sizeof(*old)), *new = calloc(1, sizeof(*new));
    int answer = -ENOMEM;
    if (old && new) {
        answer = side_load(question->argv[0], old);
        if (answer == AUDIT_GOOD)
            answer = side_load(question->argv[1], new);
        if (answer == AUDIT_GOOD)
            answer = compare_sides(question, old, new);
    }
    if (old)
        side_free(old);
    if (new)
        side_free(new);
    return answer;
}
