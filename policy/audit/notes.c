/* SPDX-License-Identifier: Apache-2.0 */
/* What programs will load, by their own ELF notes: they need not be run, nor be of this machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/audit/audit.h"
#include "policy/audit/elf_notes.h"
#include "policy/audit/json.h"

/* The hash of this build's policy of that name; NULL if it has none. */
static const char *hash_of_build(const char *policy, enum policy_arch arch)
{
    const struct selection selection = {policy, arch};
    const struct policy_listing *listing =
        arch == POLICY_ARCHES ? NULL : selection_next(&selection, NULL);
    return listing ? listing->program.hash : NULL;
}

/* Returns whether the note is that of this build's policy. */
static bool print_note(const char *file, const struct elf_note *note, enum policy_arch arch,
                       bool json)
{
    const char *own = hash_of_build(note->policy, arch);
    const char *arch_name = arch == POLICY_ARCHES ? "unknown" : policy_arch_name(arch);
    bool same = own && strcmp(own, note->hash) == 0;
    if (!json) {
        printf("%s  %s/%s%s\n", note->hash, arch_name, note->policy,
               same  ? ""
               : own ? "  not that of this build"
                     : "  this build has no such policy");
        return same;
    }
    json_open('{');
    json_text_of("file", file);
    json_text_of("policy", note->policy);
    json_text_of("arch", arch_name);
    json_text_of("sha256", note->hash);
    json_bool_of("of_this_build", same);
    json_close();
    return same;
}

static int answer_file(const char *path, bool json)
{
    struct elf_notes notes;
    int error = elf_notes_read(path, &notes);
    if (error < 0) {
        fprintf(stderr, "%s: %s: %s\n", audit_tool, path,
                error == -ENOEXEC ? "expected a program of 64 bits" : strerror(-error));
        return AUDIT_TROUBLE;
    }
    if (notes.count == 0) {
        fprintf(stderr, "%s: %s: expected a program that carries policies, found no note of one\n",
                audit_tool, path);
        return AUDIT_TROUBLE;
    }
    int answer = AUDIT_GOOD;
    for (size_t i = 0; i < notes.count; i++) {
        if (!print_note(path, &notes.items[i], notes.arch, json))
            answer = AUDIT_OBJECTS;
    }
    return answer;
}

int audit_notes(const struct question *question)
{
    bool json = question->format == FORMAT_JSON;
    int worst = AUDIT_GOOD;
    if (question->argc == 0)
        return audit_complain("no file after", "notes", "one program or more");
    if (json)
        json_open('[');
    for (int i = 0; i < question->argc; i++) {
        int answer = answer_file(question->argv[i], json);
        worst = answer > worst ? answer : worst;
    }
    if (json)
        json_close();
    return worst;
}
