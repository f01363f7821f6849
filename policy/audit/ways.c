/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/ways.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- What a program may be made of (the kernel's seccomp_check_filter) ---- */

static const char *validate_jump(const struct sock_filter *at, size_t left)
{
    switch (BPF_OP(at->code)) {
    case BPF_JA:
        if (BPF_SRC(at->code) != BPF_K)
            break;
        return at->k < left ? NULL : "jumps off the end";
    case BPF_JEQ:
    case BPF_JGT:
    case BPF_JGE:
    case BPF_JSET:
        return at->jt < left && at->jf < left ? NULL : "jumps off the end";
    }
    return "has an opcode that seccomp refuses";
}

static const char *validate_alu(const struct sock_filter *at)
{
    bool by_constant = BPF_SRC(at->code) == BPF_K;
    switch (BPF_OP(at->code)) {
    case BPF_ADD:
    case BPF_SUB:
    case BPF_MUL:
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
        return NULL;
    case BPF_NEG:
        return by_constant ? NULL : "has an opcode that seccomp refuses";
    case BPF_DIV:
        return by_constant && at->k == 0 ? "divides by 0" : NULL;
    case BPF_LSH:
    case BPF_RSH:
        return by_constant && at->k > 31 ? "shifts by more than there are bits" : NULL;
    }
    return "has an opcode that seccomp refuses";
}

static const char *validate_load(const struct sock_filter *at)
{
    switch (at->code) {
    case BPF_LD | BPF_W | BPF_ABS:
        if (at->k % 4 != 0 || at->k >= sizeof(struct seccomp_data))
            return "loads from outside of seccomp_data";
        return NULL;
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
        return NULL;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
        return at->k < BPF_MEMWORDS ? NULL : "uses memory that is not there";
    }
    return "has an opcode that seccomp refuses";
}

static const char *validate(const struct sock_filter *at, size_t left)
{
    const char *wrong;
    if (at->code > UINT8_MAX)
        return "has an opcode that seccomp refuses";
    switch (BPF_CLASS(at->code)) {
    case BPF_RET:
        return at->code == (BPF_RET | BPF_K) || at->code == (BPF_RET | BPF_A)
                   ? NULL
                   : "has an opcode that seccomp refuses";
    case BPF_JMP:
        return validate_jump(at, left);
    case BPF_ALU:
        wrong = validate_alu(at);
        break;
    case BPF_MISC:
        wrong = BPF_MISCOP(at->code) == BPF_TAX || BPF_MISCOP(at->code) == BPF_TXA
                    ? NULL
                    : "has an opcode that seccomp refuses";
        break;
    default:
        wrong = validate_load(at);
    }
    return !wrong && left == 0 ? "falls off the end" : wrong;
}

const char *ways_validate(const struct sock_filter *filter, size_t length, size_t *ret_index)
{
    *ret_index = 0;
    if (length == 0 || length > BPF_MAXINSNS)
        return "has a length that the kernel refuses";
    for (size_t i = 0; i < length; i++) {
        const char *wrong = validate(&filter[i], length - i - 1);
        if (wrong) {
            *ret_index = i;
            return wrong;
        }
    }
    return NULL;
}

/* ---- What is known ---- */

/* A register: a constant, some bits of a word of the call, or a value calculated from such a
 * word. */
struct value {
    enum { CONSTANT, WORD, CALCULATED } kind;
    uint32_t constant;
    unsigned int word, shift; /* (word & mask) >> shift */
    uint32_t mask;
};

struct fact {
    uint32_t known, value; /* bits */
    uint32_t low, high;    /* the value lies between these */
};

struct state {
    const struct sock_filter *at;
    struct fact facts[WAYS_WORDS];
    struct value a, x, memory[BPF_MEMWORDS];
    size_t count; /* elements of `tests` so far */
    bool unclear;
};

struct walk {
    bool (*leaf)(void *context, const struct ways_leaf *leaf);
    void *context;
    unsigned int steps;
    struct ways_test tests[WAYS_TESTS_MAX];
};

enum answer { NO, YES, EITHER };

static const enum ways_relation opposite[] = {WAYS_NOT_EQUAL, WAYS_EQUAL, WAYS_BELOW,
                                              WAYS_AT_LEAST};

static uint32_t lowest(const struct fact *fact, uint32_t mask)
{
    uint32_t bits = fact->value & mask;
    return mask == UINT32_MAX && fact->low > bits ? fact->low : bits;
}

static uint32_t highest(const struct fact *fact, uint32_t mask)
{
    uint32_t bits = (fact->value & mask) | (mask & ~fact->known);
    return mask == UINT32_MAX && fact->high < bits ? fact->high : bits;
}

/* For WAYS_EQUAL or WAYS_AT_LEAST; the other two relations are their opposites. */
static enum answer answer_of(const struct ways_test *test, const struct fact *fact)
{
    uint32_t known = fact->known & test->mask;
    uint32_t low = lowest(fact, test->mask), high = highest(fact, test->mask);
    if (test->relation == WAYS_AT_LEAST)
        return low >= test->value ? YES : high < test->value ? NO : EITHER;
    if ((test->value & ~test->mask) != 0 || ((fact->value ^ test->value) & known) != 0 ||
        test->value < low || test->value > high)
        return NO;
    return known == test->mask ? YES : EITHER;
}

static void learn(const struct ways_test *test, struct fact *fact)
{
    bool whole = test->mask == UINT32_MAX;
    if (test->relation == WAYS_EQUAL) {
        fact->known |= test->mask;
        fact->value = (fact->value & ~test->mask) | test->value;
    } else if (whole && test->relation == WAYS_AT_LEAST && test->value > fact->low) {
        fact->low = test->value;
    } else if (whole && test->relation == WAYS_BELOW && test->value - 1 < fact->high) {
        fact->high = test->value - 1; /* "below 0" does not occur: "at least 0" is always YES */
    }
}

bool ways_test_holds(const struct ways_test *test, const struct seccomp_data *call)
{
    uint32_t word;
    memcpy(&word, (const unsigned char *)call + test->word * sizeof(word), sizeof(word));
    word &= test->mask;
    switch (test->relation) {
    case WAYS_EQUAL:
        return word == test->value;
    case WAYS_NOT_EQUAL:
        return word != test->value;
    case WAYS_AT_LEAST:
        return word >= test->value;
    default:
        return word < test->value;
    }
}

/* ---- Instructions ---- */

static struct value constant(uint32_t number)
{
    return (struct value){.kind = CONSTANT, .constant = number};
}

static void calculate(unsigned int operation, uint32_t *a, uint32_t b)
{
    switch (operation) {
    case BPF_ADD:
        *a += b;
        break;
    case BPF_SUB:
        *a -= b;
        break;
    case BPF_MUL:
        *a *= b;
        break;
    case BPF_DIV: /* not by 0 */
        *a /= b;
        break;
    case BPF_AND:
        *a &= b;
        break;
    case BPF_OR:
        *a |= b;
        break;
    case BPF_XOR:
        *a ^= b;
        break;
    case BPF_LSH:
        *a <<= b & 31;
        break;
    case BPF_RSH:
        *a >>= b & 31;
        break;
    default: /* BPF_NEG */
        *a = -*a;
    }
}

/* A masked word that is masked or shifted again can still be described by a test. */
static struct value narrow(struct value word, unsigned int operation, uint32_t k)
{
    if (operation == BPF_AND) {
        word.mask &= k << word.shift;
        return word;
    }
    word.shift += k & 31;
    if (word.shift > 31)
        return constant(0);
    word.mask &= UINT32_MAX << word.shift;
    return word;
}

/* Returns false if the program certainly ends here, by a division by 0. */
static bool run_alu(struct state *state)
{
    unsigned int operation = BPF_OP(state->at->code);
    struct value other = BPF_SRC(state->at->code) == BPF_K ? constant(state->at->k) : state->x;
    bool can_narrow = operation == BPF_AND || operation == BPF_RSH;
    if (operation == BPF_DIV && other.kind == CONSTANT && other.constant == 0)
        return false;
    if (state->a.kind == CONSTANT && (other.kind == CONSTANT || operation == BPF_NEG))
        calculate(operation, &state->a.constant, other.constant);
    else if (state->a.kind == WORD && other.kind == CONSTANT && can_narrow)
        state->a = narrow(state->a, operation, other.constant);
    else
        state->a = (struct value){.kind = CALCULATED};
    return true;
}

static void run_load(struct state *state)
{
    const struct sock_filter *at = state->at;
    struct value *ret = BPF_CLASS(at->code) == BPF_LD ? &state->a : &state->x;
    switch (BPF_MODE(at->code)) {
    case BPF_ABS:
        *ret = (struct value){.kind = WORD, .word = at->k / 4, .mask = UINT32_MAX};
        break;
    case BPF_MEM:
        *ret = state->memory[at->k];
        break;
    case BPF_LEN:
        *ret = constant(sizeof(struct seccomp_data));
        break;
    default:
        *ret = constant(at->k);
    }
}

/* What a comparison asks: a test of the call, and whether its answer is inverted. Returns false if
 * it does not compare some bits of one word of the call with a constant. */
static bool test_of(const struct state *state, struct ways_test *ret, bool *ret_inverted)
{
    unsigned int operation = BPF_OP(state->at->code);
    struct value word = state->a;
    struct value other = BPF_SRC(state->at->code) == BPF_K ? constant(state->at->k) : state->x;
    if (word.kind == CONSTANT && (operation == BPF_JEQ || operation == BPF_JSET)) {
        struct value swapped = other; /* JEQ and JSET are the same with their operands swapped */
        other = word;
        word = swapped;
    }
    if (word.kind != WORD || other.kind != CONSTANT)
        return false;
    uint64_t k = ((uint64_t)other.constant + (operation == BPF_JGT)) << word.shift;
    *ret = (struct ways_test){.word = word.word, .mask = word.mask, .value = (uint32_t)k};
    *ret_inverted = operation == BPF_JSET; /* "some bits are set" is "not: none is set" */
    if (operation == BPF_JSET) {
        ret->mask &= (uint32_t)k;
        ret->value = 0;
    } else if (k > UINT32_MAX) {
        ret->mask = 0; /* more than the word can hold: a test that never holds */
        ret->value = 1;
    } else if (operation != BPF_JEQ) {
        ret->relation = WAYS_AT_LEAST;
    }
    return true;
}

static bool compare_constants(const struct state *state, bool *ret)
{
    struct value other = BPF_SRC(state->at->code) == BPF_K ? constant(state->at->k) : state->x;
    if (state->a.kind != CONSTANT || other.kind != CONSTANT)
        return false;
    uint32_t a = state->a.constant, k = other.constant;
    switch (BPF_OP(state->at->code)) {
    case BPF_JEQ:
        *ret = a == k;
        return true;
    case BPF_JGT:
        *ret = a > k;
        return true;
    case BPF_JGE:
        *ret = a >= k;
        return true;
    default:
        *ret = (a & k) != 0;
        return true;
    }
}

/* ---- Ways ---- */

static int follow(struct walk *walk, struct state *state);

/* Whether the same comparison was made before on this way. Facts do not hold "is not 5". */
static enum answer answered_before(const struct walk *walk, const struct state *state,
                                   const struct ways_test *test)
{
    for (size_t i = 0; i < state->count; i++) {
        const struct ways_test *before = &walk->tests[i];
        if (before->word != test->word || before->mask != test->mask ||
            before->value != test->value)
            continue;
        if (before->relation == test->relation)
            return YES;
        if (before->relation == opposite[test->relation])
            return NO;
    }
    return EITHER;
}

/* Follows each of the two ways after a test, with what the test tells. */
static int follow_test(struct walk *walk, const struct state *state, struct ways_test test,
                       bool holds, bool taken)
{
    struct state half = *state;
    if (half.count == WAYS_TESTS_MAX)
        return -E2BIG;
    if (!holds)
        test.relation = opposite[test.relation];
    learn(&test, &half.facts[test.word]);
    walk->tests[half.count++] = test;
    half.at += taken ? half.at->jt : half.at->jf;
    half.at++;
    return follow(walk, &half);
}

static int follow_unclear(struct walk *walk, const struct state *state)
{
    struct state half = *state;
    half.unclear = true;
    half.at += 1 + state->at->jt;
    int error = follow(walk, &half);
    if (error < 0)
        return error;
    half = *state;
    half.unclear = true;
    half.at += 1 + state->at->jf;
    return follow(walk, &half);
}

/* Returns 1 to continue at `state->at`; or, after both ways, the same as follow(). */
static int run_jump(struct walk *walk, struct state *state)
{
    struct ways_test test;
    bool inverted = false, taken = false;
    if (BPF_OP(state->at->code) == BPF_JA) {
        state->at += 1 + state->at->k;
        return 1;
    }
    if (!compare_constants(state, &taken)) {
        if (!test_of(state, &test, &inverted))
            return follow_unclear(walk, state);
        enum answer answer = answer_of(&test, &state->facts[test.word]);
        if (answer == EITHER)
            answer = answered_before(walk, state, &test);
        if (answer == EITHER) {
            int error = follow_test(walk, state, test, true, !inverted);
            return error < 0 ? error : follow_test(walk, state, test, false, inverted);
        }
        taken = (answer == YES) != inverted;
    }
    state->at += 1 + (taken ? state->at->jt : state->at->jf);
    return 1;
}

static int end(struct walk *walk, const struct state *state, struct value result)
{
    const struct ways_leaf leaf = {walk->tests, state->count, state->unclear,
                                   result.kind != CONSTANT, result.constant};
    return walk->leaf(walk->context, &leaf) ? 0 : -ECANCELED;
}

/* A division by 0 ends the program, and the thread (SECCOMP_RET_KILL_THREAD is 0). */
static bool may_divide_by_0(const struct state *state)
{
    return state->at->code == (BPF_ALU | BPF_DIV | BPF_X) && state->x.kind != CONSTANT;
}

/* The recursion is not deeper than the program is long, since programs only jump forward. */
static int follow(struct walk *walk, struct state *state)
{
    for (int result = 1; result == 1;) {
        const struct sock_filter *at = state->at;
        if (++walk->steps > WAYS_STEPS_MAX)
            return -E2BIG;
        switch (BPF_CLASS(at->code)) {
        case BPF_RET:
            return end(walk, state, BPF_RVAL(at->code) == BPF_A ? state->a : constant(at->k));
        case BPF_JMP:
            result = run_jump(walk, state);
            if (result != 1)
                return result;
            continue;
        case BPF_ALU:
            if (may_divide_by_0(state)) {
                state->unclear = true;
                result = end(walk, state, constant(0));
                if (result < 0)
                    return result;
                result = 1;
            }
            if (!run_alu(state))
                return end(walk, state, constant(0));
            break;
        case BPF_ST:
            state->memory[at->k] = state->a;
            break;
        case BPF_STX:
            state->memory[at->k] = state->x;
            break;
        case BPF_MISC:
            if (BPF_MISCOP(at->code) == BPF_TAX)
                state->x = state->a;
            else
                state->a = state->x;
            break;
        default:
            run_load(state);
        }
        state->at++;
    }
    return 0;
}

int ways_after(const struct sock_filter *filter, const struct ways_test *given, size_t count,
               bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context)
{
    if (count > WAYS_TESTS_MAX)
        return -E2BIG;
    struct walk *walk = malloc(sizeof(*walk));
    if (!walk)
        return -ENOMEM;
    walk->leaf = leaf;
    walk->context = context;
    walk->steps = 0;
    struct state state = {.at = filter, .count = count};
    for (size_t i = 0; i < WAYS_WORDS; i++)
        state.facts[i].high = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        walk->tests[i] = given[i];
        learn(&given[i], &state.facts[given[i].word]);
    }
    int error = follow(walk, &state);
    free(walk);
    return error;
}

void ways_call_tests(uint32_t arch, uint32_t number, struct ways_test ret[WAYS_CALL_TESTS])
{
    ret[0] = (struct ways_test){WAYS_WORD_OF(nr), WAYS_EQUAL, UINT32_MAX, number};
    ret[1] = (struct ways_test){WAYS_WORD_OF(arch), WAYS_EQUAL, UINT32_MAX, arch};
}

int ways_of_call(const struct sock_filter *filter, uint32_t arch, uint32_t number,
                 bool (*leaf)(void *context, const struct ways_leaf *leaf), void *context)
{
    struct ways_test given[WAYS_CALL_TESTS];
    ways_call_tests(arch, number, given);
    return ways_after(filter, given, WAYS_CALL_TESTS, leaf, context);
}
