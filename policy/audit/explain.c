/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain: what any seccomp program does with each system call, whoever wrote it. Every way that a
 * call can take through the program is followed; calls with the same ways are told together.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/audit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/conditions_words.h"
#include "policy/audit/filters.h"
#include "policy/audit/json.h"
#include "policy/audit/ways.h"
#include "policy/catalog.h"

#define X32_BIT 0x40000000u
#define UNNAMED_CALL 0x3fffffffu /* there will never be one of this number */
#define WAYS_TEXT_MAX 65536u

/* Entries that programs ask for, by AUDIT_ARCH_... */
static const struct entry {
    const char *name;
    uint32_t token;
    enum policy_arch arch; /* POLICY_ARCHES: its calls are told by number */
} entries[] = {
    {"x86_64", AUDIT_ARCH_X86_64, POLICY_ARCH_X86_64},
    {"aarch64", AUDIT_ARCH_AARCH64, POLICY_ARCH_AARCH64},
    {"riscv64", AUDIT_ARCH_RISCV64, POLICY_ARCH_RISCV64},
    {"i386", AUDIT_ARCH_I386, POLICY_ARCHES},
    {"arm", AUDIT_ARCH_ARM, POLICY_ARCHES},
    {"riscv32", AUDIT_ARCH_RISCV32, POLICY_ARCHES},
    {"any other", 0, POLICY_ARCHES},
};

#define ENTRIES (sizeof(entries) / sizeof(entries[0]))

/* What becomes of a call: a line a way, "ACTION" or "ACTION if CONDITIONS". */
struct fate {
    uint32_t number;
    char *text;
};

struct fates {
    const struct entry *entry;
    char *otherwise; /* of a call that has no name */
    size_t count;
    struct fate *items; /* of those whose fate is another one */
};

/* ---- One call ---- */

static const char *action_words(const struct ways_leaf *leaf, char *ret, size_t size)
{
    uint32_t data = leaf->result & SECCOMP_RET_DATA;
    if (leaf->is_computed)
        return "what is calculated from the call";
    switch (leaf->result & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_KILL_PROCESS:
        return "kill the process";
    case SECCOMP_RET_TRAP:
        return "signal SIGSYS";
    case SECCOMP_RET_ERRNO:
        snprintf(ret, size, "error %" PRIu32 " (%s)", data, strerror((int)data));
        return ret;
    case SECCOMP_RET_USER_NOTIF:
        return "ask another process";
    case SECCOMP_RET_TRACE:
        return "ask the tracer";
    case SECCOMP_RET_LOG:
        return "allow and log";
    case SECCOMP_RET_ALLOW:
        return "allow";
    default: /* whatever the kernel does not know kills the process; 0 the thread */
        return leaf->result == SECCOMP_RET_KILL_THREAD ? "kill the thread" : "kill the process";
    }
}

struct writer {
    const struct entry *entry;
    uint32_t number;
    FILE *text;
    const char *otherwise; /* ways that end so are not told; NULL: all are */
    size_t conditional;    /* ways that depend on arguments */
    bool too_long;
};

static bool write_way(void *context, const struct ways_leaf *leaf)
{
    struct writer *writer = context;
    char words[128], conditions[4096];
    const char *action = action_words(leaf, words, sizeof(words));
    const char *call = writer->entry->arch == POLICY_ARCHES
                           ? NULL
                           : audit_call_name(writer->number, writer->entry->arch);
    if (!conditions_in_words(leaf, call, conditions, sizeof(conditions)))
        return true; /* no call can meet them */
    writer->conditional += conditions[0] != '\0';
    if (!writer->otherwise || strcmp(writer->otherwise, action) != 0)
        fprintf(writer->text, "%s%s%s\n", action, conditions[0] ? " if " : "", conditions);
    writer->too_long = ftell(writer->text) > (long)WAYS_TEXT_MAX;
    return !writer->too_long;
}

/* Returns 0 and a text to be freed, "" if nothing but `otherwise` becomes of the call. */
static int fate_of(const struct sock_filter *filter, const struct entry *entry, uint32_t number,
                   const char *otherwise, char **ret)
{
    size_t size;
    struct writer writer = {.entry = entry, .number = number, .otherwise = otherwise};
    writer.text = open_memstream(ret, &size);
    if (!writer.text)
        return -ENOMEM;
    int error = ways_of_call(filter, entry->token, number, write_way, &writer);
    if (error == -ECANCELED || error == -E2BIG) {
        fputs("in more ways than are told here\n", writer.text);
        error = 0;
    }
    if (fclose(writer.text) != 0 && error == 0)
        error = -ENOMEM;
    if (error < 0)
        free(*ret);
    return error;
}

/* ---- All calls of an entry ---- */

/* In the order in which they are asked; the numbers that the program itself names come last. */
static bool next_number(const struct sock_filter *filter, size_t length, size_t *at, uint32_t *ret)
{
    size_t index = (*at)++;
    if (index < POLICY_CALLS_END) {
        *ret = (uint32_t)index;
        return true;
    }
    index -= POLICY_CALLS_END;
    if (index < POLICY_CALLS_END) {
        *ret = (uint32_t)index | X32_BIT;
        return true;
    }
    index -= POLICY_CALLS_END;
    if (index >= length)
        return false;
    *ret = filter[index].k;
    return true;
}

static bool is_asked_before(uint32_t number)
{
    return (number & ~X32_BIT) < POLICY_CALLS_END;
}

static int add_fate(struct fates *fates, uint32_t number, char *text)
{
    for (size_t i = 0; i < fates->count; i++) {
        if (fates->items[i].number == number) {
            free(text);
            return 0;
        }
    }
    struct fate *items = realloc(fates->items, (fates->count + 1) * sizeof(*items));
    if (!items) {
        free(text);
        return -ENOMEM;
    }
    fates->items = items;
    items[fates->count++] = (struct fate){number, text};
    return 0;
}

static void free_fates(struct fates *fates)
{
    for (size_t i = 0; i < fates->count; i++)
        free(fates->items[i].text);
    free(fates->items);
    free(fates->otherwise);
}

/* The fate of a call that nobody knows, without its line's end. */
static int find_otherwise(const struct sock_filter *filter, struct fates *fates)
{
    int error = fate_of(filter, fates->entry, UNNAMED_CALL, NULL, &fates->otherwise);
    if (error == 0)
        fates->otherwise[strcspn(fates->otherwise, "\n")] = '\0';
    return error;
}

static int find_fates(const struct sock_filter *filter, size_t length, const struct entry *entry,
                      struct fates *ret)
{
    *ret = (struct fates){.entry = entry};
    int error = find_otherwise(filter, ret);
    uint32_t number;
    for (size_t at = 0; error == 0 && next_number(filter, length, &at, &number);) {
        bool again = at > 2 * POLICY_CALLS_END && is_asked_before(number);
        char *text;
        if (again || (error = fate_of(filter, entry, number, ret->otherwise, &text)) < 0)
            continue;
        if (text[0] == '\0')
            free(text);
        else
            error = add_fate(ret, number, text);
    }
    if (error < 0)
        free_fates(ret);
    return error;
}

static const char *call_words(const struct entry *entry, uint32_t number, char *ret, size_t size)
{
    bool x32 = entry->token == AUDIT_ARCH_X86_64 && (number & X32_BIT) != 0;
    uint32_t plain = x32 ? number & ~X32_BIT : number;
    const char *name = entry->arch == POLICY_ARCHES ? NULL : audit_call_name(plain, entry->arch);
    if (name)
        snprintf(ret, size, "%s%s", name, x32 ? " (x32)" : "");
    else
        snprintf(ret, size, number < POLICY_CALLS_END ? "%" PRIu32 : "0x%" PRIx32, number);
    return ret;
}

/* ---- The answer ---- */

static void print_lines(const char *text)
{
    for (const char *end; *text; text = end + 1) {
        end = strchr(text, '\n');
        printf("    %.*s\n", (int)(end - text), text);
    }
}

/* The calls of one fate, wrapped. */
static void print_calls(const struct fates *fates, size_t first)
{
    int column = printf("  ");
    const char *comma = "";
    for (size_t i = first; i < fates->count; i++) {
        char words[80];
        if (strcmp(fates->items[i].text, fates->items[first].text) != 0)
            continue;
        call_words(fates->entry, fates->items[i].number, words, sizeof(words));
        if (column + (int)strlen(words) > 96)
            column = printf(",\n  ") - 2, comma = "";
        column += printf("%s%s", comma, words);
        comma = ", ";
    }
    puts(":");
}

static bool is_first_of_fate(const struct fates *fates, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(fates->items[i].text, fates->items[index].text) == 0)
            return false;
    }
    return true;
}

static void print_fates(const struct fates *fates)
{
    printf("by the entry of %s:\n", fates->entry->name);
    for (size_t i = 0; i < fates->count; i++) {
        if (!is_first_of_fate(fates, i))
            continue;
        print_calls(fates, i);
        print_lines(fates->items[i].text);
    }
    printf("  otherwise: %s\n", fates->otherwise);
}

/* "ACTION if CONDITIONS" lines, as an array. */
static void json_ways(const char *text)
{
    json_open('[');
    for (const char *end; *text; text = end + 1) {
        char line[4400];
        end = strchr(text, '\n');
        snprintf(line, sizeof(line), "%.*s", (int)(end - text), text);
        char *condition = strstr(line, " if ");
        if (condition)
            *condition = '\0';
        json_open('{');
        json_text_of("action", line);
        json_text_of("if", condition ? condition + strlen(" if ") : NULL);
        json_close();
    }
    json_close();
}

static void json_fates(const struct fates *fates)
{
    json_open('{');
    json_text_of("arch", fates->entry->name);
    json_key("token");
    json_hex(fates->entry->token);
    json_key("calls");
    json_open('[');
    for (size_t i = 0; i < fates->count; i++) {
        char words[80];
        json_open('{');
        json_number_of("number", fates->items[i].number);
        json_text_of("call",
                     call_words(fates->entry, fates->items[i].number, words, sizeof(words)));
        json_key("ways");
        json_ways(fates->items[i].text);
        json_close();
    }
    json_close();
    json_text_of("otherwise", fates->otherwise);
    json_close();
}

/* An entry that the program does not ask for has the same fate as any other that it does not. */
static bool is_asked_for(const struct sock_filter *filter, size_t length, const struct entry *entry)
{
    for (size_t i = 0; i < length; i++) {
        if (filter[i].k == entry->token)
            return true;
    }
    return entry->token == 0;
}

static int explain(const struct sock_filter *filter, size_t length, bool json)
{
    size_t index;
    const char *wrong = ways_validate(filter, length, &index);
    if (wrong) {
        fprintf(stderr, "bao-seccomp: the kernel would not load this: instruction %zu %s\n", index,
                wrong);
        return AUDIT_TROUBLE;
    }
    if (json) {
        json_open('{');
        json_number_of("instructions", length);
        json_key("entries");
        json_open('[');
    } else {
        printf("%zu instructions\n", length);
    }
    for (size_t i = 0; i < ENTRIES; i++) {
        struct fates fates;
        if (!is_asked_for(filter, length, &entries[i]))
            continue;
        int error = find_fates(filter, length, &entries[i], &fates);
        if (error < 0)
            return error;
        json ? json_fates(&fates) : print_fates(&fates);
        free_fates(&fates);
    }
    if (json) {
        json_close();
        json_close();
    }
    return AUDIT_GOOD;
}

/* ---- Where programs come from ---- */

static int explain_file(const char *path, bool json)
{
    static struct sock_filter filter[BPF_MAXINSNS + 1];
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    size_t bytes = fread(filter, 1, sizeof(filter), file);
    int error = ferror(file) ? -EIO : 0;
    fclose(file);
    if (error < 0)
        return error;
    if (bytes == 0 || bytes % sizeof(filter[0]) != 0 || bytes == sizeof(filter))
        return audit_complain("no program in", path,
                              "1 to 4096 instructions of 8 bytes (struct sock_filter)");
    return explain(filter, bytes / sizeof(filter[0]), json);
}

static int explain_process(pid_t pid, bool json)
{
    struct filters filters;
    int error = filters_read(pid, &filters);
    if (error < 0)
        return error;
    int answer = AUDIT_GOOD;
    if (!json)
        printf("process %d: %zu program%s, of which the kernel takes the strictest answer\n",
               (int)pid, filters.count, audit_plural(filters.count));
    for (size_t i = 0; i < filters.count && answer == AUDIT_GOOD; i++) {
        if (!json)
            printf("\nprogram %zu, ", i + 1);
        answer = explain(filters.items[i].filter, filters.items[i].length, json);
    }
    filters_free(&filters);
    return answer;
}

int audit_explain(const struct question *question)
{
    bool json = question->format == FORMAT_JSON;
    if (question->argc != 1)
        return audit_complain("explain with", question->argc == 0 ? "nothing" : question->argv[1],
                              "the pid of one process, or one file of instructions");
    const char *subject = question->argv[0];
    char *end;
    long pid = strtol(subject, &end, 10);
    if (json)
        json_open('[');
    int answer =
        *end == '\0' && pid > 0 ? explain_process((pid_t)pid, json) : explain_file(subject, json);
    if (json && answer >= 0)
        json_close();
    if (answer >= 0)
        return answer;
    fprintf(stderr, "bao-seccomp: can't read the program of '%s': %s\n", subject,
            strerror(-answer));
    return AUDIT_TROUBLE;
}
