/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: what single calls on its image move, and what becomes of those that move too
 * little. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/block_calls.h"
#include "worker/block/block.h"

#define USUAL (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH))
#define ZEROES FEATURE(VIRTIO_BLK_F_WRITE_ZEROES)
#define DATA_BYTES (SECTORS * SECTOR)

static void set_up(void)
{
    block_start = guest_start(DEVICE_BLOCK_VIRTIO);
    make_image();
    block_running(1, USUAL);
}

static void set_up_direct(uint64_t features)
{
    block_start = guest_start(DEVICE_BLOCK_VIRTIO);
    block_start.of_kind.block.direct = 1;
    block_start.of_kind.block.blk_size = 4096;
    block_start.of_kind.block.mem_alignment = 512;
    make_image();
    block_running(1, features);
}

static uint64_t address(size_t offset)
{
    return GUEST_BASE + (uint64_t)((unsigned char *)request_data(0, 0) - guest_memory) + offset;
}

/* Are those bytes of the data those of the image, from that sector on? */
static bool data_is(size_t offset, uint64_t sector, size_t length)
{
    const unsigned char *data = (unsigned char *)request_data(0, 0) + offset;
    for (size_t i = 0; i < length; i++) {
        if (data[i] != (sector + i / SECTOR) % 251 + 1)
            return false;
    }
    return true;
}

/* The error that the last message about a failed request names; 0: there is none. */
static uint64_t logged_error(void)
{
    struct message_log message;
    uint64_t error = 0;
    while (recv(guest_control, &message, sizeof(message), MSG_DONTWAIT) == sizeof(message)) {
        if (message.code == LOG_IO_ERROR)
            error = message.args[2];
    }
    return error;
}

/* ---- What the driver reads of the device ---- */

#define ALWAYS                                                                                     \
    (FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) |                              \
     FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY))
#define OF_BLOCK 0xffffffull /* §6: bits 0 to 23 are a kind's own */

static uint64_t offered(const struct message_start *start)
{
    block_start = *start;
    block_running(start->queue_count, FEATURE(VIRTIO_F_VERSION_1));
    return guest_device.features & OF_BLOCK;
}

static void features_of_each_image(void)
{
    const uint64_t writable = ALWAYS | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
    const uint64_t flush = FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_EQUAL(offered(&start), writable | flush);
    CU_ASSERT_EQUAL(guest_device.user_queues, 1);
    start.of_kind.block.advertise_flush = 0;
    CU_ASSERT_EQUAL(offered(&start), writable);
    start.of_kind.block.discard_sectors = 1;
    CU_ASSERT_EQUAL(offered(&start), writable | FEATURE(VIRTIO_BLK_F_DISCARD));
    start.queue_count = 2;
    CU_ASSERT_EQUAL(offered(&start),
                    writable | FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_MQ));
    CU_ASSERT_EQUAL(guest_device.user_queues, 3);
    start.queue_count = 1;
    start.of_kind.block.read_only = 1;
    CU_ASSERT_EQUAL(offered(&start), ALWAYS | FEATURE(VIRTIO_BLK_F_RO));
}

static void the_configuration_says_what_the_image_is(void)
{
    static const struct {
        uint32_t queue_size, segments;
    } sizes[] = {{16, 14}, {128, 126}, {256, 254}, {512, 254}, {1024, 254}};
    struct virtio_blk_config config;
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.of_kind.block = (struct start_block){.capacity = 4096,
                                               .blk_size = 4096,
                                               .physical_blk_exp = 3,
                                               .min_io_size = 5,
                                               .opt_io_size = 70000,
                                               .discard_sectors = 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        start.queue_size_max = sizes[i].queue_size;
        CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), 0);
        memcpy(&config, guest_device.config, sizeof(config));
        CU_ASSERT_EQUAL(config.seg_max, sizes[i].segments);
    }
    CU_ASSERT_EQUAL(config.capacity, 4096);
    CU_ASSERT_EQUAL(config.size_max, 0x20000);
    CU_ASSERT_EQUAL(config.blk_size, 4096);
    CU_ASSERT_EQUAL(config.physical_block_exp, 3);
    CU_ASSERT_EQUAL(config.alignment_offset, 0);
    CU_ASSERT_EQUAL(config.min_io_size, 5);
    CU_ASSERT_EQUAL(config.opt_io_size, 70000);
    CU_ASSERT_EQUAL(config.write_zeroes_may_unmap, 1);
}

/* ---- What is too much for one call ---- */

static void too_much_is_cut_between_segments(void)
{
    static const struct {
        uint32_t pieces[4];
        uint64_t lengths[4]; /* of the calls */
    } cases[] = {
        {{DATA_BYTES}, {0x80000, 0x80000}},
        {{0x80000, 0x10000}, {0x80000, 0x10000}},
        {{0x10000, 0x80000}, {0x10000, 0x80000}},
        {{0x30000, 0x50000, 0x10000}, {0x80000, 0x10000}},
        {{0x30000, 0x20000, 0x40000}, {0x50000, 0x40000}},
        {{0x10000, 0x30000, 0x50000, 0x20000}, {0x40000, 0x70000}},
        {{0x90000, 0x10000}, {0x80000, 0x20000}},
        {{1, 0x801ff}, {1, 0x80000, 0x1ff}},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        const uint32_t *lengths = cases[i / 2].pieces;
        uint32_t type = i % 2 == 0 ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT;
        struct piece pieces[4];
        unsigned int count = 0, expected = 0;
        size_t all = 0;
        set_up();
        for (; count < 4 && lengths[count] > 0; all += lengths[count++])
            pieces[count] = (struct piece){address(all), lengths[count]};
        memset(request_data(0, 0), 0xdd, all);
        offer_pieces(0, 0, type, 0, pieces, count);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        for (uint64_t at = 0; at < all; at += cases[i / 2].lengths[expected++]) {
            CU_ASSERT_EQUAL(calls[expected].offset, at);
            CU_ASSERT_EQUAL(calls[expected].length, cases[i / 2].lengths[expected]);
        }
        CU_ASSERT_EQUAL(call_count, expected);
        CU_ASSERT_TRUE(type == VIRTIO_BLK_T_IN ? data_is(0, 0, all)
                                               : image_holds(0, all / SECTOR, 0xdd));
    }
}

/* With a ring it is done without it, and can take long. The driver is told of what is done. */
static void too_much_for_a_ring(void)
{
    block_start = guest_start(DEVICE_BLOCK_URING);
    make_image();
    block_running(1, USUAL);
    offer(0, 0, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    offer(0, 1, VIRTIO_BLK_T_IN, 0, DATA_BYTES);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(request_status(0, 1), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].flags, 0);
    CU_ASSERT_EQUAL(calls[0].interrupts, 1);
}

/* ---- Calls that move little ---- */

static void a_byte_is_progress(void)
{
    for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
        set_up();
        bytes_max = 1;
        memset(request_data(0, 0), 0xdd, SECTOR);
        offer(0, 0, type, 7, SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, SECTOR);
        CU_ASSERT_TRUE(type == VIRTIO_BLK_T_IN ? data_is(0, 7, SECTOR) : image_holds(7, 1, 0xdd));
    }
}

/* There is no errno if a call succeeds. The log names an error of our own. */
static void a_call_that_moves_nothing_is_an_error(void)
{
    for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
        set_up();
        bytes_max = 0;
        offer(0, 0, type, 7, SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
        CU_ASSERT_EQUAL(logged_error(), EIO);
        CU_ASSERT_EQUAL(call_count, 1);
    }
}

/* With O_DIRECT a call also moves what lies in front of the data, in the same block. If it ends
 * there, none of the data is moved. */
static void a_call_that_ends_before_the_data_is_an_error(void)
{
    const uint64_t sector = 15;
    const size_t before = 7 * SECTOR; /* in its block */
    set_up_direct(USUAL);
    bytes_max = before;
    offer(0, 0, VIRTIO_BLK_T_IN, sector, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(logged_error(), EIO);
    CU_ASSERT_EQUAL(call_count, 1);
    /* One byte further, it has moved one byte. The next call has to get further. */
    set_up_direct(USUAL);
    bytes_max = before + 1;
    memset(request_data(0, 0), 0, SECTOR);
    offer(0, 0, VIRTIO_BLK_T_IN, sector, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_TRUE(data_is(0, sector, 1));
    CU_ASSERT_EQUAL(((unsigned char *)request_data(0, 0))[1], 0);
}

/* The part lies at the start of the block, at its end, or in the middle. What the worker's own
 * memory held before does not get into the image. */
static void what_surrounds_a_part_of_a_block_stays(void)
{
    static const uint64_t parts[] = {16, 23, 19};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        set_up_direct(USUAL);
        offer(0, 0, VIRTIO_BLK_T_IN, 101, 100 * SECTOR);
        guest_kick(0);
        memset(request_data(0, 1), 0xdd, SECTOR);
        offer(0, 1, VIRTIO_BLK_T_OUT, parts[i], SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 1), VIRTIO_BLK_S_OK);
        for (uint64_t s = 15; s < 25; s++)
            CU_ASSERT_TRUE(image_holds(s, 1, s == parts[i] ? 0xdd : (unsigned char)(s + 1)));
    }
}

static void all_of_it(void)
{
    bytes_max = SIZE_MAX;
}

static void and_then_all_of_it(void)
{
    during_next_call = all_of_it;
}

/* A call of the kernel's ends one byte before the end. That byte is not aligned. */
static void the_last_byte_is_not_aligned(void)
{
    set_up_direct(USUAL);
    bytes_max = 4095;
    during_next_call = and_then_all_of_it;
    offer(0, 0, VIRTIO_BLK_T_IN, 8, 4096);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[1].offset, 4096);
    CU_ASSERT_EQUAL(calls[1].length, 4096);
    CU_ASSERT_TRUE(data_is(0, 8, 4096));
}

/* A part of a block is written. Who does not know the rest of the block does not write it. */
static void what_surrounds_a_part_of_a_block_is_read_whole(void)
{
    set_up_direct(USUAL);
    bytes_max = 4095;
    memset(request_data(0, 0), 0xdd, SECTOR);
    offer(0, 0, VIRTIO_BLK_T_OUT, 9, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(logged_error(), EIO);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].call, CALL_READ);
    CU_ASSERT_TRUE(image_holds(9, 1, 10));
    /* It is not read if it is not needed: whole blocks, whose memory is not aligned. */
    set_up_direct(USUAL);
    memset(guest_at(address(1)), 0xdd, 4096);
    offer_at(0, 0, VIRTIO_BLK_T_OUT, 8, address(1), 4096);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].call, CALL_WRITE);
    CU_ASSERT_TRUE(image_holds(8, 8, 0xdd));
}

/* ---- Alignment ---- */

/* Only if offset, length and memory of each piece are aligned, the kernel moves them directly. */
static void what_is_aligned_goes_directly(void)
{
    static const struct {
        uint64_t sector;
        uint32_t at, first, second; /* where the first piece is, and how long they are */
        int segments;               /* of the call */
    } cases[] = {{8, 0, 4096, 4096, 2}, {8, 512, 4096, 8192, 2}, {8, 256, 4096, 4096, 1},
                 {8, 0, 2048, 2048, 1}, {8, 0, 6144, 2048, 1},   {8, 0, 4096, 512, 1},
                 {9, 0, 4096, 4096, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint32_t length = cases[i].first + cases[i].second;
        const struct piece pieces[] = {{address(cases[i].at), cases[i].first},
                                       {address(cases[i].at + cases[i].first), cases[i].second}};
        set_up_direct(USUAL);
        offer_pieces(0, 0, VIRTIO_BLK_T_IN, cases[i].sector, pieces, 2);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, 1);
        CU_ASSERT_EQUAL(calls[0].segments, cases[i].segments);
        CU_ASSERT_TRUE(data_is(cases[i].at, cases[i].sector, length));
    }
}

/* The user wants that nothing waits for the disk: a flush has nothing to do, and is done. */
static void an_unsafe_flush(void)
{
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.of_kind.block.unsafe = 1;
    block_start = start;
    block_running(1, USUAL);
    struct turn turn = {.dev = &guest_device, .vq = &guest_device.queues[0]};
    CU_ASSERT_EQUAL(block_flush(&turn), 0);
    CU_ASSERT_EQUAL(call_count, 0);
}

static void zeros_in_a_part_of_a_block(void)
{
    const struct virtio_blk_discard_write_zeroes range = {.sector = 3, .num_sectors = 20};
    set_up_direct(USUAL | ZEROES);
    memcpy(request_data(0, 0), &range, sizeof(range));
    offer(0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, sizeof(range));
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(3, 20, 0));
    CU_ASSERT_TRUE(image_holds(2, 1, 3) && image_holds(23, 1, 24));
    CU_ASSERT_EQUAL(call_count, 2); /* all in one: the blocks around them, and the zeros */
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"features of each image", features_of_each_image},
        {"the configuration says what the image is", the_configuration_says_what_the_image_is},
        {"too much for one call is cut between segments", too_much_is_cut_between_segments},
        {"too much for a ring", too_much_for_a_ring},
        {"a byte is progress", a_byte_is_progress},
        {"a call that moves nothing is an error", a_call_that_moves_nothing_is_an_error},
        {"a call that ends before the data is an error",
         a_call_that_ends_before_the_data_is_an_error},
        {"what surrounds a part of a block stays", what_surrounds_a_part_of_a_block_stays},
        {"the last byte is not aligned", the_last_byte_is_not_aligned},
        {"what surrounds a part of a block is read whole",
         what_surrounds_a_part_of_a_block_is_read_whole},
        {"what is aligned goes directly", what_is_aligned_goes_directly},
        {"an unsafe flush", an_unsafe_flush},
        {"zeros in a part of a block", zeros_in_a_part_of_a_block},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: calls on the image", tests);
}
