/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: if the disk is slow, the reads that wait in the ring are announced to it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "tests/unit/block_calls.h"
#include "worker/block/block.h"

#define USUAL (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH))
#define SLOW 64u
#define FAR 100u /* sectors between requests: no two are neighbours */

static struct {
    uint64_t offset, length;
    unsigned int calls; /* reads and writes before it */
} announced[CALLS_MAX];
static unsigned int announced_count;

int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
    CU_ASSERT_EQUAL(fd, WORKER_FD_BACKEND);
    CU_ASSERT_EQUAL(advice, POSIX_FADV_WILLNEED);
    CU_ASSERT_EQUAL(guest_state.watch.in_io, 1); /* the broker knows that it may take long */
    CU_ASSERT_FATAL(announced_count < CALLS_MAX);
    announced[announced_count].offset = (uint64_t)offset;
    announced[announced_count].length = (uint64_t)length;
    announced[announced_count++].calls = call_count;
    return 0;
}

static void set_up(uint64_t features, unsigned int slow)
{
    block_start = guest_start(DEVICE_BLOCK_VIRTIO);
    make_image();
    block_running(1, features);
    announced_count = 0;
    block.slow = slow;
}

/* `count` reads that wait, served. */
static void reads(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        offer(0, i, VIRTIO_BLK_T_IN, (uint64_t)FAR * i, 8 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), count);
    for (unsigned int i = 0; i < count; i++)
        CU_ASSERT_EQUAL(request_status(0, i), VIRTIO_BLK_S_OK);
}

/* Those behind the first are announced before it is read: the disk works on all of them. */
static void test_slow(void)
{
    set_up(USUAL, SLOW);
    reads(10);
    CU_ASSERT_EQUAL(announced_count, 9);
    for (unsigned int i = 0; i < announced_count; i++) {
        CU_ASSERT_EQUAL(announced[i].offset, (uint64_t)(i + 1) * FAR * SECTOR);
        CU_ASSERT_EQUAL(announced[i].length, 8ull * SECTOR);
        CU_ASSERT_EQUAL(announced[i].calls, 0);
    }
    CU_ASSERT_EQUAL(call_count, 10);
}

/* Neighbours are one announcement, however the driver cut them. */
static void test_neighbours(void)
{
    set_up(USUAL, SLOW);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
    for (unsigned int i = 1; i < 5; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 500 + i, SECTOR);
    offer(0, 5, VIRTIO_BLK_T_IN, 700, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 6);
    CU_ASSERT_EQUAL_FATAL(announced_count, 2);
    CU_ASSERT_EQUAL(announced[0].offset, 501ull * SECTOR);
    CU_ASSERT_EQUAL(announced[0].length, 4ull * SECTOR);
    CU_ASSERT_EQUAL(announced[1].offset, 700ull * SECTOR);
    CU_ASSERT_EQUAL(announced[1].length, SECTOR);
}

static void test_fast(void)
{
    set_up(USUAL, 0);
    reads(10);
    CU_ASSERT_EQUAL(announced_count, 0);
    CU_ASSERT_EQUAL(call_count, 10);
}

/* O_DIRECT does not read from the page cache. */
static void test_direct(void)
{
    set_up(USUAL, SLOW);
    block.direct = true;
    struct turn turn = {.dev = &guest_device, .vq = &guest_device.queues[0]};
    for (unsigned int i = 0; i < 3; i++)
        offer(0, i, VIRTIO_BLK_T_IN, (uint64_t)FAR * i, 8 * SECTOR);
    block_ahead(&turn, 0);
    CU_ASSERT_EQUAL(announced_count, 0);
    block.direct = false;
}

/* Nothing but reads, and none that goes beyond the end. */
static void test_others(void)
{
    set_up(USUAL, SLOW);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, 8 * SECTOR);
    offer(0, 1, VIRTIO_BLK_T_OUT, FAR, 8 * SECTOR);
    offer(0, 2, VIRTIO_BLK_T_FLUSH, 0, 0);
    offer(0, 3, VIRTIO_BLK_T_IN, SECTORS - 4, 8 * SECTOR);
    offer(0, 4, VIRTIO_BLK_T_IN, UINT64_MAX - 4, 8 * SECTOR);
    offer(0, 5, VIRTIO_BLK_T_IN, 5ull * FAR, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 6);
    CU_ASSERT_EQUAL(announced_count, 1);
    CU_ASSERT_EQUAL(announced[0].offset, 5ull * FAR * SECTOR);
    CU_ASSERT_EQUAL(announced[0].length, SECTOR);
    CU_ASSERT_EQUAL(request_status(0, 3), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(request_status(0, 4), VIRTIO_BLK_S_IOERR);
}

/* What is announced is neither taken off the ring nor recorded as taken. */
static void test_only_looked_at(void)
{
    struct virtqueue *vq = &guest_device.queues[0];
    static struct chain chain;
    set_up(USUAL, 0);
    for (unsigned int i = 0; i < 3; i++)
        offer(0, i, VIRTIO_BLK_T_IN, (uint64_t)FAR * i, 8 * SECTOR);
    uint16_t before = vq->next_avail, recorded = vq->state->next_avail;
    for (unsigned int i = 0; i < 3; i++)
        CU_ASSERT_TRUE(virtqueue_ahead(vq, &chain));
    CU_ASSERT_FALSE(virtqueue_ahead(vq, &chain)); /* each once */
    CU_ASSERT_EQUAL(vq->next_avail, before);
    CU_ASSERT_EQUAL(vq->state->next_avail, recorded);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 3);
    /* Those that come later are shown. */
    offer(0, 3, VIRTIO_BLK_T_IN, 3ull * FAR, 8 * SECTOR);
    CU_ASSERT_TRUE(virtqueue_ahead(vq, &chain));
    CU_ASSERT_FALSE(virtqueue_ahead(vq, &chain));
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 1);
}

/* What reads nothing of the image is not announced, and does not part its neighbours. */
static void what_reads_nothing_does_not_part_neighbours(void)
{
    set_up(USUAL, SLOW);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
    offer(0, 1, VIRTIO_BLK_T_IN, FAR, SECTOR);
    offer(0, 2, VIRTIO_BLK_T_IN, 3ull * FAR, 0);
    offer(0, 3, VIRTIO_BLK_T_GET_ID, 3ull * FAR, SECTOR);
    offer(0, 4, VIRTIO_BLK_T_IN, FAR + 1, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 5);
    CU_ASSERT_EQUAL_FATAL(announced_count, 1);
    CU_ASSERT_EQUAL(announced[0].offset, (uint64_t)FAR * SECTOR);
    CU_ASSERT_EQUAL(announced[0].length, 2ull * SECTOR);
}

/* What one call reads has no need of an announcement. */
static void what_is_read_now_is_not_announced(void)
{
    set_up(USUAL, SLOW);
    for (unsigned int i = 0; i < 4; i++)
        offer(0, i, VIRTIO_BLK_T_IN, i, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 4);
    CU_ASSERT_EQUAL(call_count, 1);
    CU_ASSERT_EQUAL(announced_count, 0);
    /* Nor has a request of which a part is read already. */
    offer(0, 0, VIRTIO_BLK_T_IN, 0, 3 * BLOCK_CALL_BYTES / 2);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 1);
    CU_ASSERT_EQUAL(call_count, 3);
    CU_ASSERT_EQUAL(announced_count, 0);
}

/* Of a large request so much is announced as one call reads. */
static void no_more_is_announced_than_one_call_reads(void)
{
    set_up(USUAL, SLOW);
    offer(0, 0, VIRTIO_BLK_T_IN, 0, SECTOR);
    offer(0, 1, VIRTIO_BLK_T_IN, FAR, BLOCK_CALL_BYTES + SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), 2);
    CU_ASSERT_EQUAL(announced_count, 1);
    CU_ASSERT_EQUAL(announced[0].offset, (uint64_t)FAR * SECTOR);
    CU_ASSERT_EQUAL(announced[0].length, BLOCK_CALL_BYTES);
}

/* The others are announced when it is their turn to be among the next ones. */
static void so_many_are_announced_at_once(void)
{
    const unsigned int all = 80, at_once = 64, taken = 2; /* the one to be read, and one behind */
    unsigned int at_first = 0;
    set_up(USUAL, SLOW);
    for (unsigned int i = 0; i < all; i++)
        offer(0, i, VIRTIO_BLK_T_IN, 24ull * i, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(completions(0), all);
    CU_ASSERT_EQUAL(announced_count, all - 1);
    for (unsigned int i = 0; i < announced_count; i++) {
        CU_ASSERT_EQUAL(announced[i].offset, 24ull * (i + 1) * SECTOR);
        at_first += announced[i].calls == 0;
    }
    CU_ASSERT_EQUAL(at_first, taken - 1 + at_once);
}

/* A disk can become slow at any time: the positions in the ring, of 16 bits, have no bearing on
 * it. */
static void a_disk_can_become_slow_after_any_number_of_requests(void)
{
    set_up(USUAL, SLOW);
    reads(10);
    block.slow = 0;
    for (unsigned int taken = 0; taken < 0x9000; taken += 80) {
        for (unsigned int i = 0; i < 80; i++)
            offer(0, i, VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES);
        guest_kick(0);
        CU_ASSERT_EQUAL_FATAL(completions(0), 80);
    }
    call_count = 0;
    announced_count = 0;
    block.slow = SLOW;
    reads(10);
    CU_ASSERT_EQUAL(announced_count, 9);
    CU_ASSERT_EQUAL(announced[0].offset, (uint64_t)FAR * SECTOR);
}

/* The kernel says that a read would wait: those behind it are announced before it does, until so
 * many reads in a row would not have waited. */
static void test_told(void)
{
    set_up(USUAL, 0);
    errors[0] = EAGAIN;
    error_count = 1;
    reads(6);
    CU_ASSERT_EQUAL(announced_count, 5);
    for (unsigned int i = 0; i < announced_count; i++)
        CU_ASSERT_EQUAL(announced[i].calls, 1);
    CU_ASSERT_EQUAL(block.slow, SLOW - 5);
    for (unsigned int i = 0; i < 2 * SLOW; i++)
        block_read_waits(false);
    CU_ASSERT_EQUAL(block.slow, 0);
    announced_count = 0;
    reads(6);
    CU_ASSERT_EQUAL(announced_count, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"reads that wait are announced to a slow disk", test_slow},
        {"neighbours together", test_neighbours},
        {"a fast one needs no announcement", test_fast},
        {"O_DIRECT does not, either", test_direct},
        {"nothing but reads inside the image", test_others},
        {"what is announced stays in the ring", test_only_looked_at},
        {"what reads nothing does not part neighbours",
         what_reads_nothing_does_not_part_neighbours},
        {"what is read now is not announced", what_is_read_now_is_not_announced},
        {"no more is announced than one call reads", no_more_is_announced_than_one_call_reads},
        {"so many are announced at once", so_many_are_announced_at_once},
        {"a disk can become slow after any number of requests",
         a_disk_can_become_slow_after_any_number_of_requests},
        {"slow is what the kernel says", test_told},
        CU_TEST_INFO_NULL,
    };
    return block_calls_main(argc, argv, "reads that are announced", tests);
}
