/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bao's configuration of the four VMs: a Linux backend, and as frontends a FreeRTOS with a console
 * and two Linux with a network device and a disk each. The file that includes this one defines what
 * is different from board to board:
 *
 *   BACKEND_BASE, LINUX_BASE  where the memory of the backend, and of each other Linux, begins
 *   BACKEND_DEVICE            the hardware of the backend
 *   FREERTOS_UART             the UART, at the address that FreeRTOS is built for
 *   GIC, FREERTOS_GIC         the interrupt controllers, as each kind of guest expects them
 */
#include <config.h>

VM_IMAGE(backend, XSTR(IMAGES/backend.bin))
VM_IMAGE(freertos, XSTR(IMAGES/freertos.bin))
VM_IMAGE(linux1, XSTR(IMAGES/linux1.bin))
VM_IMAGE(linux2, XSTR(IMAGES/linux2.bin))

struct config config = {

    /* The windows, one a device. */
    .shmemlist_size = 5,
    .shmemlist = (struct shmem[]) {
        [0] = { .size = 0x1000000 },
        [1] = { .size = 0x1000000 },
        [2] = { .size = 0x1000000 },
        [3] = { .size = 0x1000000 },
        [4] = { .size = 0x1000000 },
    },

    .vmlist_size = 4,
    .vmlist = (struct vm_config[]) {
        {
            /* Linux, the backend */
            .image = VM_IMAGE_BUILTIN(backend, BACKEND_BASE),
            .entry = BACKEND_BASE,
            .cpu_affinity = 0x1,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = BACKEND_BASE, .size = 0x20000000, .place_phys = true, .phys = BACKEND_BASE },
                },

                /* The order is that of the device tree's dispatcher node, and of "id" in the YAML. */
                .remio_dev_num = 5,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 40,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                    {
                        .bind_key = 1,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 41,
                        .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 },
                    },
                    {
                        .bind_key = 2,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 42,
                        .shmem = { .base = 0xd2000000, .size = 0x1000000, .shmem_id = 2 },
                    },
                    {
                        .bind_key = 3,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 43,
                        .shmem = { .base = 0xd3000000, .size = 0x1000000, .shmem_id = 3 },
                    },
                    {
                        .bind_key = 4,
                        .type = REMIO_DEV_BACKEND,
                        .interrupt = 44,
                        .shmem = { .base = 0xd4000000, .size = 0x1000000, .shmem_id = 4 },
                    },
                },

                .dev_num = 2,
                .devs = (struct vm_dev_region[]) {
                    BACKEND_DEVICE,
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = GIC,
            },
        },
        {
            /* FreeRTOS, with the addresses it is built for on every board */
            .image = VM_IMAGE_BUILTIN(freertos, 0x0),
            .entry = 0x0,
            .cpu_affinity = 0x2,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = 0x0, .size = 0x8000000 },
                },

                .remio_dev_num = 1,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 0,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003e00,
                        .size = 0x200,
                        .interrupt = 52,
                        .shmem = { .base = 0xd0000000, .size = 0x1000000, .shmem_id = 0 },
                    },
                },

                .dev_num = 2,
                .devs = (struct vm_dev_region[]) {
                    FREERTOS_UART,
                    {
                        /* timer */
                        .interrupt_num = 1,
                        .interrupts = (irqid_t[]) { 27 },
                    },
                },

                .arch.gic = FREERTOS_GIC,
            },
        },
        {
            /* Linux, with a network device and a disk */
            .image = VM_IMAGE_BUILTIN(linux1, LINUX_BASE),
            .entry = LINUX_BASE,
            .cpu_affinity = 0x4,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = LINUX_BASE, .size = 0x10000000 },
                },

                .remio_dev_num = 2,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 1,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003e00,
                        .size = 0x200,
                        .interrupt = 79,
                        .shmem = { .base = 0xd1000000, .size = 0x1000000, .shmem_id = 1 },
                    },
                    {
                        .bind_key = 2,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003c00,
                        .size = 0x200,
                        .interrupt = 78,
                        .shmem = { .base = 0xd2000000, .size = 0x1000000, .shmem_id = 2 },
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

                .arch.gic = GIC,
            },
        },
        {
            /* Linux, the same once more */
            .image = VM_IMAGE_BUILTIN(linux2, LINUX_BASE),
            .entry = LINUX_BASE,
            .cpu_affinity = 0x8,

            .platform = {
                .cpu_num = 1,

                .region_num = 1,
                .regions = (struct vm_mem_region[]) {
                    { .base = LINUX_BASE, .size = 0x10000000 },
                },

                .remio_dev_num = 2,
                .remio_devs = (struct remio_dev[]) {
                    {
                        .bind_key = 3,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003e00,
                        .size = 0x200,
                        .interrupt = 79,
                        .shmem = { .base = 0xd3000000, .size = 0x1000000, .shmem_id = 3 },
                    },
                    {
                        .bind_key = 4,
                        .type = REMIO_DEV_FRONTEND,
                        .va = 0xa003c00,
                        .size = 0x200,
                        .interrupt = 78,
                        .shmem = { .base = 0xd4000000, .size = 0x1000000, .shmem_id = 4 },
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

                .arch.gic = GIC,
            },
        },
    },
};
