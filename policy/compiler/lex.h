/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a policy to its words.
 */
#ifndef POLICY_COMPILER_LEX_H
#define POLICY_COMPILER_LEX_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/compiler/arena.h"

/* What is wrong with a policy: "policy/block/virtio.policy:7:12: expected ..., found ...". */
struct policy_error {
    char text[512];
};

enum token_kind {
    TOKEN_END = 0,
    /* Punctuation that is one character is its own kind: ( ) { } [ ] , & | ~ = */
    TOKEN_EQUAL = 256, /* == */
    TOKEN_NAME,
    TOKEN_FD, /* @name; the text is without the @ */
    TOKEN_NUMBER,
    TOKEN_STRING, /* the text is without the quotes */
};

struct token {
    int kind; /* enum token_kind, or a character */
    int line, column;
    const char *text;
    uint64_t number; /* negative ones sign-extended */
};

struct lexer {
    struct arena *arena;
    struct policy_error *error;
    const char *path; /* as errors show it */
    const char *at;   /* the rest of the text */
    int line, column; /* of `at` */
    struct token token;
};

/* Reads the next token into lexer->token. On false the error is set. */
bool lex_next(struct lexer *lexer);

/* Sets the error, at the current token; returns false. */
bool lex_error(struct lexer *lexer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Likewise, at an earlier token. */
bool lex_error_at(struct lexer *lexer, const struct token *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How errors name the current token. */
const char *lex_describe(const struct lexer *lexer);

#endif
