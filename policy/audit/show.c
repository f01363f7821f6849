/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/audit/audit.h"
#include "policy/audit/disassemble.h"

static void print_program(const struct policy_program *program, const char *arch,
                          const struct disassembled *lines)
{
    printf("%s on %s: %u instructions, SHA-256 %s\n", program->name, arch, program->length,
           program->hash);
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
    printf("  {\"policy\": \"%s\", \"arch\": \"%s\", \"sha256\": \"%s\",\n    \"instructions\": [",
           program->name, arch, program->hash);
    for (unsigned int i = 0; i < program->length; i++) {
        const struct sock_filter *at = &program->filter[i];
        printf("%s\n      {\"code\": %u, \"jt\": %u, \"jf\": %u, \"k\": %" PRIu32 ", \"text\": ",
               i == 0 ? "" : ",", at->code, at->jt, at->jf, at->k);
        json_string(lines[i].text);
        fputs(", \"comment\": ", stdout);
        json_string(lines[i].comment);
        putchar('}');
    }
    fputs("]}", stdout);
}

static int show(const struct policy_listing *listing, bool json, const char *between)
{
    struct disassembled *lines = calloc(listing->program.length, sizeof(*lines));
    if (!lines)
        return -ENOMEM;
    int error = disassemble(listing, lines);
    if (error == 0 && json) {
        fputs(between, stdout);
        json_program(&listing->program, policy_arch_name(listing->arch), lines);
    } else if (error == 0) {
        print_program(&listing->program, policy_arch_name(listing->arch), lines);
    }
    free(lines);
    return error;
}

int audit_show(const struct selection *selection, bool json)
{
    const char *between = "[\n";
    for (const struct policy_listing *at = selection_next(selection, NULL); at;
         at = selection_next(selection, at)) {
        int error = show(at, json, between);
        if (error < 0)
            return error;
        between = ",\n";
    }
    if (json)
        puts("\n]");
    return 0;
}
