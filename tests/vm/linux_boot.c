/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/linux_boot.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/vm/acpi.h"

#define COMMAND_LINE 0x20000u
#define COMMAND_LINE_MAX 2048u
#define LOW_MEMORY_END 0x9fc00u
#define HIGH_MEMORY 0x100000u
#define PAGE 4096u
#define ENTRY_64 0x200u /* from the start of the protected-mode code */

#define E820_RAM 1u
#define E820_ACPI 3u

static int read_at(int fd, void *to, size_t size, off_t offset)
{
    uint8_t *next = to;
    while (size > 0) {
        ssize_t n = pread(fd, next, size, offset);
        if (n < 0)
            return -errno;
        if (n == 0)
            return -EIO;
        next += n;
        offset += n;
        size -= (size_t)n;
    }
    return 0;
}

static int open_sized(const char *name, int *ret_fd, size_t *ret_size)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    *ret_fd = fd;
    *ret_size = (size_t)st.st_size;
    return 0;
}

/* The setup header says at which address the kernel wants to be. Its decompressor needs init_size
 * bytes there. */
static int load_kernel(uint8_t *ram, size_t ram_size, const char *name, struct boot_params *params,
                       uint64_t *ret_entry, size_t *ret_end)
{
    int fd = -1;
    size_t file_size = 0;
    int err = open_sized(name, &fd, &file_size);
    if (err)
        return err;
    struct setup_header *header = &params->hdr;
    err = read_at(fd, header, sizeof(*header), offsetof(struct boot_params, hdr));
    if (err)
        goto out;
    err = -ENOEXEC;
    if (header->boot_flag != 0xaa55 || memcmp(&header->header, "HdrS", 4) != 0 ||
        header->version < 0x20c || !(header->xloadflags & XLF_KERNEL_64))
        goto out;
    size_t setup_size = ((header->setup_sects ? header->setup_sects : 4u) + 1u) * (size_t)512;
    uint64_t start = header->pref_address;
    err = -EFBIG;
    if (file_size <= setup_size || start < HIGH_MEMORY || start > ram_size ||
        header->init_size > ram_size - start || file_size - setup_size > header->init_size)
        goto out;
    err = read_at(fd, ram + start, file_size - setup_size, (off_t)setup_size);
    header->type_of_loader = 0xff;
    header->code32_start = (uint32_t)start;
    *ret_entry = start + ENTRY_64;
    *ret_end = start + header->init_size;
out:
    close(fd);
    return err;
}

/* At the end of memory: nothing of the kernel can reach it there. */
static int load_initrd(uint8_t *ram, size_t ram_size, size_t kernel_end, const char *name,
                       struct boot_params *params)
{
    int fd = -1;
    size_t size = 0;
    int err = open_sized(name, &fd, &size);
    if (err)
        return err;
    err = -EFBIG;
    if (size > ram_size - kernel_end)
        goto out;
    size_t start = (ram_size - size) & ~(size_t)(PAGE - 1);
    if (start < kernel_end)
        goto out;
    err = read_at(fd, ram + start, size, 0);
    params->hdr.ramdisk_image = (uint32_t)start;
    params->hdr.ramdisk_size = (uint32_t)size;
out:
    close(fd);
    return err;
}

static void describe_memory(struct boot_params *params, size_t ram_size)
{
    const struct boot_e820_entry map[] = {
        {.addr = 0, .size = LOW_MEMORY_END, .type = E820_RAM},
        {.addr = ACPI_BASE, .size = ACPI_SIZE, .type = E820_ACPI},
        {.addr = HIGH_MEMORY, .size = ram_size - HIGH_MEMORY, .type = E820_RAM},
    };
    memcpy(params->e820_table, map, sizeof(map));
    params->e820_entries = sizeof(map) / sizeof(map[0]);
}

/* Flat segments. The first GiB is mapped one to one, in pages of 2 MiB. */
static void build_tables(uint8_t *ram)
{
    const uint64_t gdt[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    _Static_assert(sizeof(gdt) == BOOT_GDT_SIZE, "the header's size");
    memcpy(ram + BOOT_GDT, gdt, sizeof(gdt));

    uint64_t *level4 = (uint64_t *)(void *)(ram + BOOT_PAGE_TABLE);
    uint64_t *level3 = level4 + 512;
    uint64_t *level2 = level3 + 512;
    level4[0] = (BOOT_PAGE_TABLE + PAGE) | 3;
    level3[0] = (BOOT_PAGE_TABLE + 2 * PAGE) | 3;
    for (uint64_t i = 0; i < 512; i++)
        level2[i] = i << 21 | 0x83;
}

int linux_boot_load(uint8_t *ram, size_t ram_size, const struct boot_image *image,
                    uint64_t *ret_entry, const char **ret_what)
{
    struct boot_params params = {.acpi_rsdp_addr = ACPI_BASE};
    size_t kernel_end;
    *ret_what = image->kernel;
    int err = load_kernel(ram, ram_size, image->kernel, &params, ret_entry, &kernel_end);
    if (err)
        return err;
    if (image->initrd) {
        *ret_what = image->initrd;
        err = load_initrd(ram, ram_size, kernel_end, image->initrd, &params);
        if (err)
            return err;
    }
    *ret_what = "the kernel command line";
    size_t length = strlen(image->command_line);
    if (length >= COMMAND_LINE_MAX)
        return -E2BIG;
    memcpy(ram + COMMAND_LINE, image->command_line, length + 1);
    params.hdr.cmd_line_ptr = COMMAND_LINE;
    describe_memory(&params, ram_size);
    build_tables(ram);
    memcpy(ram + BOOT_PARAMS, &params, sizeof(params));
    return 0;
}
