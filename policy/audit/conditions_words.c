/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/conditions_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"

#define ARGUMENT_WORD (offsetof(struct seccomp_data, args) / 4)
#define HIGH (UINT64_MAX << 32)

static struct condition condition_of(const struct ways_test *test)
{
    unsigned int word = test->word;
    bool is_pointer = word < ARGUMENT_WORD; /* it is not the number or the entry */
    unsigned int from = is_pointer
                            ? (unsigned int)(offsetof(struct seccomp_data, instruction_pointer) / 4)
                            : (unsigned int)ARGUMENT_WORD;
    unsigned int shift = (word - from) % 2 * 32;
    return (struct condition){
        .argument = is_pointer ? POLICY_ARGUMENTS : (word - from) / 2,
        .relation = test->relation,
        .mask = (uint64_t)test->mask << shift,
        .value = (uint64_t)test->value << shift,
    };
}

/* Both are equalities of one argument: make one of them. */
static bool join(struct condition *into, const struct condition *with)
{
    if (into->argument != with->argument || into->relation != WAYS_EQUAL ||
        with->relation != WAYS_EQUAL ||
        ((into->value ^ with->value) & into->mask & with->mask) != 0)
        return false; /* those that contradict each other stay separate, which shows later */
    into->mask |= with->mask;
    into->value |= with->value;
    return true;
}

/* Whether an equality decides if another condition on the same argument holds. */
static bool decides(const struct condition *equal, const struct condition *other, bool *ret_holds)
{
    uint64_t common = equal->mask & other->mask;
    bool differs = ((equal->value ^ other->value) & common) != 0;
    if (equal->relation != WAYS_EQUAL || equal->argument != other->argument)
        return false;
    switch (other->relation) {
    case WAYS_EQUAL:
        *ret_holds = !differs;
        return differs;
    case WAYS_NOT_EQUAL:
        *ret_holds = differs;
        return differs || common == other->mask;
    case WAYS_AT_LEAST:
        *ret_holds = (equal->value & other->mask) >= other->value;
        return common == other->mask;
    default:
        *ret_holds = (equal->value & other->mask) < other->value;
        return common == other->mask;
    }
}

bool conditions_collect(const struct ways_leaf *leaf, struct conditions *ret)
{
    ret->count = 0;
    ret->more = false;
    for (size_t i = 0; i < leaf->count; i++) {
        if (leaf->tests[i].word <= WAYS_WORD_OF(arch)) /* the number or the entry */
            continue;
        struct condition next = condition_of(&leaf->tests[i]);
        bool joined = false;
        for (size_t c = 0; c < ret->count && !joined; c++)
            joined = join(&ret->items[c], &next);
        if (!joined && ret->count == sizeof(ret->items) / sizeof(ret->items[0]))
            ret->more = true;
        else if (!joined)
            ret->items[ret->count++] = next;
    }
    size_t kept = 0;
    for (size_t i = 0; i < ret->count; i++) {
        bool decided = false, holds = true;
        for (size_t c = 0; c < ret->count && !decided; c++)
            decided = c != i && decides(&ret->items[c], &ret->items[i], &holds);
        if (decided && !holds)
            return false;
        if (!decided)
            ret->items[kept++] = ret->items[i];
    }
    ret->count = kept;
    return true;
}

static void write_condition(FILE *file, const struct condition *condition, const char *call)
{
    static const char *const words[] = {"==", "!=", ">=", "<"};
    const char *relation = words[condition->relation];
    uint64_t mask = condition->mask, value = condition->value;
    const char *name = condition->argument == POLICY_ARGUMENTS
                           ? "the instruction's address"
                           : audit_argument_name(call, condition->argument);
    bool high_only = (mask & ~HIGH) == 0 && mask != 0;
    if (high_only) {
        fputs("the high half of ", file);
        mask >>= 32;
        value >>= 32;
    }
    fputs(name, file);
    if (mask != UINT64_MAX && mask != UINT32_MAX)
        fprintf(file, " & 0x%" PRIx64, mask);
    fprintf(file, " %s 0x%" PRIx64, relation, value);
}

bool conditions_in_words(const struct ways_leaf *leaf, const char *call, char *ret, size_t size)
{
    struct conditions conditions;
    ret[0] = '\0';
    if (!conditions_collect(leaf, &conditions))
        return false;
    FILE *file = fmemopen(ret, size, "w");
    if (!file)
        return true;
    for (size_t i = 0; i < conditions.count; i++) {
        fputs(i > 0 ? " and " : "", file);
        write_condition(file, &conditions.items[i], call);
    }
    const char *joint = conditions.count > 0 ? " and " : "";
    if (leaf->unclear)
        fprintf(file, "%sa comparison of what is calculated from the call", joint);
    else if (conditions.more)
        fprintf(file, "%smore than is told here", joint);
    fclose(file);
    ret[size - 1] = '\0';
    return true;
}

/* ---- For an auditor ---- */

static void write_for_auditor(FILE *file, const struct condition *condition, uint32_t number,
                              const struct policy_listing *listing)
{
    static const char *const whole[] = {"is", "is not", "is at least", "is below"};
    static const char *const some[] = {"has", "has not", "has at least", "has less than"};
    uint64_t mask = condition->mask, value = condition->value;
    const char *call = audit_call_name(number, listing->arch);
    char words[128];
    bool high_only = (mask & ~HIGH) == 0;
    fputs(high_only ? "the high half of " : "", file);
    if (high_only) {
        mask >>= 32;
        value >>= 32;
    }
    if (condition->argument == POLICY_ARGUMENTS || high_only)
        snprintf(words, sizeof(words), "0x%" PRIx64, value);
    else
        audit_value_words(listing, number, condition->argument, mask, value, words, sizeof(words));
    bool is_whole = mask == UINT64_MAX || mask == UINT32_MAX;
    fprintf(file, "%s %s %s",
            condition->argument == POLICY_ARGUMENTS
                ? "the instruction's address"
                : audit_argument_name(call, condition->argument),
            (is_whole ? whole : some)[condition->relation], words);
    if (!is_whole)
        fprintf(file, " of the bits 0x%" PRIx64, mask);
}

void conditions_for_auditor(const struct ways_leaf *leaf, uint32_t number,
                            const struct policy_listing *listing, enum policy_arch arch, char *ret,
                            size_t size)
{
    const struct policy_listing unnamed = {.arch = arch};
    struct conditions conditions;
    ret[0] = '\0';
    FILE *file = fmemopen(ret, size, "w");
    if (!file)
        return;
    conditions_collect(leaf, &conditions);
    const char *between = "";
    for (unsigned int argument = 0; argument <= POLICY_ARGUMENTS; argument++) {
        for (size_t i = 0; i < conditions.count; i++) {
            if (conditions.items[i].argument != argument)
                continue;
            fputs(between, file);
            write_for_auditor(file, &conditions.items[i], number, listing ? listing : &unnamed);
            between = "; ";
        }
    }
    if (leaf->unclear || conditions.more)
        fprintf(file, "%s%s", between,
                leaf->unclear ? "a comparison of what is calculated from the call"
                              : "more than is told here");
    fclose(file);
    ret[size - 1] = '\0';
}
