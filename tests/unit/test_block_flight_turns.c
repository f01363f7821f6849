/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device with a ring: turns and queues, when the worker waits, and what is used up until
 * nothing is under way.
 */
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/flight_under_test.h"
#include "worker/block/block.h"

#define QUEUE_RESET 0x0c0u /* VirtIO 1.2 §4.2.2 */

/* ---- Turns and queues ---- */

/* The queue has a turn, with so many reads that it leaves some under way. */
static void turn_of(unsigned int queue, unsigned int count, uint32_t length)
{
    const uint32_t each = length / 0x10000; /* places for data that one takes */
    for (unsigned int i = 0; i < count; i++)
        offer(queue, i * each, VIRTIO_BLK_T_IN, (uint64_t)length / SECTOR * (i % 8), length);
    device_notify(&guest_device, queue);
    device_turns(&guest_device);
    CU_ASSERT(under_way() > 0);
}

/* 24 reads of 64 KiB: three turns and more. */
static void start_a_turn(void)
{
    flight_set_up(1, USUAL);
    turn_of(0, 24, 0x10000);
}

static void what_is_under_way_stays_so_until_the_next_turn(void)
{
    start_a_turn();
    unsigned int seen = completions(0);
    CU_ASSERT(seen > 0 && seen < 24);
    CU_ASSERT(under_way() > 0);
    guest_run();
    CU_ASSERT_EQUAL(completions(0), 24 - seen);
    for (unsigned int i = 0; i < 24; i++)
        CU_ASSERT_TRUE(flight_data_is(i, 128ull * (i % 8), 0x10000));
}

static void nothing_is_under_way_after_a_reset(void)
{
    start_a_turn();
    unsigned int seen = completions(0), moved = fake.moved;
    CU_ASSERT(under_way() > 0);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(under_way(), 0);
    CU_ASSERT(fake.moved > moved);
    CU_ASSERT_EQUAL(completions(0), 0); /* the driver has given them up */
    CU_ASSERT(seen > 0);
    block_running(1, USUAL);
    fake.moved = 0;
    offer_reads(10);
    CU_ASSERT_EQUAL(completions(0), 10);
    assert_reads(10);
}

static void other_queue(unsigned int first, unsigned int count, uint32_t length)
{
    const unsigned int other = 1 - first;
    flight_set_up(2, USUAL);
    turn_of(first, count, length);
    offer(other, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    device_notify(&guest_device, other);
    device_turns(&guest_device); /* the first queue's requests end */
    CU_ASSERT_EQUAL(under_way(), 0);
    device_turns(&guest_device);
    CU_ASSERT_EQUAL(completions(other), 1);
    CU_ASSERT_EQUAL(request_status(other, 0), VIRTIO_BLK_S_OK);
    guest_run();
    CU_ASSERT_EQUAL(completions(first), count);
}

static void another_queue_has_its_turn(void)
{
    other_queue(0, 24, 0x10000);
    other_queue(1, 24, 0x10000);
}

/* One request is enough to keep the other queue from its turn. */
static void another_queue_waits_for_one(void)
{
    flight_set_up(2, USUAL);
    turn_of(0, 6, 0x20000);
    CU_ASSERT_EQUAL(under_way(), 1);
    guest_run();
    other_queue(0, 6, 0x20000);
    other_queue(1, 6, 0x20000);
}

/* A queue stops alone. What is under way in the other one goes on. */
static void another_queue_stops(void)
{
    flight_set_up(2, USUAL | FEATURE(VIRTIO_F_RING_RESET));
    turn_of(1, 24, 0x10000);
    const unsigned int before = under_way();
    guest_write(VIRTIO_MMIO_QUEUE_SEL, 0);
    guest_write(QUEUE_RESET, 1);
    CU_ASSERT_EQUAL(under_way(), before);
    guest_run();
    CU_ASSERT_EQUAL(completions(1), 24);
}

/* A turn takes a queue's part of the requests, and few more, however many of them one step takes.
 */
static void a_turn_counts_each_request(void)
{
    const unsigned int all = 80, part = 64, of_a_step = 8;
    flight_set_up(4, USUAL);
    for (unsigned int i = 0; i < all; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 24ull * i, SECTOR);
    device_notify(&guest_device, 0);
    device_turns(&guest_device);
    CU_ASSERT(guest_device.queues[0].next_avail >= part);
    CU_ASSERT(guest_device.queues[0].next_avail < part + of_a_step);
    guest_run();
    CU_ASSERT_EQUAL(completions(0), all);
}

/* ---- When it waits ---- */

/* The kernel gets the requests while others are still taken off the ring, and is asked to wait by
 * the call that hands over the last ones. */
static void they_are_handed_over_at_once(void)
{
    flight_set_up(1, USUAL);
    offer_reads(20);
    CU_ASSERT_EQUAL(completions(0), 20);
    CU_ASSERT_EQUAL(fake.enters_before, 2);
    flight_set_up(1, USUAL);
    offer_reads(1);
    CU_ASSERT_EQUAL(completions(0), 1);
    CU_ASSERT_EQUAL(fake.enters, 1);
}

/* The driver may sleep, and not know of a request that is done. It is told before the worker waits
 * for the others. */
static void the_driver_is_told_before_it_waits(void)
{
    flight_set_up(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    offer(0, 1, VIRTIO_BLK_T_IN, 8, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(fake.interrupts, 1);
    CU_ASSERT_EQUAL(fake.enters, 2); /* one to hand over, one to wait */
}

static void and_before_it_makes_something_stable(void)
{
    flight_set_up(1, DURABLE);
    offer(0, 0, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    offer(0, 1, VIRTIO_BLK_T_OUT, 8, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL_FATAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[1].call, CALL_SYNC);
    CU_ASSERT_EQUAL(calls[1].interrupts, 1);
}

/* The oldest is written already. It does not wait for the reads behind it. */
static void what_is_done_does_not_wait_for_others(void)
{
    flight_set_up(1, DURABLE);
    offer(0, 0, VIRTIO_BLK_T_OUT, 100, PAGE);
    offer(0, 1, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 2, VIRTIO_BLK_T_IN, 40, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 3);
    CU_ASSERT_EQUAL(fake.moved, 2);
    CU_ASSERT_EQUAL(fake.used_idx[0], 1);
    CU_ASSERT_TRUE(flight_data_is(1, 8, PAGE) && flight_data_is(2, 40, PAGE));
}

/* There is nothing to make stable. */
static void reads_are_not_made_stable(void)
{
    flight_set_up(1, DURABLE);
    offer_reads(8);
    CU_ASSERT_EQUAL(completions(0), 8);
    CU_ASSERT_EQUAL(call_count, 0);
}

/* ---- What is used up ---- */

/* Far more than there are segments. */
static void segments_are_used_again(void)
{
    flight_set_up(1, USUAL);
    for (unsigned int round = 0; round < 20; round++) {
        offer_reads(60);
        CU_ASSERT_EQUAL_FATAL(completions(0), 60);
    }
    CU_ASSERT_EQUAL(call_count, 0);
    assert_reads(60);
}

/* Far more than there is of the memory of our own. */
static void memory_of_our_own_is_used_again(void)
{
    flight_set_up_direct(USUAL, false);
    for (unsigned int round = 0; round < 8; round++) {
        for (unsigned int i = 0; i < 12; i++)
            offer(0, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
        guest_kick(0);
        CU_ASSERT_EQUAL(completions(0), 12);
        for (unsigned int i = 0; i < 12; i++)
            CU_ASSERT_TRUE(flight_data_is(i, 128ull * (i % 8), 0x10000));
    }
    CU_ASSERT_EQUAL(call_count, 0);
    unpinned = false;
}

/* Each request takes whole pages of it, and no more of them than it needs. */
static void memory_of_our_own_is_not_wasted(void)
{
    static const uint32_t lengths[] = {SECTOR, PAGE, PAGE + SECTOR, 2 * PAGE, SECTOR};
    static const uint32_t pages[] = {1, 1, 2, 2};
    flight_set_up_direct(USUAL, false);
    for (unsigned int i = 0; i < 5; i++)
        offer(0, i, VIRTIO_BLK_T_IN, place(i), lengths[i]);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 5);
    CU_ASSERT_EQUAL_FATAL(fake.place_count, 5);
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(fake.places[i + 1] - fake.places[i], pages[i] * PAGE);
    CU_ASSERT_EQUAL((uintptr_t)fake.places[0] % 65536, 0);
    unpinned = false;
}

/* A part of a request, however small, counts as moved. */
static void a_part_counts_as_moved(void)
{
    for (unsigned int pinned = 0; pinned < 2; pinned++) {
        flight_set_up_direct(USUAL, pinned == 1);
        fake.results[0] = 1;
        fake.results[1] = 513;
        fake.result_count = 2;
        for (unsigned int i = 0; i < 4; i++)
            memset(request_data(0, i), 0, PAGE);
        offer_reads(4);
        CU_ASSERT_EQUAL(completions(0), 4);
        assert_reads(4);
        CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 4ull * PAGE);
    }
    unpinned = false;
    flight_set_up(1, USUAL);
    fake.results[0] = 1;
    fake.result_count = 1;
    offer_reads(1);
    CU_ASSERT_EQUAL(completions(0), 1);
    CU_ASSERT_EQUAL_FATAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].offset, place(0) * SECTOR + 1);
    assert_reads(1);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"what is under way stays so until the next turn",
         what_is_under_way_stays_so_until_the_next_turn},
        {"nothing is under way after a reset", nothing_is_under_way_after_a_reset},
        {"another queue has its turn", another_queue_has_its_turn},
        {"another queue waits for one", another_queue_waits_for_one},
        {"another queue stops", another_queue_stops},
        {"a turn counts each request", a_turn_counts_each_request},
        {"they are handed over at once", they_are_handed_over_at_once},
        {"the driver is told before it waits", the_driver_is_told_before_it_waits},
        {"and before it makes something stable", and_before_it_makes_something_stable},
        {"what is done does not wait for others", what_is_done_does_not_wait_for_others},
        {"reads are not made stable", reads_are_not_made_stable},
        {"segments are used again", segments_are_used_again},
        {"memory of our own is used again", memory_of_our_own_is_used_again},
        {"memory of our own is not wasted", memory_of_our_own_is_not_wasted},
        {"a part counts as moved", a_part_counts_as_moved},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: turns with a ring", tests);
}
