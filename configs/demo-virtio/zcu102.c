/* SPDX-License-Identifier: Apache-2.0 */
/* A ZCU102 or ZCU104: the backend has UART1, FreeRTOS has UART0. */
#define BACKEND_BASE 0x10000000
#define LINUX_BASE 0x10000000

#define BACKEND_DEVICE { .pa = 0xff010000, .va = 0xff010000, .size = 0x1000, \
        .interrupt_num = 1, .interrupts = (irqid_t[]) { 54 } }
#define FREERTOS_UART { .pa = 0xff000000, .va = 0xff000000, .size = 0x1000, \
        .interrupt_num = 1, .interrupts = (irqid_t[]) { 53 } }

#define GIC { .gicd_addr = 0xf9010000, .gicc_addr = 0xf9020000 }
#define FREERTOS_GIC { .gicd_addr = 0xf9010000, .gicc_addr = 0xf9020000 }

#include "vms.h"
