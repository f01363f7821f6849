/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio registers, VirtIO 1.2 §4.2.2, under a guest that keeps no rule. Every access is
 * answered, nothing that the guest does ends the worker, and a reset always helps.
 */
#include <errno.h>
#include <string.h>

#include "tests/standin/fixture.h"

#define BIT(n) (1ull << (n))
#define QUEUE_RESET 0x0c0 /* QueueReset, since VirtIO 1.2; not in the kernel's header yet */
#define RING_RESET 40     /* VIRTIO_F_RING_RESET */
#define REGISTERS_END 0x200
#define DEADLINE_MS 20000

static const unsigned int widths[] = {1, 2, 4, 8};

static void start(struct fixture *fixture, struct guest *guest)
{
    fixture_start_blocks(fixture, 1);
    fixture_guest(fixture, 0, guest);
    guest->timeout_ms = DEADLINE_MS;
}

/* Asserts that a driver that starts again finds a working device, whatever happened before. */
static void assert_works(struct fixture *fixture)
{
    struct guest_block block;
    fixture_block(fixture, 0, &block, GUEST_BLOCK_FEATURES | BIT(RING_RESET), 2, 4096);
    fixture_assert_reads(&block, 17);
    guest_block_free(&block);
}

static void stop(struct fixture *fixture, struct guest *guest)
{
    CU_ASSERT_EQUAL(guest->error, 0);
    assert_works(fixture);
    fixture_assert_never_restarted(fixture);
    fixture_stop(fixture);
    fixture_free(fixture);
}

static void every_read_is_answered_and_fits_its_width(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    for (uint64_t offset = 0; offset < REGISTERS_END + 64 && guest.error == 0; offset++) {
        for (unsigned int w = 0; w < 3; w++)
            CU_ASSERT_EQUAL(guest_read(&guest, offset, widths[w]) >> (8 * widths[w]), 0);
        guest_read(&guest, offset, 8);
    }
    stop(&fixture, &guest);
}

static void sweep(struct guest *guest)
{
    static const uint64_t values[] = {
        0, 1, 2, 0x7f, 0xff, 0x8000, 0xffffffff, 0x5a5a5a5a5a5a5a5a, 1ull << 63, UINT64_MAX,
    };
    for (uint64_t offset = 0; offset < REGISTERS_END + 64 && guest->error == 0; offset++) {
        for (unsigned int w = 0; w < 4; w++) {
            for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
                guest_write(guest, offset, widths[w], values[v]);
            guest_read(guest, offset, widths[w]);
        }
    }
}

static void every_write_is_answered(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    sweep(&guest);
    stop(&fixture, &guest);
}

static void every_write_is_answered_while_the_device_runs(void)
{
    struct fixture fixture;
    struct guest guest;
    struct guest_block block;
    start(&fixture, &guest);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    sweep(&guest);
    guest_block_free(&block);
    stop(&fixture, &guest);
}

static void accesses_beyond_the_address_space_are_answered(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const uint64_t addresses[] = {0,
                                  1,
                                  UINT64_MAX,
                                  UINT64_MAX - 7,
                                  1ull << 63,
                                  fixture_base(0) - 1,
                                  fixture_base(0) + REGISTERS_END - 1};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        for (unsigned int w = 0; w < 4; w++) {
            guest_read(&guest, addresses[i] - guest.base, widths[w]);
            guest_write(&guest, addresses[i] - guest.base, widths[w], UINT64_MAX);
        }
    }
    stop(&fixture, &guest);
}

static void widths_that_no_processor_has_are_answered(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const unsigned int odd[] = {0, 3, 5, 16, 255, UINT32_MAX};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        guest_read(&guest, VIRTIO_MMIO_STATUS, odd[i]);
        guest_write(&guest, VIRTIO_MMIO_STATUS, odd[i], UINT64_MAX);
    }
    stop(&fixture, &guest);
}

static void values_are_masked_to_their_width(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    guest_write(&guest, VIRTIO_MMIO_STATUS, 4, 0xdeadbeef00000000 | VIRTIO_CONFIG_S_ACKNOWLEDGE);
    CU_ASSERT_EQUAL(guest_status(&guest), VIRTIO_CONFIG_S_ACKNOWLEDGE);
    guest_write(&guest, VIRTIO_MMIO_STATUS, 4, 0xffffffff00000000); /* a reset */
    CU_ASSERT_EQUAL(guest_status(&guest), 0);
    guest_write(&guest, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4, 0xffffffff00000001);
    CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_DEVICE_FEATURES, 4) & 1, 1); /* VERSION_1 */
    guest_write(&guest, VIRTIO_MMIO_QUEUE_SEL, 4, 0x100000000);
    CU_ASSERT_NOT_EQUAL(guest_read(&guest, VIRTIO_MMIO_QUEUE_NUM_MAX, 4), 0);
    stop(&fixture, &guest);
}

static void queues_and_regions_that_do_not_exist_say_so(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const uint32_t missing[] = {1, 2, 15, 16, 17, 255, 0x7fffffff, UINT32_MAX};
    for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
        guest_write(&guest, VIRTIO_MMIO_QUEUE_SEL, 4, missing[i]);
        CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_QUEUE_NUM_MAX, 4), 0);
        guest_write(&guest, VIRTIO_MMIO_QUEUE_READY, 4, 1);
        CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_QUEUE_READY, 4), 0);
        /* §4.2.2: a region that does not exist has length -1 */
        guest_write(&guest, VIRTIO_MMIO_SHM_SEL, 4, missing[i]);
        CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_SHM_LEN_LOW, 4), UINT32_MAX);
        CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_SHM_LEN_HIGH, 4), UINT32_MAX);
    }
    stop(&fixture, &guest);
}

static void features_ok_is_refused(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const uint64_t offered = guest_offered_features(&guest);
    for (unsigned int bit = 0; bit < 64; bit++) {
        uint64_t features = BIT(VIRTIO_F_VERSION_1) | BIT(bit);
        CU_ASSERT_EQUAL(guest_probe(&guest, 2), 0);
        guest_accept_features(&guest, features);
        guest_add_status(&guest, VIRTIO_CONFIG_S_FEATURES_OK);
        bool accepted = (guest_status(&guest) & VIRTIO_CONFIG_S_FEATURES_OK) != 0;
        CU_ASSERT_EQUAL(accepted, (offered & features) == features);
    }
    CU_ASSERT_EQUAL(guest_probe(&guest, 2), 0);
    CU_ASSERT_EQUAL(guest_negotiate(&guest, ~BIT(VIRTIO_F_VERSION_1)), -EINVAL);
    stop(&fixture, &guest);
}

static void comes_up_again_a_thousand_times(void)
{
    struct fixture fixture;
    struct guest guest;
    struct guest_block block = {0};
    uint8_t data[512], expected[512];
    start(&fixture, &guest);
    block.guest = guest;
    for (uint64_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL_FATAL(guest_block_start(&block, GUEST_BLOCK_FEATURES, 2, 4096), 0);
        CU_ASSERT_EQUAL_FATAL(guest_block_io(&block, VIRTIO_BLK_T_IN, i, data, 512), 0);
        fixture_sector(i, expected);
        CU_ASSERT_EQUAL(memcmp(data, expected, 512), 0);
    }
    CU_ASSERT_EQUAL(block.guest.error, 0);
    guest_block_free(&block);
    stop(&fixture, &guest);
}

/* The first `steps` register writes of a driver that starts. */
static void come_up_partly(struct guest *guest, unsigned int steps)
{
    const struct {
        uint64_t offset;
        uint32_t value;
    } writes[] = {
        {VIRTIO_MMIO_STATUS, 1},
        {VIRTIO_MMIO_STATUS, 3},
        {VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1},
        {VIRTIO_MMIO_DRIVER_FEATURES, 1},
        {VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0},
        {VIRTIO_MMIO_DRIVER_FEATURES, 0},
        {VIRTIO_MMIO_STATUS, 11},
        {VIRTIO_MMIO_QUEUE_SEL, 0},
        {VIRTIO_MMIO_QUEUE_NUM, 8},
        {VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)guest->shmem_addr},
        {VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)guest->shmem_addr + 0x1000},
        {VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)guest->shmem_addr + 0x2000},
        {VIRTIO_MMIO_QUEUE_READY, 1},
        {VIRTIO_MMIO_STATUS, 15},
        {VIRTIO_MMIO_QUEUE_NOTIFY, 0},
    };
    for (unsigned int i = 0; i < steps && i < sizeof(writes) / sizeof(writes[0]); i++)
        guest_write(guest, writes[i].offset, 4, writes[i].value);
}

static void is_reset_at_any_step(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    for (unsigned int round = 0; round < 10; round++) {
        for (unsigned int steps = 0; steps <= 15; steps++) {
            come_up_partly(&guest, steps);
            CU_ASSERT_EQUAL(guest_reset(&guest), 0);
            CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4), 0);
            guest_write(&guest, VIRTIO_MMIO_QUEUE_SEL, 4, 0);
            CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_QUEUE_READY, 4), 0);
        }
    }
    stop(&fixture, &guest);
}

static void is_reset_with_requests_under_way(void)
{
    struct fixture fixture;
    struct guest guest;
    struct guest_block block = {0};
    start(&fixture, &guest);
    block.guest = guest;
    for (unsigned int round = 0; round < 200; round++) {
        CU_ASSERT_EQUAL_FATAL(guest_block_start(&block, GUEST_BLOCK_FEATURES, 16, 65536), 0);
        for (unsigned int i = 0; i < 16; i++)
            CU_ASSERT_EQUAL(
                guest_block_submit(&block, &block.requests[i], VIRTIO_BLK_T_IN, 128 * i, 65536), 0);
        guest_queue_kick(&block.queue);
        CU_ASSERT_EQUAL_FATAL(guest_reset(&block.guest), 0);
        /* §2.1.2: after a reset the device touches neither rings nor buffers */
        memset(block.guest.window, 0xa5, 4 << 20);
        CU_ASSERT_EQUAL(guest_status(&block.guest), 0);
        for (unsigned int i = 0; i < 4 << 20; i++) {
            if (block.guest.window[i] != 0xa5) {
                CU_FAIL("written to after a reset");
                break;
            }
        }
        /* an interrupt that was already on its way does not belong to this driver */
        (void)standin_wait_irq(fixture.standin, 0, 0);
    }
    guest_block_free(&block);
    stop(&fixture, &guest);
}

static void one_queue_is_reset_alone(void)
{
    struct fixture fixture;
    struct guest guest;
    struct guest_block block;
    start(&fixture, &guest);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES | BIT(RING_RESET), 2, 4096);
    CU_ASSERT((block.guest.features & BIT(RING_RESET)) != 0);
    for (unsigned int round = 0; round < 20; round++) {
        fixture_assert_reads(&block, 9);
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_SEL, 4, 0);
        guest_write(&block.guest, QUEUE_RESET, 4, 1);
        while (guest_read(&block.guest, QUEUE_RESET, 4) != 0 && block.guest.error == 0)
            ;
        CU_ASSERT_EQUAL(guest_read(&block.guest, VIRTIO_MMIO_QUEUE_READY, 4), 0);
        CU_ASSERT_EQUAL(guest_status(&block.guest) & VIRTIO_CONFIG_S_DRIVER_OK,
                        VIRTIO_CONFIG_S_DRIVER_OK);
        guest_queue_free(&block.queue);
        CU_ASSERT_EQUAL_FATAL(guest_queue_start(&block.guest, &block.queue, 0, 64), 0);
    }
    CU_ASSERT_EQUAL(block.guest.error, 0);
    guest_block_free(&block);
    stop(&fixture, &guest);
}

static void a_queue_outside_the_window_is_not_used(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const uint64_t end = guest.shmem_addr + guest.shmem_size;
    const uint64_t bad[] = {
        0,          guest.shmem_addr - 16, end - 16, end, end + 4096, UINT64_MAX - 15,
        1ull << 63, guest.shmem_addr + 8 /* desc must be 16-byte aligned */};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (unsigned int area = 0; area < (i + 1 < sizeof(bad) / sizeof(bad[0]) ? 3 : 1); area++) {
            struct guest_queue queue;
            CU_ASSERT_EQUAL(guest_probe(&guest, 2), 0);
            CU_ASSERT_EQUAL(guest_negotiate(&guest, GUEST_BLOCK_FEATURES), 0);
            CU_ASSERT_EQUAL_FATAL(guest_queue_start(&guest, &queue, 0, 128), 0);
            guest_write(&guest, VIRTIO_MMIO_QUEUE_READY, 4, 0);
            uint64_t *addresses[] = {&queue.desc_addr, &queue.avail_addr, &queue.used_addr};
            *addresses[area] = bad[i];
            guest_queue_program(&queue);
            guest_driver_ok(&guest);
            guest_write(&guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
            uint64_t ready = guest_read(&guest, VIRTIO_MMIO_QUEUE_READY, 4);
            CU_ASSERT(ready == 0 || (guest_status(&guest) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
            guest_queue_free(&queue);
        }
    }
    stop(&fixture, &guest);
}

static void a_queue_of_a_bad_size_is_not_used(void)
{
    struct fixture fixture;
    struct guest guest;
    start(&fixture, &guest);
    const uint32_t sizes[] = {0, 3, 100, 0x8000, 0x10000, 0x10001, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct guest_queue queue;
        CU_ASSERT_EQUAL(guest_probe(&guest, 2), 0);
        CU_ASSERT_EQUAL(guest_negotiate(&guest, GUEST_BLOCK_FEATURES), 0);
        CU_ASSERT_EQUAL_FATAL(guest_queue_start(&guest, &queue, 0, 128), 0);
        guest_write(&guest, VIRTIO_MMIO_QUEUE_READY, 4, 0);
        queue.size = sizes[i];
        guest_queue_program(&queue);
        guest_driver_ok(&guest);
        uint64_t ready = guest_read(&guest, VIRTIO_MMIO_QUEUE_READY, 4);
        CU_ASSERT(ready == 0 || (guest_status(&guest) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
        guest_queue_free(&queue);
    }
    stop(&fixture, &guest);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"every read is answered and fits its width", every_read_is_answered_and_fits_its_width},
        {"every write is answered", every_write_is_answered},
        {"every write is answered while the device runs",
         every_write_is_answered_while_the_device_runs},
        {"accesses beyond the registers are answered",
         accesses_beyond_the_address_space_are_answered},
        {"widths that no processor has are answered", widths_that_no_processor_has_are_answered},
        {"values are masked to their width", values_are_masked_to_their_width},
        {"queues and regions that do not exist say so",
         queues_and_regions_that_do_not_exist_say_so},
        {"FEATURES_OK is refused", features_ok_is_refused},
        {"comes up again a thousand times", comes_up_again_a_thousand_times},
        {"is reset at any step", is_reset_at_any_step},
        {"is reset with requests under way", is_reset_with_requests_under_way},
        {"one queue is reset alone", one_queue_is_reset_alone},
        {"a queue outside the window is not used", a_queue_outside_the_window_is_not_used},
        {"a queue of a bad size is not used", a_queue_of_a_bad_size_is_not_used},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "registers", tests);
}
