/* SPDX-License-Identifier: Apache-2.0 */
/* Which START a device can be made of, and what it offers then (worker/device.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/ticks.h"

static struct device dev;
static struct state_page page;

/* Asserts whether `good` is usable if one field has this value. */
#define TRY(field, value, expected)                                                                \
    do {                                                                                           \
        struct message_start start = good;                                                         \
        start.field = (value);                                                                     \
        CU_ASSERT_EQUAL(device_start_usable(&start), expected);                                    \
    } while (0)

static void test_which_start_is_usable(void)
{
    struct message_start good = guest_start(DEVICE_RNG_VIRTIO);
    CU_ASSERT_TRUE(device_start_usable(&good));
    TRY(kind, DEVICE_KINDS, false);
    static const struct {
        uint32_t size;
        bool good;
    } sizes[] = {{0, false}, {1, false}, {2, false},   {3, false},    {4, true},
                 {6, false}, {8, true},  {1024, true}, {2048, false}, {1u << 31, false}};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        TRY(queue_size_max, sizes[i].size, sizes[i].good);
    const uint32_t queues = device_kinds[DEVICE_RNG_VIRTIO].queues_max;
    TRY(queue_count, 0, false);
    TRY(queue_count, queues, true);
    TRY(queue_count, queues + 1, false);
    const uint32_t files = device_kinds[DEVICE_RNG_VIRTIO].backend_fds_max;
    TRY(backend_fd_count, files, true);
    TRY(backend_fd_count, files + 1, false);
    TRY(irq_delay_us, IRQ_DELAY_US_MAX, true);
    TRY(irq_delay_us, IRQ_DELAY_US_MAX + 1, false);
    TRY(shmem_size, 0, false);
    TRY(shmem_size, 1, true);
    TRY(shmem_addr, GUEST_BASE + 4096, true);
    TRY(shmem_addr, GUEST_BASE + 4095, false);
    TRY(shmem_addr, GUEST_BASE + 1, false);
    /* Up to the last address, and one byte further. */
    good.shmem_addr = 0 - 8192ull;
    TRY(shmem_size, 8192, true);
    TRY(shmem_size, 8193, false);
}

/* As the kind itself says. */
static void test_of_a_block_device(void)
{
    struct message_start good = guest_start(DEVICE_BLOCK_VIRTIO);
    for (uint32_t size = 256; size <= 131072; size *= 2) {
        TRY(of_kind.block.blk_size, size, size >= 512 && size <= 65536);
        TRY(of_kind.block.blk_size, size + 1, false);
        TRY(of_kind.block.blk_size, size + size / 2, false);
    }
    TRY(of_kind.block.blk_size, 0, false);
    /* Each byte has a place that a file's offset can name. */
    TRY(of_kind.block.capacity, INT64_MAX / 512, true);
    TRY(of_kind.block.capacity, INT64_MAX / 512 + 1, false);
    TRY(of_kind.block.mem_alignment, 0, true); /* nobody asks for it */
    good.of_kind.block.direct = 1;
    TRY(of_kind.block.mem_alignment, 0, false);
    for (uint32_t alignment = 1; alignment <= 8192; alignment *= 2)
        TRY(of_kind.block.mem_alignment, alignment, alignment <= 4096);
    TRY(of_kind.block.mem_alignment, 3, false);
    TRY(of_kind.block.mem_alignment, 4095, false);
}

/* The disk that a worker finds in an image of so many bytes; the broker had said 7 sectors. */
static uint64_t measured(uint32_t blk_size, off_t bytes)
{
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    int image = memfd_create("image", MFD_CLOEXEC);
    image = fcntl(image, F_DUPFD_CLOEXEC, 100);
    CU_ASSERT_FATAL(image >= 0);
    CU_ASSERT_EQUAL(ftruncate(image, bytes), 0);
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    close(image);
    start.of_kind.block.blk_size = blk_size;
    start.of_kind.block.capacity = 7;
    device_ops_of(DEVICE_BLOCK_VIRTIO)->measure(&start);
    return start.of_kind.block.capacity;
}

static void test_the_size_of_an_image(void)
{
    CU_ASSERT_EQUAL(measured(512, 100 * 512), 100);
    CU_ASSERT_EQUAL(measured(512, 100 * 512 - 1), 99);
    CU_ASSERT_EQUAL(measured(4096, 4 * 4096 - 1), 24);
    CU_ASSERT_EQUAL(measured(512, 0), 0);
    /* What has no size leaves what the broker said. */
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    int ends[2];
    CU_ASSERT_EQUAL_FATAL(pipe2(ends, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL(dup2(ends[0], WORKER_FD_BACKEND), WORKER_FD_BACKEND);
    close(ends[0]);
    close(ends[1]);
    start.of_kind.block.capacity = 7;
    device_ops_of(DEVICE_BLOCK_VIRTIO)->measure(&start);
    CU_ASSERT_EQUAL(start.of_kind.block.capacity, 7);
    /* Nothing is written behind the end of the disk, and nothing at all if it is read-only. */
    CU_ASSERT_EQUAL(device_ops_of(DEVICE_BLOCK_VIRTIO)->file_size_max(&start), 7 * 512);
    start.of_kind.block.read_only = 1;
    CU_ASSERT_EQUAL(device_ops_of(DEVICE_BLOCK_VIRTIO)->file_size_max(&start), 0);
}

static void test_boxes_and_connections(void)
{
    struct message_start good = guest_start(DEVICE_BLOCK_VIRTIO);
    TRY(boxed, 1, true);
    TRY(boxed, 2, false);
    TRY(boxed, 3, false);
    good = guest_start(DEVICE_VSOCK_VIRTIO);
    TRY(of_kind.vsock.connections, CONNECTIONS_MAX, true);
    TRY(of_kind.vsock.connections, CONNECTIONS_MAX + 1, false);
    good = guest_start(DEVICE_VSOCK_VHOST); /* it has no such number */
    TRY(of_kind.vsock.connections, CONNECTIONS_MAX + 1, true);
}

static void test_features_of_each_device(void)
{
    const uint64_t always = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM;
    const uint64_t of_queues = 1ull << VIRTIO_RING_F_INDIRECT_DESC |
                               1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_F_RING_PACKED |
                               1ull << VIRTIO_F_IN_ORDER | 1ull << VIRTIO_F_RING_RESET;
    struct message_start start = guest_start(DEVICE_RNG_VIRTIO);
    start.irq_delay_us = 5;
    start.config_changed = 1;
    CU_ASSERT_EQUAL(device_init(&dev, &start, &page, guest_memory), 0);
    CU_ASSERT_EQUAL(dev.features, always | of_queues);
    CU_ASSERT_EQUAL(dev.irq_delay, ticks_of_us(5));
    CU_ASSERT_TRUE(dev.config_changed);
    CU_ASSERT_EQUAL(dev.polling.max, 0);
    CU_ASSERT_EQUAL(device_confined(&dev), 0); /* this kind has nothing to do there */
    start.features_off = 1ull << VIRTIO_F_IN_ORDER;
    start.config_changed = 0;
    CU_ASSERT_EQUAL(device_init(&dev, &start, &page, guest_memory), 0);
    CU_ASSERT_EQUAL(dev.features, (always | of_queues) & ~start.features_off);
    CU_ASSERT_FALSE(dev.config_changed);
    start.of_kind.rng.rate_limit = UINT64_MAX; /* the kind does not take this */
    CU_ASSERT_EQUAL(device_init(&dev, &start, &page, guest_memory), -EINVAL);
    start.queue_count = 0;
    CU_ASSERT_EQUAL(device_init(&dev, &start, &page, guest_memory), -EINVAL);
}

int main(int argc, char **argv)
{
    ticks_init();
    guest_window_init();
    CU_TestInfo tests[] = {
        {"which START is usable", test_which_start_is_usable},
        {"of a block device", test_of_a_block_device},
        {"the size of an image", test_the_size_of_an_image},
        {"boxes and connections", test_boxes_and_connections},
        {"features of each device", test_features_of_each_device},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "START of a device", tests);
}
