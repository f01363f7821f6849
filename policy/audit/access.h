/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program allows, read back from its instructions. So programs without a policy text can be
 * compared with those that have one.
 */
#ifndef POLICY_AUDIT_ACCESS_H
#define POLICY_AUDIT_ACCESS_H

#include "policy/audit/audit.h"

/* A call that is allowed if each argument, under its mask, has its value. */
struct access {
    uint32_t number;
    uint64_t masks[POLICY_ARGUMENTS];
    uint64_t values[POLICY_ARGUMENTS];
};

struct access_set {
    size_t count;
    struct access *items;
};

/*
 * Reads a program. If a way to ALLOW asks for something other than "these bits have this value", it
 * is taken to allow more than it does: a difference can be overstated, but never missed. Returns 0;
 * -EINVAL if the program has instructions that our programs do not use; -ENOMEM.
 */
int access_of_program(const struct sock_filter *filter, size_t length, enum policy_arch arch,
                      struct access_set *ret);

/* The same from a policy's rules. */
int access_of_rules(const struct policy_listing *listing, struct access_set *ret);

void access_free(struct access_set *set);

/* Whether one item of the set allows all that `access` allows. */
bool access_covers(const struct access_set *set, const struct access *access);
bool access_names(const struct access_set *set, uint32_t number);

/* "fd is the image (fd 8)": the condition on one argument; false if there is none. */
bool access_words(const struct access *access, unsigned int index,
                  const struct policy_listing *listing, enum policy_arch arch, char *ret,
                  size_t size);

#endif
