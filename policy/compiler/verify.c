/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "policy/bpf.h"
#include "policy/compiler/prove.h"

#define NUMBERS_CHECKED 4096     /* far beyond the last system call of any architecture */
#define X32_BIT 0x40000000u      /* __X32_SYSCALL_BIT */
#define COMBINATIONS_MAX 100000u /* for each call */
#define VALUES_MAX 2048          /* of one argument, for combinations */

struct checker {
    const struct policy_listing *listing;
    struct policy_error *error;
    uint64_t random; /* state of a xorshift generator: the same sequence on every build */
};

static uint64_t next_random(struct checker *checker)
{
    uint64_t x = checker->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return checker->random = x;
}

/* A call with arguments that no rule is likely to name. */
static struct seccomp_data random_call(struct checker *checker, uint32_t number)
{
    struct seccomp_data data = {
        .nr = (int)number,
        .arch = policy_arch_token(checker->listing->arch),
        .instruction_pointer = next_random(checker),
    };
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++)
        data.args[i] = next_random(checker);
    return data;
}

/* The program's answer for one call must be the text's. */
static bool check(struct checker *checker, const struct seccomp_data *data)
{
    const struct policy_listing *listing = checker->listing;
    bool allowed = policy_allows(listing, data) != NULL;
    uint32_t expected = allowed ? SECCOMP_RET_ALLOW : SECCOMP_RET_KILL_PROCESS;
    uint32_t found = bpf_run(listing->program.filter, data);
    if (found == expected)
        return true;
    snprintf(checker->error->text, sizeof(checker->error->text),
             "policy/%s.policy: the program compiled for %s returns %#" PRIx32 " for call %" PRIu32
             " (%#llx, %#llx, %#llx, %#llx, %#llx, %#llx) of architecture "
             "%#" PRIx32 ", but by the rules it is %s",
             listing->program.name, policy_arch_name(listing->arch), found, (uint32_t)data->nr,
             data->args[0], data->args[1], data->args[2], data->args[3], data->args[4],
             data->args[5], data->arch, allowed ? "allowed" : "not allowed");
    return false;
}

static bool check_numbers(struct checker *checker)
{
    for (uint32_t number = 0; number < NUMBERS_CHECKED; number++) {
        const uint32_t variants[] = {number, number | X32_BIT, number | 1u << 31, ~number};
        for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
            struct seccomp_data data = random_call(checker, variants[i]);
            if (!check(checker, &data))
                return false;
            memset(data.args, 0, sizeof(data.args));
            if (!check(checker, &data))
                return false;
        }
    }
    return true;
}

/* A call that the rule allows, by the given alternative of each condition. */
static struct seccomp_data allowed_call(struct checker *checker, const struct policy_rule *rule,
                                        const unsigned int *choice)
{
    struct seccomp_data data = random_call(checker, rule->number);
    for (unsigned int i = 0; i < rule->condition_count; i++) {
        const struct policy_condition *condition = &rule->conditions[i];
        uint64_t value = condition->values[choice[i]];
        uint64_t other = (uint64_t)data.args[condition->index] & ~condition->mask;
        data.args[condition->index] = value | other;
    }
    return data;
}

/* Other architectures, and every way to miss our token by one bit, with the call x32 too. */
static bool check_entries(struct checker *checker, const struct seccomp_data *allowed)
{
    static const uint32_t tokens[] = {
        0,
        UINT32_MAX,
        AUDIT_ARCH_X86_64,
        AUDIT_ARCH_I386,
        AUDIT_ARCH_AARCH64,
        AUDIT_ARCH_ARM,
        AUDIT_ARCH_ARMEB,
        AUDIT_ARCH_RISCV64,
        AUDIT_ARCH_RISCV32,
    };
    uint32_t own = allowed->arch;
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]) + 32; i++) {
        struct seccomp_data data = *allowed;
        data.arch = i < 32 ? own ^ 1u << i : tokens[i - 32];
        if (!check(checker, &data))
            return false;
    }
    struct seccomp_data data = *allowed;
    data.nr = (int)((uint32_t)data.nr | X32_BIT);
    return check(checker, &data);
}

/* An allowed call passes; with any bit of any argument changed, it does what the rules say. */
static bool check_alternative(struct checker *checker, const struct policy_rule *rule,
                              const unsigned int *choice)
{
    struct seccomp_data allowed = allowed_call(checker, rule, choice);
    if (!policy_allows(checker->listing, &allowed)) {
        snprintf(checker->error->text, sizeof(checker->error->text),
                 "%s: this rule never allows anything", rule->source);
        return false;
    }
    if (!check(checker, &allowed) || !check_entries(checker, &allowed))
        return false;
    for (unsigned int bit = 0; bit < POLICY_ARGUMENTS * 64; bit++) {
        struct seccomp_data data = allowed;
        data.args[bit / 64] ^= 1ull << (bit % 64);
        if (!check(checker, &data))
            return false;
    }
    return true;
}

static bool check_rule(struct checker *checker, const struct policy_rule *rule)
{
    unsigned int choice[POLICY_ARGUMENTS] = {0};
    do {
        if (!check_alternative(checker, rule, choice))
            return false;
    } while (policy_next_choice(rule, choice));
    return true;
}

/* Values at which some rule of a call changes its mind about one argument. */
struct turning_points {
    size_t count;
    uint64_t values[VALUES_MAX];
};

static void add_point(struct turning_points *points, uint64_t value)
{
    if (points->count < VALUES_MAX)
        points->values[points->count++] = value;
}

static void find_points(struct checker *checker, uint32_t number, unsigned int argument,
                        struct turning_points *points)
{
    points->count = 0;
    add_point(points, next_random(checker));
    for (unsigned int r = 0; r < checker->listing->rule_count; r++) {
        const struct policy_rule *rule = &checker->listing->rules[r];
        for (unsigned int c = 0; c < rule->condition_count; c++) {
            const struct policy_condition *condition = &rule->conditions[c];
            if (rule->number != number || condition->index != argument)
                continue;
            uint64_t lowest = condition->mask & (0 - condition->mask);
            for (unsigned int v = 0; v < condition->value_count; v++) {
                uint64_t value = condition->values[v];
                add_point(points, value);
                add_point(points, value ^ lowest);
                add_point(points, value | ~condition->mask);
                add_point(points, value ^ 1ull << 31);
                add_point(points, value ^ 1ull << 32);
            }
        }
    }
}

/*
 * Combinations of turning points of all arguments of a call, so that rules which libseccomp merged
 * are seen together: all of them where they are few, otherwise a sample.
 */
static bool check_combinations(struct checker *checker, uint32_t number)
{
    struct turning_points points[POLICY_ARGUMENTS];
    uint64_t total = 1;
    for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
        find_points(checker, number, i, &points[i]);
        if (total <= COMBINATIONS_MAX)
            total *= points[i].count;
    }
    bool all = total <= COMBINATIONS_MAX;
    for (uint64_t n = 0; n < (all ? total : COMBINATIONS_MAX); n++) {
        struct seccomp_data data = random_call(checker, number);
        uint64_t rest = n;
        for (unsigned int i = 0; i < POLICY_ARGUMENTS; i++) {
            uint64_t pick = all ? rest : next_random(checker);
            data.args[i] = points[i].values[pick % points[i].count];
            rest /= points[i].count;
        }
        if (!check(checker, &data))
            return false;
    }
    return true;
}

static bool check_calls(struct checker *checker)
{
    const struct policy_listing *listing = checker->listing;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        bool first = true;
        for (unsigned int earlier = 0; earlier < i; earlier++)
            first &= listing->rules[earlier].number != listing->rules[i].number;
        if (!check_rule(checker, &listing->rules[i]) ||
            (first && !check_combinations(checker, listing->rules[i].number)))
            return false;
    }
    return true;
}

bool policy_verify(const struct policy_listing *listing, struct policy_error *ret_error)
{
    struct checker checker = {listing, ret_error, 0x9e3779b97f4a7c15ull};
    size_t index;
    const char *wrong = bpf_validate(listing->program.filter, listing->program.length, &index);
    if (wrong) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "policy/%s.policy: instruction %zu of the program compiled for %s %s",
                 listing->program.name, index, policy_arch_name(listing->arch), wrong);
        return false;
    }
    return policy_prove(listing, ret_error) && check_numbers(&checker) && check_calls(&checker);
}
