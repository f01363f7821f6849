/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/conditions_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"

#define ARGUMENT_WORD (offsetof(struct seccomp_data, args) / 4)
#define HIGH (UINT64_MAX << 32)

/* A test of one argument, or of the instruction pointer (argument 6), of up to 64 bits. */
struct condition {
    unsigned int argument;
    enum ways_relation relation;
    uint64_t mask, value;
};

struct conditions {
    size_t count;
    struct condition items[CONDITIONS_MAX];
    bool more;
};

static struct condition condition_of(const struct ways_test *test)
{
    unsigned int word = test->word;
    bool is_pointer = word < ARGUMENT_WORD; /* number and entry are known: never tested */
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

/* Returns false if no call can meet them all. */
static bool collect(const struct ways_leaf *leaf, struct conditions *ret)
{
    for (size_t i = 0; i < leaf->count; i++) {
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

bool conditions_can_hold(const struct ways_leaf *leaf)
{
    struct conditions conditions = {0};
    return collect(leaf, &conditions);
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
    struct conditions conditions = {0};
    ret[0] = '\0';
    if (!collect(leaf, &conditions))
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
