/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/flight_under_test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "worker/ring.h"

struct fake_ring fake;

/* ---- The ring ---- */

static void add(const struct entry *entry)
{
    CU_ASSERT_FATAL(fake.added_count + fake.taken_count < RING_ENTRIES);
    for (unsigned int i = 0; unpinned && i < entry->count; i++) {
        const unsigned char *at = entry->iov[i].iov_base;
        CU_ASSERT(at + entry->iov[i].iov_len <= guest_memory || at >= guest_memory + GUEST_SIZE);
        CU_ASSERT_EQUAL((uintptr_t)at % 512, 0);
    }
    fake.added[fake.added_count++] = *entry;
    if (fake.place_count < REQUESTS_MAX)
        fake.places[fake.place_count++] = entry->iov[0].iov_base;
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
    if (fake.waits == 0) {
        fake.first_wait = wait;
        fake.enters_before = fake.enters - 1;
        fake.interrupts = guest_state.counters.interrupts_sent;
    }
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

/* ---- The device and its driver ---- */

void flight_set_up(unsigned int queues, uint64_t features)
{
    memset(&fake, 0, sizeof(fake));
    unpinned = false;
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(queues, features);
}

void flight_set_up_direct(uint64_t features, bool window_is_pinned)
{
    memset(&fake, 0, sizeof(fake));
    unpinned = !window_is_pinned;
    block_start = guest_start(DEVICE_BLOCK_URING);
    block_start.of_kind.block.direct = 1;
    block_start.of_kind.block.mem_alignment = 512;
    make_image();
    block_running(1, features);
}

bool flight_data_is(unsigned int number, uint64_t sector, uint32_t length)
{
    const unsigned char *data = request_data(0, number);
    for (uint32_t i = 0; i < length; i++) {
        if (data[i] != (sector + i / SECTOR) % 251 + 1)
            return false;
    }
    return true;
}

uint64_t place(unsigned int number)
{
    return (number * 24ull) % (SECTORS - 8);
}

void offer_reads(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        offer(0, i, VIRTIO_BLK_T_IN, place(i), PAGE);
    guest_kick(0);
}

void assert_reads(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
        CU_ASSERT_TRUE(flight_data_is(i, place(i), PAGE));
    }
}

void offer_writes(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        memset(request_data(0, i), (int)(0x60 + i), PAGE);
        offer(0, i, VIRTIO_BLK_T_OUT, place(i), PAGE);
    }
    guest_kick(0);
}
