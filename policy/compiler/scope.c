/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/scope.h"

#include <string.h>

#include "common/device_kind.h"
#include "common/worker_fds.h"

static const struct policy_fd fixed_fds[] = {
#define X(constant, number, name, words) {(name), (number), (words)},
    WORKER_FDS(X)
#undef X
};

#define FIXED_FDS (sizeof(fixed_fds) / sizeof(fixed_fds[0]))

static const struct device_kind_info *kind_of(const char *policy)
{
    for (size_t i = 0; i < DEVICE_KINDS; i++) {
        if (strcmp(device_kinds[i].policy, policy) == 0)
            return &device_kinds[i];
    }
    return NULL;
}

void scope_init(struct scope *scope, struct parsed_policy *policy)
{
    *scope = (struct scope){.policy = policy};
    const struct device_kind_info *kind = kind_of(policy->listing.program.name);
    if (!kind)
        return;
    /* If a device has fewer backend files than its kind may have, a kick eventfd has the number of
     * the missing file. Kicks have fixed numbers only if all devices of the kind have the same
     * number of files. */
    unsigned int kicks = WORKER_FD_BACKEND + kind->backend_fds_max;
    for (size_t i = 0; i < FIXED_FDS && fixed_fds[i].number < kicks; i++)
        scope->fds[scope->fd_count++] = fixed_fds[i];
    if (kind->ring)
        scope->fds[scope->fd_count++] = (struct policy_fd){
            .name = "ring",
            .number = WORKER_FD_RING,
            .words = "the io_uring, which takes only what its restrictions name",
        };
    if (kind->backend_fd_count != kind->backend_fds_max)
        return;
    for (unsigned int queue = 0; queue < kind->queues_max && scope->fd_count < SCOPE_FDS_MAX;
         queue++) {
        scope->fds[scope->fd_count++] = (struct policy_fd){
            .name = arena_printf(&policy->arena, "kick%u", queue),
            .number = kicks + queue,
            .words = arena_printf(&policy->arena, "the kick eventfd of queue %u", queue),
        };
    }
}

const struct policy_fd *scope_fd(const struct scope *scope, const char *name)
{
    for (size_t i = 0; i < scope->fd_count; i++) {
        if (strcmp(scope->fds[i].name, name) == 0)
            return &scope->fds[i];
    }
    return NULL;
}

bool scope_unknown_fd(const struct scope *scope, struct lexer *lexer)
{
    const char *policy = scope->policy->listing.program.name;
    if (scope->fd_count == 0)
        return lex_error(lexer, "'@%s': %s has no fixed fds, since it is no worker's policy",
                         lexer->token.text, policy);
    const char *known = "";
    for (size_t i = 0; i < scope->fd_count; i++)
        known = arena_printf(lexer->arena, "%s%s@%s", known, i == 0 ? "" : " ", scope->fds[i].name);
    return lex_error(lexer, "no fd '@%s' in a worker of %s: expected one of %s", lexer->token.text,
                     policy, known);
}

bool scope_add_fd(struct scope *scope, struct lexer *lexer, const struct token *at,
                  const struct policy_fd *fd)
{
    if (scope_fd(scope, fd->name))
        return lex_error_at(lexer, at, "'@%s' is already the name of an fd", fd->name);
    if (scope->fd_count == SCOPE_FDS_MAX)
        return lex_error_at(lexer, at, "expected at most %d names of fds", SCOPE_FDS_MAX);
    scope->fds[scope->fd_count++] = *fd;
    return true;
}

static bool use_constant(struct scope *scope, struct lexer *lexer, const struct constant *constant)
{
    struct parsed_policy *policy = scope->policy;
    for (size_t i = 0; i < policy->constant_count; i++) {
        if (policy->constants[i] == constant)
            return true;
    }
    if (policy->constant_count == POLICY_CONSTANTS_MAX)
        return lex_error(lexer, "expected at most %d constants in one policy",
                         POLICY_CONSTANTS_MAX);
    policy->constants[policy->constant_count++] = constant;
    return true;
}

static bool constant_term(struct scope *scope, struct lexer *lexer, struct value *ret_value)
{
    const char *name = lexer->token.text;
    const struct constant *constant = constant_find(name);
    if (!constant)
        return lex_error(lexer,
                         "unknown constant '%s': expected one of "
                         "policy/compiler/constants.def, or add it there",
                         name);
    *ret_value = (struct value){constant->value[scope->policy->listing.arch], name, name};
    return use_constant(scope, lexer, constant) && lex_next(lexer);
}

static bool or_value(struct scope *scope, struct lexer *lexer, struct value *ret_value);

static bool term(struct scope *scope, struct lexer *lexer, struct value *ret_value)
{
    struct value inner = {0};
    switch (lexer->token.kind) {
    case TOKEN_NUMBER:
        *ret_value = (struct value){lexer->token.number, lexer->token.text, lexer->token.text};
        return lex_next(lexer);
    case TOKEN_NAME:
        return constant_term(scope, lexer, ret_value);
    case '~':
        if (!lex_next(lexer) || !term(scope, lexer, &inner))
            return false;
        *ret_value = (struct value){
            .number = ~inner.number,
            .text = arena_printf(lexer->arena, "~%s", inner.text),
            .words = arena_printf(lexer->arena, "~%s", inner.words),
        };
        return true;
    case '(':
        if (!lex_next(lexer) || !or_value(scope, lexer, &inner))
            return false;
        if (lexer->token.kind != ')')
            return lex_error(lexer, "expected '|' or ')', found %s", lex_describe(lexer));
        *ret_value = (struct value){
            .number = inner.number,
            .text = arena_printf(lexer->arena, "(%s)", inner.text),
            .words = arena_printf(lexer->arena, "(%s)", inner.words),
        };
        return lex_next(lexer);
    default:
        return lex_error(lexer, "expected a number, a constant, an @fd, '~' or '(', found %s",
                         lex_describe(lexer));
    }
}

static bool or_value(struct scope *scope, struct lexer *lexer, struct value *ret_value)
{
    struct value sum = {0};
    if (!term(scope, lexer, &sum))
        return false;
    while (lexer->token.kind == '|') {
        struct value next = {0};
        if (!lex_next(lexer) || !term(scope, lexer, &next))
            return false;
        sum = (struct value){
            .number = sum.number | next.number,
            .text = arena_printf(lexer->arena, "%s | %s", sum.text, next.text),
            .words = arena_printf(lexer->arena, "%s | %s", sum.words, next.words),
        };
    }
    *ret_value = sum;
    return true;
}

static bool fd_value(struct scope *scope, struct lexer *lexer, struct value *ret_value)
{
    const struct policy_fd *fd = scope_fd(scope, lexer->token.text);
    if (!fd)
        return scope_unknown_fd(scope, lexer);
    *ret_value = (struct value){
        .number = fd->number,
        .text = arena_printf(lexer->arena, "@%s", fd->name),
        .words = arena_printf(lexer->arena, "%s (fd %u)", fd->words, fd->number),
    };
    return lex_next(lexer);
}

/* A 32-bit argument takes 0..2^32-1 and the negative numbers of an int, of which only the low half
 * counts. */
static bool fit(struct lexer *lexer, const struct token *at, unsigned int bits, struct value *value)
{
    if (bits == 64)
        return true;
    uint64_t upper = value->number >> 32;
    if (upper != 0 && upper != UINT32_MAX)
        return lex_error_at(lexer, at,
                            "'%s' is %#llx: expected a value of 32 bits for this argument",
                            value->text, (unsigned long long)value->number);
    value->number &= UINT32_MAX;
    return true;
}

bool scope_value(struct scope *scope, struct lexer *lexer, unsigned int bits,
                 struct value *ret_value)
{
    struct token start = lexer->token;
    struct value value = {0};
    bool parsed =
        start.kind == TOKEN_FD ? fd_value(scope, lexer, &value) : or_value(scope, lexer, &value);
    if (!parsed)
        return false;
    if (!fit(lexer, &start, bits, &value))
        return false;
    *ret_value = value;
    return true;
}
