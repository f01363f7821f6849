/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What names mean at one place of a policy: fds, constants, and the values made of them.
 */
#ifndef POLICY_COMPILER_SCOPE_H
#define POLICY_COMPILER_SCOPE_H

#include "policy/compiler/parse.h"

#define SCOPE_FDS_MAX 48

struct scope {
    struct parsed_policy *policy;
    struct policy_fd fds[SCOPE_FDS_MAX];
    size_t fd_count;
};

/* A value in the text: @image, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, ~PROT_READ. */
struct value {
    uint64_t number;
    const char *text;  /* in the grammar of policies */
    const char *words; /* for an auditor */
};

/* Adds the fds that a worker of this policy's kind of device has; no fds for other policies. */
void scope_init(struct scope *scope, struct parsed_policy *policy);

/* NULL if there is none of that name. */
const struct policy_fd *scope_fd(const struct scope *scope, const char *name);

/* Adds a name, which was read at token `at`. On false the error is set. */
bool scope_add_fd(struct scope *scope, struct lexer *lexer, const struct token *at,
                  const struct policy_fd *fd);

/* Sets the error for the fd at the current token, which is not known; returns false. */
bool scope_unknown_fd(const struct scope *scope, struct lexer *lexer);

/* Parses a value for an argument of 32 or 64 bits. On false the error is set. */
bool scope_value(struct scope *scope, struct lexer *lexer, unsigned int bits,
                 struct value *ret_value);

#endif
