/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as data: the compiler makes it from the text and embeds it in bao-seccomp, and the tests
 * go through it. The grammar is in docs/POLICY.md.
 */
#ifndef POLICY_RULE_H
#define POLICY_RULE_H

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/policy.h"

#define POLICY_ARGUMENTS 6 /* of a system call */

/* X(constant, name, token in struct seccomp_data.arch) */
#define POLICY_ARCHES_X(X)                                                                         \
    X(X86_64, "x86_64", AUDIT_ARCH_X86_64)                                                         \
    X(AARCH64, "aarch64", AUDIT_ARCH_AARCH64)                                                      \
    X(RISCV64, "riscv64", AUDIT_ARCH_RISCV64)

enum policy_arch {
#define X(constant, name, token) POLICY_ARCH_##constant,
    POLICY_ARCHES_X(X)
#undef X
        POLICY_ARCHES,
};

#if defined(__x86_64__)
#define POLICY_ARCH_NATIVE POLICY_ARCH_X86_64
#elif defined(__aarch64__)
#define POLICY_ARCH_NATIVE POLICY_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define POLICY_ARCH_NATIVE POLICY_ARCH_RISCV64
#else
#error "no policies for this architecture"
#endif

/* (argument & mask) is one of the values. */
struct policy_condition {
    const char *argument; /* its name */
    unsigned int index;   /* 0..5 */
    unsigned int bits;    /* 32 or 64: how much of the register the kernel uses */
    uint64_t mask;        /* within those bits */
    unsigned int value_count;
    const uint64_t *values;
    const char *const *spelled; /* each value, as the text has it: "RWF_DSYNC", "@call" */
    const char *text;           /* the condition, in the grammar of the text */
    const char *words;          /* the condition, for an auditor */
};

/* One call, allowed when all conditions hold. */
struct policy_rule {
    const char *call;
    uint32_t number; /* on the listing's architecture */
    unsigned int condition_count;
    const struct policy_condition *conditions;
    const char *reason;
    const char
        *justified;       /* why a dangerous call is harmless here; NULL if the text says nothing */
    const char *only;     /* the only case in which it is used; NULL: in all */
    const char *source;   /* "policy/worker.inc:12" */
    const char *included; /* "policy/block/virtio.policy:9", outermost last; NULL if not included */
};

/* A name that a policy has for an fd. Several names may have the same number. */
struct policy_fd {
    const char *name; /* without the @ */
    unsigned int number;
    const char *words;
};

/* One policy on one architecture: the rules, and the program compiled from them. */
struct policy_listing {
    struct policy_program program;
    enum policy_arch arch;
    const char *confines;
    unsigned int rule_count;
    const struct policy_rule *rules;
    unsigned int fd_count; /* 0: the process has no fixed fds */
    const struct policy_fd *fds;
};

const char *policy_arch_name(enum policy_arch arch);
uint32_t policy_arch_token(enum policy_arch arch);

/* POLICY_ARCHES if there is none of that name. */
enum policy_arch policy_arch_find(const char *name);

bool policy_condition_holds(const struct policy_condition *condition, const uint64_t *arguments);

/*
 * Steps through the combinations of a rule's alternatives: choice[i] is the index of a value of
 * conditions[i]. Start with zeros; false after the last one.
 */
bool policy_next_choice(const struct policy_rule *rule, unsigned int choice[POLICY_ARGUMENTS]);

/*
 * The rule that allows the call, or NULL. This is the meaning of the policy, from its text alone.
 * What the compiled program does (bpf.h) must be the same.
 */
const struct policy_rule *policy_allows(const struct policy_listing *listing,
                                        const struct seccomp_data *data);

#endif
