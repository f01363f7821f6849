/* SPDX-License-Identifier: Apache-2.0 */
/* Which policies a program carries, by its ELF notes (policy/note.h). The file may be anybody's. */
#ifndef POLICY_AUDIT_ELF_NOTES_H
#define POLICY_AUDIT_ELF_NOTES_H

#include "policy/audit/sha256.h"
#include "policy/rule.h"

#define ELF_NOTES_MAX 32u
#define ELF_NOTE_NAME 64u

struct elf_notes {
    enum policy_arch arch; /* the program's; POLICY_ARCHES: none that there are policies for */
    size_t count;
    struct elf_note {
        char policy[ELF_NOTE_NAME]; /* printable ASCII */
        char hash[SHA256_TEXT];
    } items[ELF_NOTES_MAX];
};

/*
 * Of a whole file in memory, by its program headers: the section headers may be gone. Returns 0,
 * also if there is no such note; -ENOEXEC if it is no ELF file of 64 bits, little endian, or if
 * a header leads out of the file; -E2BIG if there are more notes than ELF_NOTES_MAX, or more
 * segments than programs have.
 */
int elf_notes_parse(const uint8_t *data, size_t size, struct elf_notes *ret);

/* Of the file of that name. Returns also -EFBIG for a file that no program of ours can be; -errno.
 */
int elf_notes_read(const char *path, struct elf_notes *ret);

/* The hash of a policy, or NULL. */
const char *elf_notes_find(const struct elf_notes *notes, const char *policy);

#endif
