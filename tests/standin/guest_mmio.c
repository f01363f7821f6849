/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest.h"

#include <errno.h>
#include <string.h>

#define TIMEOUT_MS 10000
#define MAGIC 0x74726976u /* "virt" */

void guest_init(struct guest *guest, struct standin *standin, unsigned int id, uint64_t base,
                uint64_t shmem_addr, uint64_t shmem_size)
{
    *guest = (struct guest){
        .standin = standin,
        .id = id,
        .base = base,
        .window = standin_window(standin, id),
        .shmem_addr = shmem_addr,
        .shmem_size = shmem_size,
        .timeout_ms = TIMEOUT_MS,
    };
}

void guest_init_device(struct guest *guest, struct guest_device *device, void *window,
                       uint64_t shmem_addr, uint64_t shmem_size)
{
    *guest = (struct guest){
        .device = device,
        .window = window,
        .shmem_addr = shmem_addr,
        .shmem_size = shmem_size,
        .timeout_ms = TIMEOUT_MS,
    };
}

uint64_t guest_read(struct guest *guest, uint64_t offset, unsigned int width)
{
    uint64_t value = 0;
    guest->register_accesses++;
    int r = guest->device ? guest->device->read(guest->device, offset, &value)
                          : standin_read(guest->standin, guest->id, guest->base + offset, width,
                                         &value, guest->timeout_ms);
    if (r < 0 && guest->error == 0)
        guest->error = r;
    return value;
}

void guest_write(struct guest *guest, uint64_t offset, unsigned int width, uint64_t value)
{
    guest->register_accesses++;
    int r = guest->device ? guest->device->write(guest->device, offset, value)
                          : standin_write(guest->standin, guest->id, guest->base + offset, width,
                                          value, guest->timeout_ms);
    if (r < 0 && guest->error == 0)
        guest->error = r;
}

static uint32_t read32(struct guest *guest, uint64_t offset)
{
    return (uint32_t)guest_read(guest, offset, 4);
}

static void write32(struct guest *guest, uint64_t offset, uint32_t value)
{
    guest_write(guest, offset, 4, value);
}

void *guest_alloc(struct guest *guest, uint64_t size, uint64_t align, uint64_t *ret_addr)
{
    uint64_t start = (guest->allocated + align - 1) / align * align;
    if (start > guest->shmem_size || size > guest->shmem_size - start)
        return NULL;
    guest->allocated = start + size;
    *ret_addr = guest->shmem_addr + start;
    memset(guest->window + start, 0, size);
    return guest->window + start;
}

uint32_t guest_status(struct guest *guest)
{
    return read32(guest, VIRTIO_MMIO_STATUS);
}

void guest_add_status(struct guest *guest, uint32_t bit)
{
    write32(guest, VIRTIO_MMIO_STATUS, guest_status(guest) | bit);
}

int guest_reset(struct guest *guest)
{
    write32(guest, VIRTIO_MMIO_STATUS, 0);
    if (guest->error == 0 && guest_status(guest) != 0)
        return -EBUSY;
    guest->allocated = 0;
    guest->features = 0;
    return guest->error;
}

int guest_probe(struct guest *guest, uint32_t device_id)
{
    if (read32(guest, VIRTIO_MMIO_MAGIC_VALUE) != MAGIC ||
        read32(guest, VIRTIO_MMIO_VERSION) != 2 ||
        read32(guest, VIRTIO_MMIO_DEVICE_ID) != device_id)
        return guest->error < 0 ? guest->error : -ENODEV;
    (void)read32(guest, VIRTIO_MMIO_VENDOR_ID);
    int r = guest_reset(guest);
    if (r < 0)
        return r;
    guest_add_status(guest, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    guest_add_status(guest, VIRTIO_CONFIG_S_DRIVER);
    return guest->error;
}

uint64_t guest_offered_features(struct guest *guest)
{
    write32(guest, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    uint64_t features = (uint64_t)read32(guest, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
    write32(guest, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    return features | read32(guest, VIRTIO_MMIO_DEVICE_FEATURES);
}

void guest_accept_features(struct guest *guest, uint64_t features)
{
    write32(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    write32(guest, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32));
    write32(guest, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    write32(guest, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)features);
}

int guest_negotiate(struct guest *guest, uint64_t wanted)
{
    guest->features = guest_offered_features(guest) & wanted;
    guest_accept_features(guest, guest->features);
    guest_add_status(guest, VIRTIO_CONFIG_S_FEATURES_OK);
    bool accepted = (guest_status(guest) & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
    if (guest->error < 0)
        return guest->error;
    return accepted ? 0 : -EINVAL;
}

int guest_driver_ok(struct guest *guest)
{
    guest_add_status(guest, VIRTIO_CONFIG_S_DRIVER_OK);
    return guest->error;
}

void guest_config(struct guest *guest, uint64_t offset, void *ret, size_t size, unsigned int width)
{
    uint32_t before, after;
    do {
        before = read32(guest, VIRTIO_MMIO_CONFIG_GENERATION);
        for (size_t at = 0; at < size; at += width) {
            uint64_t value = guest_read(guest, VIRTIO_MMIO_CONFIG + offset + at, width);
            memcpy((uint8_t *)ret + at, &value, width);
        }
        after = read32(guest, VIRTIO_MMIO_CONFIG_GENERATION);
    } while (before != after && guest->error == 0);
}

int guest_take_interrupt(struct guest *guest)
{
    int raised = guest->device ? guest->device->wait_interrupt(guest->device, guest->timeout_ms)
                               : standin_wait_irq(guest->standin, guest->id, guest->timeout_ms);
    if (raised < 0)
        return raised;
    guest->interrupts += (unsigned int)raised;
    uint32_t status = read32(guest, VIRTIO_MMIO_INTERRUPT_STATUS);
    write32(guest, VIRTIO_MMIO_INTERRUPT_ACK, status);
    if (status & VIRTIO_MMIO_INT_CONFIG)
        guest->config_changes++;
    return guest->error < 0 ? guest->error : (int)status;
}
