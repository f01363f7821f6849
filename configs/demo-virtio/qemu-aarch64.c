/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's aarch64 machine "virt": FreeRTOS has its only UART, and the backend QEMU's own devices. */
#define BACKEND_BASE 0x80000000
#define LINUX_BASE 0x40000000

/* The last eight of the machine's own VirtIO devices: QEMU's network is the last of all. */
#define BACKEND_DEVICE { .pa = 0xa003000, .va = 0xa003000, .size = 0x1000, \
        .interrupt_num = 8, .interrupts = (irqid_t[]) { 72, 73, 74, 75, 76, 77, 78, 79 } }
#define FREERTOS_UART { .pa = 0x9000000, .va = 0xff000000, .size = 0x1000, \
        .interrupt_num = 1, .interrupts = (irqid_t[]) { 33 } }

#define GIC { .gicd_addr = 0x8000000, .gicr_addr = 0x80a0000 }
#define FREERTOS_GIC { .gicd_addr = 0xf9010000, .gicr_addr = 0xf9020000 }

#include "vms.h"
