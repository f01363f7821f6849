/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Malformed rings and descriptors, VirtIO 1.2 §2.7: the device asks for a reset (§2.1.2) with a
 * configuration interrupt, works again after it, and its neighbour never notices.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define BIT(n) (1ull << (n))
#define NO_INDIRECT (GUEST_BLOCK_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define SETTLE_MS 200

/* Spoils the device's queue 0, which has one good request available at head 0, in a table of
 * three indirect descriptors or, without that feature, in descriptors 0 to 2. */
typedef void spoil_function(struct guest_block *block);

static void chain_loops_on_itself(struct guest_block *block)
{
    block->queue.desc[1].next = 1;
}

static void chain_loops_back(struct guest_block *block)
{
    block->queue.desc[2].flags |= VRING_DESC_F_NEXT;
    block->queue.desc[2].next = 0;
}

static void next_is_beyond_the_ring(struct guest_block *block)
{
    block->queue.desc[0].next = (uint16_t)block->queue.size;
}

static void next_is_far_beyond_the_ring(struct guest_block *block)
{
    block->queue.desc[0].next = UINT16_MAX;
}

static void head_is_beyond_the_ring(struct guest_block *block)
{
    block->queue.avail->ring[0] = (uint16_t)block->queue.size;
}

static void avail_index_jumps_ahead(struct guest_block *block)
{
    block->queue.avail->idx = (uint16_t)(block->queue.size + 1);
}

static void avail_index_jumps_back(struct guest_block *block)
{
    block->queue.avail->idx = UINT16_MAX;
}

static void buffer_is_below_the_window(struct guest_block *block)
{
    block->queue.desc[1].addr = block->guest.shmem_addr - 1;
}

static void buffer_is_above_the_window(struct guest_block *block)
{
    block->queue.desc[1].addr = block->guest.shmem_addr + block->guest.shmem_size;
}

static void buffer_crosses_the_end(struct guest_block *block)
{
    block->queue.desc[1].addr = block->guest.shmem_addr + block->guest.shmem_size - 4095;
}

static void buffer_wraps_around(struct guest_block *block)
{
    block->queue.desc[1].addr = UINT64_MAX - 100;
}

static void buffer_is_at_zero(struct guest_block *block)
{
    block->queue.desc[1].addr = 0;
}

static void buffer_is_longer_than_the_window(struct guest_block *block)
{
    block->queue.desc[1].len = UINT32_MAX;
}

static void header_is_outside(struct guest_block *block)
{
    block->queue.desc[0].addr = 0x1000;
}

static void status_is_outside(struct guest_block *block)
{
    block->queue.desc[2].addr = block->guest.shmem_addr + block->guest.shmem_size;
}

static void readable_after_writable(struct guest_block *block)
{
    block->queue.desc[2].flags &= (uint16_t)~VRING_DESC_F_WRITE;
}

static void indirect_was_not_negotiated(struct guest_block *block)
{
    block->queue.desc[0].flags = VRING_DESC_F_INDIRECT;
    block->queue.desc[0].len = 48;
}

static void table_is_outside(struct guest_block *block)
{
    block->queue.desc[0].addr = block->guest.shmem_addr + block->guest.shmem_size - 16;
}

static void table_wraps_around(struct guest_block *block)
{
    block->queue.desc[0].addr = UINT64_MAX - 15;
}

static void table_has_part_of_an_entry(struct guest_block *block)
{
    block->queue.desc[0].len = 47;
}

static void table_is_empty(struct guest_block *block)
{
    block->queue.desc[0].len = 0;
}

static void table_is_huge(struct guest_block *block)
{
    block->queue.desc[0].len = 0xfffffff0;
}

static void table_is_nested(struct guest_block *block)
{
    block->queue.indirect[0].flags = VRING_DESC_F_INDIRECT;
    block->queue.indirect[0].addr = block->queue.indirect_addr;
    block->queue.indirect[0].len = 48;
}

static void table_is_nested_at_its_end(struct guest_block *block)
{
    block->queue.indirect[2].flags |= VRING_DESC_F_INDIRECT;
}

static void table_goes_on_in_the_ring(struct guest_block *block)
{
    block->queue.desc[0].flags = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT;
    block->queue.desc[0].next = 0;
}

static void table_loops(struct guest_block *block)
{
    block->queue.indirect[1].next = 0;
}

static void table_next_is_beyond_it(struct guest_block *block)
{
    block->queue.indirect[1].next = 3;
}

static const struct {
    const char *name;
    spoil_function *spoil;
    uint64_t features;
} spoilers[] = {
    {"chain loops on itself", chain_loops_on_itself, NO_INDIRECT},
    {"chain loops back", chain_loops_back, NO_INDIRECT},
    {"next is beyond the ring", next_is_beyond_the_ring, NO_INDIRECT},
    {"next is far beyond the ring", next_is_far_beyond_the_ring, NO_INDIRECT},
    {"head is beyond the ring", head_is_beyond_the_ring, NO_INDIRECT},
    {"avail index jumps ahead", avail_index_jumps_ahead, NO_INDIRECT},
    {"avail index jumps back", avail_index_jumps_back, NO_INDIRECT},
    {"buffer is below the window", buffer_is_below_the_window, NO_INDIRECT},
    {"buffer is above the window", buffer_is_above_the_window, NO_INDIRECT},
    {"buffer crosses the end", buffer_crosses_the_end, NO_INDIRECT},
    {"buffer wraps around", buffer_wraps_around, NO_INDIRECT},
    {"buffer is at zero", buffer_is_at_zero, NO_INDIRECT},
    {"buffer is longer than the window", buffer_is_longer_than_the_window, NO_INDIRECT},
    {"header is outside", header_is_outside, NO_INDIRECT},
    {"status is outside", status_is_outside, NO_INDIRECT},
    {"readable after writable", readable_after_writable, NO_INDIRECT},
    {"indirect was not negotiated", indirect_was_not_negotiated, NO_INDIRECT},
    {"table is outside", table_is_outside, GUEST_BLOCK_FEATURES},
    {"table wraps around", table_wraps_around, GUEST_BLOCK_FEATURES},
    {"table has part of an entry", table_has_part_of_an_entry, GUEST_BLOCK_FEATURES},
    {"table is empty", table_is_empty, GUEST_BLOCK_FEATURES},
    {"table is huge", table_is_huge, GUEST_BLOCK_FEATURES},
    {"table is nested", table_is_nested, GUEST_BLOCK_FEATURES},
    {"table is nested at its end", table_is_nested_at_its_end, GUEST_BLOCK_FEATURES},
    {"table goes on in the ring", table_goes_on_in_the_ring, GUEST_BLOCK_FEATURES},
    {"table loops", table_loops, GUEST_BLOCK_FEATURES},
    {"table's next is beyond it", table_next_is_beyond_it, GUEST_BLOCK_FEATURES},
};
#define SPOILERS (sizeof(spoilers) / sizeof(spoilers[0]))

static struct fixture fixture;
static struct guest_block neighbour;

static void assert_reads(struct guest_block *block, uint64_t sector)
{
    uint8_t data[4096], expected[512];
    fixture_sector(sector, expected);
    CU_ASSERT_EQUAL(guest_block_io(block, VIRTIO_BLK_T_IN, sector, data, sizeof(data)), 0);
    CU_ASSERT_EQUAL(memcmp(data, expected, 512), 0);
}

static void submit_good(struct guest_block *block)
{
    CU_ASSERT_EQUAL(guest_block_submit(block, &block->requests[0], VIRTIO_BLK_T_IN, 8, 4096), 0);
}

static void assert_needs_reset(struct guest *guest, const char *name)
{
    int bits = 0;
    while (bits >= 0 && (bits & VIRTIO_MMIO_INT_CONFIG) == 0)
        bits = guest_take_interrupt(guest);
    uint32_t status = guest_status(guest);
    if (bits < 0 || (status & VIRTIO_CONFIG_S_NEEDS_RESET) == 0)
        fprintf(stderr, "\n%s: interrupt %d, status %#x\n", name, bits, status);
    CU_ASSERT(bits > 0 && (bits & VIRTIO_MMIO_INT_CONFIG) != 0);
    CU_ASSERT((status & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
}

static void each_malformed_ring_needs_a_reset(void)
{
    struct guest_block block;
    for (size_t i = 0; i < SPOILERS; i++) {
        fixture_block(&fixture, 0, &block, spoilers[i].features, 4, 4096);
        block.guest.timeout_ms = 2000;
        submit_good(&block);
        spoilers[i].spoil(&block);
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
        assert_needs_reset(&block.guest, spoilers[i].name);
        assert_reads(&neighbour, i);
        guest_block_free(&block);
    }
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    assert_reads(&block, 3);
    guest_block_free(&block);
}

/* Good requests before the bad one are served; those behind it are not touched. */
static void requests_before_the_bad_one_are_served(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 8, 4096);
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(
            guest_block_submit(&block, &block.requests[i], VIRTIO_BLK_T_IN, 8ull * i, 4096), 0);
    block.queue.desc[3 * 5].addr = 0; /* the header of the sixth */
    guest_queue_kick(&block.queue);
    assert_needs_reset(&block.guest, "the sixth of eight");
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(*block.requests[i].status, i < 5 ? 0 : 0xff);
    CU_ASSERT_EQUAL(block.queue.used->idx, 5);
    guest_block_free(&block);
}

/* §2.1.2: until the reset, it takes and notifies nothing more. */
static void nothing_more_is_taken_until_the_reset(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    block.queue.desc[0].addr = 0;
    guest_queue_kick(&block.queue);
    assert_needs_reset(&block.guest, "before");
    /* Its bit may have been read before its interrupt came: that one may still be on its way. */
    usleep(SETTLE_MS * 1000);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    uint16_t used = block.queue.used->idx;
    CU_ASSERT_EQUAL(guest_block_submit(&block, &block.requests[1], VIRTIO_BLK_T_IN, 0, 4096), 0);
    for (unsigned int i = 0; i < 10; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    usleep(SETTLE_MS * 1000);
    CU_ASSERT_EQUAL(block.queue.used->idx, used);
    CU_ASSERT_EQUAL(standin_wait_irq(fixture.standin, 0, 0), -ETIMEDOUT);
    CU_ASSERT_EQUAL(*block.requests[1].status, 0xff);
    guest_block_free(&block);
}

/* Kicks of an idle or a stopped queue, and in any number, do nothing. */
static void kicks_without_requests_do_nothing(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    for (unsigned int i = 0; i < 10000; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    assert_reads(&block, 3);
    CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
    for (unsigned int i = 0; i < 10000; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    CU_ASSERT_EQUAL(guest_status(&block.guest), 0);
    guest_block_free(&block);
}

/* The rings and buffers may overlap anything in the window: themselves, each other. */
static void rings_may_overlap(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    block.queue.desc[1].addr = block.queue.desc_addr; /* the data overwrite the ring */
    guest_queue_kick(&block.queue);
    usleep(SETTLE_MS * 1000);
    CU_ASSERT_EQUAL(block.guest.error, 0);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    guest_block_free(&block);

    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    block.queue.desc[1].addr = block.queue.avail_addr;
    block.queue.desc[2].addr = block.queue.used_addr + 2; /* the status, onto the used index */
    guest_queue_kick(&block.queue);
    usleep(SETTLE_MS * 1000);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    guest_block_free(&block);
}

static void everybody_is_still_the_same(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    assert_reads(&block, 3);
    assert_reads(&neighbour, 5);
    CU_ASSERT_EQUAL(neighbour.guest.config_changes, 0);
    fixture_assert_never_restarted(&fixture);
    guest_block_free(&block);
    guest_block_free(&neighbour);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void two_devices_come_up(void)
{
    fixture_start_blocks(&fixture, 2);
    fixture_block(&fixture, 1, &neighbour, GUEST_BLOCK_FEATURES, 4, 4096);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"two devices come up", two_devices_come_up},
        {"each malformed ring needs a reset", each_malformed_ring_needs_a_reset},
        {"requests before the bad one are served", requests_before_the_bad_one_are_served},
        {"nothing more is taken until the reset", nothing_more_is_taken_until_the_reset},
        {"kicks without requests do nothing", kicks_without_requests_do_nothing},
        {"rings may overlap", rings_may_overlap},
        {"everybody is still the same", everybody_is_still_the_same},
        CU_TEST_INFO_NULL,
    };
    return fixture_main("hostile rings", tests);
}
