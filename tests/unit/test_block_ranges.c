/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: discard and write zeroes, and the cache's mode. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/block_calls.h"
#include "worker/transport.h"

#define ALL                                                                                        \
    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_DISCARD) |   \
     FEATURE(VIRTIO_BLK_F_WRITE_ZEROES))
#define WCE FEATURE(VIRTIO_BLK_F_CONFIG_WCE)
#define HOLE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define UNMAP VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP
#define RANGE_SIZE sizeof(struct virtio_blk_discard_write_zeroes)
#define RANGES_MAX 32u
#define WRITEBACK offsetof(struct virtio_blk_config, wce)

static bool unsafe; /* the user's `cache: unsafe` */

static void running(uint64_t features)
{
    block_start = guest_start(DEVICE_BLOCK_VIRTIO);
    block_start.of_kind.block.unsafe = unsafe;
    block_start.of_kind.block.discard_sectors = 8;
    make_image();
    block_running(1, features);
}

static uint8_t ranges(uint32_t type, const struct virtio_blk_discard_write_zeroes *from,
                      unsigned int count)
{
    memcpy(request_data(0, 0), from, count * RANGE_SIZE);
    offer(0, 0, type, 0, (uint32_t)(count * RANGE_SIZE));
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 1);
    return request_status(0, 0);
}

static uint8_t range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
    const struct virtio_blk_discard_write_zeroes one = {
        .sector = sector, .num_sectors = sectors, .flags = flags};
    return ranges(type, &one, 1);
}

static void test_configuration(void)
{
    struct virtio_blk_config config;
    running(ALL);
    memcpy(&config, guest_device.config, sizeof(config));
    CU_ASSERT_EQUAL(guest_device.config_size, 60);
    CU_ASSERT_EQUAL(config.max_discard_seg, RANGES_MAX);
    CU_ASSERT_EQUAL(config.max_write_zeroes_seg, RANGES_MAX);
    CU_ASSERT_EQUAL(config.discard_sector_alignment, 8);
    CU_ASSERT_TRUE(config.max_discard_sectors > 0 && config.max_write_zeroes_sectors > 0);
    CU_ASSERT_EQUAL(config.write_zeroes_may_unmap, 1);
    CU_ASSERT_EQUAL((guest_device.features & (ALL | WCE)), ALL | WCE);

    block_start.of_kind.block.discard_sectors = 0; /* an image that can't have holes */
    block_running(1, ALL & ~FEATURE(VIRTIO_BLK_F_DISCARD));
    memcpy(&config, guest_device.config, sizeof(config));
    CU_ASSERT_EQUAL(config.write_zeroes_may_unmap, 0);
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_DISCARD)) == 0);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);

    block_start.of_kind.block.read_only = 1;
    block_start.of_kind.block.discard_sectors = 8;
    block_running(1, FEATURE(VIRTIO_F_VERSION_1));
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_DISCARD)) == 0);
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_WRITE_ZEROES)) == 0);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 0);
}

/* A feature that the driver has not accepted has no effect. */
static void test_not_accepted(void)
{
    running(FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH));
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_UNSUPP);
    CU_ASSERT_EQUAL(call_count, 0);
}

static blkcnt_t blocks(void)
{
    struct stat status;
    CU_ASSERT_EQUAL(fstat(image, &status), 0);
    return status.st_blocks;
}

static void test_discard(void)
{
    running(ALL);
    blkcnt_t before = blocks();
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 64, 128, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].flags, HOLE);
    CU_ASSERT_EQUAL(calls[0].offset, 64ULL * SECTOR);
    CU_ASSERT_EQUAL(calls[0].length, 128ULL * SECTOR);
    CU_ASSERT_EQUAL(blocks(), before - 128);
    CU_ASSERT_TRUE(image_holds(63, 1, 64) && image_holds(192, 1, 193));
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), (off_t)SECTORS * SECTOR);

    const struct virtio_blk_discard_write_zeroes two[] = {
        {.sector = 256, .num_sectors = 8}, {.sector = SECTORS - 8, .num_sectors = 8}};
    CU_ASSERT_EQUAL(ranges(VIRTIO_BLK_T_DISCARD, two, 2), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(blocks(), before - 144);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_OK); /* an empty range */
    CU_ASSERT_EQUAL(call_count, 3);
}

/* A disk with larger blocks: only whole blocks are discarded. */
static void test_discard_blocks(void)
{
    static const struct {
        uint64_t sector;
        uint32_t sectors;
        unsigned int calls;
        uint64_t first, count;
    } cases[] = {{8, 8, 1, 8, 8},  {7, 10, 1, 8, 8}, {9, 6, 0, 0, 0},
                 {1, 15, 1, 8, 8}, {8, 7, 0, 0, 0},  {0, 1, 0, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        running(ALL);
        block_start.of_kind.block.blk_size = 4096;
        block_running(1, ALL);
        CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, cases[i].sector, cases[i].sectors, 0),
                        VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, cases[i].calls);
        if (call_count > 0)
            CU_ASSERT_TRUE(calls[0].offset == cases[i].first * SECTOR &&
                           calls[0].length == cases[i].count * SECTOR);
    }
}

static void test_write_zeroes(void)
{
    running(ALL);
    blkcnt_t before = blocks();
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 10, 100, UNMAP), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(calls[0].flags, HOLE);
    CU_ASSERT_TRUE(blocks() < before);
    CU_ASSERT_TRUE(image_holds(10, 100, 0) && image_holds(9, 1, 10) && image_holds(110, 1, 111));

    /* Without UNMAP, zeros are written instead of freeing blocks, and no other call allocates
     * anything. */
    running(ALL);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 10, 100, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(calls[0].call, CALL_WRITE);
    CU_ASSERT_TRUE(image_holds(10, 100, 0) && image_holds(9, 1, 10) && image_holds(110, 1, 111));
    CU_ASSERT_EQUAL(blocks(), before);
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 0, SECTORS, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 3); /* 1 MiB in two calls */
    CU_ASSERT_TRUE(image_holds(0, SECTORS, 0));
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), (off_t)SECTORS * SECTOR);
}

/* The image can't have holes; or a block device refuses a hole in a part of a block. */
static void test_fall_backs(void)
{
    static const int refusals[] = {EOPNOTSUPP, EINVAL};
    for (size_t i = 0; i < 2; i++) {
        running(ALL);
        errors[0] = refusals[i];
        error_count = 1;
        CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 3, 5, UNMAP), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(calls[0].flags, HOLE);
        CU_ASSERT_EQUAL(calls[1].call, CALL_WRITE);
        CU_ASSERT_TRUE(image_holds(3, 5, 0) && image_holds(8, 1, 9));
    }

    running(ALL);
    bytes_max = 700; /* writes that end within a sector */
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 3, 5, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(3, 5, 0) && image_holds(2, 1, 3) && image_holds(8, 1, 9));
    bytes_max = SECTOR - 1; /* one byte is left */
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 10, 1, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(10, 1, 0) && image_holds(11, 1, 12));

    running(ALL);
    errors[0] = EOPNOTSUPP;
    error_count = 1;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_UNSUPP);
    errors[0] = EIO;
    error_count = 1;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_IOERR);
    errors[0] = EINTR;
    error_count = 1;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_OK);
}

/* A failure is one as well if the range begins within a block. */
static void test_discard_fails(void)
{
    running(ALL);
    block_start.of_kind.block.blk_size = 4096;
    block_running(1, ALL);
    errors[0] = EIO;
    error_count = 1;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 7, 10, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 1);
}

/* The driver can't ask for a flush: the zeros have to be stable, or the request has failed. */
static void test_zeroes_are_stable(void)
{
    running(ALL & ~FEATURE(VIRTIO_BLK_F_FLUSH));
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, UNMAP), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL_FATAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[1].call, CALL_SYNC);
    errors[0] = 0;
    errors[1] = EIO;
    error_count = 2;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, UNMAP), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(call_count, 4);
}

static void test_refused(void)
{
    static const struct {
        uint32_t type;
        uint64_t sector;
        uint32_t sectors, flags;
        uint8_t status;
    } cases[] = {
        {VIRTIO_BLK_T_DISCARD, 0, 8, UNMAP, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_DISCARD, 0, 8, 2, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 2, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, UNMAP | 0x80000000, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 8, 4, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, SECTORS - 1, 2, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, UINT64_MAX, 1, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX / SECTOR, 8, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, 1ull << 55, 8, UNMAP, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, UINT32_MAX, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, SECTORS + 1, 0, 0, VIRTIO_BLK_S_IOERR},
    };
    struct virtio_blk_discard_write_zeroes many[RANGES_MAX + 1] = {0};
    running(ALL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CU_ASSERT_EQUAL(range(cases[i].type, cases[i].sector, cases[i].sectors, cases[i].flags),
                        cases[i].status);
        /* If only the first range of a request is good, nothing is done either. */
        many[0] = (struct virtio_blk_discard_write_zeroes){.num_sectors = 8};
        many[1] = (struct virtio_blk_discard_write_zeroes){
            .sector = cases[i].sector, .num_sectors = cases[i].sectors, .flags = cases[i].flags};
        CU_ASSERT_EQUAL(ranges(cases[i].type, many, 2), cases[i].status);
    }
    /* What an earlier request had behind the ranges of this one does not matter. */
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_DISCARD, 0, 0, 0), VIRTIO_BLK_S_OK);
    memset(many, 0, sizeof(many));
    CU_ASSERT_EQUAL(ranges(VIRTIO_BLK_T_DISCARD, many, RANGES_MAX), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(ranges(VIRTIO_BLK_T_DISCARD, many, RANGES_MAX + 1), VIRTIO_BLK_S_IOERR);
    static const uint32_t lengths[] = {0, 1, 15, 17, 31, 0x10000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        offer(0, 0, VIRTIO_BLK_T_WRITE_ZEROES, 0, lengths[i]);
        guest_kick(0);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
        completions(0);
    }
    CU_ASSERT_EQUAL(call_count, 0);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
    for (uint32_t s = 0; s < SECTORS; s++)
        CU_ASSERT_TRUE_FATAL(image_holds(s, 1, (unsigned char)(s % 251 + 1)));
}

/* Nothing is to be done for an empty range: no call is made, and the request is done. */
static void test_empty_ranges(void)
{
    const struct virtio_blk_discard_write_zeroes some[] = {
        {.sector = 8}, {.sector = 8, .num_sectors = 8}, {.sector = SECTORS}};
    static const struct {
        uint32_t type, flags;
    } cases[] = {{VIRTIO_BLK_T_DISCARD, 0},
                 {VIRTIO_BLK_T_WRITE_ZEROES, 0},
                 {VIRTIO_BLK_T_WRITE_ZEROES, UNMAP}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        running(ALL);
        CU_ASSERT_EQUAL(range(cases[i].type, 8, 0, cases[i].flags), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, 0);
        CU_ASSERT_EQUAL(ranges(cases[i].type, some, 3), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, 1);
        CU_ASSERT_EQUAL(calls[0].length, 8ull * SECTOR);
    }
}

/* The driver may give more room than there is something to say: of these bytes none is written, so
 * none is counted, and the status behind them is not, either. */
static void test_used_length(void)
{
    static const struct {
        uint32_t type, flags, length;
        int error;
        uint8_t status;
    } cases[] = {
        {VIRTIO_BLK_T_OUT, 0, SECTOR, 0, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_OUT, 0, SECTOR, EIO, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_OUT, 0, SECTOR - 1, 0, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_FLUSH, 0, 1, 0, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_FLUSH, 0, 1, EIO, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_DISCARD, 0, RANGE_SIZE, 0, VIRTIO_BLK_S_OK},
        {VIRTIO_BLK_T_DISCARD, UNMAP, RANGE_SIZE, 0, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_DISCARD, 0, RANGE_SIZE, EOPNOTSUPP, VIRTIO_BLK_S_UNSUPP},
        {VIRTIO_BLK_T_DISCARD, 0, RANGE_SIZE, EIO, VIRTIO_BLK_S_IOERR},
        {VIRTIO_BLK_T_WRITE_ZEROES, 0, RANGE_SIZE, 0, VIRTIO_BLK_S_OK},
        {10, 0, 1, 0, VIRTIO_BLK_S_UNSUPP},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct virtio_blk_discard_write_zeroes one = {
            .sector = 8, .num_sectors = 8, .flags = cases[i].flags};
        running(ALL);
        errors[0] = cases[i].error;
        error_count = 1;
        spare_bytes = 2;
        memcpy(request_data(0, 0), &one, sizeof(one));
        offer(0, 0, cases[i].type, 8, cases[i].length);
        guest_kick(0);
        CU_ASSERT_EQUAL(used_length(0), 0);
        CU_ASSERT_EQUAL(request_status(0, 0), cases[i].status);
        spare_bytes = 0; /* the status alone */
        if (cases[i].type == VIRTIO_BLK_T_OUT) {
            offer(0, 0, cases[i].type, 8, cases[i].length);
            guest_kick(0);
            CU_ASSERT_EQUAL(used_length(0), 1);
        }
    }
    running(ALL & ~FEATURE(VIRTIO_BLK_F_DISCARD)); /* it must not be sent */
    spare_bytes = 2;
    offer(0, 0, VIRTIO_BLK_T_DISCARD, 8, RANGE_SIZE);
    guest_kick(0);
    CU_ASSERT_EQUAL(used_length(0), 0);
}

/* 32 ranges of 1 GiB in a large image: no turn does more than a part of it. */
static void test_bounded(void)
{
    struct virtio_blk_discard_write_zeroes many[RANGES_MAX];
    running(ALL);
    CU_ASSERT_EQUAL(ftruncate(image, 1LL << 40), 0);
    block_start.of_kind.block.capacity = 1ull << 31;
    block_running(1, ALL);
    for (unsigned int i = 0; i < RANGES_MAX; i++)
        many[i] = (struct virtio_blk_discard_write_zeroes){
            .sector = (uint64_t)i << 21, .num_sectors = 1u << 21, .flags = 0};
    for (uint32_t type = VIRTIO_BLK_T_DISCARD; type <= VIRTIO_BLK_T_WRITE_ZEROES; type += 2) {
        memcpy(request_data(0, 0), many, sizeof(many));
        offer(0, 0, type, 0, sizeof(many));
        device_notify(&guest_device, 0);
        call_count = 0;
        device_turns(&guest_device);
        CU_ASSERT_TRUE(call_count > 0 && call_count < 16);
        CU_ASSERT_EQUAL(calls[0].length, type == VIRTIO_BLK_T_DISCARD ? 0x8000000 : 0x80000);
        CU_ASSERT_TRUE(guest_device.work != 0);
        CU_ASSERT_EQUAL(completions(0), 0);
        /* A reset in the middle ends the request. */
        block_running(1, ALL);
        guest_run();
        CU_ASSERT_EQUAL(call_count, 0);
    }
}

/* ---- The cache's mode, §5.2.5 ---- */

static void write_config(uint32_t offset, unsigned int width, uint64_t value)
{
    transport_write(&guest_device, (uint32_t)(VIRTIO_MMIO_CONFIG + offset), width, value);
}

static uint64_t writeback(void)
{
    return transport_read(&guest_device, (uint32_t)(VIRTIO_MMIO_CONFIG + WRITEBACK), 1);
}

/* The flags of one write. */
static int write_flags(void)
{
    call_count = 0;
    offer(0, 0, VIRTIO_BLK_T_OUT, 0, SECTOR);
    guest_kick(0);
    completions(0);
    CU_ASSERT_EQUAL(call_count, 1);
    return calls[0].flags;
}

/* A request that can take long follows one that is done. The driver is told of the done one first.
 */
static uint64_t interrupts_before_call(uint32_t type, uint32_t flags, enum call call)
{
    const struct virtio_blk_discard_write_zeroes one = {
        .sector = 8, .num_sectors = 8, .flags = flags};
    call_count = 0;
    uint64_t before = guest_state.counters.interrupts_sent;
    memcpy(request_data(0, 1), &one, sizeof(one));
    offer(0, 0, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
    offer(0, 1, type, 0, sizeof(one));
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_FATAL(call_count > 0);
    CU_ASSERT_EQUAL(calls[0].call, call);
    CU_ASSERT_EQUAL(request_status(0, 1), VIRTIO_BLK_S_OK);
    return calls[0].interrupts - before;
}

static void test_interrupt_before_it_waits(void)
{
    running(ALL);
    CU_ASSERT_EQUAL(interrupts_before_call(VIRTIO_BLK_T_DISCARD, 0, CALL_ALLOCATE), 1);
    CU_ASSERT_EQUAL(interrupts_before_call(VIRTIO_BLK_T_WRITE_ZEROES, UNMAP, CALL_ALLOCATE), 1);
    CU_ASSERT_EQUAL(interrupts_before_call(VIRTIO_BLK_T_WRITE_ZEROES, 0, CALL_WRITE), 0);
    running(ALL & ~FEATURE(VIRTIO_BLK_F_FLUSH)); /* each write is durable */
    CU_ASSERT_EQUAL(interrupts_before_call(VIRTIO_BLK_T_WRITE_ZEROES, 0, CALL_WRITE), 1);
}

static void test_cache_mode(void)
{
    running(ALL | WCE);
    CU_ASSERT_EQUAL(writeback(), 1);
    CU_ASSERT_EQUAL(write_flags(), 0);
    write_config(WRITEBACK, 1, 0);
    write_config(WRITEBACK, 1, 2); /* neither mode */
    CU_ASSERT_EQUAL(writeback(), 0);
    CU_ASSERT_EQUAL(write_flags(), RWF_DSYNC);
    call_count = 0;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, UNMAP), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(calls[call_count - 1].call, CALL_SYNC); /* this is stable, too */

    block_start.incarnation = 1; /* a successor keeps the mode */
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(writeback(), 0);
    CU_ASSERT_EQUAL(write_flags(), RWF_DSYNC);
    write_config(WRITEBACK, 1, 1);
    CU_ASSERT_EQUAL(write_flags(), 0);
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(writeback(), 1);

    write_config(WRITEBACK, 1, 0);
    block_running(1, ALL | WCE); /* a new driver finds the default */
    CU_ASSERT_EQUAL(writeback(), 1);
}

static void test_cache_mode_after_reset(void)
{
    running(ALL | WCE);
    write_config(WRITEBACK, 1, 0);
    guest_write(VIRTIO_MMIO_STATUS, 0);
    guest_negotiate(ALL | WCE);
    CU_ASSERT_EQUAL(writeback(), 1);
    /* §5.2.5.2: with CONFIG_WCE but without FLUSH, the cache starts in write-through mode. */
    guest_negotiate(FEATURE(VIRTIO_F_VERSION_1) | WCE);
    CU_ASSERT_EQUAL(writeback(), 0);
    write_config(WRITEBACK, 1, 1);
    CU_ASSERT_EQUAL(writeback(), 1);
    block_start.incarnation = 1; /* a successor before DRIVER_OK */
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(writeback(), 1);
}

static void test_cache_mode_other_writes(void)
{
    unsigned char before[DEVICE_CONFIG_MAX];
    running(ALL | WCE);
    memcpy(before, guest_device.config, sizeof(before));
    for (uint32_t offset = 0; offset < 80; offset++) {
        for (unsigned int width = 1; width <= 8; width *= 2) {
            if (offset != WRITEBACK || width != 1)
                write_config(offset, width, 0x5a5a5a5a5a5a5a5a);
        }
    }
    write_config(WRITEBACK, 1, 2); /* neither mode */
    write_config(WRITEBACK, 2, 0); /* wider than the field */
    CU_ASSERT_EQUAL(memcmp(before, guest_device.config, sizeof(before)), 0);
    CU_ASSERT_EQUAL(write_flags(), 0);
    struct guest_fault fault;
    CU_ASSERT_EQUAL(guest_device.ops->write_config(&guest_device, WRITEBACK, 1, 2, &fault), 0);

    running(ALL); /* not accepted: no switch */
    write_config(WRITEBACK, 1, 0);
    CU_ASSERT_EQUAL(write_flags(), 0);
}

/* cache: unsafe. Nothing waits for the disk, whatever the driver asks for or has negotiated. For
 * the driver it is a device like any other. */
static void test_unsafe(void)
{
    static const uint64_t features[] = {ALL | WCE, ALL, FEATURE(VIRTIO_F_VERSION_1)};
    unsafe = true;
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        running(features[i]);
        CU_ASSERT_EQUAL(guest_device.features & (ALL | WCE), ALL | WCE);
        CU_ASSERT_EQUAL(writeback(), (features[i] & FEATURE(VIRTIO_BLK_F_FLUSH)) != 0);
        write_config(WRITEBACK, 1, 0);
        CU_ASSERT_EQUAL(writeback(), features[i] == ALL);
        CU_ASSERT_EQUAL(write_flags(), 0);
        call_count = 0;
        offer(0, 0, VIRTIO_BLK_T_FLUSH, 0, 0);
        guest_kick(0);
        CU_ASSERT_EQUAL(completions(0), 1);
        CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, 0);
    }
    running(ALL | WCE);
    write_config(WRITEBACK, 1, 0);
    call_count = 0;
    CU_ASSERT_EQUAL(range(VIRTIO_BLK_T_WRITE_ZEROES, 8, 8, UNMAP), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(call_count, 1); /* only a hole */
    unsafe = false;
}

/* ---- The state page ---- */

static void test_hostile_page(void)
{
    running(ALL | WCE);
    block_start.incarnation = 1;
    guest_state.of_kind.block.writeback = 3;
    guest_worker(&block_start);
    CU_ASSERT_TRUE(guest_state.transport.status & VIRTIO_CONFIG_S_NEEDS_RESET);
    guest_negotiate(ALL | WCE);
    CU_ASSERT_EQUAL(writeback(), 1);
}

/* The image has another size. The driver is told once, however many workers come. */
static void test_resized(void)
{
    running(ALL);
    uint32_t generation = guest_state.transport.config_generation;
    guest_interrupts();
    block_start.incarnation = 1;
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation);
    block_start.of_kind.block.capacity = 100;
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
    CU_ASSERT_TRUE(guest_read(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
    CU_ASSERT_EQUAL(guest_read(VIRTIO_MMIO_CONFIG), 100);
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
    block_start.of_kind.block.capacity =
        200; /* no worker has seen it, as when the broker was replaced */
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 2);
    block_start.of_kind.block.capacity = 0;
    guest_worker(&block_start);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 3);
    block_start.of_kind.block.capacity = 300; /* also after no size at all */
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 4);
    block_start.of_kind.block.capacity = 1; /* the least there is, and again none */
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 5);
    block_start.of_kind.block.capacity = 0;
    guest_worker(&block_start);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 6);
}

/* How a worker ends that must look at an image of that size. -1: it goes on. */
static int end_after_look(off_t size)
{
    int status;
    running(ALL);
    CU_ASSERT_EQUAL(ftruncate(image, size), 0);
    pid_t child = fork();
    if (child == 0) {
        atomic_fetch_add(&guest_state.backend.changes, 1); /* as the broker, once a second */
        guest_run();
        __builtin_trap();
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* It looks when the broker says so. If its limits no longer fit, it says why, and ends. */
static void test_looks_at_its_image(void)
{
    const off_t bytes = (off_t)SECTORS * SECTOR;
    static const off_t others[] = {0, 511, SECTOR, 2 * (off_t)SECTORS * SECTOR};
    CU_ASSERT_EQUAL(end_after_look(bytes), -1);
    CU_ASSERT_EQUAL(end_after_look(bytes + 511), -1); /* not one whole block more */
    CU_ASSERT_EQUAL(guest_logged(LOG_RESIZED), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CU_ASSERT_EQUAL(end_after_look(others[i]), EXIT_SUCCESS);
        CU_ASSERT_EQUAL(guest_logged(LOG_RESIZED), 1);
    }
    /* What has not changed is no news for the driver. */
    running(ALL);
    uint32_t generation = guest_state.transport.config_generation;
    atomic_fetch_add(&guest_state.backend.changes, 1);
    guest_run();
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation);
    /* Nobody has told the worker to look: it answers a request without a look. */
    running(ALL);
    CU_ASSERT_EQUAL(ftruncate(image, 2 * bytes), 0);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(request_status(0, 0), VIRTIO_BLK_S_OK);
    /* A pipe has no size. An image whose server has gone has none either. The worker goes on. */
    int pipes[2];
    CU_ASSERT_EQUAL_FATAL(pipe(pipes), 0);
    CU_ASSERT_EQUAL(dup2(pipes[0], WORKER_FD_BACKEND), WORKER_FD_BACKEND);
    close(pipes[0]);
    close(pipes[1]);
    atomic_fetch_add(&guest_state.backend.changes, 1);
    guest_run();
    CU_ASSERT_EQUAL(guest_state.watch.in_io, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"configuration", test_configuration},
        {"features not accepted", test_not_accepted},
        {"discard", test_discard},
        {"discard of whole blocks", test_discard_blocks},
        {"write zeroes", test_write_zeroes},
        {"fall-backs", test_fall_backs},
        {"a discard that fails", test_discard_fails},
        {"zeros are stable", test_zeroes_are_stable},
        {"refused ranges", test_refused},
        {"empty ranges", test_empty_ranges},
        {"of room to spare nothing is counted", test_used_length},
        {"a turn is bounded", test_bounded},
        {"the driver is interrupted before it waits", test_interrupt_before_it_waits},
        {"cache mode", test_cache_mode},
        {"cache mode after a reset", test_cache_mode_after_reset},
        {"other writes to the configuration", test_cache_mode_other_writes},
        {"nothing waits for the disk", test_unsafe},
        {"a hostile state page", test_hostile_page},
        {"a resized image", test_resized},
        {"looks at its image", test_looks_at_its_image},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "block: ranges, cache mode", tests);
}
