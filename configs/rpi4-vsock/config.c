/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bao's configuration for a Raspberry Pi 4: two Linux VMs with two CPUs each, and two VirtIO devices
 * between them, the second for the frontend's console: the board has one UART for both.
 */
#include <config.h>

VM_IMAGE(backend, XSTR(IMAGES/backend.bin))
VM_IMAGE(frontend, XSTR(IMAGES/frontend.bin))

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
            .image = VM_IMAGE_BUILTIN(backend, 0x40000000),
            .entry = 0x40000000,
            .cpu_affinity = 0x3,

            .platform = {
                .cpu_num = 2,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x40000000, .size = 0x20000000, .place_phys = true, .phys = 0x40000000 },
                },

                /* The order is that of the device tree's dispatcher node, and of "id" in the YAML. */
                .remio_dev_num = 2,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 52,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                    {
                        .bind_key = 1,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 53,
                        .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 },
                    },
                },

                .dev_num = 2,
                .devs = (struct vm_dev_region[]) {
                    {
                        /* mini UART */
                        .pa = 0xfe215000,
                        .va = 0xfe215000,
                        .size = 0x1000,
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 125 },
                    },
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = { .gicd_addr = 0xff841000, .gicc_addr = 0xff842000 },
            },
        },
        {
            .image = VM_IMAGE_BUILTIN(frontend, 0x20000000),
            .entry = 0x20000000,
            .cpu_affinity = 0xc,

            .platform = {
                .cpu_num = 2,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x20000000, .size = 0x20000000 },
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

                .dev_num = 1,
                .devs = (struct vm_dev_region[]) {
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = { .gicd_addr = 0xff841000, .gicc_addr = 0xff842000 },
            },
        },
    },
};
