/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 16

static struct {
    unsigned int depth;
    char brackets[DEPTH_MAX];
    bool filled[DEPTH_MAX]; /* this level has a value already */
    bool named;             /* the value's key has just been written */
} writer;

static void new_line(void)
{
    printf("\n%*s", (int)(2 * writer.depth), "");
}

static void begin_value(bool on_new_line)
{
    if (writer.named || writer.depth == 0) {
        writer.named = false;
        return;
    }
    bool *filled = &writer.filled[writer.depth - 1];
    if (*filled)
        fputs(on_new_line ? "," : ", ", stdout);
    if (on_new_line)
        new_line();
    *filled = true;
}

void json_open(char bracket)
{
    begin_value(true);
    assert(writer.depth < DEPTH_MAX);
    putchar(bracket);
    writer.brackets[writer.depth] = bracket;
    writer.filled[writer.depth++] = false;
}

void json_close(void)
{
    putchar(writer.brackets[--writer.depth] == '{' ? '}' : ']');
    if (writer.depth == 0)
        putchar('\n');
}

void json_close_all(void)
{
    while (writer.depth > 0)
        json_close();
}

void json_key(const char *name)
{
    begin_value(false);
    printf("\"%s\": ", name);
    writer.named = true;
}

void json_text(const char *text)
{
    begin_value(false);
    if (!text) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

void json_hex(uint64_t number)
{
    begin_value(false);
    printf("\"0x%" PRIx64 "\"", number);
}

void json_number(uint64_t number)
{
    begin_value(false);
    printf("%" PRIu64, number);
}

void json_bool(bool value)
{
    begin_value(false);
    fputs(value ? "true" : "false", stdout);
}

void json_text_of(const char *name, const char *text)
{
    json_key(name);
    json_text(text);
}

void json_number_of(const char *name, uint64_t number)
{
    json_key(name);
    json_number(number);
}

void json_bool_of(const char *name, bool value)
{
    json_key(name);
    json_bool(value);
}

void json_parts_of(const char *name, const char *text)
{
    json_key(name);
    json_open('[');
    while (*text != '\0') {
        char part[512];
        const char *end = strstr(text, "; ");
        size_t length = end ? (size_t)(end - text) : strlen(text);
        snprintf(part, sizeof(part), "%.*s", (int)length, text);
        json_text(part);
        text += length + (end ? strlen("; ") : 0);
    }
    json_close();
}
