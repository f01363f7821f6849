/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each test is about one word of the call, so each word is looked for on its own: bit by bit, from
 * the highest one, with a step back as soon as a test can't hold any more.
 */
#include "policy/audit/example.h"

#include <string.h>

struct search {
    const struct ways_test *tests;
    size_t count;
    unsigned int word;
    unsigned int steps;
};

/* Whether the test can hold for a word whose bits are those of `value`, but for the open ones. */
static bool can_hold(const struct ways_test *test, uint32_t value, uint32_t open)
{
    uint32_t low = value & test->mask, unknown = open & test->mask;
    switch (test->relation) {
    case WAYS_EQUAL:
        return (test->value & ~test->mask) == 0 && ((low ^ test->value) & ~unknown) == 0;
    case WAYS_NOT_EQUAL:
        return unknown != 0 || low != test->value;
    case WAYS_AT_LEAST:
        return (low | unknown) >= test->value;
    default:
        return low < test->value;
    }
}

static enum example find_word(struct search *search, uint32_t value, uint32_t open, uint32_t *ret)
{
    if (++search->steps > EXAMPLE_STEPS_MAX)
        return EXAMPLE_UNKNOWN;
    for (size_t i = 0; i < search->count; i++) {
        if (search->tests[i].word == search->word && !can_hold(&search->tests[i], value, open))
            return EXAMPLE_NONE;
    }
    if (open == 0) {
        *ret = value;
        return EXAMPLE_FOUND;
    }
    uint32_t bit = UINT32_C(1) << (31 - __builtin_clz(open));
    enum example found = find_word(search, value, open & ~bit, ret);
    return found == EXAMPLE_NONE ? find_word(search, value | bit, open & ~bit, ret) : found;
}

enum example example_find(const struct ways_test *tests, size_t count, struct seccomp_data *ret)
{
    enum example answer = EXAMPLE_FOUND;
    uint32_t words[WAYS_WORDS] = {0};
    for (unsigned int word = 0; word < WAYS_WORDS; word++) {
        struct search search = {tests, count, word, 0};
        uint32_t value = 0, open = 0;
        for (size_t i = 0; i < count; i++) {
            if (tests[i].word == word)
                open |= tests[i].mask;
        }
        for (size_t i = 0; i < count; i++) {
            if (tests[i].word != word || tests[i].relation != WAYS_EQUAL)
                continue;
            value |= tests[i].value & open;
            open &= ~tests[i].mask;
        }
        enum example found = find_word(&search, value, open, &words[word]);
        if (found == EXAMPLE_NONE)
            return EXAMPLE_NONE;
        if (found == EXAMPLE_UNKNOWN)
            answer = EXAMPLE_UNKNOWN;
    }
    if (answer == EXAMPLE_FOUND)
        memcpy(ret, words, sizeof(*ret));
    return answer;
}

bool example_may_exist(const struct ways_test *tests, size_t count)
{
    struct seccomp_data example;
    return example_find(tests, count, &example) != EXAMPLE_NONE;
}
