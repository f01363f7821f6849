/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device's optional features, by the real programs on real files: a discard frees space,
 * a resize is announced, O_DIRECT, block devices, and several queues whose worker dies again and
 * again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/standin/block_load.h"
#include "tests/standin/fixture.h"

#define LOOP_ATTEMPTS 100u

#define BIT(n) (1ull << (n))
#define FEATURES                                                                                   \
    (GUEST_BLOCK_FEATURES | BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) |           \
     BIT(VIRTIO_BLK_F_CONFIG_WCE))
#define REQUEST_SIZE 65536u
#define CAPACITY offsetof(struct virtio_blk_config, capacity)
#define WRITEBACK offsetof(struct virtio_blk_config, wce)

#define DEVICE                                                                                     \
    "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"
#define FILE_DEVICE DEVICE "    file_path: \"@/disk.img\"\n"

static const char *programs; /* programs of the next device model; NULL: those of the build */

static void start(struct fixture *fixture, struct guest_block *block, const char *yaml)
{
    fixture_init(fixture);
    fixture->programs = programs;
    fixture_make_image(fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(fixture, yaml);
    fixture_start(fixture, 1, 1);
    fixture_block(fixture, 0, block, FEATURES, 8, REQUEST_SIZE);
}

static void stop(struct fixture *fixture, struct guest_block *block)
{
    CU_ASSERT_EQUAL(block->guest.error, 0);
    guest_block_free(block);
    fixture_stop(fixture);
    fixture_free(fixture);
}

static int range(struct guest_block *block, uint32_t type, uint64_t sector, uint32_t sectors,
                 uint32_t flags)
{
    struct virtio_blk_discard_write_zeroes one = {
        .sector = sector, .num_sectors = sectors, .flags = flags};
    return guest_block_io(block, type, 0, &one, sizeof(one));
}

static bool reads(struct guest_block *block, uint64_t sector, uint32_t sectors, bool zeros)
{
    uint8_t data[REQUEST_SIZE], expected[512] = {0};
    if (guest_block_io(block, VIRTIO_BLK_T_IN, sector, data, 512 * sectors) != VIRTIO_BLK_S_OK)
        return false;
    for (uint32_t i = 0; i < sectors; i++) {
        if (!zeros)
            fixture_sector(sector + i, expected);
        if (memcmp(data + 512ul * i, expected, 512) != 0)
            return false;
    }
    return true;
}

static bool reads_as_made(struct guest_block *block, uint64_t sector, uint32_t sectors)
{
    return reads(block, sector, sectors, false);
}

static bool reads_zeros(struct guest_block *block, uint64_t sector, uint32_t sectors)
{
    return reads(block, sector, sectors, true);
}

static blkcnt_t blocks_of(int image)
{
    struct stat status;
    CU_ASSERT_EQUAL(fsync(image), 0); /* delayed allocation counts no blocks before this */
    CU_ASSERT_EQUAL(fstat(image, &status), 0);
    return status.st_blocks;
}

static void discarded_blocks_are_freed(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block, FILE_DEVICE);
    CU_ASSERT_EQUAL(block.guest.features & BIT(VIRTIO_BLK_F_DISCARD), BIT(VIRTIO_BLK_F_DISCARD));
    int image = fixture_open(&fixture, "disk.img");
    blkcnt_t before = blocks_of(image);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, 1024, 1024, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT(blocks_of(image) <= before - 1000);
    CU_ASSERT(reads_as_made(&block, 1016, 8) && reads_as_made(&block, 2048, 8));
    CU_ASSERT_EQUAL(
        range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 3000, 1000, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_OK);
    CU_ASSERT(blocks_of(image) <= before - 1900);
    CU_ASSERT(reads_zeros(&block, 3000, 100) && reads_zeros(&block, 3900, 100));
    CU_ASSERT(reads_as_made(&block, 2999, 1) && reads_as_made(&block, 4000, 1));
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), FIXTURE_IMAGE_SECTORS * 512L);
    close(image);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

static void zeros_are_written_and_stay_allocated(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block, FILE_DEVICE);
    int image = fixture_open(&fixture, "disk.img");
    blkcnt_t before = blocks_of(image);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 3, 2000, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT(reads_zeros(&block, 3, 128) && reads_zeros(&block, 1903, 100));
    CU_ASSERT(reads_as_made(&block, 0, 3) && reads_as_made(&block, 2003, 8));
    CU_ASSERT(blocks_of(image) >= before);
    close(image);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

static void malformed_ranges_harm_nobody(void)
{
    static const uint64_t sectors[] = {FIXTURE_IMAGE_SECTORS, FIXTURE_IMAGE_SECTORS - 1, UINT64_MAX,
                                       UINT64_MAX / 512, 1ull << 55};
    struct fixture fixture;
    struct guest_block block;
    uint8_t junk[1024];
    start(&fixture, &block, FILE_DEVICE);
    for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
        CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, sectors[i], 2, 0), VIRTIO_BLK_S_IOERR);
        CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, sectors[i], 2, 1),
                        VIRTIO_BLK_S_IOERR);
    }
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 6), VIRTIO_BLK_S_UNSUPP);
    memset(junk, 0xff, sizeof(junk));
    for (uint32_t length = 1; length <= sizeof(junk); length += 31)
        CU_ASSERT_NOT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_WRITE_ZEROES, 0, junk, length),
                            VIRTIO_BLK_S_OK);
    for (uint64_t s = 0; s < FIXTURE_IMAGE_SECTORS; s += 128)
        CU_ASSERT(reads_as_made(&block, s, 128));
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

static void the_cache_mode_is_the_drivers_and_survives_the_worker(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512] = {0x42}, mode = 0xff;
    start(&fixture, &block, FILE_DEVICE);
    guest_config(&block.guest, WRITEBACK, &mode, 1, 1);
    CU_ASSERT_EQUAL(mode, 1);
    guest_write(&block.guest, VIRTIO_MMIO_CONFIG + WRITEBACK, 1, 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 9, data, 512), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 64, 8, 0), VIRTIO_BLK_S_OK);
    fixture_assert_never_restarted(&fixture);
    kill(fixture.workers[0], SIGKILL);
    CU_ASSERT_NOT_EQUAL(fixture_wait_worker(&fixture, 0, fixture.workers[0]), -1);
    guest_config(&block.guest, WRITEBACK, &mode, 1, 1);
    CU_ASSERT_EQUAL(mode, 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 9, data, 512), VIRTIO_BLK_S_OK);
    stop(&fixture, &block);
}

/* ---- Resizing ---- */

static void assert_capacity_becomes(struct guest_block *block, uint64_t sectors)
{
    uint64_t capacity = 0;
    uint64_t before = block->guest.config_changes;
    for (unsigned int i = 0; i < 5 && block->guest.config_changes == before; i++)
        CU_ASSERT_FATAL(guest_take_interrupt(&block->guest) >= 0);
    CU_ASSERT(block->guest.config_changes > before);
    guest_config(&block->guest, CAPACITY, &capacity, 8, 4);
    CU_ASSERT_EQUAL(capacity, sectors);
}

static void a_resized_image_is_announced(void)
{
    const uint64_t more = 2ULL * FIXTURE_IMAGE_SECTORS, less = FIXTURE_IMAGE_SECTORS / 2;
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[1024];
    start(&fixture, &block, FILE_DEVICE);
    int image = fixture_open(&fixture, "disk.img");
    memset(data, 0x6b, sizeof(data));
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, more - 2, data, 1024),
                    VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(ftruncate(image, (off_t)more * 512), 0);
    assert_capacity_becomes(&block, more);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, more - 2, data, 1024),
                    VIRTIO_BLK_S_OK);
    CU_ASSERT(reads_zeros(&block, FIXTURE_IMAGE_SECTORS, 8));
    CU_ASSERT(reads_as_made(&block, FIXTURE_IMAGE_SECTORS - 8, 8));

    CU_ASSERT_EQUAL(ftruncate(image, (off_t)less * 512), 0);
    assert_capacity_becomes(&block, less);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, less, data, 512), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, less - 1, data, 1024),
                    VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, less - 8, 16, 0), VIRTIO_BLK_S_IOERR);
    CU_ASSERT(reads_as_made(&block, less - 8, 8));
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), (off_t)less * 512);

    CU_ASSERT_EQUAL(ftruncate(image, 1000), 0); /* the size is no multiple of a sector */
    assert_capacity_becomes(&block, 1);
    CU_ASSERT(reads_as_made(&block, 0, 1));
    CU_ASSERT_EQUAL(ftruncate(image, 0), 0);
    assert_capacity_becomes(&block, 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 0, data, 512), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(standin_find_process(fixture.standin, "bao-virtio-broker", 0), fixture.broker);
    close(image);
    stop(&fixture, &block);
}

/* ---- Other images ---- */

static void a_sparse_image_reads_as_zeros(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[4096];
    fixture_init(&fixture);
    int image = fixture_open(&fixture, "disk.img");
    CU_ASSERT_EQUAL(ftruncate(image, 1LL << 36), 0); /* 64 GiB */
    fixture_configure(&fixture, FILE_DEVICE);
    fixture_start(&fixture, 1, 1);
    fixture_block(&fixture, 0, &block, FEATURES, 8, REQUEST_SIZE);
    CU_ASSERT_EQUAL(block.capacity, 1ull << 27);
    CU_ASSERT(reads_zeros(&block, (1ull << 27) - 128, 128));
    memset(data, 0x17, sizeof(data));
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 1ull << 26, data, 4096),
                    VIRTIO_BLK_S_OK);
    CU_ASSERT(blocks_of(image) < 128);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, (1ull << 26) - 8, 2097152, 0),
                    VIRTIO_BLK_S_OK);
    CU_ASSERT(reads_zeros(&block, 1ull << 26, 8));
    close(image);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

/* One request whose data begin `shift` bytes after the start of a page. */
static int shifted(struct guest_block *block, uint32_t type, uint64_t sector, uint32_t length,
                   uint32_t shift)
{
    struct guest_block_request *request = &block->requests[0];
    *request->header = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    *request->status = 0xff;
    const struct guest_segment segments[] = {
        {request->header_addr, sizeof(*request->header), false},
        {request->data_addr + shift, length, type == VIRTIO_BLK_T_IN},
        {request->status_addr, 1, true},
    };
    request->busy = true;
    CU_ASSERT_EQUAL_FATAL(guest_queue_add(&block->queue, segments, 3, request), 0);
    guest_queue_kick(&block->queue);
    while (request->busy)
        CU_ASSERT_FATAL(guest_block_interrupt(block) >= 0);
    return *request->status;
}

static void a_direct_image_takes_any_request(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t expected[512];
    uint32_t blk_size = 0;
    start(&fixture, &block, FILE_DEVICE "    direct: true\n");
    guest_config(&block.guest, offsetof(struct virtio_blk_config, blk_size), &blk_size, 4, 4);
    CU_ASSERT(blk_size >= 512 && blk_size <= 4096);
    const uint8_t *data = block.requests[0].data;
    for (uint64_t s = 0; s < FIXTURE_IMAGE_SECTORS; s += 128)
        CU_ASSERT(reads_as_made(&block, s, 128));
    for (uint32_t shift = 0; shift < 600; shift += 97) {
        uint64_t sector = 101 + shift;
        CU_ASSERT_EQUAL(shifted(&block, VIRTIO_BLK_T_IN, sector, 3 * 512, shift), VIRTIO_BLK_S_OK);
        fixture_sector(sector + 2, expected);
        CU_ASSERT_EQUAL(memcmp(data + shift + 1024, expected, 512), 0);
        /* What was read is written one sector further. The neighbours stay as they are. */
        CU_ASSERT_EQUAL(shifted(&block, VIRTIO_BLK_T_OUT, sector + 1, 512, shift), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(shifted(&block, VIRTIO_BLK_T_IN, sector, 3 * 512, 0), VIRTIO_BLK_S_OK);
        fixture_sector(sector, expected);
        CU_ASSERT_EQUAL(memcmp(data, expected, 512), 0);
        CU_ASSERT_EQUAL(memcmp(data + 512, expected, 512), 0);
        fixture_sector(sector + 2, expected);
        CU_ASSERT_EQUAL(memcmp(data + 1024, expected, 512), 0);
    }
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 1001, 9, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT(reads_zeros(&block, 1001, 9) && reads_as_made(&block, 1000, 1));
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

/* Makes a loop device on disk.img. Returns its number; -1 if the kernel has none to give. One that
 * is free may be somebody else's a moment later. */
static int loop_attach(const struct fixture *fixture, int *ret_loop)
{
    char path[32];
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int image = fixture_open(fixture, "disk.img");
    int number = -1, r = -1;
    for (unsigned int i = 0; i < LOOP_ATTEMPTS && control >= 0 && r < 0; i++) {
        number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        snprintf(path, sizeof(path), "/dev/loop%d", number);
        *ret_loop = open(path, O_RDWR | O_CLOEXEC);
        CU_ASSERT_FATAL(*ret_loop >= 0);
        r = ioctl(*ret_loop, LOOP_SET_FD, image);
        CU_ASSERT_FATAL(r == 0 || errno == EBUSY);
        if (r < 0)
            close(*ret_loop);
    }
    close(image);
    if (control >= 0)
        close(control);
    return r == 0 ? number : -1;
}

static void a_block_device_is_an_image_as_well(void)
{
    struct fixture fixture;
    struct guest_block block;
    char yaml[256];
    int loop = -1;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    int number = loop_attach(&fixture, &loop);
    if (number < 0) {
        printf("(this kernel has no loop devices) ");
        fixture_free(&fixture);
        return;
    }
    snprintf(yaml, sizeof(yaml), DEVICE "    file_path: /dev/loop%d\n", number);
    fixture_configure(&fixture, yaml);
    fixture_start(&fixture, 1, 1);
    fixture_block(&fixture, 0, &block, FEATURES, 8, REQUEST_SIZE);
    CU_ASSERT_EQUAL(block.capacity, FIXTURE_IMAGE_SECTORS);
    CU_ASSERT((block.guest.features & BIT(VIRTIO_BLK_F_DISCARD)) != 0);
    CU_ASSERT(reads_as_made(&block, 512, 128));
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_DISCARD, 1024, 1024, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(range(&block, VIRTIO_BLK_T_WRITE_ZEROES, 2051, 301, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
    CU_ASSERT(reads_zeros(&block, 2051, 100) && reads_as_made(&block, 2050, 1));
    CU_ASSERT(reads_as_made(&block, 2352, 1));
    fixture_assert_never_restarted(&fixture);

    int image = fixture_open(&fixture, "disk.img");
    CU_ASSERT_EQUAL(ftruncate(image, FIXTURE_IMAGE_SECTORS * 1024L), 0);
    CU_ASSERT_EQUAL(ioctl(loop, LOOP_SET_CAPACITY), 0);
    close(image);
    assert_capacity_becomes(&block, 2ULL * FIXTURE_IMAGE_SECTORS);
    CU_ASSERT(reads_zeros(&block, FIXTURE_IMAGE_SECTORS * 2 - 8, 8));
    stop(&fixture, &block);
    CU_ASSERT_EQUAL(ioctl(loop, LOOP_CLR_FD), 0);
    close(loop);
}

/* ---- Load ---- */

static void load(const char *yaml, unsigned int queues, unsigned int requests, unsigned int kills)
{
    struct fixture fixture;
    struct guest guest;
    fixture_init(&fixture);
    fixture.programs = programs;
    fixture_make_image(&fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&fixture, yaml);
    fixture_start(&fixture, 1, 1);
    fixture_guest(&fixture, 0, &guest);
    int image = fixture_open(&fixture, "disk.img");
    struct block_load *load = block_load_start(&guest, queues, image, FIXTURE_IMAGE_SECTORS, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(load);
    pid_t worker = fixture.workers[0];
    for (unsigned int i = 0; i < kills; i++) {
        CU_ASSERT_EQUAL(block_load_run(load, requests / (kills + 1)), 0);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        CU_ASSERT_EQUAL(block_load_run(load, 1), 0); /* the successor has served it */
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
    }
    CU_ASSERT_EQUAL(block_load_run(load, requests / (kills + 1)), 0);
    CU_ASSERT_EQUAL(block_load_end(load), 0);
    CU_ASSERT_EQUAL(guest.error, 0);
    if (kills == 0)
        fixture_assert_never_restarted(&fixture);
    close(image);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void several_queues_keep_their_data(void)
{
    load(FILE_DEVICE "    queues: 4\n", 4, 20000, 0);
}

static void sixteen_queues_keep_their_data(void)
{
    load(FILE_DEVICE "    queues: 16\n", 16, 20000, 0);
}

static void a_killed_worker_loses_nothing(void)
{
    load(FILE_DEVICE "    queues: 4\n", 4, 20000, 12);
}

static void a_killed_worker_loses_nothing_directly(void)
{
    load(FILE_DEVICE "    direct: true\n", 1, 1000, 5);
}

#ifdef UNPINNED_PROGRAMS
/* The window is as on a real Bao: O_DIRECT can't reach it (unpinned.c). */
static void a_window_that_is_not_pinned_takes_any_request(void)
{
    programs = UNPINNED_PROGRAMS;
    a_direct_image_takes_any_request();
    programs = NULL;
}

static void a_window_that_is_not_pinned_loses_nothing(void)
{
    programs = UNPINNED_PROGRAMS;
    load(FILE_DEVICE "    direct: true\n    queues: 4\n", 4, 1000, 2);
    programs = NULL;
}
#endif

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"discarded blocks are freed", discarded_blocks_are_freed},
        {"zeros are written and stay allocated", zeros_are_written_and_stay_allocated},
        {"malformed ranges harm nobody", malformed_ranges_harm_nobody},
        {"the cache mode is the driver's and survives the worker",
         the_cache_mode_is_the_drivers_and_survives_the_worker},
        {"a resized image is announced", a_resized_image_is_announced},
        {"a sparse image reads as zeros", a_sparse_image_reads_as_zeros},
        {"a direct image takes any request", a_direct_image_takes_any_request},
        {"a block device is an image as well", a_block_device_is_an_image_as_well},
        {"several queues keep their data", several_queues_keep_their_data},
        {"sixteen queues keep their data", sixteen_queues_keep_their_data},
        {"a killed worker loses nothing", a_killed_worker_loses_nothing},
        {"a killed worker loses nothing, directly", a_killed_worker_loses_nothing_directly},
#ifdef UNPINNED_PROGRAMS
        {"a window that is not pinned takes any request",
         a_window_that_is_not_pinned_takes_any_request},
        {"a window that is not pinned loses nothing", a_window_that_is_not_pinned_loses_nothing},
#endif
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "block features", tests);
}
