/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way through a filter that the kernel would load, whoever wrote it, and what must hold for
 * the call on each way. walk.h follows only our own programs, which do nothing but compare words
 * and bits with constants. This module knows all of seccomp's classic BPF.
 */
#ifndef POLICY_AUDIT_WAYS_H
#define POLICY_AUDIT_WAYS_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAYS_WORDS (sizeof(struct seccomp_data) / sizeof(uint32_t))
#define WAYS_WORD_OF(field) (offsetof(struct seccomp_data, field) / sizeof(uint32_t))
#define WAYS_TESTS_MAX 4096u    /* on one way */
#define WAYS_STEPS_MAX 1000000u /* instructions on all ways of one call together */

enum ways_relation { WAYS_EQUAL, WAYS_NOT_EQUAL, WAYS_AT_LEAST, WAYS_BELOW };

/* (word & mask) RELATION value; the word is the call's 32-bit word of that index in struct
 * seccomp_data. */
struct ways_test {
    unsigned int word;
    enum ways_relation relation;
    uint32_t mask, value;
};

bool ways_test_holds(const struct ways_test *test, const struct seccomp_data *call);

/* The end of one way. Each call takes exactly one way: the way that is not `unclear` and whose
 * tests all hold, or else an unclear way. */
struct ways_leaf {
    const struct ways_test *tests; /* in the order in which the program makes them */
    size_t count;
    bool unclear;     /* it compares a value calculated from the call: not in `tests` */
    bool is_computed; /* it returns a calculated value: `result` is not known */
    uint32_t result;  /* SECCOMP_RET_... */
};

/* Whether the kernel would load the program. Returns NULL, or what is wrong, and with which
 * instruction. */
const char *ways_validate(const struct sock_filter *filter, size_t length, size_t *ret_index);

/*
 * Follows every way through a valid program that a call can take for which the given tests hold.
 * `leaf` is called at the end of each; false ends the walk. Its tests begin with the given ones.
 * Returns 0; -ECANCELED if `leaf` ended it; -E2BIG after WAYS_STEPS_MAX, or beyond
 * WAYS_TESTS_MAX; -ENOMEM.
 */
int ways_after(const struct sock_filter *filter, const struct ways_test *given, size_t count,
               bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context);

/* The two tests that a call has this number, and is made by this entry (AUDIT_ARCH_...). */
#define WAYS_CALL_TESTS 2
void ways_call_tests(uint32_t arch, uint32_t number, struct ways_test ret[WAYS_CALL_TESTS]);

/* Does ways_after() with these two. */
int ways_of_call(const struct sock_filter *filter, uint32_t arch, uint32_t number,
                 bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context);

#endif
