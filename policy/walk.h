/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way through a program, with what is known of the call on each way. A filter's program has
 * no loops and reads nothing but the call, so the ways can be followed one by one.
 */
#ifndef POLICY_WALK_H
#define POLICY_WALK_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WALK_STEPS_MAX 10000000u /* a program made from rules never takes more */
#define WALK_WORDS (sizeof(struct seccomp_data) / sizeof(uint32_t))
#define WALK_WORD_OF(field) (offsetof(struct seccomp_data, field) / sizeof(uint32_t))

/* What is known of a 32-bit word of the call. */
struct walk_word {
    uint32_t known; /* bits */
    uint32_t value; /* of the known bits; the other bits are 0 */
};

/* What is known on one way through the program. The accumulator is a word under a mask. */
struct walk_state {
    struct walk_word words[WALK_WORDS];
    size_t loaded;
    uint32_t mask;
};

struct walk {
    /* Called at the end of each way with what the program returns there. False ends the walk. */
    bool (*leaf)(void *context, const struct walk_state *state, uint32_t result);
    void *context;
    unsigned int steps;
};

/* What is known of an argument: its bits, and their value. */
uint64_t walk_known(const struct walk_state *state, unsigned int index);
uint64_t walk_value(const struct walk_state *state, unsigned int index);

void walk_learn(struct walk_word *word, uint32_t bits, uint32_t value);
void walk_learn_argument(struct walk_state *state, unsigned int index, uint64_t mask,
                         uint64_t value);

/*
 * Follows every way of a validated program (bpf.h) that a call can take, if `state` is what is
 * known of the call. Results of comparisons that can't be written as known bits ("is not 5") are
 * left out. So more ways may be followed than there are, but never fewer. Returns false if a leaf
 * did; or if there are too many ways, and then the steps are beyond WALK_STEPS_MAX.
 */
bool walk_program(struct walk *walk, const struct sock_filter *program, struct walk_state state);

#endif
