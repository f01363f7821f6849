/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several seccomp programs that are all in force: the kernel asks all of them and takes the
 * strictest answer.
 */
#ifndef POLICY_AUDIT_STACK_H
#define POLICY_AUDIT_STACK_H

#include "policy/audit/filters.h"
#include "policy/audit/ways.h"
#include "policy/rule.h"

/* Programs that are valid (ways.h), in any order. Not owned. */
struct stack {
    size_t count;
    const struct sock_filter *programs[FILTERS_MAX];
    size_t lengths[FILTERS_MAX];
};

/* An entry of the kernel for system calls. Programs know it by AUDIT_ARCH_... */
struct stack_entry {
    const char *name;
    uint32_t token;        /* 0: every entry that the programs do not ask for */
    enum policy_arch arch; /* POLICY_ARCHES: its calls have no names here */
};

/* Ends with one whose name is NULL. */
extern const struct stack_entry stack_entries[];

#define STACK_X32_BIT 0x40000000u
#define STACK_UNNAMED_CALL 0x3fffffffu /* there will never be one of this number */

/* Adds a program. Returns false if it is not valid, or there are FILTERS_MAX already. */
bool stack_add(struct stack *stack, const struct sock_filter *program, size_t length);

/* Whether some program asks for this entry. All entries for which no program asks are treated
 * alike. */
bool stack_asks_for(const struct stack *stack, const struct stack_entry *entry);

/*
 * Steps through every number that has a name, then through those that the programs themselves name;
 * some come more than once. Start with *at == 0; false after the last one.
 */
bool stack_next_number(const struct stack *stack, size_t *at, uint32_t *ret);

/*
 * Follows every way that a call can take through all the programs, one after the other, if the
 * given tests hold. A way that no call can take is left out. `leaf` gets the tests of all programs
 * behind the given ones, and the strictest result. Returns what ways_after() does; -E2BIG also
 * after STACK_WAYS_MAX ways.
 */
#define STACK_WAYS_MAX ((size_t)200000)
int stack_follow(const struct stack *stack, const struct ways_test *given, size_t count,
                 bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context);

/* The same, for at most *left ways, of which those that were followed are taken away. */
int stack_follow_some(const struct stack *stack, const struct ways_test *given, size_t count,
                      size_t *left, bool (*leaf)(void *context, const struct ways_leaf *leaf),
                      void *context);

/* Whether a result lets the call be made, or puts it to another process, which can let it. A
 * result that is calculated may be any. */
bool stack_allows(const struct ways_leaf *leaf);

/* Whether the programs allow any call for which the tests hold, as far as is known. */
bool stack_allows_some(const struct stack *stack, const struct ways_test *given, size_t count);

/* Whether there are calls without a name that the programs allow: those of ours allow none. */
bool stack_allows_unnamed(const struct stack *stack, uint32_t token);

#endif
