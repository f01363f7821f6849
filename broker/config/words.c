/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/internal.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 32 /* a longer word is never close to a key */

/* Control characters of a terminal: those of ASCII, and the two bytes of U+0080 to U+009F. */
static bool is_control(const char *text, size_t i)
{
    unsigned char byte = (unsigned char)text[i];
    unsigned char next = byte != '\0' ? (unsigned char)text[i + 1] : 0;
    bool first = byte == 0xc2 && next >= 0x80 && next < 0xa0;
    bool second = i > 0 && (unsigned char)text[i - 1] == 0xc2 && byte < 0xa0;
    return byte < 0x20 || byte == 0x7f || first || second;
}

struct quoted config_quote(const char *text)
{
    struct quoted quoted = {0};
    size_t room = sizeof(quoted.text) - sizeof("...");
    size_t length = strlen(text);
    bool shortened = length > room;
    if (shortened) {
        length = room;
        /* Cut before a character, not inside one. */
        while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
    }
    for (size_t i = 0; i < length; i++)
        quoted.text[i] = (char)(is_control(text, i) ? '?' : text[i]);
    if (shortened)
        memcpy(quoted.text + length, "...", sizeof("..."));
    return quoted;
}

static bool list_has(const struct word_list *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list->text; at; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
            return true;
    }
    return false;
}

void config_list_add(struct word_list *list, const char *word)
{
    const char *separator = list->length > 0 ? ", " : "";
    size_t needed = strlen(separator) + strlen(word);
    if (list_has(list, word) || needed >= sizeof(list->text) - list->length)
        return;
    stpcpy(stpcpy(list->text + list->length, separator), word);
    list->length += needed;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance: letters inserted, deleted or exchanged. Case does not count. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1];
    size_t b_length = strlen(b);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t above = row[j];
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            row[j] = smaller(smaller(above, row[j - 1]) + 1, diagonal + (same ? 0 : 1));
            diagonal = above;
        }
    }
    return row[b_length];
}

size_t config_nearest_word(const char *word, const char *const *candidates, size_t count)
{
    size_t length = strlen(word);
    if (length == 0 || length > WORD_MAX)
        return count;

    /* "cid" for "guest_cid": many letters differ, but the meaning is close. */
    for (size_t i = 0; length > 2 && i < count; i++) {
        if (strcasestr(candidates[i], word))
            return i;
    }
    size_t best = count;
    size_t best_distance = length < 6 ? 2 : length / 3 + 1; /* from here on it is a guess */
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidates[i]) > WORD_MAX)
            continue;
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = i;
        }
    }
    return best;
}
