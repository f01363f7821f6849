/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/audit/disassemble.h"
#include "policy/audit/effective.h"
#include "policy/audit/json.h"

static void print_program(const struct policy_program *program, const char *arch,
                          const struct disassembled *lines)
{
    printf("%s on %s: %u instructions", program->name, arch, program->length);
    printf(program->hash ? ", SHA-256 %s\n" : "\n", program->hash);
    for (unsigned int i = 0; i < program->length; i++) {
        const struct disassembled *line = &lines[i];
        if (line->comment[0] != '\0')
            printf("%5u  %-36s ; %s\n", i, line->text, line->comment);
        else
            printf("%5u  %s\n", i, line->text);
    }
    putchar('\n');
}

static void json_program(const struct policy_program *program, const char *arch,
                         const struct disassembled *lines)
{
    json_open('{');
    json_text_of("policy", program->name);
    json_text_of("arch", arch);
    json_text_of("sha256", program->hash);
    json_key("instructions");
    json_open('[');
    for (unsigned int i = 0; i < program->length; i++) {
        const struct sock_filter *at = &program->filter[i];
        json_open('{');
        json_number_of("code", at->code);
        json_number_of("jt", at->jt);
        json_number_of("jf", at->jf);
        json_number_of("k", at->k);
        json_text_of("text", lines[i].text);
        json_text_of("comment", lines[i].comment);
        json_close();
    }
    json_close();
    json_close();
}

static int show(const struct policy_listing *listing, bool json)
{
    struct disassembled *lines = calloc(listing->program.length, sizeof(*lines));
    if (!lines)
        return -ENOMEM;
    int error = disassemble(listing, lines);
    if (error == 0 && json)
        json_program(&listing->program, policy_arch_name(listing->arch), lines);
    else if (error == 0)
        print_program(&listing->program, policy_arch_name(listing->arch), lines);
    free(lines);
    return error;
}

/* All programs, one after the other, as they are loaded. */
static int show_effective(const struct effective *effective, bool json)
{
    const struct stack *stack = &effective->stack;
    int error = 0;
    if (!json)
        printf("%s: %zu program%s, of which the kernel takes the strictest answer\n\n",
               effective->name, stack->count, audit_plural(stack->count));
    for (size_t i = 0; i < stack->count && error == 0; i++) {
        const struct policy_program program = {.name = "a program that is none of this build's",
                                               .filter = stack->programs[i],
                                               .length = (unsigned short)stack->lengths[i]};
        const struct policy_listing foreign = {.program = program, .arch = effective->arch};
        const struct policy_listing *listing = effective->listings[i];
        error = show(listing ? listing : &foreign, json);
    }
    return error;
}

int audit_show(const struct question *question)
{
    const struct selection *selection = &question->selection;
    bool json = question->format == FORMAT_JSON;
    if (question->effective)
        return effective_answer(question, show_effective);
    if (json)
        json_open('[');
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        int error = show(at, json);
        if (error < 0)
            return error;
    }
    if (json)
        json_close();
    return AUDIT_GOOD;
}
