/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/entries.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 1024

void entries_add(struct entries *entries, const char *where, const char *what, const char *value)
{
    struct entry *items = realloc(entries->items, (entries->count + 1) * sizeof(*items));
    if (!items) {
        entries->out_of_memory = true;
        return;
    }
    entries->items = items;
    struct entry *entry = &items[entries->count++];
    *entry = (struct entry){strdup(where), strdup(what), strdup(value)};
    if (entry->where && entry->what && entry->value)
        return;
    entries->out_of_memory = true;
    free(entry->where);
    free(entry->what);
    free(entry->value);
    entries->count--;
}

void entries_free(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        free(entries->items[i].where);
        free(entries->items[i].what);
        free(entries->items[i].value);
    }
    free(entries->items);
    *entries = (struct entries){0};
}

void entries_name_process(const char *role, const char *name, const char *configuration, char *ret,
                          size_t size)
{
    bool known = configuration && configuration[0] != '\0';
    snprintf(ret, size, "%s %s%s%s", role, name, known ? ", " : "", known ? configuration : "");
}

void entries_program(const char *program, const char *hash, char *ret, size_t size)
{
    bool known = hash && hash[0] != '\0';
    snprintf(ret, size, "%s%s%s", program, known ? ", SHA-256 " : "", known ? hash : "");
}

/* Leaves out the number in "socket:[1234]", in place. */
static void leave_out_numbers(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0'; at++) {
        *to++ = *at;
        size_t digits = *at == '[' ? strspn(at + 1, "0123456789") : 0;
        if (digits > 0 && at[1 + digits] == ']')
            at += digits;
    }
    *to = '\0';
}

static bool equal(const struct entry *a, const struct entry *b)
{
    return strcmp(a->what, b->what) == 0 && strcmp(a->value, b->value) == 0 &&
           strcmp(a->where, b->where) == 0;
}

static bool has_equal(const struct entries *entries, const struct entry *wanted)
{
    for (size_t i = 0; i < entries->count; i++) {
        if (equal(&entries->items[i], wanted))
            return true;
    }
    return false;
}

void entries_add_check(struct entries *entries, const struct entry_check *check)
{
    char value[TEXT_MAX], what[TEXT_MAX];
    bool good = strcmp(check->verdict, "not as expected") != 0;
    bool any_fd = strncmp(check->check, "fd ", 3) == 0 && isdigit((unsigned char)check->check[3]) &&
                  strcmp(check->role, "worker") != 0;
    snprintf(what, sizeof(what), "%s", any_fd ? "fd" : check->check);
    snprintf(value, sizeof(value), "%s: %s%s%s%s", check->verdict, check->found,
             good ? "" : " (expected: ", good ? "" : check->expected, good ? "" : ")");
    leave_out_numbers(value);
    struct entry wanted = {(char *)check->where, what, value};
    if (!any_fd || !has_equal(entries, &wanted))
        entries_add(entries, check->where, what, value);
}

/* ---- What is different ---- */

struct comparison {
    const struct entries *before, *after;
    bool *before_done, *after_done;
    struct changes changes;
};

/* `what` may be NULL: anything. */
static bool has(const struct entries *entries, const char *where, const char *what)
{
    for (size_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->items[i].where, where) == 0 &&
            (!what || strcmp(entries->items[i].what, what) == 0))
            return true;
    }
    return false;
}

static void pair_equal_ones(struct comparison *comparison)
{
    for (size_t a = 0; a < comparison->after->count; a++) {
        for (size_t b = 0; b < comparison->before->count && !comparison->after_done[a]; b++) {
            if (!comparison->before_done[b] &&
                equal(&comparison->after->items[a], &comparison->before->items[b]))
                comparison->before_done[b] = comparison->after_done[a] = true;
        }
    }
}

/* The value of the same thing before, which has not been compared yet; or NULL. */
static const char *take_before(struct comparison *comparison, const struct entry *entry)
{
    for (size_t b = 0; b < comparison->before->count; b++) {
        const struct entry *other = &comparison->before->items[b];
        if (comparison->before_done[b] || strcmp(other->where, entry->where) != 0 ||
            strcmp(other->what, entry->what) != 0)
            continue;
        comparison->before_done[b] = true;
        return other->value;
    }
    return NULL;
}

static void add_change(struct changes *changes, const struct entry *entry, const char *before,
                       const char *after)
{
    changes->items[changes->count++] = (struct change){entry->where, entry->what, before, after};
}

/* Of a process that only one side has, one entry is enough. */
static bool is_told_by_another(const struct entries *own_side, const struct entries *other_side,
                               const struct entry *entry)
{
    if (strcmp(entry->what, ENTRY_PROGRAM) == 0 || has(other_side, entry->where, NULL))
        return false;
    return has(own_side, entry->where, ENTRY_PROGRAM);
}

static void list_changes(struct comparison *comparison)
{
    for (size_t a = 0; a < comparison->after->count; a++) {
        const struct entry *entry = &comparison->after->items[a];
        if (!comparison->after_done[a] &&
            !is_told_by_another(comparison->after, comparison->before, entry))
            add_change(&comparison->changes, entry, take_before(comparison, entry), entry->value);
    }
    for (size_t b = 0; b < comparison->before->count; b++) {
        const struct entry *entry = &comparison->before->items[b];
        if (!comparison->before_done[b] &&
            !is_told_by_another(comparison->before, comparison->after, entry))
            add_change(&comparison->changes, entry, entry->value, NULL);
    }
}

int changes_find(const struct entries *before, const struct entries *after, struct changes *ret)
{
    struct comparison comparison = {
        .before = before,
        .after = after,
        .before_done = calloc(before->count + 1, sizeof(bool)),
        .after_done = calloc(after->count + 1, sizeof(bool)),
        .changes.items = calloc(before->count + after->count + 1, sizeof(struct change)),
    };
    bool good = comparison.before_done && comparison.after_done && comparison.changes.items;
    if (good) {
        pair_equal_ones(&comparison);
        list_changes(&comparison);
        *ret = comparison.changes;
    } else {
        free(comparison.changes.items);
    }
    free(comparison.before_done);
    free(comparison.after_done);
    return good ? 0 : -ENOMEM;
}
