/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF notes of a program: any file is refused, or its notes are printable and whole. */
#include <errno.h>
#include <string.h>

#include "policy/audit/elf_notes.h"
#include "tests/fuzz/violated.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct elf_notes notes = {.count = 12345};
    int error = elf_notes_parse(data, size, &notes);
    require(error == 0 || error == -ENOEXEC || error == -E2BIG, "result");
    require(error == 0 || notes.count == 12345, "notes after a failure");
    for (size_t i = 0; error == 0 && i < notes.count; i++) {
        const struct elf_note *note = &notes.items[i];
        require(i < ELF_NOTES_MAX, "count");
        require(memchr(note->policy, '\0', sizeof(note->policy)) && note->policy[0] != '\0',
                "name");
        for (const char *at = note->policy; *at != '\0'; at++)
            require(*at > ' ' && *at <= '~', "a name that is not printable");
        require(strspn(note->hash, "0123456789abcdef") == SHA256_TEXT - 1, "hash");
    }
    return 0;
}
