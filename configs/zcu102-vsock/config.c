/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bao's configuration for a ZCU102 or ZCU104: two Linux VMs with two CPUs each, and one VirtIO
 * device between them.
 */
#include <config.h>

VM_IMAGE(backend, XSTR(IMAGES/backend.bin))
VM_IMAGE(frontend, XSTR(IMAGES/frontend.bin))

struct config config = {

    /* The windows, one a device. */
    .shmemlist_size = 1,
    .shmemlist = (struct shmem[]) {
        [0] = { .size = 0x1000000 },
    },

    .vmlist_size = 2,
    .vmlist = (struct vm_config[]) {
        {
            .image = VM_IMAGE_BUILTIN(backend, 0x10000000),
            .entry = 0x10000000,
            .cpu_affinity = 0x3,

            .platform = {
                .cpu_num = 2,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x10000000, .size = 0x20000000, .place_phys = true, .phys = 0x10000000 },
                },

                /* The order is that of the device tree's dispatcher node, and of "id" in the YAML. */
                .remio_dev_num = 1,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 52,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                },

                .dev_num = 2,
                .devs = (struct vm_dev_region[]) {
                    {
                        /* UART0 */
                        .pa = 0xff000000,
                        .va = 0xff000000,
                        .size = 0x1000,
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 53 },
                    },
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = { .gicd_addr = 0xf9010000, .gicc_addr = 0xf9020000 },
            },
        },
        {
            .image = VM_IMAGE_BUILTIN(frontend, 0x10000000),
            .entry = 0x10000000,
            .cpu_affinity = 0xc,

            .platform = {
                .cpu_num = 2,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x10000000, .size = 0x20000000 },
                },

                .remio_dev_num = 1,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003e00,
                        .size = 0x200,
                        .interrupt = 79,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                },

                .dev_num = 2,
                .devs = (struct vm_dev_region[]) {
                    {
                        /* UART1 */
                        .pa = 0xff010000,
                        .va = 0xff010000,
                        .size = 0x1000,
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 54 },
                    },
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = { .gicd_addr = 0xf9010000, .gicc_addr = 0xf9020000 },
            },
        },
    },
};
