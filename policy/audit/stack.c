/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/stack.h"

#include <errno.h>
#include <linux/audit.h>

#include "policy/audit/example.h"
#include "policy/calls.h"

#define CALLS_END ((size_t)POLICY_CALLS_END)

const struct stack_entry stack_entries[] = {
    {"x86_64", AUDIT_ARCH_X86_64, POLICY_ARCH_X86_64},
    {"aarch64", AUDIT_ARCH_AARCH64, POLICY_ARCH_AARCH64},
    {"riscv64", AUDIT_ARCH_RISCV64, POLICY_ARCH_RISCV64},
    {"i386", AUDIT_ARCH_I386, POLICY_ARCHES},
    {"arm", AUDIT_ARCH_ARM, POLICY_ARCHES},
    {"riscv32", AUDIT_ARCH_RISCV32, POLICY_ARCHES},
    {"any other", 0, POLICY_ARCHES},
    {0},
};

bool stack_add(struct stack *stack, const struct sock_filter *program, size_t length)
{
    size_t index;
    if (stack->count == FILTERS_MAX || ways_validate(program, length, &index) != NULL)
        return false;
    stack->programs[stack->count] = program;
    stack->lengths[stack->count++] = length;
    return true;
}

bool stack_asks_for(const struct stack *stack, const struct stack_entry *entry)
{
    for (size_t p = 0; p < stack->count; p++) {
        for (size_t i = 0; i < stack->lengths[p]; i++) {
            if (stack->programs[p][i].k == entry->token)
                return true;
        }
    }
    return entry->token == 0;
}

bool stack_next_number(const struct stack *stack, size_t *at, uint32_t *ret)
{
    size_t index = (*at)++;
    if (index < 2 * CALLS_END) {
        *ret = (uint32_t)(index % CALLS_END) | (index < CALLS_END ? 0 : STACK_X32_BIT);
        return true;
    }
    index -= 2 * CALLS_END;
    for (size_t i = 0; i < stack->count; index -= stack->lengths[i++]) {
        if (index < stack->lengths[i]) {
            *ret = stack->programs[i][index].k;
            return true;
        }
    }
    return false;
}

/* ---- Ways through all programs ---- */

/* The stricter of two answers, by the kernel's rule: the lower action, as a signed number. */
static uint32_t stricter(uint32_t a, uint32_t b)
{
    int32_t first = (int32_t)(a & SECCOMP_RET_ACTION_FULL);
    int32_t second = (int32_t)(b & SECCOMP_RET_ACTION_FULL);
    return second < first ? b : a;
}

struct joined {
    const struct stack *stack;
    size_t index;                   /* the program that is being followed */
    const struct ways_leaf *before; /* the end of the way up to it; NULL: this is the first */
    bool (*leaf)(void *context, const struct ways_leaf *leaf);
    void *context;
    int *error;
    size_t *left; /* ways that may still be followed */
};

static bool join_way(void *context, const struct ways_leaf *leaf);

static int follow_from(struct joined *joined, const struct ways_test *given, size_t count)
{
    const struct stack *stack = joined->stack;
    return ways_after(stack->programs[joined->index], given, count, join_way, joined);
}

/* Each way through a program continues with each way through the next one. */
static bool join_way(void *context, const struct ways_leaf *leaf)
{
    const struct joined *joined = context;
    struct ways_leaf both = *leaf;
    if ((*joined->left)-- == 0) {
        *joined->left = 0;
        *joined->error = -E2BIG;
        return false;
    }
    if (joined->before) {
        both.unclear |= joined->before->unclear;
        both.is_computed |= joined->before->is_computed;
        both.result = stricter(joined->before->result, leaf->result);
    }
    if (!example_may_exist(both.tests, both.count))
        return true;
    struct joined next = *joined;
    next.index++;
    next.before = &both;
    if (next.index == joined->stack->count)
        return joined->leaf(joined->context, &both);
    *joined->error = follow_from(&next, both.tests, both.count);
    return *joined->error == 0;
}

int stack_follow_some(const struct stack *stack, const struct ways_test *given, size_t count,
                      size_t *left, bool (*leaf)(void *context, const struct ways_leaf *leaf),
                      void *context)
{
    int inner = 0;
    struct joined first = {stack, 0, NULL, leaf, context, &inner, left};
    const struct ways_leaf all = {given, count, false, false, SECCOMP_RET_ALLOW};
    if (stack->count == 0) /* a process without programs */
        return leaf(context, &all) ? 0 : -ECANCELED;
    int error = follow_from(&first, given, count);
    return error == -ECANCELED && inner != 0 ? inner : error;
}

int stack_follow(const struct stack *stack, const struct ways_test *given, size_t count,
                 bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context)
{
    size_t left = STACK_WAYS_MAX;
    return stack_follow_some(stack, given, count, &left, leaf, context);
}

bool stack_allows(const struct ways_leaf *leaf)
{
    switch (leaf->result & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_USER_NOTIF:
        return true;
    default:
        return leaf->is_computed;
    }
}

static bool is_denied(void *context, const struct ways_leaf *leaf)
{
    (void)context;
    return !stack_allows(leaf); /* false ends the walk: it is allowed */
}

bool stack_allows_some(const struct stack *stack, const struct ways_test *given, size_t count)
{
    return stack_follow(stack, given, count, is_denied, NULL) != 0;
}

bool stack_allows_unnamed(const struct stack *stack, uint32_t token)
{
    struct ways_test given[WAYS_CALL_TESTS];
    ways_call_tests(token, STACK_UNNAMED_CALL, given);
    return stack_allows_some(stack, given, WAYS_CALL_TESTS);
}
