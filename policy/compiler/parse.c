/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/compiler/conditions.h"
#include "policy/compiler/scope.h"

#define INCLUDE_DEPTH_MAX 4
#define FILE_SIZE_MAX 65536
#define EVERY_ARCH ((1u << POLICY_ARCHES) - 1)

struct parser {
    const char *directory;
    call_number_of *number_of;
    struct scope scope;
    struct parsed_policy *policy;
    struct policy_rule rules[POLICY_RULES_MAX];
    struct policy_error *error;
};

/* One file that is being read. */
struct source {
    struct parser *parser;
    struct lexer lexer;
    const char *path;     /* relative to the directory */
    const char *included; /* the place of the include; NULL for the policy itself */
    unsigned int depth;
};

static char *read_file(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = arena_alloc(arena, FILE_SIZE_MAX + 1);
    size_t length = fread(text, 1, FILE_SIZE_MAX, file);
    bool whole = !ferror(file) && fgetc(file) == EOF && strlen(text) == length;
    fclose(file);
    if (!whole)
        errno = EFBIG;
    return whole ? text : NULL;
}

/* "block/virtio.policy" and "../worker.inc" make "worker.inc"; NULL outside of the directory. */
static const char *resolve(struct arena *arena, const char *from, const char *include)
{
    const char *slash = strrchr(from, '/');
    int folder = slash ? (int)(slash - from) + 1 : 0;
    char *path = arena_printf(arena, "%.*s%s", folder, from, include);
    char *result = arena_printf(arena, "%s", "");
    char *rest = NULL;
    for (char *part = strtok_r(path, "/", &rest); part; part = strtok_r(NULL, "/", &rest)) {
        char *last = strrchr(result, '/');
        if (strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") != 0) {
            result = arena_printf(arena, "%s%s%s", result, result[0] == '\0' ? "" : "/", part);
        } else if (result[0] == '\0') {
            return NULL;
        } else {
            *(last ? last : result) = '\0';
        }
    }
    return result;
}

static bool expect(struct lexer *lexer, int kind, const char *what)
{
    if (lexer->token.kind != kind)
        return lex_error(lexer, "expected %s, found %s", what, lex_describe(lexer));
    return lex_next(lexer);
}

static bool is_word(const struct lexer *lexer, const char *word)
{
    return lexer->token.kind == TOKEN_NAME && strcmp(lexer->token.text, word) == 0;
}

static bool parse_source(struct parser *parser, const char *path, const struct source *includer,
                         struct lexer *at);

/* 'include' STRING; the token is the string. */
static bool include_statement(struct source *source)
{
    struct lexer *lexer = &source->lexer;
    const char *name = lexer->token.text;
    if (lexer->token.kind != TOKEN_STRING)
        return lex_error(lexer, "expected the name of a file in quotes, found %s",
                         lex_describe(lexer));
    size_t length = strlen(name);
    if (length < 5 || strcmp(name + length - 4, ".inc") != 0)
        return lex_error(lexer, "\"%s\": expected the name of a .inc file", name);
    const char *path = name[0] == '/' ? NULL : resolve(lexer->arena, source->path, name);
    if (!path)
        return lex_error(lexer, "\"%s\" lies outside of policy/", name);
    if (source->depth == INCLUDE_DEPTH_MAX)
        return lex_error(lexer, "includes are nested more than %d deep: is this a loop?",
                         INCLUDE_DEPTH_MAX);
    return parse_source(source->parser, path, source, lexer) && lex_next(lexer);
}

/* 'fd' FD '=' FD STRING; the token is the first FD. */
static bool fd_statement(struct source *source)
{
    struct lexer *lexer = &source->lexer;
    struct scope *scope = &source->parser->scope;
    struct token start = lexer->token;
    if (!expect(lexer, TOKEN_FD, "a new @name of an fd") || !expect(lexer, '=', "'='"))
        return false;
    if (lexer->token.kind != TOKEN_FD)
        return lex_error(lexer, "expected the @name of an fd that exists, found %s",
                         lex_describe(lexer));
    const struct policy_fd *known = scope_fd(scope, lexer->token.text);
    if (!known)
        return scope_unknown_fd(scope, lexer);
    if (!lex_next(lexer))
        return false;
    struct policy_fd fd = {start.text, known->number, lexer->token.text};
    if (!expect(lexer, TOKEN_STRING, "words for this fd in quotes"))
        return false;
    return scope_add_fd(scope, lexer, &start, &fd);
}

/* [ '[' ARCH { ',' ARCH } ']' ] */
static bool arch_list(struct lexer *lexer, unsigned int *ret_arches)
{
    *ret_arches = EVERY_ARCH;
    if (lexer->token.kind != '[')
        return true;
    unsigned int arches = 0;
    do {
        if (!lex_next(lexer))
            return false;
        enum policy_arch arch = policy_arch_find(lexer->token.text);
        if (lexer->token.kind != TOKEN_NAME || arch == POLICY_ARCHES)
            return lex_error(lexer, "expected x86_64, aarch64 or riscv64, found %s",
                             lex_describe(lexer));
        if ((arches & 1u << arch) != 0)
            return lex_error(lexer, "%s is named twice", lexer->token.text);
        arches |= 1u << arch;
        if (!lex_next(lexer))
            return false;
    } while (lexer->token.kind == ',');
    *ret_arches = arches;
    return expect(lexer, ']', "',' or ']'");
}

/* The number of the call at the token, on each architecture that the rule is for. */
static bool call_number(const struct parser *parser, struct lexer *lexer, unsigned int arches,
                        uint32_t *ret_number)
{
    const char *name = lexer->token.text;
    const char *missing = "", *present = "";
    const enum policy_arch this_arch = parser->policy->listing.arch;
    bool asked_missing = false;
    for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++) {
        uint32_t number;
        bool known = parser->number_of(name, arch, &number);
        const char **list = known ? &present : &missing;
        *list = arena_printf(lexer->arena, "%s%s%s", *list, **list == '\0' ? "" : ", ",
                             policy_arch_name(arch));
        asked_missing |= !known && (arches & 1u << arch) != 0;
        if (known && arch == this_arch)
            *ret_number = number;
    }
    if (*present == '\0')
        return lex_error(lexer, "libseccomp does not know a system call '%s'", name);
    if (asked_missing)
        return lex_error(lexer, "'%s' does not exist on %s: expected [%s] or less before 'allow'",
                         name, missing, present);
    return true;
}

/* STRING { STRING }; `what` is the word for it in the error if it is missing. */
static bool strings(struct lexer *lexer, const char *what, const char **ret_text)
{
    if (lexer->token.kind != TOKEN_STRING)
        return lex_error(lexer, "expected %s in quotes, found %s", what, lex_describe(lexer));
    const char *text = lexer->token.text;
    while (lex_next(lexer)) {
        if (lexer->token.kind != TOKEN_STRING) {
            *ret_text = text;
            return true;
        }
        text = arena_printf(lexer->arena, "%s %s", text, lexer->token.text);
    }
    return false;
}

/* reason, of the grammar. */
static bool reason(struct lexer *lexer, struct policy_rule *rule)
{
    if (!strings(lexer, "the reason of this rule", &rule->reason))
        return false;
    if (is_word(lexer, "only") &&
        (!lex_next(lexer) || !strings(lexer, "where alone this call is made", &rule->only)))
        return false;
    if (!is_word(lexer, "justified"))
        return true;
    return lex_next(lexer) && strings(lexer, "why this call can do no harm here", &rule->justified);
}

static bool add_rule(struct source *source, const struct token *at, const struct policy_rule *rule)
{
    struct parser *parser = source->parser;
    struct policy_listing *listing = &parser->policy->listing;
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        const char *how = conditions_clash(&parser->rules[i], rule);
        if (how)
            return lex_error_at(&source->lexer, at, "this rule %s the rule for '%s' at %s", how,
                                rule->call, parser->rules[i].source);
    }
    if (listing->rule_count == POLICY_RULES_MAX)
        return lex_error_at(&source->lexer, at, "expected at most %d rules", POLICY_RULES_MAX);
    parser->rules[listing->rule_count++] = *rule;
    return true;
}

/* rule, of the grammar; the token is its first. */
static bool rule_statement(struct source *source)
{
    struct lexer *lexer = &source->lexer;
    enum policy_arch arch = source->parser->policy->listing.arch;
    struct token start = lexer->token;
    unsigned int arches;
    if (!arch_list(lexer, &arches))
        return false;
    if (!is_word(lexer, "allow"))
        return lex_error(lexer, "expected 'allow', found %s", lex_describe(lexer));
    if (!lex_next(lexer))
        return false;

    const struct call_signature *signature =
        lexer->token.kind == TOKEN_NAME ? call_signature_find(lexer->token.text) : NULL;
    if (lexer->token.kind != TOKEN_NAME)
        return lex_error(lexer, "expected the name of a system call, found %s",
                         lex_describe(lexer));
    if (!signature)
        return lex_error(lexer,
                         "unknown system call '%s': expected one of "
                         "policy/compiler/calls.c, or add its signature there",
                         lexer->token.text);
    struct policy_rule rule = {
        .call = signature->name,
        .source = arena_printf(lexer->arena, "%s:%d", lexer->path, start.line),
        .included = source->included,
    };
    if (!call_number(source->parser, lexer, arches, &rule.number) || !lex_next(lexer) ||
        !conditions_parse(&source->parser->scope, lexer, signature, &rule) || !reason(lexer, &rule))
        return false;
    return (arches & 1u << arch) == 0 || add_rule(source, &start, &rule);
}

static bool statement(struct source *source)
{
    struct lexer *lexer = &source->lexer;
    if (is_word(lexer, "allow") || lexer->token.kind == '[')
        return rule_statement(source);
    if (is_word(lexer, "include"))
        return lex_next(lexer) && include_statement(source);
    if (is_word(lexer, "fd"))
        return lex_next(lexer) && fd_statement(source);
    return lex_error(lexer, "expected 'allow', '[', 'include' or 'fd', found %s",
                     lex_describe(lexer));
}

static bool confines_statement(struct lexer *lexer, const char **ret_text)
{
    if (!is_word(lexer, "confines"))
        return lex_error(lexer, "expected 'confines' and what this policy confines, found %s",
                         lex_describe(lexer));
    if (!lex_next(lexer))
        return false;
    *ret_text = lexer->token.text;
    return expect(lexer, TOKEN_STRING, "what this policy confines in quotes");
}

/* `at` is the place at which an unreadable file is reported; NULL for the policy itself. */
static bool parse_source(struct parser *parser, const char *path, const struct source *includer,
                         struct lexer *at)
{
    struct arena *arena = &parser->policy->arena;
    struct source source = {
        .parser = parser,
        .path = path,
        .lexer = {.arena = arena, .error = parser->error, .line = 1, .column = 1},
        .depth = includer ? includer->depth + 1 : 0,
    };
    source.lexer.path = arena_printf(arena, "policy/%s", path);
    source.lexer.token = (struct token){.line = 1, .column = 1, .text = ""};
    source.lexer.at = read_file(arena, arena_printf(arena, "%s/%s", parser->directory, path));
    if (!source.lexer.at)
        return lex_error(at ? at : &source.lexer, "%s can't be read: %s", source.lexer.path,
                         strerror(errno));
    if (includer)
        source.included = arena_printf(arena, "%s:%d%s%s", at->path, at->token.line,
                                       includer->included ? ", " : "",
                                       includer->included ? includer->included : "");
    if (!lex_next(&source.lexer))
        return false;
    if (!includer && !confines_statement(&source.lexer, &parser->policy->listing.confines))
        return false;
    while (source.lexer.token.kind != TOKEN_END) {
        if (!statement(&source))
            return false;
    }
    return true;
}

bool policy_parse(const char *directory, const char *name, enum policy_arch arch,
                  call_number_of *number_of, struct parsed_policy *ret,
                  struct policy_error *ret_error)
{
    struct parsed_policy policy = {.listing = {.arch = arch}};
    struct parser *parser = calloc(1, sizeof(*parser));
    if (!parser) {
        snprintf(ret_error->text, sizeof(ret_error->text), "out of memory");
        return false;
    }
    parser->directory = directory;
    parser->number_of = number_of;
    parser->policy = &policy;
    parser->error = ret_error;
    policy.listing.program.name = arena_copy(&policy.arena, name, strlen(name));
    scope_init(&parser->scope, &policy);

    bool parsed = parse_source(parser, arena_printf(&policy.arena, "%s.policy", name), NULL, NULL);
    if (parsed && policy.listing.rule_count == 0) {
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "policy/%s.policy:1:1: expected at least one rule for %s, found none", name,
                 policy_arch_name(arch));
        parsed = false;
    }
    if (parsed) {
        size_t size = policy.listing.rule_count * sizeof(parser->rules[0]);
        struct policy_rule *rules = arena_alloc(&policy.arena, size);
        memcpy(rules, parser->rules, size);
        policy.listing.rules = rules;
        size = parser->scope.fd_count * sizeof(parser->scope.fds[0]);
        struct policy_fd *fds = arena_alloc(&policy.arena, size);
        memcpy(fds, parser->scope.fds, size);
        policy.listing.fds = fds;
        policy.listing.fd_count = (unsigned int)parser->scope.fd_count;
        *ret = policy;
    } else {
        arena_free(&policy.arena);
    }
    free(parser);
    return parsed;
}

void policy_free(struct parsed_policy *policy)
{
    arena_free(&policy->arena);
}
