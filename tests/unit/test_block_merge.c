/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: neighbours in one call, several queues, and the detour of O_DIRECT. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/unit/block_calls.h"

#define USUAL (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH))
#define MERGED 8u /* requests in one call */

static void set_up(void)
{
    block_start = guest_start(DEVICE_BLOCK_VIRTIO);
    make_image();
}

static bool data_is(unsigned int queue, unsigned int number, uint64_t sector, uint32_t length)
{
    const unsigned char *data = request_data(queue, number);
    for (uint32_t i = 0; i < length; i++) {
        if (data[i] != (sector + i / SECTOR) % 251 + 1)
            return false;
    }
    return true;
}

static void test_neighbours(void)
{
    set_up();
    block_running(1, USUAL);
    for (unsigned int i = 0; i < 3 * MERGED; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 8ULL * i, 8 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 3);
    for (unsigned int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(calls[i].segments, MERGED);
        CU_ASSERT_EQUAL(calls[i].offset, 4096ULL * MERGED * i);
        CU_ASSERT_EQUAL(calls[i].used_idx, i * MERGED);
    }
    CU_ASSERT_EQUAL(completions(0), 3 * MERGED);
    for (unsigned int i = 0; i < 3 * MERGED; i++) {
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
        CU_ASSERT_TRUE(data_is(0, i, 8ULL * i, 8 * SECTOR));
    }
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 3 * 4096ULL * MERGED);
    CU_ASSERT_EQUAL(guest_state.counters.requests, 3ULL * MERGED);
}

static void test_writes(void)
{
    set_up();
    block_running(1, USUAL);
    for (unsigned int i = 0; i < 4; i++) {
        memset(request_data(0, i), (int)(0xe0 + i), 4UL * SECTOR);
        offer(0, i, VIRTIO_BLK_T_OUT, 100 + 4 * i, 4 * SECTOR);
    }
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(completions(0), 4);
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_TRUE(image_holds(100 + 4 * i, 4, (unsigned char)(0xe0 + i)));
    CU_ASSERT_TRUE(image_holds(116, 1, 117));
}

/* These must not be merged. Each pair becomes two calls, in the order of the ring. */
static void test_no_neighbours(void)
{
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t length;
        unsigned int calls;
        uint8_t status;
    } second[] = {
        {VIRTIO_BLK_T_IN, 9, SECTOR, 2, VIRTIO_BLK_S_OK},  /* a gap */
        {VIRTIO_BLK_T_IN, 7, SECTOR, 2, VIRTIO_BLK_S_OK},  /* the same again */
        {VIRTIO_BLK_T_IN, 6, SECTOR, 2, VIRTIO_BLK_S_OK},  /* backwards */
        {VIRTIO_BLK_T_OUT, 8, SECTOR, 2, VIRTIO_BLK_S_OK}, /* the other direction */
        {VIRTIO_BLK_T_FLUSH, 8, 0, 2, VIRTIO_BLK_S_OK},    /* no data */
        {VIRTIO_BLK_T_IN, 8, 0, 1, VIRTIO_BLK_S_OK},       /* no sector: no call */
        {VIRTIO_BLK_T_IN, 8, 100, 1, VIRTIO_BLK_S_IOERR},  /* no whole sector */
        {VIRTIO_BLK_T_GET_ID, 8, 20, 1, VIRTIO_BLK_S_OK},  /* no call */
        {VIRTIO_BLK_T_IN, 8, 0x10000, 2, VIRTIO_BLK_S_OK}, /* too much */
        {VIRTIO_BLK_T_IN, UINT64_MAX, SECTOR, 1, VIRTIO_BLK_S_IOERR},
    };
    for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
        set_up();
        block_running(1, USUAL);
        offer(0, 0, VIRTIO_BLK_T_IN, 7, SECTOR);
        offer(0, 1, second[i].type, second[i].sector, second[i].length);
        guest_kick(0);
        CU_ASSERT_EQUAL(call_count, second[i].calls);
        CU_ASSERT_EQUAL(completions(0), 2);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(request_status(0, 1), second[i].status);
        CU_ASSERT_TRUE(data_is(0, 0, 7, SECTOR));
    }
}

/* The last of them lies half beyond the end. It alone fails. */
static void test_end_of_disk(void)
{
    set_up();
    block_running(1, USUAL);
    for (unsigned int i = 0; i < 4; i++)
        offer(0, i, VIRTIO_BLK_T_IN, SECTORS - 7 + 2 * i, 2 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 1);
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(request_status(0, 3), VIRTIO_BLK_S_IOERR);
}

/* Four neighbours. The third can't be read or written. */
static void test_one_fails(void)
{
    for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
        set_up();
        block_running(1, USUAL);
        for (unsigned int i = 0; i < 4; i++) {
            memset(request_data(0, i), 0x99, SECTOR);
            offer(0, i, type, 40 + i, SECTOR);
        }
        errors[0] = EIO; /* all together; then one by one */
        errors[3] = EIO;
        error_count = 4;
        guest_kick(0);
        CU_ASSERT_EQUAL(call_count, 5);
        CU_ASSERT_EQUAL(completions(0), 4);
        for (unsigned int i = 0; i < 4; i++) {
            bool fails = i == 2;
            CU_ASSERT_EQUAL(request_status(0, i), fails ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
            bool right = type == VIRTIO_BLK_T_OUT
                             ? image_holds(40 + i, 1, (unsigned char)(fails ? 43 : 0x99))
                             : fails || data_is(0, i, 40 + i, SECTOR);
            CU_ASSERT_TRUE(right);
        }
        CU_ASSERT_EQUAL(guest_logged(LOG_IO_ERROR), 1);
    }
}

/* Calls that move less than they were asked for, and end anywhere. */
static void test_short_calls(void)
{
    for (size_t most = 1; most < 4000; most += 300) {
        set_up();
        block_running(1, USUAL);
        bytes_max = most;
        for (unsigned int i = 0; i < 4; i++)
            offer(0, i, VIRTIO_BLK_T_IN, 30 + 2 * i, 2 * SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(call_count, (8UL * SECTOR + most - 1) / most);
        CU_ASSERT_EQUAL(completions(0), 4);
        for (unsigned int i = 0; i < 4; i++) {
            CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
            CU_ASSERT_TRUE(data_is(0, i, 30 + 2 * i, 2 * SECTOR));
        }
    }
}

/* Behind neighbours there is a chain that is no request. The neighbours are done nevertheless. */
static void test_malformed_behind(void)
{
    set_up();
    block_running(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 1, SECTOR);
    offer(0, 1, VIRTIO_BLK_T_IN, 2, SECTOR);
    offer_at(0, 2, VIRTIO_BLK_T_IN, 3, GUEST_BASE + GUEST_SIZE, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_TRUE(data_is(0, 0, 1, SECTOR) && data_is(0, 1, 2, SECTOR));
    CU_ASSERT_TRUE(guest_state.transport.status & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* A chain that is no request is taken off the ring with its error. It is not passed over. */
static void test_no_request_behind(void)
{
    set_up();
    block_running(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 1, SECTOR);
    offer(0, 1, VIRTIO_BLK_T_IN, 2, SECTOR);
    offer_no_request(0, 2);
    offer(0, 3, VIRTIO_BLK_T_IN, 3, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_TRUE(data_is(0, 0, 1, SECTOR) && data_is(0, 1, 2, SECTOR));
    CU_ASSERT_TRUE(guest_state.transport.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
}

/* Two neighbours of which the second one fails: the first does not. */
static void test_of_two_one_fails(void)
{
    set_up();
    block_running(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_IN, 40, SECTOR);
    offer(0, 1, VIRTIO_BLK_T_IN, 41, SECTOR);
    errors[0] = EIO;
    errors[2] = EIO;
    error_count = 3;
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 3);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(request_status(0, 1), VIRTIO_BLK_S_IOERR);
}

/* A signal is no failure: the same call is made again. */
static void test_interrupted(void)
{
    set_up();
    block_running(1, USUAL);
    for (unsigned int i = 0; i < 4; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 40 + i, SECTOR);
    errors[0] = errors[1] = EINTR;
    error_count = 2;
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 3);
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(calls[i].segments, 4);
    CU_ASSERT_EQUAL(completions(0), 4);
}

static void offer_neighbour(void)
{
    offer(0, 1, VIRTIO_BLK_T_IN, 48, 8 * SECTOR);
}

/* A request is moved in part before there is a neighbour. It is done as it was begun. */
static void test_begun(void)
{
    set_up();
    block_running(1, USUAL);
    bytes_max = 5 * SECTOR;
    during_next_call = offer_neighbour;
    offer(0, 0, VIRTIO_BLK_T_IN, 40, 8 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(calls[1].offset, 45ull * SECTOR);
    CU_ASSERT_EQUAL(calls[1].segments, 1);
    CU_ASSERT_TRUE(data_is(0, 0, 40, 8 * SECTOR) && data_is(0, 1, 48, 8 * SECTOR));
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 16ull * SECTOR);
}

/* How much is one call: the first request is at most half of it. */
static void test_bytes_of_one_call(void)
{
    static const struct {
        uint32_t first, second;
        unsigned int calls;
    } cases[] = {{0x8000, SECTOR, 1},          {0x8000 + SECTOR, SECTOR, 2},  {0x8000, 0x8000, 1},
                 {0x8000, 0x8000 + SECTOR, 2}, {SECTOR, 0x10000 - SECTOR, 1}, {SECTOR, 0x10000, 2}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_up();
        block_running(1, USUAL);
        offer(0, 0, VIRTIO_BLK_T_IN, 0, cases[i].first);
        offer(0, 1, VIRTIO_BLK_T_IN, cases[i].first / SECTOR, cases[i].second);
        guest_kick(0);
        CU_ASSERT_EQUAL(call_count, cases[i].calls);
        CU_ASSERT_EQUAL(completions(0), 2);
        CU_ASSERT_TRUE(data_is(0, 0, 0, cases[i].first));
        CU_ASSERT_TRUE(data_is(0, 1, cases[i].first / SECTOR, cases[i].second));
    }
}

/* The kernel takes 1024 segments. One of a read is for its status. */
static void test_segments_of_one_call(void)
{
    struct piece pieces[254];
    set_up();
    block_running(1, USUAL | FEATURE(VIRTIO_RING_F_INDIRECT_DESC));
    for (unsigned int i = 0; i < 7; i++) {
        const unsigned int count = i < 4 ? 254 : i == 4 ? 7 : 1;
        const uint32_t each = SECTOR / count;
        uint64_t at = GUEST_BASE + (uint64_t)((unsigned char *)request_data(0, i) - guest_memory);
        for (unsigned int k = 0; k < count; k++, at += each)
            pieces[k] = (struct piece){at, k + 1 < count ? each : SECTOR - each * (count - 1)};
        offer_table(0, i, VIRTIO_BLK_T_IN, 40 + i, pieces, count);
    }
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].segments, 1023);
    CU_ASSERT_EQUAL(calls[1].segments, 2);
    CU_ASSERT_EQUAL(completions(0), 7);
    for (unsigned int i = 0; i < 7; i++)
        CU_ASSERT_TRUE(data_is(0, i, 40 + i, SECTOR));
}

/* Requests were taken together and not completed. A successor does all of them once more. */
static void test_successor(void)
{
    set_up();
    block_running(1, USUAL);
    for (unsigned int i = 0; i < 4; i++) {
        memset(request_data(0, i), 0x55, SECTOR);
        offer(0, i, VIRTIO_BLK_T_OUT, 200 + i, SECTOR);
    }
    guest_state.queues[0].next_avail = 4;
    block_start.incarnation = 1;
    guest_worker(&block_start);
    guest_run();
    CU_ASSERT_EQUAL(completions(0), 4);
    CU_ASSERT_TRUE(image_holds(200, 4, 0x55));
    CU_ASSERT_EQUAL(guest_state.counters.requests, 4);
}

/* ---- Several queues ---- */

static void test_queues(void)
{
    set_up();
    block_running(4, USUAL | FEATURE(VIRTIO_BLK_F_MQ));
    uint16_t queues;
    memcpy(&queues, guest_device.config + offsetof(struct virtio_blk_config, num_queues), 2);
    CU_ASSERT_EQUAL(queues, 4);
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_MQ)) != 0);
    for (unsigned int q = 0; q < 4; q++) {
        for (unsigned int i = 0; i < 60; i++)
            offer(q, i, VIRTIO_BLK_T_IN, 4 * i + q, SECTOR);
        device_notify(&guest_device, q);
    }
    /* After one round each queue has had its turn, and none is done: 32 requests, and those that
     * were merged with the last one. */
    device_turns(&guest_device);
    for (unsigned int q = 0; q < 4; q++) {
        unsigned int done = completions(q);
        CU_ASSERT_TRUE(done >= 32 && done < 60);
    }
    guest_run();
    for (unsigned int q = 0; q < 4; q++) {
        for (unsigned int i = 0; i < 60; i++)
            CU_ASSERT_TRUE(request_status(q, i) == VIRTIO_BLK_S_OK &&
                           data_is(q, i, 4 * i + q, SECTOR));
    }
    CU_ASSERT_EQUAL(guest_state.counters.requests, 240);
}

static void test_one_queue_is_no_mq(void)
{
    set_up();
    block_running(1, USUAL);
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_MQ)) == 0);
}

/* ---- O_DIRECT ---- */

/* The device has to keep to this alignment, whatever the file needs. */
static void running_direct(uint32_t blk_size, uint32_t mem_alignment)
{
    set_up();
    block_start.of_kind.block.direct = 1;
    block_start.of_kind.block.blk_size = blk_size;
    block_start.of_kind.block.mem_alignment = mem_alignment;
    block_running(1, USUAL);
}

static void assert_calls_aligned(void)
{
    CU_ASSERT_TRUE(call_count > 0);
    for (unsigned int i = 0; i < call_count; i++) {
        CU_ASSERT_EQUAL(calls[i].offset % 4096, 0);
        CU_ASSERT_EQUAL(calls[i].length % 4096, 0);
        CU_ASSERT_EQUAL(calls[i].flags, 0); /* RWF_NOWAIT would not help */
    }
}

static void test_direct_aligned(void)
{
    running_direct(4096, 512);
    for (unsigned int i = 0; i < 4; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 8ULL * i, 4096);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].segments, 4); /* no detour */
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_TRUE(data_is(0, i, 8ULL * i, 4096));
}

/* Each call waits for the disk. So there is more in one than without O_DIRECT. */
static void test_direct_much(void)
{
    running_direct(512, 512);
    for (unsigned int i = 0; i < 70; i++)
        offer(0, i, VIRTIO_BLK_T_IN, i, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].segments, 64);
    CU_ASSERT_EQUAL(calls[1].segments, 6);
    running_direct(512, 512);
    for (unsigned int i = 0; i < 40; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 16ull * i, 16 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].length, 0x40000);
    CU_ASSERT_EQUAL(completions(0), 40);
    for (unsigned int i = 0; i < 40; i++)
        CU_ASSERT_TRUE(data_is(0, i, 16ull * i, 16 * SECTOR));
}

static void test_direct_unaligned(void)
{
    static const struct {
        uint64_t sector;
        uint32_t length, shift; /* of the data in memory */
    } cases[] = {{3, SECTOR, 0},      {7, 2 * SECTOR, 0},      {8, 4096, 1},
                 {9, 0x20000, 0},     {8, 0x80000, 256},       {8, 9 * SECTOR, 0},
                 {1, 14 * SECTOR, 3}, {1, 0x80000 - 512, 511}, {SECTORS - 1, SECTOR, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t sectors = cases[i].length / SECTOR;
        unsigned char *data = (unsigned char *)request_data(0, 0) + cases[i].shift;
        uint64_t address = GUEST_BASE + (uint64_t)(data - guest_memory);
        running_direct(4096, 512);
        offer_at(0, 0, VIRTIO_BLK_T_IN, cases[i].sector, address, cases[i].length);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        for (uint32_t b = 0; b < cases[i].length; b++)
            CU_ASSERT_EQUAL_FATAL(data[b], (cases[i].sector + b / SECTOR) % 251 + 1);
        assert_calls_aligned();

        running_direct(4096, 512);
        memset(data, 0xdc, cases[i].length);
        offer_at(0, 0, VIRTIO_BLK_T_OUT, cases[i].sector, address, cases[i].length);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        CU_ASSERT_TRUE(image_holds(cases[i].sector, sectors, 0xdc));
        uint64_t before = cases[i].sector - 1, after = cases[i].sector + sectors;
        CU_ASSERT_TRUE(image_holds(before, 1, (unsigned char)(before % 251 + 1)));
        CU_ASSERT_TRUE(after == SECTORS || image_holds(after, 1, (unsigned char)(after % 251 + 1)));
        assert_calls_aligned();
    }
}

static void test_direct_errors(void)
{
    running_direct(4096, 512);
    errors[0] = EIO; /* the rest of the block can't be read: nothing is written */
    error_count = 1;
    memset(request_data(0, 0), 0xdc, SECTOR);
    offer(0, 0, VIRTIO_BLK_T_OUT, 17, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_TRUE(image_holds(17, 1, 18));

    running_direct(4096, 512);
    bytes_max = 4096 + 100; /* a call that ends within a sector */
    offer(0, 0, VIRTIO_BLK_T_IN, 15, 12 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(data_is(0, 0, 15, 12 * SECTOR));
}

/* A window that the kernel does not pin. All data goes through the worker's own memory, in calls
 * that are as large as usual. */
static void test_unpinned(void)
{
    unpinned = true;
    running_direct(4096, 512);
    for (unsigned int i = 0; i < 4; i++) {
        memset(request_data(0, i), (int)(0xe0 + i), 4096);
        offer(0, i, i < 2 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, 8ULL * i, 4096);
    }
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 2); /* neighbours are still merged */
    for (unsigned int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
        if (i < 2)
            CU_ASSERT_TRUE(data_is(0, i, 8ULL * i, 4096));
        if (i >= 2)
            CU_ASSERT_TRUE(image_holds(8ULL * i, 8, (unsigned char)(0xe0 + i)));
        CU_ASSERT_EQUAL(calls[i / 2].segments, 1);
        CU_ASSERT_EQUAL(calls[i / 2].length, 2 * 4096);
    }
    running_direct(4096, 512);
    memset(request_data(0, 0), 0xdc, 0x80000);
    offer(0, 0, VIRTIO_BLK_T_OUT, 8, 0x80000);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(8, 1024, 0xdc));
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].length, 0x80000);
    test_direct_unaligned();
    test_direct_errors();
    unpinned = false;
}

/* Zeros come from the worker's own memory. They need no detour, whatever the window is. */
static void test_unpinned_zeros(void)
{
    const struct virtio_blk_discard_write_zeroes range = {.sector = 8, .num_sectors = 512};
    unpinned = true;
    running_direct(4096, 512);
    block_running(1, USUAL | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES));
    memcpy(request_data(0, 0), &range, sizeof(range));
    offer(0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range));
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(8, 512, 0));
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].segments, 4);
    unpinned = false;
}

/* A file that can be read and written with O_DIRECT; -1: no file system here supports it. */
static int direct_file(void)
{
    static const char *const places[] = {".", "/var/tmp", "/tmp", "/dev/shm"};
    int fd = -1;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && fd < 0; i++) {
        fd = open(places[i], O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
        if (fd >= 0 && ftruncate(fd, 0x10000) < 0) {
            close(fd);
            fd = -1;
        }
    }
    return fd;
}

/* Write from that memory with O_DIRECT. Returns 0, or an errno. */
static int written_from(int file, void *memory)
{
    const struct iovec iov = {memory, 4096};
    return pwritev(file, &iov, 1, 0) == 4096 ? 0 : errno;
}

/* A mapping of bare pages (VM_PFNMAP) that each process has. The window of a real Bao is one, too.
 */
static void *bare_mapping(void)
{
    unsigned long start = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    while (start == 0 && fgets(line, sizeof(line), maps)) {
        if (strstr(line, "[vvar]"))
            start = strtoul(line, NULL, 16);
    }
    fclose(maps);
    return (void *)start;
}

/* The worker asks once, at the start. The kernel does the same afterwards. */
static void test_kernel_agrees(void)
{
    void *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, image, 0);
    void *bare = bare_mapping();
    int file = direct_file();
    CU_ASSERT_FATAL(shared != MAP_FAILED);
    CU_ASSERT_PTR_NOT_NULL_FATAL(bare);
    CU_ASSERT_EQUAL(syscall(SYS_madvise, shared, 1, MADV_POPULATE_READ), 0);
    CU_ASSERT_EQUAL(syscall(SYS_madvise, bare, 1, MADV_POPULATE_READ), -1);
    CU_ASSERT_EQUAL(errno, EINVAL);
    if (file >= 0) {
        CU_ASSERT_EQUAL(written_from(file, shared), 0);
        CU_ASSERT_EQUAL(written_from(file, bare), EFAULT);
        close(file);
    }
    munmap(shared, 4096);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"neighbours are read by one call", test_neighbours},
        {"and written", test_writes},
        {"what are no neighbours", test_no_neighbours},
        {"the end of the disk", test_end_of_disk},
        {"of several one fails", test_one_fails},
        {"short calls", test_short_calls},
        {"malformed behind neighbours", test_malformed_behind},
        {"no request behind neighbours", test_no_request_behind},
        {"of two one fails", test_of_two_one_fails},
        {"interrupted", test_interrupted},
        {"one that is begun", test_begun},
        {"bytes of one call", test_bytes_of_one_call},
        {"segments of one call", test_segments_of_one_call},
        {"a successor", test_successor},
        {"several queues", test_queues},
        {"one queue is not MQ", test_one_queue_is_no_mq},
        {"direct, aligned", test_direct_aligned},
        {"direct, much at once", test_direct_much},
        {"direct, not aligned", test_direct_unaligned},
        {"direct, errors", test_direct_errors},
        {"direct, a window that is not pinned", test_unpinned},
        {"direct, zeros", test_unpinned_zeros},
        {"direct, what the kernel pins", test_kernel_agrees},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: merging, queues, O_DIRECT", tests);
}
