/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of one disk that are under way at once, by the real programs. With io_engine: io_uring:
 * what is in force, and what becomes of them when the worker dies. Without it: reads are announced.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/faults/hang_fs.h"
#include "tests/standin/audit_session.h"
#include "tests/standin/clock.h"
#include "tests/standin/fixture.h"

#define DEPTH 48u
#define WAIT_MS 20000
#define DISK                                                                                       \
    "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"     \
    "    file_path: \"@/fs/disk.img\"\n"

/* A disk in a file system that hangs when it is told to. */
struct disk {
    struct fixture fixture;
    struct hang_fs *fs;
    struct hang_loop loop; /* a block device over the image */
    struct guest_block block;
    char dir[96];
};

static void make_file(struct disk *disk)
{
    *disk = (struct disk){.loop = {.fd = -1}};
    fixture_init(&disk->fixture);
    fixture_make_image(&disk->fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    int image = fixture_open(&disk->fixture, "disk.img");
    snprintf(disk->dir, sizeof(disk->dir), "%s/fs", disk->fixture.dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(disk->dir, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(hang_fs_start(disk->dir, &disk->fs), 0);
    CU_ASSERT_EQUAL_FATAL(hang_fs_add(disk->fs, "disk.img", image), 0);
    close(image);
}

static void start_on(struct disk *disk, const char *yaml)
{
    fixture_configure(&disk->fixture, yaml);
    fixture_start(&disk->fixture, 1, 1);
    fixture_block(&disk->fixture, 0, &disk->block, GUEST_BLOCK_FEATURES, DEPTH, 4096);
}

static void start(struct disk *disk, const char *yaml)
{
    make_file(disk);
    start_on(disk, yaml);
}

static void stop(struct disk *disk)
{
    CU_ASSERT_EQUAL(disk->block.guest.error, 0);
    guest_block_free(&disk->block);
    fixture_stop(&disk->fixture);
    hang_loop_detach(&disk->loop);
    hang_fs_stop(disk->fs);
    fixture_free(&disk->fixture);
}

static void submit_reads(struct disk *disk)
{
    for (unsigned int i = 0; i < DEPTH; i++)
        CU_ASSERT_EQUAL(guest_block_submit(&disk->block, &disk->block.requests[i], VIRTIO_BLK_T_IN,
                                           64ul * i, 4096),
                        0);
    guest_queue_kick(&disk->block.queue);
}

static void assert_reads(struct disk *disk)
{
    uint8_t expected[512];
    for (unsigned int i = 0; i < DEPTH; i++) {
        struct guest_block_request *request = &disk->block.requests[i];
        while (request->busy)
            CU_ASSERT_FATAL(guest_block_interrupt(&disk->block) >= 0);
        CU_ASSERT_EQUAL(*request->status, VIRTIO_BLK_S_OK);
        fixture_sector(64ul * i + 7, expected);
        CU_ASSERT_EQUAL(memcmp(request->data + 7ul * 512, expected, 512), 0);
    }
}

static void are_under_way_at_once(const char *yaml)
{
    struct disk disk;
    start(&disk, yaml);
    hang_fs_hang(disk.fs, HANG_READ);
    submit_reads(&disk);
    CU_ASSERT_EQUAL(hang_fs_wait_held(disk.fs, 32, WAIT_MS), 0);
    hang_fs_go_on(disk.fs);
    assert_reads(&disk);
    fixture_assert_never_restarted(&disk.fixture);
    stop(&disk);
}

static void many_reads_are_under_way_at_once(void)
{
    are_under_way_at_once(DISK "    io_engine: io_uring\n");
}

static void many_direct_reads_are_under_way_at_once(void)
{
    are_under_way_at_once(DISK "    io_engine: io_uring\n    direct: true\n");
}

/* Reads that the block device has taken, and not completed. */
static unsigned int reads_under_way(const struct hang_loop *loop)
{
    char path[64];
    unsigned int reads = 0;
    snprintf(path, sizeof(path), "/sys/block/%s/inflight", loop->path + strlen("/dev/"));
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fscanf(file, "%u", &reads), 1);
    fclose(file);
    return reads;
}

/* The worker waits for one read, and the disk works on all. */
static void without_a_ring_the_reads_that_wait_are_announced(void)
{
    struct disk disk;
    char yaml[512];
    make_file(&disk);
    snprintf(yaml, sizeof(yaml), "%s/disk.img", disk.dir);
    CU_ASSERT_EQUAL_FATAL(hang_loop_attach(yaml, &disk.loop), 0);
    snprintf(yaml, sizeof(yaml),
             "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n"
             "    mmio_addr: 0xa003e00\n    io_engine: sync\n    file_path: %s\n",
             disk.loop.path);
    start_on(&disk, yaml);
    hang_fs_hang(disk.fs, HANG_READ);
    submit_reads(&disk);
    uint64_t end = now_ms() + WAIT_MS;
    while (reads_under_way(&disk.loop) < 32 && now_ms() < end)
        usleep(1000);
    CU_ASSERT(reads_under_way(&disk.loop) >= 32);
    hang_fs_go_on(disk.fs);
    assert_reads(&disk);
    fixture_assert_never_restarted(&disk.fixture);
    stop(&disk);
}

/* Somebody waits for a lock that belongs to an open file description. */
static bool waits_for_lock(void)
{
    char line[256];
    bool found = false;
    FILE *locks = fopen("/proc/locks", "re");
    while (locks && fgets(line, sizeof(line), locks))
        found |= strstr(line, "-> OFDLCK") != NULL;
    if (locks)
        fclose(locks);
    return found;
}

/* What the dead one's requests write to the driver's memory, or to the disk, would come too late
 * otherwise. */
static void a_successor_waits_for_the_requests_of_the_dead(void)
{
    struct disk disk;
    start(&disk, DISK "    io_engine: io_uring\n    direct: true\n");
    pid_t before = fixture_worker(&disk.fixture, 0);
    hang_fs_hang(disk.fs, HANG_READ);
    submit_reads(&disk);
    CU_ASSERT_EQUAL(hang_fs_wait_held(disk.fs, 32, WAIT_MS), 0);
    CU_ASSERT_EQUAL(kill(before, SIGKILL), 0);
    uint64_t end = now_ms() + WAIT_MS;
    while (!waits_for_lock() && now_ms() < end)
        usleep(1000);
    CU_ASSERT(waits_for_lock());
    hang_fs_go_on(disk.fs);
    CU_ASSERT(fixture_wait_worker(&disk.fixture, 0, before) > 0);
    assert_reads(&disk);
    stop(&disk);
}

static void the_audit_knows_it(void)
{
    struct disk disk;
    start(&disk, DISK "    io_engine: io_uring\n");
    submit_reads(&disk);
    assert_reads(&disk);
    CU_ASSERT_EQUAL(audit_run("verify"), 0);
    CU_ASSERT(audit_says("block/io_uring, "));
    CU_ASSERT(audit_says("keeper_uring, "));
    CU_ASSERT(audit_says("anon_inode:[io_uring]"));
    stop(&disk);
}

/* Who does not ask for a ring has no process that may make one. */
static void without_it_nobody_may_make_a_ring(void)
{
    struct disk disk;
    start(&disk, DISK "    io_engine: sync\n    direct: true\n");
    CU_ASSERT_EQUAL(audit_run("verify"), 0);
    CU_ASSERT(audit_says("block/virtio, "));
    CU_ASSERT(audit_says("keeper, "));
    CU_ASSERT_PTR_NULL(strstr(audit_answer, "keeper_uring"));
    CU_ASSERT_PTR_NULL(strstr(audit_answer, "[io_uring]"));
    stop(&disk);
}

/* ---- What a ring is not for ---- */

#define BIT(n) (1ull << (n))
#define LARGE (1u << 20) /* more than one call moves */

/* Each write has to be stable when it completes: the driver can't ask for a flush. */
static void what_the_ring_does_not_do_is_done_as_without_it(void)
{
    struct fixture fixture;
    struct guest_block block;
    struct virtio_blk_discard_write_zeroes zeroes = {
        .sector = 3000, .num_sectors = 64, .flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP};
    uint8_t *data = malloc(LARGE), *found = malloc(LARGE);
    CU_ASSERT_FATAL(data != NULL && found != NULL);
    memset(data, 0x3c, LARGE);
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    file_path: \"@/disk.img\"\n"
                                "    io_engine: io_uring\n    advertise_flush: false\n"
                                "    cpu_affinity: [0]\n");
    fixture_start(&fixture, 1, 1);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES | BIT(VIRTIO_BLK_F_WRITE_ZEROES), 2,
                  LARGE);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 8, data, LARGE), 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 8, found, LARGE), 0);
    CU_ASSERT_EQUAL(memcmp(found, data, LARGE), 0);
    memset(data, 0x3d, 4096);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_OUT, 16, data, 4096), 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 16, found, 4096), 0);
    CU_ASSERT_EQUAL(memcmp(found, data, 4096), 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_WRITE_ZEROES, 0, &zeroes, sizeof(zeroes)),
                    0);
    fixture_assert_never_restarted(&fixture);

    /* The image grows. */
    int image = fixture_open(&fixture, "disk.img");
    CU_ASSERT_EQUAL(ftruncate(image, 2L * FIXTURE_IMAGE_SECTORS * 512), 0);
    close(image);
    uint64_t capacity = 0, before = block.guest.config_changes;
    for (unsigned int i = 0; i < 5 && block.guest.config_changes == before; i++)
        CU_ASSERT_FATAL(guest_take_interrupt(&block.guest) >= 0);
    guest_config(&block.guest, 0, &capacity, 8, 4);
    CU_ASSERT_EQUAL(capacity, 2ull * FIXTURE_IMAGE_SECTORS);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, capacity - 8, found, 4096), 0);
    CU_ASSERT_EQUAL(block.guest.error, 0);
    guest_block_free(&block);
    fixture_stop(&fixture);
    fixture_free(&fixture);
    free(data);
    free(found);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"many reads are under way at once", many_reads_are_under_way_at_once},
        {"many direct reads are under way at once", many_direct_reads_are_under_way_at_once},
        {"without a ring, the reads that wait are announced",
         without_a_ring_the_reads_that_wait_are_announced},
        {"a successor waits for the requests of the dead",
         a_successor_waits_for_the_requests_of_the_dead},
        {"the audit knows it", the_audit_knows_it},
        {"without it nobody may make a ring", without_it_nobody_may_make_a_ring},
        {"what the ring does not do is done as without it",
         what_the_ring_does_not_do_is_done_as_without_it},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "requests of a disk at once", tests);
}
