/* SPDX-License-Identifier: Apache-2.0 */
/* Which START a device can be made of, and what it offers then (worker/device.h). */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

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

static void test_boxes_and_connections(void)
{
    struct message_start good = guest_start(DEVICE_BLOCK_VIRTIO);
    TRY(boxed, 1, true);
    TRY(boxed, 2, false);
    TRY(boxed, 3, false);
    TRY(of_kind.block.blk_size, 65536, true); /* as the kind itself says */
    TRY(of_kind.block.blk_size, 131072, false);
    TRY(of_kind.block.blk_size, 511, false);
    TRY(of_kind.block.blk_size, 513, false);
    good.of_kind.block.direct = 1;
    TRY(of_kind.block.mem_alignment, 4096, true);
    TRY(of_kind.block.mem_alignment, 8192, false);
    TRY(of_kind.block.mem_alignment, 0, false);
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
        {"boxes and connections", test_boxes_and_connections},
        {"features of each device", test_features_of_each_device},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "START of a device", tests);
}
