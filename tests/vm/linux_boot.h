/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads a Linux kernel into a guest's memory with the 64-bit x86 boot protocol (the kernel's
 * Documentation/x86/boot.rst): no firmware, no boot loader.
 */
#ifndef TESTS_VM_LINUX_BOOT_H
#define TESTS_VM_LINUX_BOOT_H

#include <stddef.h>
#include <stdint.h>

/* Guest-physical addresses of what the first instruction needs. */
#define BOOT_GDT 0x500u
#define BOOT_GDT_SIZE 32u
#define BOOT_PARAMS 0x7000u
#define BOOT_PAGE_TABLE 0x9000u
#define BOOT_CODE_SELECTOR 0x10u
#define BOOT_DATA_SELECTOR 0x18u

struct boot_image {
    const char *kernel;       /* file name of a bzImage */
    const char *initrd;       /* file name, or NULL */
    const char *command_line; /* */
};

/*
 * Load into `ram` (guest-physical 0 on, ram_size bytes, a multiple of 2 MiB). The processor
 * then starts at *ret_entry in 64-bit mode with RSI = BOOT_PARAMS. Returns 0 or -errno, with
 * *ret_what naming the file or fact at fault.
 */
int linux_boot_load(uint8_t *ram, size_t ram_size, const struct boot_image *image,
                    uint64_t *ret_entry, const char **ret_what);

#endif
