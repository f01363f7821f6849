/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables from which the frontend's Linux learns what its machine has: processors, serial
 * ports, and the virtio-mmio devices (ACPI id LNRO0005). They describe hardware-reduced ACPI 6: no
 * firmware, and no fixed hardware except the register that switches the machine off.
 */
#ifndef TESTS_VM_ACPI_H
#define TESTS_VM_ACPI_H

#include <stddef.h>
#include <stdint.h>

#define ACPI_BASE 0xe0000u /* guest-physical address of the tables, the RSDP first */
#define ACPI_SIZE 0x20000u
#define ACPI_SLEEP_PORT 0x600u /* writing ACPI_SLEEP_VALUE switches the frontend off */
#define ACPI_SLEEP_VALUE 0x34u /* SLP_TYP 5, SLP_EN */
#define ACPI_DEVICES_MAX 18

struct acpi_device {
    char name[5];       /* four characters; must be unique */
    const char *hid;    /* the kind of hardware, seven or eight characters */
    uint32_t base;      /* guest-physical address of its registers, or I/O port */
    uint32_t size;      /* 0: the device has eight I/O ports instead */
    uint32_t interrupt; /* edge-triggered, active high */
};

/* Write the tables into the guest's memory (`ram` maps at least 1 MiB of it). Returns 0, or -ENOSPC
 * if they do not fit. */
int acpi_build(uint8_t *ram, unsigned int cpus, const struct acpi_device *devices, size_t count);

#endif
