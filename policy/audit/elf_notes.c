/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/audit/elf_notes.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/note.h"

#define FILE_SIZE_MAX (64u << 20)
/* Programs have about 15. Each segment may be the whole file: many of them would keep the reader
 * busy for hours. */
#define SEGMENTS_MAX 64u

/* A part of the file, or NULL if it leads out of the file. */
static const uint8_t *part(const uint8_t *data, size_t size, uint64_t offset, uint64_t length)
{
    return offset <= size && length <= size - offset ? data + offset : NULL;
}

static bool is_printable(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (name[i] <= ' ' || name[i] > '~')
            return false;
    }
    return length > 0;
}

/* Takes a note that is one of ours; any other is somebody else's. `name` has its 0 at the end. */
static int take(const char *name, size_t name_size, const uint8_t *description, uint32_t length,
                struct elf_notes *notes)
{
    const size_t owner = strlen(POLICY_NOTE_OWNER);
    if (name_size < owner + 1 || name[name_size - 1] != '\0' ||
        strncmp(name, POLICY_NOTE_OWNER, owner) != 0)
        return 0;
    const char *policy = name + owner;
    if (length != POLICY_NOTE_SIZE || name_size - owner > ELF_NOTE_NAME ||
        !is_printable(policy, name_size - owner - 1))
        return -ENOEXEC;
    if (notes->count == ELF_NOTES_MAX)
        return -E2BIG;
    struct elf_note *note = &notes->items[notes->count++];
    memcpy(note->policy, policy, name_size - owner);
    for (size_t i = 0; i < length; i++)
        snprintf(note->hash + 2 * i, 3, "%02x", description[i]);
    return 0;
}

/* `alignment` is that of the segment: GNU's own notes of 64-bit programs have 8 bytes. */
static int parse_segment(const uint8_t *data, size_t size, size_t alignment,
                         struct elf_notes *notes)
{
    size_t at = 0;
    while (size - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr header;
        memcpy(&header, data + at, sizeof(header));
        uint64_t name = at + sizeof(header);
        uint64_t description = (name + header.n_namesz + alignment - 1) / alignment * alignment;
        uint64_t next = (description + header.n_descsz + alignment - 1) / alignment * alignment;
        if (!part(data, size, name, header.n_namesz) ||
            !part(data, size, description, header.n_descsz))
            return -ENOEXEC;
        int error = header.n_type == POLICY_NOTE_TYPE
                        ? take((const char *)data + name, header.n_namesz, data + description,
                               header.n_descsz, notes)
                        : 0;
        if (error < 0 || next >= size)
            return error;
        at = next;
    }
    return 0;
}

static enum policy_arch arch_of(const Elf64_Ehdr *header)
{
    switch (header->e_machine) {
    case EM_X86_64:
        return POLICY_ARCH_X86_64;
    case EM_AARCH64:
        return POLICY_ARCH_AARCH64;
    case EM_RISCV:
        return POLICY_ARCH_RISCV64;
    default:
        return POLICY_ARCHES;
    }
}

int elf_notes_parse(const uint8_t *data, size_t size, struct elf_notes *ret)
{
    struct elf_notes notes = {0};
    Elf64_Ehdr header;
    if (size < sizeof(header))
        return -ENOEXEC;
    memcpy(&header, data, sizeof(header));
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr))
        return -ENOEXEC;
    if (header.e_phnum > SEGMENTS_MAX)
        return -E2BIG;
    notes.arch = arch_of(&header);
    const uint8_t *segments =
        part(data, size, header.e_phoff, (uint64_t)header.e_phnum * sizeof(Elf64_Phdr));
    if (!segments)
        return -ENOEXEC;
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, segments + i * sizeof(segment), sizeof(segment));
        if (segment.p_type != PT_NOTE)
            continue;
        const uint8_t *at = part(data, size, segment.p_offset, segment.p_filesz);
        int error = at ? parse_segment(at, segment.p_filesz, segment.p_align == 8 ? 8 : 4, &notes)
                       : -ENOEXEC;
        if (error < 0)
            return error;
    }
    *ret = notes;
    return 0;
}

static int read_all(int fd, uint8_t **ret_data, size_t *ret_size)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -ENOEXEC;
    if (status.st_size > FILE_SIZE_MAX)
        return -EFBIG;
    size_t size = (size_t)status.st_size, used = 0;
    uint8_t *data = malloc(size + 1);
    if (!data)
        return -ENOMEM;
    ssize_t length = 0;
    while (used < size && (length = read(fd, data + used, size - used)) > 0)
        used += (size_t)length;
    if (length < 0) {
        int error = -errno;
        free(data);
        return error;
    }
    *ret_data = data;
    *ret_size = used;
    return 0;
}

int elf_notes_read(const char *path, struct elf_notes *ret)
{
    uint8_t *data = NULL;
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int error = read_all(fd, &data, &size);
    close(fd);
    if (error == 0)
        error = elf_notes_parse(data, size, ret);
    free(data);
    return error;
}

const char *elf_notes_find(const struct elf_notes *notes, const char *policy)
{
    for (size_t i = 0; i < notes->count; i++) {
        if (strcmp(notes->items[i].policy, policy) == 0)
            return notes->items[i].hash;
    }
    return NULL;
}
