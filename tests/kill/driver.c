/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kill/driver.h"

#include <CUnit/CUnit.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* The window: descriptors; avail ring or driver area; used ring or device area; then requests. */
#define DESC 0x0000u
#define DRIVER_AREA 0x1000u
#define DEVICE_AREA 0x2000u
#define REQUESTS 0x10000u
#define REQUEST_STRIDE 0x4000u
#define HEADER 0x0u
#define STATUS 0x100u
#define DATA 0x1000u

#define AVAIL_FLAG (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED_FLAG (1u << VRING_PACKED_DESC_F_USED)

static void *at(const struct driver *driver, uint32_t offset)
{
    return driver->harness->window + offset;
}

static uint32_t request_offset(unsigned int request)
{
    return REQUESTS + request * REQUEST_STRIDE;
}

uint8_t *driver_data(struct driver *driver, unsigned int request)
{
    return at(driver, request_offset(request) + DATA);
}

uint8_t driver_status(struct driver *driver, unsigned int request)
{
    return *(volatile uint8_t *)at(driver, request_offset(request) + STATUS);
}

/* ---- Coming up, §3.1.1 ---- */

static void write_address(struct driver *driver, uint32_t low, uint32_t offset)
{
    harness_write(driver->harness, low, (uint32_t)(HARNESS_BASE + offset));
    harness_write(driver->harness, low + 4, (uint32_t)((HARNESS_BASE + offset) >> 32));
}

static uint64_t offered(struct driver *driver)
{
    uint64_t features = 0;
    for (uint32_t word = 0; word < 2; word++) {
        harness_write(driver->harness, VIRTIO_MMIO_DEVICE_FEATURES_SEL, word);
        features |= (uint64_t)harness_read(driver->harness, VIRTIO_MMIO_DEVICE_FEATURES)
                    << (32 * word);
    }
    return features;
}

static void add_status(struct driver *driver, uint32_t bit)
{
    uint32_t status = harness_read(driver->harness, VIRTIO_MMIO_STATUS);
    harness_write(driver->harness, VIRTIO_MMIO_STATUS, status | bit);
}

static void set_queue_up(struct driver *driver)
{
    memset(driver->harness->window, 0, REQUESTS);
    harness_write(driver->harness, VIRTIO_MMIO_QUEUE_SEL, 0);
    harness_write(driver->harness, VIRTIO_MMIO_QUEUE_NUM, DRIVER_QUEUE_SIZE);
    write_address(driver, VIRTIO_MMIO_QUEUE_DESC_LOW, DESC);
    write_address(driver, VIRTIO_MMIO_QUEUE_AVAIL_LOW, DRIVER_AREA);
    write_address(driver, VIRTIO_MMIO_QUEUE_USED_LOW, DEVICE_AREA);
    harness_write(driver->harness, VIRTIO_MMIO_QUEUE_READY, 1);
    driver->avail = driver->used = 0;
    driver->avail_wrap = driver->used_wrap = true;
}

bool driver_start(struct driver *driver, struct harness *harness, enum ring_format format)
{
    *driver = (struct driver){.harness = harness, .format = format};
    uint64_t wanted =
        1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_BLK_F_FLUSH;
    if (format == RING_PACKED)
        wanted |= 1ull << VIRTIO_F_RING_PACKED;
    harness_write(harness, VIRTIO_MMIO_STATUS, 0);
    add_status(driver, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    add_status(driver, VIRTIO_CONFIG_S_DRIVER);
    if ((offered(driver) & wanted) != wanted)
        return false;
    for (uint32_t word = 0; word < 2; word++) {
        harness_write(harness, VIRTIO_MMIO_DRIVER_FEATURES_SEL, word);
        harness_write(harness, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(wanted >> (32 * word)));
    }
    add_status(driver, VIRTIO_CONFIG_S_FEATURES_OK);
    set_queue_up(driver);
    add_status(driver, VIRTIO_CONFIG_S_DRIVER_OK);
    return true;
}

/* ---- Chains ---- */

struct buffer {
    uint32_t offset, length;
    bool writable;
};

#define BUFFERS_MAX 8u

static unsigned int lay_out(struct driver *driver, unsigned int index, struct buffer *buffers)
{
    struct request *request = &driver->requests[index];
    uint32_t base = request_offset(index);
    struct virtio_blk_outhdr header = {.type = request->type, .sector = request->sector};
    memcpy(at(driver, base + HEADER), &header, sizeof(header));
    *(uint8_t *)at(driver, base + STATUS) = 0xff;
    request->used = 0;

    unsigned int count = 0;
    buffers[count++] = (struct buffer){base + HEADER, sizeof(header), false};
    for (unsigned int piece = 0; request->length > 0 && piece < request->pieces; piece++) {
        uint32_t length = request->length / request->pieces;
        buffers[count++] = (struct buffer){base + DATA + piece * length, length,
                                           request->type != VIRTIO_BLK_T_OUT};
    }
    buffers[count++] = (struct buffer){base + STATUS, 1, true};
    CU_ASSERT_FATAL(count <= BUFFERS_MAX);
    return count;
}

/* Request r has the descriptors from r * BUFFERS_MAX on. Only one batch is in flight at a time. */
static void submit_split(struct driver *driver, unsigned int index, const struct buffer *buffers,
                         unsigned int count)
{
    struct vring_desc *desc = at(driver, DESC);
    struct vring_avail *avail = at(driver, DRIVER_AREA);
    uint16_t head = (uint16_t)(index * BUFFERS_MAX);
    for (unsigned int i = 0; i < count; i++) {
        unsigned int flags = (buffers[i].writable ? VRING_DESC_F_WRITE : 0u) |
                             (i + 1 < count ? VRING_DESC_F_NEXT : 0u);
        desc[head + i] = (struct vring_desc){
            .addr = HARNESS_BASE + buffers[i].offset,
            .len = buffers[i].length,
            .flags = (uint16_t)flags,
            .next = (uint16_t)(head + i + 1),
        };
    }
    avail->ring[driver->avail % DRIVER_QUEUE_SIZE] = head;
    driver->avail++;
}

static void advance(uint16_t *position, bool *wrap, unsigned int by)
{
    *position = (uint16_t)(*position + by);
    if (*position >= DRIVER_QUEUE_SIZE) {
        *position = (uint16_t)(*position - DRIVER_QUEUE_SIZE);
        *wrap = !*wrap;
    }
}

/* §2.8.21: the flags of the first descriptor are written last. */
static void submit_packed(struct driver *driver, unsigned int index, const struct buffer *buffers,
                          unsigned int count)
{
    struct vring_packed_desc *ring = at(driver, DESC);
    struct vring_packed_desc *first = &ring[driver->avail];
    uint16_t first_flags = 0;
    for (unsigned int i = 0; i < count; i++) {
        struct vring_packed_desc *desc = &ring[driver->avail];
        unsigned int flags = (driver->avail_wrap ? AVAIL_FLAG : USED_FLAG) |
                             (buffers[i].writable ? VRING_DESC_F_WRITE : 0u) |
                             (i + 1 < count ? VRING_DESC_F_NEXT : 0u);
        desc->addr = HARNESS_BASE + buffers[i].offset;
        desc->len = buffers[i].length;
        desc->id = (uint16_t)index;
        if (i == 0)
            first_flags = (uint16_t)flags;
        else
            desc->flags = (uint16_t)flags;
        advance(&driver->avail, &driver->avail_wrap, 1);
    }
    driver->skip[index] = (uint16_t)count;
    __atomic_store_n(&first->flags, first_flags, __ATOMIC_RELEASE);
}

void driver_submit(struct driver *driver)
{
    for (unsigned int i = 0; i < driver->count; i++) {
        struct buffer buffers[BUFFERS_MAX];
        unsigned int count = lay_out(driver, i, buffers);
        if (driver->format == RING_SPLIT)
            submit_split(driver, i, buffers, count);
        else
            submit_packed(driver, i, buffers, count);
    }
    if (driver->format == RING_SPLIT) {
        struct vring_avail *avail = at(driver, DRIVER_AREA);
        __atomic_store_n(&avail->idx, driver->avail, __ATOMIC_RELEASE);
    }
}

static bool next_split(struct driver *driver, unsigned int *ret_index, uint32_t *ret_length)
{
    const struct vring_used *used = at(driver, DEVICE_AREA);
    if (__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE) == driver->used)
        return false;
    const struct vring_used_elem *element = &used->ring[driver->used % DRIVER_QUEUE_SIZE];
    *ret_index = element->id / BUFFERS_MAX;
    *ret_length = element->len;
    CU_ASSERT_EQUAL(element->id % BUFFERS_MAX, 0);
    driver->used++;
    return true;
}

static bool next_packed(struct driver *driver, unsigned int *ret_index, uint32_t *ret_length)
{
    const struct vring_packed_desc *ring = at(driver, DESC);
    const struct vring_packed_desc *desc = &ring[driver->used];
    uint16_t flags = __atomic_load_n(&desc->flags, __ATOMIC_ACQUIRE);
    bool avail = (flags & AVAIL_FLAG) != 0, used = (flags & USED_FLAG) != 0;
    if (avail != used || used != driver->used_wrap)
        return false;
    *ret_index = desc->id;
    *ret_length = desc->len;
    CU_ASSERT_FATAL(desc->id < driver->count);
    advance(&driver->used, &driver->used_wrap, driver->skip[desc->id]);
    return true;
}

unsigned int driver_collect(struct driver *driver)
{
    unsigned int fresh = 0, index;
    uint32_t length;
    while (driver->format == RING_SPLIT ? next_split(driver, &index, &length)
                                        : next_packed(driver, &index, &length)) {
        CU_ASSERT_FATAL(index < driver->count);
        fresh += driver->requests[index].used++ == 0;
        driver->requests[index].used_length = length;
    }
    return fresh;
}
