/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device with a ring: what is under way at once, what the driver sees and when, and what
 * becomes of requests that the kernel does not carry out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/flight_under_test.h"
#include "worker/block/block.h"

static void many_are_under_way_at_once(void)
{
    flight_set_up(1, USUAL);
    offer_reads(60);
    CU_ASSERT_EQUAL(completions(0), 60);
    CU_ASSERT_EQUAL(fake.at_once, 60);
    CU_ASSERT_EQUAL(call_count, 0); /* no other call has moved anything */
    assert_reads(60);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 60 * PAGE);
    CU_ASSERT_EQUAL(guest_state.counters.requests, 60);
}

/* The kernel ends them backwards; the driver sees none before the oldest has ended. */
static void they_are_completed_in_the_order_of_the_ring(void)
{
    flight_set_up(1, USUAL);
    fake.newest_first = true;
    offer_reads(20);
    CU_ASSERT_EQUAL(completions(0), 20);
    for (unsigned int i = 0; i < 20; i++)
        CU_ASSERT_EQUAL(fake.used_idx[i], 0);
    assert_reads(20);
}

/* Those that are done are seen while the others are still under way. */
static void what_is_done_is_seen_at_once(void)
{
    flight_set_up(1, USUAL);
    offer_reads(15);
    CU_ASSERT_EQUAL(completions(0), 15);
    for (unsigned int i = 0; i < 15; i++)
        CU_ASSERT_EQUAL(fake.used_idx[i], i);
    CU_ASSERT_EQUAL(fake.waits, 15);
}

/* To wake up for each of many costs more than the few that it is waited for. */
static void of_many_an_eighth_is_waited_for(void)
{
    flight_set_up(1, USUAL);
    offer_reads(60);
    CU_ASSERT_EQUAL(completions(0), 60);
    CU_ASSERT_EQUAL(fake.first_wait, 7);
    CU_ASSERT_EQUAL(fake.used_idx[6], 0);
    CU_ASSERT_EQUAL(fake.used_idx[7], 7);
    CU_ASSERT_EQUAL(fake.used_idx[59], 59); /* alone again in the end */
    assert_reads(60);
}

static void a_turn_has_a_bound(void)
{
    flight_set_up(1, USUAL);
    for (unsigned int i = 0; i < 20; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 20);
    CU_ASSERT(fake.at_once * 0x10000ull <= 0x80000 + 0x10000);
}

static void what_the_kernel_does_not_do_is_done_alone(void)
{
    static const int32_t results[] = {512, -ECANCELED, -EAGAIN, 1000, -EINTR, 0, -EIO};
    flight_set_up(1, USUAL);
    memcpy(fake.results, results, sizeof(results));
    fake.result_count = sizeof(results) / sizeof(results[0]);
    offer_reads(8);
    CU_ASSERT_EQUAL(completions(0), 8);
    CU_ASSERT_EQUAL(call_count, 6);
    CU_ASSERT_EQUAL(calls[0].offset, place(0) * SECTOR + 512); /* only what is left */
    assert_reads(8);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 8 * PAGE);
}

static void only_what_fails_alone_fails(void)
{
    flight_set_up(1, USUAL);
    fake.results[2] = fake.results[3] = -EIO;
    fake.result_count = 4;
    errors[0] = EINTR;
    errors[1] = EIO;
    error_count = 2;
    offer_reads(6);
    CU_ASSERT_EQUAL(completions(0), 6);
    for (unsigned int i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(request_status(0, i), i == 2 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
    CU_ASSERT(guest_logged(LOG_IO_ERROR) > 0);
}

static void without_memory_for_a_ring_all_is_done_alone(void)
{
    flight_set_up(1, USUAL);
    fake.enter_error = -EAGAIN;
    offer_reads(6);
    CU_ASSERT_EQUAL(completions(0), 6);
    CU_ASSERT_EQUAL(call_count, 6);
    assert_reads(6);
}

/* A signal has ended the call: the kernel still has the requests, or gets them with the next one.
 */
static void a_wait_that_was_cut_short_goes_on(void)
{
    flight_set_up(1, USUAL);
    fake.enter_error = -EINTR;
    offer_reads(6);
    CU_ASSERT_EQUAL(completions(0), 6);
    CU_ASSERT_EQUAL(call_count, 0);
    CU_ASSERT_EQUAL(fake.moved, 6);
    assert_reads(6);
}

static void a_truncated_image_is_an_error(void)
{
    flight_set_up(1, USUAL);
    CU_ASSERT_EQUAL(ftruncate(image, 100 * SECTOR), 0);
    offer(0, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 1, VIRTIO_BLK_T_IN, 98, PAGE);
    offer(0, 2, VIRTIO_BLK_T_IN, 16, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 3);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(request_status(0, 1), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(request_status(0, 2), VIRTIO_BLK_S_OK);
}

/* A flush covers what has completed before it. */
static void a_flush_waits_for_those_before_it(void)
{
    flight_set_up(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 1, VIRTIO_BLK_T_OUT, 100, PAGE);
    offer(0, 2, VIRTIO_BLK_T_IN, 200, PAGE);
    offer(0, 3, VIRTIO_BLK_T_FLUSH, 0, 0);
    offer(0, 4, VIRTIO_BLK_T_IN, 300, PAGE);
    memset(request_data(0, 1), 0xab, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 5);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].call, CALL_WRITE);
    CU_ASSERT_EQUAL(calls[0].flags, 0);
    CU_ASSERT_EQUAL(calls[1].call, CALL_SYNC);
    CU_ASSERT_EQUAL(calls[1].used_idx, 3);
    CU_ASSERT_TRUE(image_holds(100, 8, 0xab));
    for (unsigned int i = 0; i < 5; i++)
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
}

static void one_sync_makes_many_writes_stable(void)
{
    flight_set_up(1, DURABLE);
    offer_writes(8);
    CU_ASSERT_EQUAL(completions(0), 8);
    CU_ASSERT_EQUAL(call_count, 9);
    for (unsigned int i = 0; i < 8; i++) {
        CU_ASSERT_EQUAL(calls[i].flags, 0);
        CU_ASSERT_TRUE(image_holds(place(i), 8, (unsigned char)(0x60 + i)));
    }
    CU_ASSERT_EQUAL(calls[8].call, CALL_SYNC);
    CU_ASSERT_EQUAL(calls[8].used_idx, 0); /* none is seen before */
}

static void a_sync_that_fails_fails_all_of_them(void)
{
    flight_set_up(1, DURABLE);
    errors[4] = EIO;
    error_count = 5;
    offer_writes(4);
    CU_ASSERT_EQUAL(completions(0), 4);
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 5); /* they are not written again */
}

/* A write that was cut short is stable only after its rest is. */
static void the_rest_of_a_write_is_made_stable_too(void)
{
    flight_set_up(1, DURABLE);
    bytes_max = 1024;
    offer_writes(2);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(calls[call_count - 1].call, CALL_SYNC);
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
        CU_ASSERT_TRUE(image_holds(place(i), 8, (unsigned char)(0x60 + i)));
    }
    for (unsigned int i = 0; i + 1 < call_count; i++)
        CU_ASSERT(calls[i].call != CALL_SYNC || calls[i].used_idx == 0);
}

static void directly(bool window_is_pinned)
{
    flight_set_up_direct(USUAL, window_is_pinned);
    offer_reads(30);
    CU_ASSERT_EQUAL(completions(0), 30);
    CU_ASSERT_EQUAL(fake.at_once, 30);
    CU_ASSERT_EQUAL(call_count, 0);
    assert_reads(30);
    flight_set_up_direct(USUAL, window_is_pinned);
    fake.newest_first = true;
    fake.results[0] = 1536;
    fake.result_count = 1;
    offer_writes(20);
    CU_ASSERT_EQUAL(completions(0), 20);
    CU_ASSERT_EQUAL(fake.at_once, 20);
    CU_ASSERT(call_count >= 1);
    for (unsigned int i = 0; i < 20; i++)
        CU_ASSERT_TRUE(image_holds(place(i), 8, (unsigned char)(0x60 + i)));
}

static void direct_reads_and_writes(void)
{
    directly(true);
}

static void a_window_that_is_not_pinned(void)
{
    directly(false);
    unpinned = false;
}

static void direct_writes_are_made_stable_together(void)
{
    flight_set_up_direct(DURABLE, true);
    fake.newest_first = true;
    offer_writes(16);
    CU_ASSERT_EQUAL(completions(0), 16);
    CU_ASSERT_EQUAL(fake.moved, 16);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].call, CALL_SYNC);
    CU_ASSERT_EQUAL(calls[0].used_idx, 0);
}

static void what_is_before_a_broken_chain_is_not_lost(void)
{
    flight_set_up(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 1, VIRTIO_BLK_T_IN, 40, PAGE);
    offer_at(0, 2, VIRTIO_BLK_T_IN, 80, 0x10, PAGE); /* not in the window */
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_TRUE(flight_data_is(0, 8, PAGE) && flight_data_is(1, 40, PAGE));
    CU_ASSERT_EQUAL(under_way(), 0);
}

/* Too large for one call, or not whole sectors, or beyond the end: as without a ring. */
static void what_has_to_be_alone_is_alone(void)
{
    flight_set_up(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 1, VIRTIO_BLK_T_IN, SECTORS - 4, PAGE);
    offer(0, 2, VIRTIO_BLK_T_IN, 8, 700);
    offer(0, 3, VIRTIO_BLK_T_GET_ID, 0, 20);
    offer(0, 4, VIRTIO_BLK_T_IN, 0, SECTORS * SECTOR - 0x10000);
    offer(0, 5, VIRTIO_BLK_T_IN, 16, PAGE);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 6);
    static const uint8_t expected[] = {VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_IOERR,
                                       VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK,    VIRTIO_BLK_S_OK};
    for (unsigned int i = 0; i < 6; i++)
        CU_ASSERT_EQUAL(request_status(0, i), expected[i]);
    CU_ASSERT_EQUAL(fake.moved, 2);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"many are under way at once", many_are_under_way_at_once},
        {"they are completed in the order of the ring",
         they_are_completed_in_the_order_of_the_ring},
        {"what is done is seen at once", what_is_done_is_seen_at_once},
        {"a turn has a bound", a_turn_has_a_bound},
        {"what the kernel does not do is done alone", what_the_kernel_does_not_do_is_done_alone},
        {"only what fails alone fails", only_what_fails_alone_fails},
        {"without memory for a ring, all is done alone",
         without_memory_for_a_ring_all_is_done_alone},
        {"a wait that was cut short goes on", a_wait_that_was_cut_short_goes_on},
        {"a truncated image is an error", a_truncated_image_is_an_error},
        {"of many an eighth is waited for", of_many_an_eighth_is_waited_for},
        {"a flush waits for those before it", a_flush_waits_for_those_before_it},
        {"one sync makes many writes stable", one_sync_makes_many_writes_stable},
        {"a sync that fails fails all of them", a_sync_that_fails_fails_all_of_them},
        {"the rest of a write is made stable, too", the_rest_of_a_write_is_made_stable_too},
        {"direct reads and writes", direct_reads_and_writes},
        {"a window that is not pinned", a_window_that_is_not_pinned},
        {"direct writes are made stable together", direct_writes_are_made_stable_together},
        {"what is before a broken chain is not lost", what_is_before_a_broken_chain_is_not_lost},
        {"what has to be alone is alone", what_has_to_be_alone_is_alone},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: requests under way", tests);
}
