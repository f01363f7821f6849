/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device with a ring: what is under way at once, what the driver sees and when, and what
 * becomes of requests that the kernel does not carry out. The ring is this program's own: it ends
 * requests in the order and with the results that a test wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/ring.h"
#include "tests/unit/block_calls.h"
#include "worker/block/block.h"
#include "worker/ring.h"

#define USUAL (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH))
#define DURABLE FEATURE(VIRTIO_F_VERSION_1) /* without FLUSH, each write has to be stable */
#define PAGE 4096u
#define QUEUE_RESET 0x0c0u /* VirtIO 1.2 §4.2.2 */

/* ---- The ring ---- */

struct entry {
    uint32_t number;
    const struct iovec *iov;
    unsigned int count;
    uint64_t offset;
    bool writes;
};

static struct {
    struct entry added[RING_ENTRIES], taken[RING_ENTRIES];
    unsigned int added_count, taken_count;
    struct {
        uint32_t number;
        int32_t result;
    } done[RING_ENTRIES];
    unsigned int done_first, done_count;
    /* What the test wants. */
    bool newest_first;
    int enter_error;               /* that the next call returns */
    int32_t results[REQUESTS_MAX]; /* for the next ones in their order; 0: as it comes out */
    unsigned int result_count;
    /* What it sees. */
    unsigned int enters, waits, first_wait, at_once; /* the most that were under way */
    unsigned int moved;
    uint16_t used_idx[REQUESTS_MAX]; /* what the driver saw when the n-th one ended */
} fake;

static void add(const struct entry *entry)
{
    CU_ASSERT_FATAL(fake.added_count + fake.taken_count < RING_ENTRIES);
    for (unsigned int i = 0; unpinned && i < entry->count; i++) {
        const unsigned char *at = entry->iov[i].iov_base;
        CU_ASSERT(at + entry->iov[i].iov_len <= guest_memory || at >= guest_memory + GUEST_SIZE);
        CU_ASSERT_EQUAL((uintptr_t)at % 512, 0);
    }
    fake.added[fake.added_count++] = *entry;
    unsigned int under_way = fake.added_count + fake.taken_count;
    fake.at_once = under_way > fake.at_once ? under_way : fake.at_once;
}

void ring_add_read(uint32_t number, const struct iovec *to, unsigned int count, uint64_t offset)
{
    add(&(struct entry){number, to, count, offset, false});
}

void ring_add_write(uint32_t number, const struct iovec *from, unsigned int count, uint64_t offset)
{
    add(&(struct entry){number, from, count, offset, true});
}

static int32_t carry_out(const struct entry *entry, int32_t wanted)
{
    if (wanted < 0)
        return wanted;
    struct iovec part[CHAIN_SEGMENTS_MAX];
    size_t left = wanted > 0 ? (size_t)wanted : SIZE_MAX;
    unsigned int count = 0;
    for (; count < entry->count && left > 0; count++) {
        part[count] = entry->iov[count];
        if (part[count].iov_len > left)
            part[count].iov_len = left;
        left -= part[count].iov_len;
    }
    ssize_t moved = entry->writes ? pwritev(image, part, (int)count, (off_t)entry->offset)
                                  : preadv(image, part, (int)count, (off_t)entry->offset);
    return moved < 0 ? -errno : (int32_t)moved;
}

static void end_one(void)
{
    unsigned int index = fake.newest_first ? fake.taken_count - 1 : 0;
    struct entry entry = fake.taken[index];
    memmove(&fake.taken[index], &fake.taken[index + 1],
            (fake.taken_count - index - 1) * sizeof(entry));
    fake.taken_count--;
    int32_t wanted = fake.moved < fake.result_count ? fake.results[fake.moved] : 0;
    fake.done[(fake.done_first + fake.done_count) % RING_ENTRIES].number = entry.number;
    fake.done[(fake.done_first + fake.done_count) % RING_ENTRIES].result =
        carry_out(&entry, wanted);
    fake.done_count++;
    if (fake.moved < REQUESTS_MAX)
        fake.used_idx[fake.moved] = block_used(0);
    fake.moved++;
}

int ring_enter(unsigned int wait)
{
    CU_ASSERT_EQUAL(guest_state.watch.in_io, 1); /* the broker knows that it may take long */
    fake.enters++;
    if (fake.enter_error != 0) {
        int error = fake.enter_error;
        fake.enter_error = 0;
        return error;
    }
    memcpy(&fake.taken[fake.taken_count], fake.added, fake.added_count * sizeof(fake.added[0]));
    fake.taken_count += fake.added_count;
    fake.added_count = 0;
    CU_ASSERT_FATAL(wait <= fake.taken_count); /* or it waits for ever */
    if (fake.waits == 0)
        fake.first_wait = wait;
    fake.waits += wait > 0;
    for (unsigned int i = 0; i < wait; i++)
        end_one();
    return 0;
}

bool ring_take_back(uint32_t *ret_number)
{
    if (fake.added_count == 0)
        return false;
    *ret_number = fake.added[--fake.added_count].number;
    return true;
}

bool ring_done(uint32_t *ret_number, int32_t *ret_result)
{
    if (fake.done_count == 0)
        return false;
    *ret_number = fake.done[fake.done_first % RING_ENTRIES].number;
    *ret_result = fake.done[fake.done_first % RING_ENTRIES].result;
    fake.done_first++;
    fake.done_count--;
    return true;
}

/* ---- The tests ---- */

static void set_up(uint64_t features)
{
    memset(&fake, 0, sizeof(fake));
    unpinned = false;
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(1, features);
}

static void set_up_direct(uint64_t features, bool window_is_pinned)
{
    memset(&fake, 0, sizeof(fake));
    unpinned = !window_is_pinned;
    block_start = guest_start(DEVICE_BLOCK_URING);
    block_start.of_kind.block.direct = 1;
    block_start.of_kind.block.mem_alignment = 512;
    make_image();
    block_running(1, features);
}

static bool data_is(unsigned int number, uint64_t sector, uint32_t length)
{
    const unsigned char *data = request_data(0, number);
    for (uint32_t i = 0; i < length; i++) {
        if (data[i] != (sector + i / SECTOR) % 251 + 1)
            return false;
    }
    return true;
}

/* Reads of one page each, no two of which are neighbours. */
static uint64_t place(unsigned int number)
{
    return (number * 24ull) % (SECTORS - 8);
}

static void offer_reads(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        offer(0, i, VIRTIO_BLK_T_IN, place(i), PAGE);
    guest_kick(0);
}

static void assert_reads(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
        CU_ASSERT_TRUE(data_is(i, place(i), PAGE));
    }
}

static void many_are_under_way_at_once(void)
{
    set_up(USUAL);
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
    set_up(USUAL);
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
    set_up(USUAL);
    offer_reads(15);
    CU_ASSERT_EQUAL(completions(0), 15);
    for (unsigned int i = 0; i < 15; i++)
        CU_ASSERT_EQUAL(fake.used_idx[i], i);
    CU_ASSERT_EQUAL(fake.waits, 15);
}

/* To wake up for each of many costs more than the few that it is waited for. */
static void of_many_an_eighth_is_waited_for(void)
{
    set_up(USUAL);
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
    set_up(USUAL);
    for (unsigned int i = 0; i < 20; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 20);
    CU_ASSERT(fake.at_once * 0x10000ull <= 0x80000 + 0x10000);
}

static void what_the_kernel_does_not_do_is_done_alone(void)
{
    static const int32_t results[] = {512, -ECANCELED, -EAGAIN, 1000, -EINTR, 0, -EIO};
    set_up(USUAL);
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
    set_up(USUAL);
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
    set_up(USUAL);
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
    set_up(USUAL);
    fake.enter_error = -EINTR;
    offer_reads(6);
    CU_ASSERT_EQUAL(completions(0), 6);
    CU_ASSERT_EQUAL(call_count, 0);
    CU_ASSERT_EQUAL(fake.moved, 6);
    assert_reads(6);
}

static void a_truncated_image_is_an_error(void)
{
    set_up(USUAL);
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
    set_up(USUAL);
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

static void offer_writes(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memset(request_data(0, i), (int)(0x60 + i), PAGE);
        offer(0, i, VIRTIO_BLK_T_OUT, place(i), PAGE);
    }
    guest_kick(0);
}

static void one_sync_makes_many_writes_stable(void)
{
    set_up(DURABLE);
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
    set_up(DURABLE);
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
    set_up(DURABLE);
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
    set_up_direct(USUAL, window_is_pinned);
    offer_reads(30);
    CU_ASSERT_EQUAL(completions(0), 30);
    CU_ASSERT_EQUAL(fake.at_once, 30);
    CU_ASSERT_EQUAL(call_count, 0);
    assert_reads(30);
    set_up_direct(USUAL, window_is_pinned);
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

/* Far more than there is of the memory of our own. */
static void memory_of_our_own_is_used_again(void)
{
    set_up_direct(USUAL, false);
    for (unsigned int round = 0; round < 8; round++) {
        for (unsigned int i = 0; i < 12; i++)
            offer(0, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
        guest_kick(0);
        CU_ASSERT_EQUAL(completions(0), 12);
        for (unsigned int i = 0; i < 12; i++)
            CU_ASSERT_TRUE(data_is(i, 128ull * (i % 8), 0x10000));
    }
    CU_ASSERT_EQUAL(call_count, 0);
    /* A part of it, however small, counts as moved. */
    static const int32_t results[] = {1, 513};
    memcpy(fake.results, results, sizeof(results));
    fake.result_count = 2;
    fake.moved = 0;
    for (unsigned int i = 0; i < 4; i++)
        memset(request_data(0, i), 0, PAGE);
    offer_reads(4);
    CU_ASSERT_EQUAL(completions(0), 4);
    assert_reads(4);
    unpinned = false;
}

static void direct_writes_are_made_stable_together(void)
{
    set_up_direct(DURABLE, true);
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
    set_up(USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    offer(0, 1, VIRTIO_BLK_T_IN, 40, PAGE);
    offer_at(0, 2, VIRTIO_BLK_T_IN, 80, 0x10, PAGE); /* not in the window */
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_TRUE(data_is(0, 8, PAGE) && data_is(1, 40, PAGE));
    CU_ASSERT_EQUAL(fake.added_count + fake.taken_count, 0);
}

/* 24 reads of 64 KiB: three turns and more. */
static void start_a_turn(void)
{
    set_up(USUAL);
    for (unsigned int i = 0; i < 24; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
    device_notify(&guest_device, 0);
    device_turns(&guest_device);
}

static void what_is_under_way_stays_so_until_the_next_turn(void)
{
    start_a_turn();
    unsigned int seen = completions(0);
    CU_ASSERT(seen > 0 && seen < 24);
    CU_ASSERT(fake.added_count + fake.taken_count > 0);
    guest_run();
    CU_ASSERT_EQUAL(completions(0), 24 - seen);
    for (unsigned int i = 0; i < 24; i++)
        CU_ASSERT_TRUE(data_is(i, 128ull * (i % 8), 0x10000));
}

static void nothing_is_under_way_after_a_reset(void)
{
    start_a_turn();
    unsigned int seen = completions(0), moved = fake.moved;
    CU_ASSERT(fake.added_count + fake.taken_count > 0);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    CU_ASSERT_EQUAL(fake.added_count + fake.taken_count, 0);
    CU_ASSERT(fake.moved > moved);
    CU_ASSERT_EQUAL(completions(0), 0); /* the driver has given them up */
    CU_ASSERT(seen > 0);
    block_running(1, USUAL);
    fake.moved = 0;
    offer_reads(10);
    CU_ASSERT_EQUAL(completions(0), 10);
    assert_reads(10);
}

/* Of the queues, `first` has a turn, and leaves some under way. */
static void other_queue(unsigned int first)
{
    const unsigned int other = 1 - first;
    memset(&fake, 0, sizeof(fake));
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(2, USUAL);
    for (unsigned int i = 0; i < 24; i++)
        offer(first, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
    device_notify(&guest_device, first);
    device_turns(&guest_device);
    CU_ASSERT(fake.added_count + fake.taken_count > 0);
    offer(other, 0, VIRTIO_BLK_T_IN, 8, PAGE);
    device_notify(&guest_device, other);
    device_turns(&guest_device); /* the first queue's requests end */
    CU_ASSERT_EQUAL(fake.added_count + fake.taken_count, 0);
    device_turns(&guest_device);
    CU_ASSERT_EQUAL(completions(other), 1);
    CU_ASSERT_EQUAL(request_status(other, 0), VIRTIO_BLK_S_OK);
    guest_run();
    CU_ASSERT_EQUAL(completions(first), 24);
}

static void another_queue_has_its_turn(void)
{
    other_queue(0);
    other_queue(1);
}

/* A queue stops alone. What is under way in the other one goes on. */
static void another_queue_stops(void)
{
    memset(&fake, 0, sizeof(fake));
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(2, USUAL | FEATURE(VIRTIO_F_RING_RESET));
    for (unsigned int i = 0; i < 24; i++)
        offer(1, i, VIRTIO_BLK_T_IN, 128ull * (i % 8), 0x10000);
    device_notify(&guest_device, 1);
    device_turns(&guest_device);
    unsigned int under_way = fake.added_count + fake.taken_count;
    CU_ASSERT(under_way > 0);
    guest_write(VIRTIO_MMIO_QUEUE_SEL, 0);
    guest_write(QUEUE_RESET, 1);
    CU_ASSERT_EQUAL(fake.added_count + fake.taken_count, under_way);
    guest_run();
    CU_ASSERT_EQUAL(completions(1), 24);
}

/* A turn takes a queue's part of the requests, and few more, however many of them one step takes.
 */
static void a_turn_counts_each_request(void)
{
    const unsigned int all = 80, part = 64, of_a_step = 8;
    memset(&fake, 0, sizeof(fake));
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(4, USUAL);
    for (unsigned int i = 0; i < all; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 24ull * i, SECTOR);
    device_notify(&guest_device, 0);
    device_turns(&guest_device);
    CU_ASSERT(guest_device.queues[0].next_avail >= part);
    CU_ASSERT(guest_device.queues[0].next_avail < part + of_a_step);
    guest_run();
    CU_ASSERT_EQUAL(completions(0), all);
}

/* Too large for one call, or not whole sectors, or beyond the end: as without a ring. */
static void what_has_to_be_alone_is_alone(void)
{
    set_up(USUAL);
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
        {"memory of our own is used again", memory_of_our_own_is_used_again},
        {"direct writes are made stable together", direct_writes_are_made_stable_together},
        {"what is before a broken chain is not lost", what_is_before_a_broken_chain_is_not_lost},
        {"what is under way stays so until the next turn",
         what_is_under_way_stays_so_until_the_next_turn},
        {"nothing is under way after a reset", nothing_is_under_way_after_a_reset},
        {"another queue has its turn", another_queue_has_its_turn},
        {"another queue stops", another_queue_stops},
        {"a turn counts each request", a_turn_counts_each_request},
        {"what has to be alone is alone", what_has_to_be_alone_is_alone},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: requests under way", tests);
}
