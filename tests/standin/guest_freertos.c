/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/guest_freertos.h"

#include <errno.h>
#include <string.h>

#define ENTRIES GUEST_FREERTOS_ENTRIES
#define BUFFER GUEST_FREERTOS_BUFFER
#define CONSOLE_DEVICE_ID 3
#define WANTED (1u << (VIRTIO_F_VERSION_1 - 32) | 1u << (VIRTIO_F_ACCESS_PLATFORM - 32))

static uint32_t read32(struct guest_freertos *console, uint64_t offset)
{
    return (uint32_t)guest_read(&console->guest, offset, 4);
}

static void write32(struct guest_freertos *console, uint64_t offset, uint32_t value)
{
    guest_write(&console->guest, offset, 4, value);
}

/* Status must read exactly as it was written. */
static int add_status(struct guest_freertos *console, uint32_t bit)
{
    uint32_t status = read32(console, VIRTIO_MMIO_STATUS) | bit;
    write32(console, VIRTIO_MMIO_STATUS, status);
    return read32(console, VIRTIO_MMIO_STATUS) == status ? 0 : -EPROTO;
}

static int negotiate(struct guest_freertos *console)
{
    write32(console, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    if ((read32(console, VIRTIO_MMIO_DEVICE_FEATURES) & WANTED) != WANTED)
        return -ENOTSUP;
    write32(console, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
    write32(console, VIRTIO_MMIO_DRIVER_FEATURES, 0);
    write32(console, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    write32(console, VIRTIO_MMIO_DRIVER_FEATURES, WANTED);
    return add_status(console, VIRTIO_CONFIG_S_FEATURES_OK);
}

static int allocate(struct guest_freertos *console, struct guest_freertos_queue *queue)
{
    struct guest *guest = &console->guest;
    queue->used_index = 0;
    queue->desc = guest_alloc(guest, 16ull * ENTRIES, 4096, &queue->desc_addr);
    queue->avail = guest_alloc(guest, 6 + 2ull * ENTRIES, 4096, &queue->avail_addr);
    queue->used = guest_alloc(guest, 6 + 8ull * ENTRIES, 4096, &queue->used_addr);
    queue->buffers = guest_alloc(guest, (uint64_t)ENTRIES * BUFFER, 4096, &queue->buffers_addr);
    return queue->desc && queue->avail && queue->used && queue->buffers ? 0 : -ENOMEM;
}

/* Make descriptor `index` available, with its own buffer. */
static void offer(struct guest_freertos_queue *queue, uint16_t index, uint32_t length,
                  uint16_t flags)
{
    queue->desc[index] = (struct vring_desc){
        .addr = queue->buffers_addr + (uint64_t)index * BUFFER, .len = length, .flags = flags};
    uint16_t idx = queue->avail->idx;
    queue->avail->ring[idx % ENTRIES] = index;
    /* The driver that this one copies has no barrier here. But a test must not depend on luck. */
    __atomic_store_n(&queue->avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

static int set_up(struct guest_freertos *console, struct guest_freertos_queue *queue,
                  uint32_t index)
{
    write32(console, VIRTIO_MMIO_QUEUE_SEL, index);
    if (read32(console, VIRTIO_MMIO_QUEUE_READY) != 0)
        return -EPROTO;
    if (read32(console, VIRTIO_MMIO_QUEUE_NUM_MAX) == 0)
        return -ENODEV;
    int r = allocate(console, queue);
    if (r < 0)
        return r;
    for (uint16_t i = 0; index == 0 && i < ENTRIES; i++)
        offer(queue, i, BUFFER, VRING_DESC_F_WRITE);
    /* QueueNum is never written. */
    write32(console, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)queue->desc_addr);
    write32(console, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(queue->desc_addr >> 32));
    write32(console, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)queue->avail_addr);
    write32(console, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(queue->avail_addr >> 32));
    write32(console, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)queue->used_addr);
    write32(console, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(queue->used_addr >> 32));
    write32(console, VIRTIO_MMIO_QUEUE_READY, 1);
    return read32(console, VIRTIO_MMIO_QUEUE_READY) == 1 ? 0 : -EPROTO;
}

static int reset(struct guest_freertos *console)
{
    write32(console, VIRTIO_MMIO_STATUS, 0);
    console->guest.allocated = 0;
    return read32(console, VIRTIO_MMIO_STATUS) == 0 ? 0 : -EPROTO;
}

int guest_freertos_start(struct guest_freertos *console)
{
    if (read32(console, VIRTIO_MMIO_MAGIC_VALUE) != 0x74726976 ||
        read32(console, VIRTIO_MMIO_VERSION) != 2 ||
        read32(console, VIRTIO_MMIO_DEVICE_ID) != CONSOLE_DEVICE_ID)
        return -ENODEV;
    int r = reset(console);
    if (r == 0)
        r = add_status(console, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    if (r == 0)
        r = add_status(console, VIRTIO_CONFIG_S_DRIVER);
    if (r == 0)
        r = negotiate(console);
    for (uint64_t field = 0; field < 12; field += 4)
        (void)read32(console, VIRTIO_MMIO_CONFIG + field);
    if (r == 0)
        r = set_up(console, &console->rx, 0);
    if (r == 0)
        r = set_up(console, &console->tx, 1);
    if (r == 0)
        r = add_status(console, VIRTIO_CONFIG_S_DRIVER_OK);
    return console->guest.error < 0 ? console->guest.error : r;
}

static uint16_t used_idx(const struct guest_freertos_queue *queue)
{
    return __atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE);
}

unsigned int guest_freertos_unsent(const struct guest_freertos *console)
{
    return (uint16_t)(console->tx.avail->idx - used_idx(&console->tx));
}

int guest_freertos_send(struct guest_freertos *console, const char *text)
{
    struct guest_freertos_queue *tx = &console->tx;
    uint16_t index = tx->avail->idx % ENTRIES;
    size_t length = strlen(text);
    if (guest_freertos_unsent(console) == ENTRIES)
        return -ENOSPC;
    memcpy(tx->buffers + (size_t)index * BUFFER, text, length);
    offer(tx, index, (uint32_t)length, 0);
    write32(console, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
    return console->guest.error;
}

uint32_t guest_freertos_interrupt(struct guest_freertos *console)
{
    uint32_t bits = read32(console, VIRTIO_MMIO_INTERRUPT_STATUS);
    write32(console, VIRTIO_MMIO_INTERRUPT_ACK, bits);
    return bits;
}

unsigned int guest_freertos_take(struct guest_freertos *console, char *text, size_t size)
{
    struct guest_freertos_queue *rx = &console->rx;
    unsigned int count = 0;
    size_t length = 0;
    for (uint16_t idx = used_idx(rx); rx->used_index != idx; rx->used_index++, count++) {
        uint16_t index = (uint16_t)rx->used->ring[rx->used_index % ENTRIES].id;
        uint8_t *buffer = rx->buffers + (size_t)index * BUFFER;
        for (size_t i = 0; i < BUFFER && buffer[i] != 0 && length + 1 < size; i++)
            text[length++] = (char)buffer[i];
        memset(buffer, 0, BUFFER); /* so that the next text has its own NUL at the end */
        offer(rx, index, BUFFER, VRING_DESC_F_WRITE);
    }
    text[length] = 0;
    return count;
}
