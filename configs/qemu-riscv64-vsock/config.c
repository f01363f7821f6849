/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bao's configuration for QEMU's riscv64 machine "virt": two Linux VMs with one CPU each, and two
 * VirtIO devices between them, the second for the frontend's console: the machine has one UART.
 *
 * QEMU puts the images where the VMs have them: copying them takes Bao minutes on this machine.
 */
#include <config.h>

/* Bao's own choice of the machine's interrupt controller. */
#if (IRQC == PLIC)
#define VM_IRQC { .plic.base = 0xc000000 }
#else
#define VM_IRQC { .aia = { .aplic.base = 0xd000000, .imsic.base = 0x28000000 } }
#endif

struct config config = {

    /* The windows, one a device. */
    .shmemlist_size = 2,
    .shmemlist = (struct shmem[]) {
        [0] = { .size = 0x1000000 },
        [1] = { .size = 0x1000000 },
    },

    .vmlist_size = 2,
    .vmlist = (struct vm_config[]) {
        {
            .image = VM_IMAGE_LOADED(0x90000000, 0x90000000, 0x8000000),
            .entry = 0x90000000,
            .cpu_affinity = 0x1,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x90000000, .size = 0x20000000, .place_phys = true, .phys = 0x90000000 },
                },

                /* The order is that of the device tree's dispatcher node, and of "id" in the YAML. */
                .remio_dev_num = 2,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 36,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                    {
                        .bind_key = 1,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 37,
                        .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 },
                    },
                },

                .dev_num = 1,
                .devs = (struct vm_dev_region[]) {
                    {
                        /* UART */
                        .pa = 0x10000000,
                        .va = 0x10000000,
                        .size = 0x1000,
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 10 },
                    },
                },

                .arch.irqc = VM_IRQC,
            },
        },
        {
            .image = VM_IMAGE_LOADED(0xb0000000, 0xb0000000, 0x8000000),
            .entry = 0xb0000000,
            .cpu_affinity = 0x2,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0xb0000000, .size = 0x20000000, .place_phys = true, .phys = 0xb0000000 },
                },

                .remio_dev_num = 2,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003e00,
                        .size = 0x200,
                        .interrupt = 79,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                    {
                        .bind_key = 1,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003c00,
                        .size = 0x200,
                        .interrupt = 78,
                        .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 },
                    },
                },

                .arch.irqc = VM_IRQC,
            },
        },
    },
};
