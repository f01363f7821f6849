/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain: what a seccomp program does with each system call, whoever wrote the program. Every way
 * that a call can take through the program is followed; calls with the same ways are reported
 * together.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/device_kind.h"
#include "policy/audit/audit.h"
#include "policy/audit/fate.h"
#include "policy/audit/filters.h"
#include "policy/audit/json.h"
#include "policy/audit/ways.h"

/* ---- The answer ---- */

static void print_lines(const char *text)
{
    for (const char *end; *text; text = end + 1) {
        end = strchr(text, '\n');
        printf("    %.*s\n", (int)(end - text), text);
    }
}

/* Print the calls of one fate, with line breaks. */
static void print_calls(const struct fates *fates, size_t first)
{
    int column = printf("  ");
    const char *comma = "";
    for (size_t i = first; i < fates->count; i++) {
        char words[80];
        if (strcmp(fates->items[i].text, fates->items[first].text) != 0)
            continue;
        fate_call_words(fates->entry, fates->items[i].number, words, sizeof(words));
        if (column + (int)strlen(words) > 96) {
            column = printf(",\n  ") - 2;
            comma = "";
        }
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
                     fate_call_words(fates->entry, fates->items[i].number, words, sizeof(words)));
        json_key("ways");
        json_ways(fates->items[i].text);
        json_close();
    }
    json_close();
    json_text_of("otherwise", fates->otherwise);
    json_close();
}

static int explain_entries(const struct stack *stack, bool json)
{
    for (const struct stack_entry *entry = stack_entries; entry->name; entry++) {
        struct fates fates;
        if (!stack_asks_for(stack, entry))
            continue;
        int error = fates_find(stack, entry, &fates);
        if (error < 0)
            return error;
        if (json)
            json_fates(&fates);
        else
            print_fates(&fates);
        fates_free(&fates);
    }
    return AUDIT_GOOD;
}

/* Explain what all programs of the stack do together. */
static int explain(const struct stack *stack, bool json)
{
    size_t index, instructions = 0;
    for (size_t i = 0; i < stack->count; i++) {
        const char *wrong = ways_validate(stack->programs[i], stack->lengths[i], &index);
        if (wrong) {
            fprintf(stderr, "bao-seccomp: the kernel would not load this: instruction %zu %s\n",
                    index, wrong);
            return AUDIT_TROUBLE;
        }
        instructions += stack->lengths[i];
    }
    if (!json) {
        printf("%zu program%s of %zu instructions\n", stack->count, audit_plural(stack->count),
               instructions);
        return explain_entries(stack, false);
    }
    json_open('{');
    json_number_of("programs", stack->count);
    json_number_of("instructions", instructions);
    json_key("entries");
    json_open('[');
    int answer = explain_entries(stack, true);
    json_close();
    json_close();
    return answer;
}

/* Give one answer for all programs together, or one for each. */
static int explain_stack(const struct stack *stack, const struct question *question)
{
    bool json = question->format == FORMAT_JSON;
    int answer = AUDIT_GOOD;
    if (json)
        json_open('[');
    if (question->effective && stack->count > 0)
        answer = explain(stack, json);
    for (size_t i = 0; i < stack->count && answer == AUDIT_GOOD && !question->effective; i++) {
        const struct stack one = {1, {stack->programs[i]}, {stack->lengths[i]}};
        if (!json && i > 0)
            putchar('\n');
        answer = explain(&one, json);
    }
    if (json && answer >= 0)
        json_close();
    return answer;
}

/* ---- Where programs come from ---- */

static int explain_file(const char *path, const struct question *question)
{
    struct sock_filter *filter;
    size_t length;
    int answer = filter_of_file(path, &filter, &length);
    if (answer == -EINVAL)
        return audit_complain("no program in", path,
                              "1 to 4096 instructions of 8 bytes (struct sock_filter)");
    if (answer < 0)
        return answer;
    const struct stack stack = {1, {filter}, {length}};
    answer = explain_stack(&stack, question);
    free(filter);
    return answer;
}

static int explain_process(pid_t pid, const struct question *question)
{
    struct filters filters;
    struct stack stack = {0};
    int error = filters_read(pid, &filters);
    if (error < 0 && error != -EINVAL) /* -EINVAL: a process that has no filter */
        return error;
    for (size_t i = 0; i < filters.count; i++) {
        stack.programs[stack.count] = filters.items[i].filter;
        stack.lengths[stack.count++] = filters.items[i].length;
    }
    if (question->format != FORMAT_JSON)
        printf("process %d: %zu program%s, of which the kernel takes the strictest answer\n",
               (int)pid, filters.count, audit_plural(filters.count));
    int answer = explain_stack(&stack, question);
    filters_free(&filters);
    return answer;
}

/* The program of that name on an architecture, or NULL. */
static const struct policy_program *program_of(const char *policy, enum policy_arch arch)
{
    const struct selection selection = {policy, arch};
    const struct policy_listing *listing = selection_next(&selection, NULL);
    return listing ? &listing->program : NULL;
}

/* Explain a policy of this build, together with the keeper's, which every process of ours
 * inherits. */
static int explain_policy(const struct policy_program *own, enum policy_arch arch,
                          const struct question *question)
{
    const struct policy_program *keeper = program_of(device_kind_keeper(own->name), arch);
    struct stack stack = {1, {own->filter}, {own->length}};
    if (own != keeper && question->effective) {
        stack.programs[stack.count] = keeper->filter;
        stack.lengths[stack.count++] = keeper->length;
    }
    return explain_stack(&stack, question);
}

int audit_explain(const struct question *question)
{
    if (question->argc != 1)
        return audit_complain("explain with", question->argc == 0 ? "nothing" : question->argv[1],
                              "one policy, the pid of a process, or a file of instructions");
    const char *subject = question->argv[0];
    enum policy_arch arch =
        question->selection.arch == POLICY_ARCHES ? POLICY_ARCH_NATIVE : question->selection.arch;
    const struct policy_program *own = program_of(subject, arch);
    char *end;
    long pid = strtol(subject, &end, 10);
    int answer;
    if (own)
        answer = explain_policy(own, arch, question);
    else if (*end == '\0' && pid > 0)
        answer = explain_process((pid_t)pid, question);
    else
        answer = explain_file(subject, question);
    if (answer >= 0)
        return answer;
    fprintf(stderr, "bao-seccomp: can't read the program of '%s': %s\n", subject,
            strerror(-answer));
    return AUDIT_TROUBLE;
}
