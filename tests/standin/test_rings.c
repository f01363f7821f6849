/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Malformed rings and descriptors, VirtIO 1.2 §2.7 and §2.8. The device asks for a reset (§2.1.2)
 * with a configuration interrupt, works again after the reset, and its neighbour never notices.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define BIT(n) (1ull << (n))
#define NO_INDIRECT (GUEST_BLOCK_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define SETTLE_MS 200

/* Spoils queue 0 of the device. The queue has one good request available, at head 0: in a table of
 * three indirect descriptors or, without that feature, in descriptors 0 to 2. */
typedef void spoil_function(struct guest_block *block);

/* These three work in both formats of the ring. */
static __virtio64 *addr(struct guest_block *block, unsigned int i)
{
    struct guest_queue *queue = &block->queue;
    return queue->is_packed ? &queue->packed.desc[i].addr : &queue->desc[i].addr;
}

static __virtio32 *len(struct guest_block *block, unsigned int i)
{
    struct guest_queue *queue = &block->queue;
    return queue->is_packed ? &queue->packed.desc[i].len : &queue->desc[i].len;
}

static __virtio16 *flags(struct guest_block *block, unsigned int i)
{
    struct guest_queue *queue = &block->queue;
    return queue->is_packed ? &queue->packed.desc[i].flags : &queue->desc[i].flags;
}

/* How many requests have been completed. */
static uint16_t completed(struct guest_block *block)
{
    uint32_t unused;
    while (guest_queue_get(&block->queue, &unused))
        ;
    return block->queue.used_index;
}

static void chain_loops_on_itself(struct guest_block *block)
{
    block->queue.desc[1].next = 1;
}

static void chain_loops_back(struct guest_block *block)
{
    *flags(block, 2) |= VRING_DESC_F_NEXT;
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
    *addr(block, 1) = block->guest.shmem_addr - 1;
}

static void buffer_is_above_the_window(struct guest_block *block)
{
    *addr(block, 1) = block->guest.shmem_addr + block->guest.shmem_size;
}

static void buffer_crosses_the_end(struct guest_block *block)
{
    *addr(block, 1) = block->guest.shmem_addr + block->guest.shmem_size - 4095;
}

static void buffer_wraps_around(struct guest_block *block)
{
    *addr(block, 1) = UINT64_MAX - 100;
}

static void buffer_is_at_zero(struct guest_block *block)
{
    *addr(block, 1) = 0;
}

static void buffer_is_longer_than_the_window(struct guest_block *block)
{
    *len(block, 1) = UINT32_MAX;
}

static void header_is_outside(struct guest_block *block)
{
    *addr(block, 0) = 0x1000;
}

static void status_is_outside(struct guest_block *block)
{
    *addr(block, 2) = block->guest.shmem_addr + block->guest.shmem_size;
}

static void readable_after_writable(struct guest_block *block)
{
    *flags(block, 2) &= (uint16_t)~VRING_DESC_F_WRITE;
}

static void indirect_was_not_negotiated(struct guest_block *block)
{
    *flags(block, 0) = VRING_DESC_F_INDIRECT;
    *len(block, 0) = 48;
}

static void table_is_outside(struct guest_block *block)
{
    *addr(block, 0) = block->guest.shmem_addr + block->guest.shmem_size - 16;
}

static void table_wraps_around(struct guest_block *block)
{
    *addr(block, 0) = UINT64_MAX - 15;
}

static void table_has_part_of_an_entry(struct guest_block *block)
{
    *len(block, 0) = 47;
}

static void table_is_empty(struct guest_block *block)
{
    *len(block, 0) = 0;
}

static void table_is_huge(struct guest_block *block)
{
    *len(block, 0) = 0xfffffff0;
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
    *flags(block, 0) = VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT;
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

static void chain_goes_round_the_ring(struct guest_block *block)
{
    for (unsigned int i = 0; i < block->queue.size; i++) {
        *addr(block, i) = *addr(block, 0);
        *len(block, i) = 1;
        *flags(block, i) = VRING_DESC_F_NEXT | 1u << VRING_PACKED_DESC_F_AVAIL;
    }
}

static void chain_goes_on_in_a_used_descriptor(struct guest_block *block)
{
    *flags(block, 1) |= 1u << VRING_PACKED_DESC_F_USED;
}

static void chain_goes_on_in_a_free_descriptor(struct guest_block *block)
{
    *flags(block, 2) |= VRING_DESC_F_NEXT;
}

static void chain_goes_on_in_the_wrong_lap(struct guest_block *block)
{
    *flags(block, 1) ^= 1u << VRING_PACKED_DESC_F_USED | 1u << VRING_PACKED_DESC_F_AVAIL;
}

static void table_ends_a_chain(struct guest_block *block)
{
    *flags(block, 0) |= VRING_DESC_F_NEXT;
    *flags(block, 1) = VRING_DESC_F_INDIRECT | 1u << VRING_PACKED_DESC_F_AVAIL;
}

static void table_starts_a_chain(struct guest_block *block)
{
    *flags(block, 0) |= VRING_DESC_F_NEXT;
}

static void table_has_too_many_entries(struct guest_block *block)
{
    *len(block, 0) = 16 * 257;
}

static void buffer_of_a_table_is_outside(struct guest_block *block)
{
    block->queue.packed.indirect[1].addr = block->guest.shmem_addr - 1;
}

struct spoiler {
    const char *name;
    spoil_function *spoil;
    uint64_t features;
};

static const struct spoiler split_spoilers[] = {
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

static const struct spoiler packed_spoilers[] = {
    {"chain goes round the ring", chain_goes_round_the_ring, NO_INDIRECT},
    {"chain goes on in a used descriptor", chain_goes_on_in_a_used_descriptor, NO_INDIRECT},
    {"chain goes on in a free descriptor", chain_goes_on_in_a_free_descriptor, NO_INDIRECT},
    {"chain goes on in the wrong lap", chain_goes_on_in_the_wrong_lap, NO_INDIRECT},
    {"buffer is below the window", buffer_is_below_the_window, NO_INDIRECT},
    {"buffer is above the window", buffer_is_above_the_window, NO_INDIRECT},
    {"buffer crosses the end", buffer_crosses_the_end, NO_INDIRECT},
    {"buffer wraps around", buffer_wraps_around, NO_INDIRECT},
    {"buffer is at zero", buffer_is_at_zero, NO_INDIRECT},
    {"buffer is longer than the window", buffer_is_longer_than_the_window, NO_INDIRECT},
    {"header is outside", header_is_outside, NO_INDIRECT},
    {"status is outside", status_is_outside, NO_INDIRECT},
    {"readable after writable", readable_after_writable, NO_INDIRECT},
    {"table ends a chain", table_ends_a_chain, GUEST_BLOCK_FEATURES},
    {"table starts a chain", table_starts_a_chain, GUEST_BLOCK_FEATURES},
    {"table is outside", table_is_outside, GUEST_BLOCK_FEATURES},
    {"table wraps around", table_wraps_around, GUEST_BLOCK_FEATURES},
    {"table has part of an entry", table_has_part_of_an_entry, GUEST_BLOCK_FEATURES},
    {"table is empty", table_is_empty, GUEST_BLOCK_FEATURES},
    {"table is huge", table_is_huge, GUEST_BLOCK_FEATURES},
    {"table has too many entries", table_has_too_many_entries, GUEST_BLOCK_FEATURES},
    {"buffer of a table is outside", buffer_of_a_table_is_outside, GUEST_BLOCK_FEATURES},
};

static struct fixture fixture;
static struct guest_block neighbour;

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

static void try_each(const struct spoiler *spoilers, size_t count)
{
    struct guest_block block;
    for (size_t i = 0; i < count; i++) {
        fixture_block(&fixture, 0, &block, spoilers[i].features, 4, 4096);
        block.guest.timeout_ms = 2000;
        submit_good(&block);
        spoilers[i].spoil(&block);
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
        assert_needs_reset(&block.guest, spoilers[i].name);
        fixture_assert_reads(&neighbour, i);
        guest_block_free(&block);
    }
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    fixture_assert_reads(&block, 3);
    guest_block_free(&block);
}

static void each_malformed_ring_needs_a_reset(void)
{
    if (fixture_format == GUEST_PACKED)
        try_each(packed_spoilers, sizeof(packed_spoilers) / sizeof(packed_spoilers[0]));
    else
        try_each(split_spoilers, sizeof(split_spoilers) / sizeof(split_spoilers[0]));
}

/* Good requests before the bad one are served; those behind it are not touched. */
static void requests_before_the_bad_one_are_served(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 8, 4096);
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(
            guest_block_submit(&block, &block.requests[i], VIRTIO_BLK_T_IN, 8ull * i, 4096), 0);
    *addr(&block, 3 * 5) = 0; /* the header of the sixth */
    guest_queue_kick(&block.queue);
    assert_needs_reset(&block.guest, "the sixth of eight");
    for (unsigned int i = 0; i < 8; i++)
        CU_ASSERT_EQUAL(*block.requests[i].status, i < 5 ? 0 : 0xff);
    CU_ASSERT_EQUAL(completed(&block), 5);
    guest_block_free(&block);
}

/* §2.1.2: until the reset, the device takes no more requests and sends no more notifications. */
static void nothing_more_is_taken_until_the_reset(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    *addr(&block, 0) = 0;
    guest_queue_kick(&block.queue);
    assert_needs_reset(&block.guest, "before");
    /* We may have seen the status bit before its interrupt came. So the interrupt may still be on
     * its way. */
    usleep(SETTLE_MS * 1000);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    uint16_t used = completed(&block);
    CU_ASSERT_EQUAL(guest_block_submit(&block, &block.requests[1], VIRTIO_BLK_T_IN, 0, 4096), 0);
    for (unsigned int i = 0; i < 10; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    usleep(SETTLE_MS * 1000);
    CU_ASSERT_EQUAL(completed(&block), used);
    CU_ASSERT_EQUAL(standin_wait_irq(fixture.standin, 0, 0), -ETIMEDOUT);
    CU_ASSERT_EQUAL(*block.requests[1].status, 0xff);
    guest_block_free(&block);
}

/* Kicks of an idle or a stopped queue do nothing, however many they are. */
static void kicks_without_requests_do_nothing(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    for (unsigned int i = 0; i < 10000; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    fixture_assert_reads(&block, 3);
    CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
    for (unsigned int i = 0; i < 10000; i++)
        guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    CU_ASSERT_EQUAL(guest_status(&block.guest), 0);
    guest_block_free(&block);
}

/* Rings and buffers may overlap anything in the window: even themselves, or each other. */
static void rings_may_overlap(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    *addr(&block, 1) = block.queue.desc_addr; /* the data overwrites the ring */
    guest_queue_kick(&block.queue);
    usleep(SETTLE_MS * 1000);
    CU_ASSERT_EQUAL(block.guest.error, 0);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    guest_block_free(&block);

    fixture_block(&fixture, 0, &block, NO_INDIRECT, 4, 4096);
    submit_good(&block);
    *addr(&block, 1) = block.queue.avail_addr;
    *addr(&block, 2) = block.queue.used_addr + 2; /* the status byte goes to the used index */
    guest_queue_kick(&block.queue);
    usleep(SETTLE_MS * 1000);
    (void)standin_wait_irq(fixture.standin, 0, 0);
    guest_block_free(&block);
}

static void everybody_is_still_the_same(void)
{
    struct guest_block block;
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 4096);
    fixture_assert_reads(&block, 3);
    fixture_assert_reads(&neighbour, 5);
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

int main(int argc, char **argv)
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
    return fixture_main_formats(argc, argv, "hostile rings", tests, tests);
}
