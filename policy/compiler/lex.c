/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define NAME_START LOWER UPPER "_"
#define NAME_REST NAME_START DIGITS

static void set_error(struct lexer *lexer, const struct token *at, const char *format,
                      va_list arguments)
{
    char *text = lexer->error->text;
    size_t size = sizeof(lexer->error->text);
    int length = snprintf(text, size, "%s:%d:%d: ", lexer->path, at->line, at->column);
    if (length > 0 && (size_t)length < size)
        vsnprintf(text + length, size - (size_t)length, format, arguments);
}

bool lex_error(struct lexer *lexer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_error(lexer, &lexer->token, format, arguments);
    va_end(arguments);
    return false;
}

bool lex_error_at(struct lexer *lexer, const struct token *at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_error(lexer, at, format, arguments);
    va_end(arguments);
    return false;
}

const char *lex_describe(const struct lexer *lexer)
{
    const struct token *token = &lexer->token;
    switch (token->kind) {
    case TOKEN_END:
        return "the end of the file";
    case TOKEN_STRING:
        return arena_printf(lexer->arena, "\"%s\"", token->text);
    case TOKEN_FD:
        return arena_printf(lexer->arena, "'@%s'", token->text);
    default:
        return arena_printf(lexer->arena, "'%s'", token->text);
    }
}

static void advance(struct lexer *lexer, size_t count)
{
    for (; count > 0; count--, lexer->at++) {
        lexer->column++;
        if (*lexer->at == '\n') {
            lexer->line++;
            lexer->column = 1;
        }
    }
}

static void skip_space_and_comments(struct lexer *lexer)
{
    for (;;) {
        advance(lexer, strspn(lexer->at, " \t\n"));
        if (*lexer->at != '#')
            return;
        advance(lexer, strcspn(lexer->at, "\n"));
    }
}

/* The token is the next `length` characters; its text leaves out `trim` of them at the start. */
static bool take(struct lexer *lexer, int kind, size_t length, size_t trim)
{
    lexer->token.kind = kind;
    lexer->token.text = arena_copy(lexer->arena, lexer->at + trim, length - trim);
    advance(lexer, length);
    return true;
}

static bool take_string(struct lexer *lexer)
{
    size_t length = 1;
    for (; lexer->at[length] != '"'; length++) {
        unsigned char c = (unsigned char)lexer->at[length];
        if (c == '\n' || c == '\0')
            return lex_error(lexer, "this string does not end in its line: expected '\"'");
        if (c < 0x20 || c > 0x7e || c == '\\')
            return lex_error(lexer,
                             "a string holds a character 0x%02x: expected printable ASCII "
                             "without '\\'",
                             c);
    }
    if (length == 1)
        return lex_error(lexer, "expected some text in this string, found none");
    take(lexer, TOKEN_STRING, length, 1);
    advance(lexer, 1); /* the closing quote */
    return true;
}

static bool take_number(struct lexer *lexer)
{
    const char *at = lexer->at;
    size_t sign = *at == '-' ? 1 : 0;
    bool hexadecimal = at[sign] == '0' && at[sign + 1] == 'x';
    size_t prefix = sign + (hexadecimal ? 2 : 0);
    size_t digits = strspn(at + prefix, hexadecimal ? DIGITS "abcdefABCDEF" : DIGITS);
    size_t length = prefix + digits;
    size_t junk = strspn(at + length, NAME_REST);
    bool octal = !hexadecimal && digits > 1 && at[sign] == '0';
    if (digits == 0 || junk > 0 || octal)
        return lex_error(lexer,
                         "'%.*s' is no number: expected decimal or 0x and hexadecimal digits",
                         (int)(length + junk), at);
    take(lexer, TOKEN_NUMBER, length, 0);
    errno = 0;
    uint64_t magnitude = strtoull(lexer->token.text + sign, NULL, hexadecimal ? 16 : 10);
    if (errno != 0 || (sign == 1 && magnitude > (uint64_t)INT64_MAX))
        return lex_error(lexer, "'%s' does not fit in 64 bits", lexer->token.text);
    lexer->token.number = sign == 1 ? 0 - magnitude : magnitude;
    return true;
}

bool lex_next(struct lexer *lexer)
{
    skip_space_and_comments(lexer);
    lexer->token = (struct token){.line = lexer->line, .column = lexer->column, .text = ""};
    const char *at = lexer->at;
    unsigned char c = (unsigned char)*at;
    if (c == '\0')
        return true;
    if (c == '"')
        return take_string(lexer);
    if (strchr(DIGITS, c) || (c == '-' && at[1] != '\0' && strchr(DIGITS, at[1])))
        return take_number(lexer);
    if (strchr(NAME_START, c))
        return take(lexer, TOKEN_NAME, strspn(at, NAME_REST), 0);
    if (c == '@' && strspn(at + 1, NAME_REST) > 0)
        return take(lexer, TOKEN_FD, 1 + strspn(at + 1, NAME_REST), 1);
    if (c == '=' && at[1] == '=')
        return take(lexer, TOKEN_EQUAL, 2, 0);
    if (strchr("(){}[],&|~=", c))
        return take(lexer, c, 1, 0);
    if (c < 0x20 || c > 0x7e)
        return lex_error(lexer, "unexpected character 0x%02x", c);
    return lex_error(lexer, "unexpected character '%c'", c);
}
