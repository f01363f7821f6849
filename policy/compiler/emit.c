/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/compiler/emit.h"

#include <inttypes.h>
#include <string.h>

#include "policy/calls.h"
#include "policy/compiler/compile.h"
#include "policy/compiler/number.h"
#include "policy/note.h"

/* Strings need no escapes: the grammar and the file names have no quote and no backslash. */

static void emit_filter(FILE *file, size_t index, const struct policy_program *program)
{
    fprintf(file, "\nstatic const struct sock_filter filter_%zu[] = { /* %s */\n", index,
            program->name);
    for (unsigned int i = 0; i < program->length; i++) {
        const struct sock_filter *at = &program->filter[i];
        fprintf(file, "    {0x%02x, %u, %u, 0x%08" PRIx32 "u},\n", at->code, at->jt, at->jf, at->k);
    }
    fputs("};\n", file);
}

static void emit_row(FILE *file, size_t index, const struct policy_program *program)
{
    fprintf(file, "{\"%s\", filter_%zu, %u, %u,\n     \"%s\"}", program->name, index,
            program->length, program->calls, program->hash);
}

/* The fields of an ELF note have 4 bytes each; name and description are padded to multiples of
 * that. */
static void emit_note(FILE *file, size_t index, const struct policy_program *program)
{
    size_t size = strlen(POLICY_NOTE_OWNER) + strlen(program->name) + 1;
    fprintf(file,
            "\nstatic const struct {\n"
            "    unsigned int name_size, description_size, type;\n"
            "    char name[%zu];\n"
            "    unsigned char description[%u];\n"
            "} note_%zu __attribute__((used, aligned(4), section(\"" POLICY_NOTE_SECTION
            "\"))) = {\n"
            "    %zu, %u, 0x%x, \"" POLICY_NOTE_OWNER "%s\",\n    {",
            (size + 3) / 4 * 4, POLICY_NOTE_SIZE, index, size, POLICY_NOTE_SIZE, POLICY_NOTE_TYPE,
            program->name);
    for (unsigned int i = 0; i < POLICY_NOTE_SIZE; i++)
        fprintf(file, "0x%.2s,", program->hash + (size_t)2 * i);
    fputs("}};\n", file);
}

static void emit_assertions(FILE *file, const struct parsed_policy *policy)
{
    const struct policy_listing *listing = &policy->listing;
    for (unsigned int i = 0; i < listing->rule_count; i++)
        fprintf(file, "_Static_assert(__NR_%s == %" PRIu32 ", \"the kernel's number\");\n",
                listing->rules[i].call, listing->rules[i].number);
    for (size_t i = 0; i < policy->constant_count; i++) {
        const struct constant *constant = policy->constants[i];
        if (strcmp(constant->name, "NULL") != 0)
            fprintf(file,
                    "_Static_assert((long long)(%s) == (long long)0x%" PRIx64
                    "ull, \"the kernel's value\");\n",
                    constant->name, constant->value[listing->arch]);
    }
}

void emit_table(FILE *file, const struct parsed_policy *policies, size_t count)
{
    fputs("/* Made by policyc from the texts in policy/. */\n"
          "#include \"common/policy.h\"\n"
          "#include \"policy/compiler/constants.def\"\n\n",
          file);
    for (size_t i = 0; i < count; i++)
        emit_assertions(file, &policies[i]);
    for (size_t i = 0; i < count; i++)
        emit_filter(file, i, &policies[i].listing.program);
    for (size_t i = 0; i < count; i++)
        emit_note(file, i, &policies[i].listing.program);
    fputs("\nconst struct policy_program policy_programs[] = {\n", file);
    for (size_t i = 0; i < count; i++) {
        fputs("    ", file);
        emit_row(file, i, &policies[i].listing.program);
        fputs(",\n", file);
    }
    fputs("    {0},\n};\n", file);
}

static void emit_conditions(FILE *file, size_t policy, unsigned int index,
                            const struct policy_rule *rule)
{
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        fprintf(file, "static const uint64_t values_%zu_%u_%u[] = {", policy, index, c);
        for (unsigned int v = 0; v < condition->value_count; v++)
            fprintf(file, "0x%" PRIx64 "ull,", condition->values[v]);
        fprintf(file, "};\nstatic const char *const spelled_%zu_%u_%u[] = {", policy, index, c);
        for (unsigned int v = 0; v < condition->value_count; v++)
            fprintf(file, "\"%s\",", condition->spelled[v]);
        fputs("};\n", file);
    }
    if (rule->condition_count == 0)
        return;
    fprintf(file, "static const struct policy_condition conditions_%zu_%u[] = {\n", policy, index);
    for (unsigned int c = 0; c < rule->condition_count; c++) {
        const struct policy_condition *condition = &rule->conditions[c];
        fprintf(file,
                "    {\"%s\", %u, %u, 0x%" PRIx64 "ull, %u, values_%zu_%u_%u, spelled_%zu_%u_%u,\n"
                "     \"%s\",\n     \"%s\"},\n",
                condition->argument, condition->index, condition->bits, condition->mask,
                condition->value_count, policy, index, c, policy, index, c, condition->text,
                condition->words);
    }
    fputs("};\n", file);
}

static void emit_text(FILE *file, const char *text)
{
    if (text)
        fprintf(file, "\"%s\",\n     ", text);
    else
        fputs("NULL, ", file);
}

static void emit_rules(FILE *file, size_t policy, const struct policy_listing *listing)
{
    for (unsigned int i = 0; i < listing->rule_count; i++)
        emit_conditions(file, policy, i, &listing->rules[i]);
    fprintf(file, "static const struct policy_rule rules_%zu[] = {\n", policy);
    for (unsigned int i = 0; i < listing->rule_count; i++) {
        const struct policy_rule *rule = &listing->rules[i];
        fprintf(file, "    {\"%s\", %" PRIu32 ", %u, ", rule->call, rule->number,
                rule->condition_count);
        if (rule->condition_count > 0)
            fprintf(file, "conditions_%zu_%u,\n", policy, i);
        else
            fputs("NULL,\n", file);
        fputs("     ", file);
        const char *const texts[] = {rule->reason, rule->justified, rule->only, rule->source,
                                     rule->included};
        for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++)
            emit_text(file, texts[t]);
        fputs("},\n", file);
    }
    fputs("};\n", file);
}

static void emit_fds(FILE *file, size_t policy, const struct policy_listing *listing)
{
    if (listing->fd_count == 0)
        return;
    fprintf(file, "static const struct policy_fd fds_%zu[] = {\n", policy);
    for (unsigned int i = 0; i < listing->fd_count; i++)
        fprintf(file, "    {\"%s\", %u, \"%s\"},\n", listing->fds[i].name, listing->fds[i].number,
                listing->fds[i].words);
    fputs("};\n", file);
}

/* A call's row is written at the lowest number that the call has on any architecture, so each name
 * comes once. */
static void emit_call(FILE *file, uint32_t number, enum policy_arch arch)
{
    char name[64];
    uint32_t numbers[POLICY_ARCHES];
    if (!name_of_call(number, arch, name, sizeof(name)))
        return;
    for (enum policy_arch each = 0; each < POLICY_ARCHES; each++) {
        if (!number_of_call(name, each, &numbers[each]))
            numbers[each] = POLICY_NO_CALL;
        else if (numbers[each] < number || (each < arch && numbers[each] == number))
            return;
    }
    fprintf(file, "    {\"%s\", {", name);
    for (enum policy_arch each = 0; each < POLICY_ARCHES; each++)
        fprintf(file, "0x%" PRIx32 "u,", numbers[each]);
    fputs("}},\n", file);
}

void emit_calls(FILE *file)
{
    fputs("/* Made by policyc. */\n"
          "#include \"policy/calls.h\"\n"
          "\nconst struct policy_call policy_calls[] = {\n",
          file);
    for (uint32_t number = 0; number < POLICY_CALLS_END; number++) {
        for (enum policy_arch arch = 0; arch < POLICY_ARCHES; arch++)
            emit_call(file, number, arch);
    }
    fputs("    {NULL, {0}},\n};\n", file);
}

void emit_catalog(FILE *file, const struct parsed_policy *policies, size_t count)
{
    fputs("/* Made by policyc from the texts in policy/. */\n"
          "#include \"policy/catalog.h\"\n",
          file);
    for (size_t i = 0; i < count; i++) {
        emit_filter(file, i, &policies[i].listing.program);
        emit_rules(file, i, &policies[i].listing);
        emit_fds(file, i, &policies[i].listing);
    }
    fputs("\nconst struct policy_listing policy_catalog[] = {\n", file);
    for (size_t i = 0; i < count; i++) {
        const struct policy_listing *listing = &policies[i].listing;
        fputs("    {", file);
        emit_row(file, i, &listing->program);
        fprintf(file, ", (enum policy_arch)%u,\n     \"%s\", %u, rules_%zu, %u, ",
                (unsigned int)listing->arch, listing->confines, listing->rule_count, i,
                listing->fd_count);
        if (listing->fd_count > 0)
            fprintf(file, "fds_%zu},\n", i);
        else
            fputs("NULL},\n", file);
    }
    fputs("    {{0}, (enum policy_arch)0, NULL, 0, NULL, 0, NULL},\n};\n", file);
}

void emit_program(FILE *file, const struct policy_program *program)
{
    for (unsigned int i = 0; i < program->length; i++) {
        uint8_t bytes[POLICY_INSTRUCTION_SIZE];
        policy_instruction_bytes(&program->filter[i], bytes);
        fwrite(bytes, 1, sizeof(bytes), file);
    }
}
