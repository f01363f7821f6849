/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* A growing piece of guest memory. What does not fit is not written, and this is remembered. */
struct writer {
    uint8_t *base;
    size_t used;
    bool overflow;
};

static void put(struct writer *w, const void *data, size_t size)
{
    if (size > ACPI_SIZE - w->used) {
        w->overflow = true;
        return;
    }
    memcpy(w->base + w->used, data, size);
    w->used += size;
}

static void put8(struct writer *w, unsigned int value)
{
    put(w, &(uint8_t){(uint8_t)value}, 1);
}

static void put16(struct writer *w, unsigned int value)
{
    put(w, &(uint16_t){(uint16_t)value}, 2);
}

static void put32(struct writer *w, uint32_t value)
{
    put(w, &value, 4);
}

static void put64(struct writer *w, uint64_t value)
{
    put(w, &value, 8);
}

static void put_zeros(struct writer *w, size_t size)
{
    while (size-- > 0)
        put8(w, 0);
}

/* ACPI 6.4 §5.2.6: table_end fills in length and checksum. */
static size_t table_begin(struct writer *w, const char *signature, unsigned int revision)
{
    w->used = (w->used + 15) & ~(size_t)15;
    size_t start = w->used;
    put(w, signature, 4);
    put32(w, 0);
    put8(w, revision);
    put8(w, 0);
    put(w, "BAOVDMFRONTEND", 14);
    put32(w, 1);
    put(w, "BVDM", 4);
    put32(w, 1);
    return start;
}

static uint8_t checksum(const uint8_t *data, size_t size)
{
    unsigned int sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += data[i];
    return (uint8_t)-sum;
}

static uint64_t table_end(struct writer *w, size_t start)
{
    uint32_t length = (uint32_t)(w->used - start);
    memcpy(w->base + start + 4, &length, sizeof(length));
    w->base[start + 9] = checksum(w->base + start, length);
    return ACPI_BASE + start;
}

/* A package length (ACPI 6.4 §20.2.4), always in its two-byte form. It includes its own bytes. */
static size_t package_begin(struct writer *w)
{
    put16(w, 0);
    return w->used - 2;
}

static void package_end(struct writer *w, size_t start)
{
    size_t length = w->used - start;
    if (length > 0xfff)
        w->overflow = true;
    w->base[start] = (uint8_t)(0x40 | (length & 0xf));
    w->base[start + 1] = (uint8_t)(length >> 4);
}

static void put_name(struct writer *w, const char *name)
{
    put8(w, 0x08); /* NameOp */
    put(w, name, 4);
}

/* The resources of a device (ACPI 6.4 §6.4): its registers and its interrupt. */
static void put_resources(struct writer *w, const struct acpi_device *device)
{
    put_name(w, "_CRS");
    put8(w, 0x11); /* BufferOp */
    size_t buffer = package_begin(w);
    put8(w, 0x0a); /* BytePrefix: the buffer's size */
    size_t size_at = w->used;
    put8(w, 0);
    if (device->size > 0) {
        put8(w, 0x86); /* 32-bit fixed memory range, read and write */
        put16(w, 9);
        put8(w, 1);
        put32(w, device->base);
        put32(w, device->size);
    } else {
        put8(w, 0x47); /* I/O ports, 16-bit decoded */
        put8(w, 1);
        put16(w, device->base);
        put16(w, device->base);
        put8(w, 1);
        put8(w, 8);
    }
    put8(w, 0x89); /* extended interrupt: consumer, edge, active high, exclusive */
    put16(w, 6);
    put8(w, 0x03);
    put8(w, 1);
    put32(w, device->interrupt);
    put16(w, 0x0079); /* end tag */
    w->base[size_at] = (uint8_t)(w->used - size_at - 1);
    package_end(w, buffer);
}

static void put_device(struct writer *w, const struct acpi_device *device, unsigned int uid)
{
    put16(w, 0x825b); /* DeviceOp */
    size_t package = package_begin(w);
    put(w, device->name, 4);
    put_name(w, "_HID");
    put8(w, 0x0d); /* StringPrefix */
    put(w, device->hid, strlen(device->hid) + 1);
    put_name(w, "_UID");
    put8(w, 0x0a);
    put8(w, uid);
    put_resources(w, device);
    package_end(w, package);
}

static uint64_t put_dsdt(struct writer *w, const struct acpi_device *devices, size_t count)
{
    size_t table = table_begin(w, "DSDT", 2);
    put_name(w, "_S5_");
    put(w, "\x12\x08\x04\x0a\x05\x0a\x05\x00\x00", 9); /* Package (4) { 5, 5, 0, 0 } */
    put8(w, 0x10);                                     /* ScopeOp */
    size_t scope = package_begin(w);
    put(w, "\\_SB_", 5);
    for (size_t i = 0; i < count; i++)
        put_device(w, &devices[i], (unsigned int)i);
    package_end(w, scope);
    return table_end(w, table);
}

static void put_io_register(struct writer *w, uint64_t port)
{
    put8(w, 1); /* generic address structure: I/O space, 8 bits, byte access */
    put8(w, 8);
    put8(w, 0);
    put8(w, 1);
    put64(w, port);
}

static uint64_t put_fadt(struct writer *w, uint64_t dsdt)
{
    size_t table = table_begin(w, "FACP", 6);
    put_zeros(w, 109 - (w->used - table));
    put16(w, 1u << 2 | 1u << 5); /* IAPC_BOOT_ARCH: no VGA, no CMOS clock, no 8042 */
    put8(w, 0);
    put32(w, 1u << 20); /* HW_REDUCED_ACPI */
    put_zeros(w, 131 - (w->used - table));
    put8(w, 4); /* minor version */
    put64(w, 0);
    put64(w, dsdt);
    put_zeros(w, 244 - (w->used - table));
    put_io_register(w, ACPI_SLEEP_PORT);     /* sleep control */
    put_io_register(w, ACPI_SLEEP_PORT + 1); /* sleep status */
    put_zeros(w, 8);
    return table_end(w, table);
}

static uint64_t put_madt(struct writer *w, unsigned int cpus)
{
    size_t table = table_begin(w, "APIC", 5);
    put32(w, 0xfee00000); /* the local APIC of every processor */
    put32(w, 0);
    for (unsigned int i = 0; i < cpus; i++) {
        put16(w, 0x0800); /* processor local APIC */
        put8(w, i);
        put8(w, i);
        put32(w, 1);
    }
    put16(w, 0x0c01); /* I/O APIC */
    put16(w, cpus);
    put32(w, 0xfec00000);
    put32(w, 0);
    return table_end(w, table);
}

static uint64_t put_xsdt(struct writer *w, uint64_t fadt, uint64_t madt)
{
    size_t table = table_begin(w, "XSDT", 1);
    put64(w, fadt);
    put64(w, madt);
    return table_end(w, table);
}

int acpi_build(uint8_t *ram, unsigned int cpus, const struct acpi_device *devices, size_t count)
{
    struct writer w = {.base = ram + ACPI_BASE, .used = 64}; /* the RSDP comes last, at the start */
    uint64_t dsdt = put_dsdt(&w, devices, count);
    uint64_t fadt = put_fadt(&w, dsdt);
    uint64_t madt = put_madt(&w, cpus);
    uint64_t xsdt = put_xsdt(&w, fadt, madt);

    struct writer rsdp = {.base = ram + ACPI_BASE};
    put(&rsdp, "RSD PTR \0BAOVDM\2", 16);
    put32(&rsdp, 0);
    put32(&rsdp, 36);
    put64(&rsdp, xsdt);
    put32(&rsdp, 0);
    rsdp.base[8] = checksum(rsdp.base, 20);
    rsdp.base[32] = checksum(rsdp.base, 36);
    return w.overflow ? -ENOSPC : 0;
}
