/* SPDX-License-Identifier: Apache-2.0 */
/* The block device, VirtIO 1.2 §5.2, from the driver's side: data, framing, errors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define BIT(n) (1ull << (n))
#define NO_INDIRECT (GUEST_BLOCK_FEATURES & ~BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define NO_EVENT_IDX (GUEST_BLOCK_FEATURES & ~BIT(VIRTIO_RING_F_EVENT_IDX))
#define REQUEST_SIZE 65536u

static void start(struct fixture *fixture, struct guest_block *block, uint64_t features)
{
    fixture_start_blocks(fixture, 1);
    fixture_block(fixture, 0, block, features, 8, REQUEST_SIZE);
}

static void stop(struct fixture *fixture, struct guest_block *block)
{
    CU_ASSERT_EQUAL(block->guest.error, 0);
    guest_block_free(block);
    fixture_assert_never_restarted(fixture);
    fixture_stop(fixture);
    fixture_free(fixture);
}

static void assert_sectors(const uint8_t *data, uint64_t sector, unsigned int count)
{
    uint8_t expected[512];
    for (unsigned int i = 0; i < count; i++) {
        fixture_sector(sector + i, expected);
        CU_ASSERT_EQUAL(memcmp(data + 512ul * i, expected, 512), 0);
    }
}

static void offers_what_it_should_and_tells_its_configuration(void)
{
    struct fixture fixture;
    struct guest_block block;
    struct virtio_blk_config wide, narrow;
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    CU_ASSERT_EQUAL(block.guest.features,
                    (GUEST_BLOCK_FEATURES & ~BIT(VIRTIO_BLK_F_RO)) | fixture_format);
    CU_ASSERT_EQUAL(block.capacity, FIXTURE_IMAGE_SECTORS);
    /* Linux reads some fields byte by byte. Every width gives the same bytes. */
    guest_config(&block.guest, 0, &wide, 32, 4);
    guest_config(&block.guest, 0, &narrow, 32, 1);
    CU_ASSERT_EQUAL(memcmp(&wide, &narrow, 32), 0);
    guest_config(&block.guest, 0, &narrow, 32, 2);
    CU_ASSERT_EQUAL(memcmp(&wide, &narrow, 32), 0);
    guest_config(&block.guest, 0, &narrow, 32, 8);
    CU_ASSERT_EQUAL(memcmp(&wide, &narrow, 32), 0);
    CU_ASSERT_EQUAL(wide.blk_size, 512);
    CU_ASSERT(wide.seg_max > 0 && wide.size_max > 0);
    /* A driver that starts makes no more accesses than Linux does (some 57). */
    CU_ASSERT(block.guest.register_accesses < 150);
    stop(&fixture, &block);
}

static void reads_every_sector_of_the_image(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[REQUEST_SIZE];
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    const unsigned int step = REQUEST_SIZE / 512;
    for (uint64_t sector = 0; sector < FIXTURE_IMAGE_SECTORS; sector += step) {
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, sector, data, REQUEST_SIZE), 0);
        assert_sectors(data, sector, step);
        CU_ASSERT_EQUAL(block.requests[0].used_len, REQUEST_SIZE + 1);
    }
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, FIXTURE_IMAGE_SECTORS - 1, data, 512),
                    0);
    assert_sectors(data, FIXTURE_IMAGE_SECTORS - 1, 1);
    stop(&fixture, &block);
}

static void writes_arrive_in_the_image_and_nowhere_else(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[8192], found[8192 + 1024];
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + 5);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 100, data, sizeof(data)), 0);
    CU_ASSERT_EQUAL(block.requests[0].used_len, 1);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), 0);
    int image = fixture_open(&fixture, "disk0.img");
    CU_ASSERT_EQUAL(pread(image, found, sizeof(found), 99 * 512), (ssize_t)sizeof(found));
    assert_sectors(found, 99, 1);
    CU_ASSERT_EQUAL(memcmp(found + 512, data, sizeof(data)), 0);
    assert_sectors(found + 512 + sizeof(data), 116, 1);
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), FIXTURE_IMAGE_SECTORS * 512);
    close(image);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 100, found, sizeof(data)), 0);
    CU_ASSERT_EQUAL(memcmp(found, data, sizeof(data)), 0);
    stop(&fixture, &block);
}

static void get_id_gives_twenty_bytes(void)
{
    struct fixture fixture;
    struct guest_block block;
    char id[VIRTIO_BLK_ID_BYTES] = {0};
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_GET_ID, 0, id, sizeof(id)), 0);
    CU_ASSERT_NOT_EQUAL(id[0], '\0');
    stop(&fixture, &block);
}

static void requests_beyond_the_end_are_refused(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[1024] = {0};
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    const uint64_t sectors[] = {
        FIXTURE_IMAGE_SECTORS, FIXTURE_IMAGE_SECTORS - 1, FIXTURE_IMAGE_SECTORS + 100, UINT64_MAX,
        UINT64_MAX / 512,      UINT64_MAX / 512 + 1,      (uint64_t)INT64_MAX / 512,   1ull << 55,
    };
    for (size_t i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, sectors[i], data, 1024),
                        VIRTIO_BLK_S_IOERR);
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, sectors[i], data, 1024),
                        VIRTIO_BLK_S_IOERR);
    }
    int image = fixture_open(&fixture, "disk0.img");
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), FIXTURE_IMAGE_SECTORS * 512);
    CU_ASSERT_EQUAL(pread(image, data, 512, (FIXTURE_IMAGE_SECTORS - 1) * 512l), 512);
    assert_sectors(data, FIXTURE_IMAGE_SECTORS - 1, 1); /* not even the part that would fit */
    close(image);
    stop(&fixture, &block);
}

static void lengths_that_are_not_whole_sectors_are_refused(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[1024];
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    for (uint32_t len = 1; len < 1024; len += len == 511 ? 2 : 102) {
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 3, data, len), VIRTIO_BLK_S_IOERR);
        memset(data, 0xee, sizeof(data));
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 3, data, len), VIRTIO_BLK_S_IOERR);
    }
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 3, data, 512), 0);
    assert_sectors(data, 3, 1);
    stop(&fixture, &block);
}

static void request_types_not_offered_are_unsupported(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512];
    start(&fixture, &block, GUEST_BLOCK_FEATURES);
    const uint32_t types[] = {2, 3, 9, 10, 11, 13, 14, 15, 24, 26, 0x7fffffff, 0x80000000, ~0u};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        CU_ASSERT_EQUAL(guest_block_io(&block, types[i], 0, data, 512), VIRTIO_BLK_S_UNSUPP);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 0, data, 512), 0);
    assert_sectors(data, 0, 1);
    stop(&fixture, &block);
}

static void a_read_only_image_refuses_writes(void)
{
    struct fixture fixture;
    struct guest_block block;
    uint8_t data[512];
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk0.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    file_path: \"@/disk0.img\"\n"
                                "    read_only: true\n");
    fixture_start(&fixture, 1, 1);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    CU_ASSERT((block.guest.features & BIT(VIRTIO_BLK_F_RO)) != 0);
    memset(data, 0xee, sizeof(data));
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 5, data, 512), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 5, data, 512), 0);
    assert_sectors(data, 5, 1);
    stop(&fixture, &block);
}

/* §2.7.4.2, §5.2.6: the device must not assume where one descriptor ends and the next begins. */
static int framed_io(struct guest_block *block, uint32_t type, uint64_t sector,
                     const uint32_t *cuts, unsigned int cut_count)
{
    /* header, data and status are contiguous in each direction; `cuts` divides them into
     * descriptors */
    struct guest_block_request *request = &block->requests[0];
    const bool out = type == VIRTIO_BLK_T_OUT;
    const uint32_t len = 1024;
    uint8_t *start = request->data;
    *(struct virtio_blk_outhdr *)(void *)start =
        (struct virtio_blk_outhdr){.type = type, .sector = sector};
    start[16 + len] = 0xff;
    struct guest_segment segments[GUEST_INDIRECT_MAX];
    unsigned int count = 0;
    const uint32_t turn = out ? 16 + len : 16, end = 16 + len + 1;
    uint32_t at = 0;
    for (unsigned int i = 0; at < end; i++) {
        uint32_t size = cuts[i % cut_count];
        uint32_t limit = at < turn ? turn : end;
        size = at + size > limit ? limit - at : size;
        segments[count++] = (struct guest_segment){request->data_addr + at, size, at >= turn};
        at += size;
    }
    if (guest_queue_add(&block->queue, segments, count, request) < 0)
        return -ENOSPC;
    request->busy = true;
    guest_queue_kick(&block->queue);
    while (request->busy) {
        int r = guest_block_interrupt(block);
        if (r < 0)
            return r;
    }
    return start[16 + len];
}

static void framing(uint64_t features)
{
    static const uint32_t cuts[][3] = {
        {2048, 2048, 2048}, {16, 512, 1}, {1, 15, 700}, {8, 8, 511},  {100, 413, 512},
        {513, 511, 513},    {64, 64, 64}, {40, 1, 200}, {7, 9, 1008}, {3, 5, 333},
    };
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block, features);
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        uint8_t *data = block.requests[0].data + 16;
        uint64_t sector = 64 + 2 * i;
        CU_ASSERT_EQUAL(framed_io(&block, VIRTIO_BLK_T_IN, sector, cuts[i], 3), 0);
        assert_sectors(data, sector, 2);
        memset(data, (int)(0x40 + i), 1024);
        CU_ASSERT_EQUAL(framed_io(&block, VIRTIO_BLK_T_OUT, sector, cuts[i], 3), 0);
        memset(data, 0, 1024);
        CU_ASSERT_EQUAL(framed_io(&block, VIRTIO_BLK_T_IN, sector, cuts[i], 3), 0);
        CU_ASSERT(data[0] == 0x40 + i && data[1023] == 0x40 + i);
    }
    stop(&fixture, &block);
}

static void framing_is_free_in_chains(void)
{
    framing(NO_INDIRECT);
}

static void framing_is_free_in_indirect_tables(void)
{
    framing(GUEST_BLOCK_FEATURES);
}

struct verify {
    unsigned int done, wrong;
};

static void verify_done(struct guest_block *block, struct guest_block_request *request)
{
    struct verify *verify = block->context;
    uint8_t expected[512];
    fixture_sector(request->header->sector, expected);
    verify->done++;
    if (*request->status != 0 || memcmp(request->data, expected, 512) != 0)
        verify->wrong++;
}

/* Random reads at full depth, for each set of ring features: nothing is lost or mixed up. */
static void deep(uint64_t features, unsigned int count)
{
    struct fixture fixture;
    struct guest_block block;
    struct verify verify = {0};
    start(&fixture, &block, features);
    block.done = verify_done;
    block.context = &verify;
    unsigned int submitted = 0;
    uint64_t random = 12345;
    while (verify.done < count && block.guest.error == 0) {
        for (unsigned int i = 0; i < block.depth && submitted < count; i++) {
            struct guest_block_request *request = &block.requests[i];
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t sector = (random >> 33) % (FIXTURE_IMAGE_SECTORS - 8);
            if (!request->busy &&
                guest_block_submit(&block, request, VIRTIO_BLK_T_IN, sector, 4096) == 0)
                submitted++;
        }
        guest_queue_kick(&block.queue);
        CU_ASSERT_FATAL(guest_block_interrupt(&block) >= 0);
    }
    CU_ASSERT_EQUAL(verify.done, count);
    CU_ASSERT_EQUAL(verify.wrong, 0);
    stop(&fixture, &block);
}

static void queue_wraps_around_with_all_features(void)
{
    deep(GUEST_BLOCK_FEATURES, 70000); /* more requests than 16 bits can count */
}

static void queue_works_without_event_idx(void)
{
    deep(NO_EVENT_IDX, 5000);
}

static void queue_works_without_indirect(void)
{
    deep(NO_INDIRECT, 5000);
}

static void queue_works_in_order(void)
{
    deep(GUEST_BLOCK_FEATURES | BIT(VIRTIO_F_IN_ORDER), 5000);
    deep(NO_INDIRECT | BIT(VIRTIO_F_IN_ORDER), 5000);
}

static void queue_works_with_version_1_alone(void)
{
    deep(BIT(VIRTIO_F_VERSION_1), 5000);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"offers what it should and tells its configuration",
         offers_what_it_should_and_tells_its_configuration},
        {"reads every sector of the image", reads_every_sector_of_the_image},
        {"writes arrive in the image and nowhere else",
         writes_arrive_in_the_image_and_nowhere_else},
        {"GET_ID gives twenty bytes", get_id_gives_twenty_bytes},
        {"requests beyond the end are refused", requests_beyond_the_end_are_refused},
        {"lengths that are not whole sectors are refused",
         lengths_that_are_not_whole_sectors_are_refused},
        {"request types not offered are unsupported", request_types_not_offered_are_unsupported},
        {"a read-only image refuses writes", a_read_only_image_refuses_writes},
        {"framing is free in chains", framing_is_free_in_chains},
        {"framing is free in indirect tables", framing_is_free_in_indirect_tables},
        {"queue wraps around with all features", queue_wraps_around_with_all_features},
        {"queue works without EVENT_IDX", queue_works_without_event_idx},
        {"queue works without indirect descriptors", queue_works_without_indirect},
        {"queue works with IN_ORDER", queue_works_in_order},
        {"queue works with VERSION_1 alone", queue_works_with_version_1_alone},
        CU_TEST_INFO_NULL,
    };
    return fixture_main_formats(argc, argv, "block device", tests, tests);
}
