/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device's system calls: their flags and number, and what the device does after short,
 * failed and interrupted ones. The calls are this program's own, in front of the C library's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define FLUSH (1ull << VIRTIO_BLK_F_FLUSH)
#define SECTOR 512u
#define SECTORS 2048u
#define HEADER (GUEST_BASE + GUEST_BUFFERS)
#define STATUS (HEADER + 0x800)
#define DATA (HEADER + 0x2000)

enum call { CALL_READ, CALL_WRITE, CALL_SYNC };

static struct {
    enum call call;
    int segments, flags;
    uint16_t used_idx, used_flags; /* what the driver could see at the time of the call */
    uint64_t interrupts;           /* how often it had been interrupted */
} calls[64];

static unsigned int call_count;
static struct guest_ring ring;
static int image = -1;

/* What the next calls return: an errno; or how many bytes they move at most. */
static int errors[8];
static unsigned int error_count;
static size_t bytes_max = SIZE_MAX;

static bool recorded(enum call call, int segments, int flags)
{
    if (call_count < sizeof(calls) / sizeof(calls[0])) {
        calls[call_count].call = call;
        calls[call_count].segments = segments;
        calls[call_count].flags = flags;
        calls[call_count].used_idx = ring.used->idx;
        calls[call_count].used_flags = ring.used->flags;
        calls[call_count].interrupts = guest_state.counters.interrupts_sent;
    }
    call_count++;
    if (error_count == 0)
        return true;
    errno = errors[0];
    memmove(errors, errors + 1, sizeof(errors) - sizeof(errors[0]));
    error_count--;
    return errno == 0;
}

/* The calls without flags, which an emulator of programs has as well. */
typedef ssize_t move_call(int fd, const struct iovec *iov, int count, off_t offset);

static ssize_t limited(move_call *call, int fd, const struct iovec *iov, int count, off_t offset)
{
    struct iovec first = iov[0];
    if (bytes_max == SIZE_MAX)
        return call(fd, iov, count, offset);
    if (first.iov_len > bytes_max)
        first.iov_len = bytes_max;
    return call(fd, &first, 1, offset);
}

ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return recorded(CALL_READ, count, flags) ? limited(preadv, fd, iov, count, offset) : -1;
}

ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
    return recorded(CALL_WRITE, count, flags) ? limited(pwritev, fd, iov, count, offset) : -1;
}

int fdatasync(int fd)
{
    return recorded(CALL_SYNC, 0, 0) ? (int)syscall(SYS_fdatasync, fd) : -1;
}

static void running(uint64_t features)
{
    struct message_start start = guest_start(DEVICE_BLOCK_VIRTIO);
    memset(&guest_state, 0, sizeof(guest_state));
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    guest_worker(&start);
    guest_ring_init(&ring, 0, 64);
    guest_negotiate(features);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    guest_run();
    call_count = 0;
    error_count = 0;
    bytes_max = SIZE_MAX;
    memset(errors, 0, sizeof(errors));
}

static void offer(uint16_t number, uint32_t type, uint64_t sector, uint32_t length)
{
    uint16_t head = (uint16_t)(3 * number);
    uint64_t header = HEADER + head * 16u;
    const struct virtio_blk_outhdr content = {.type = type, .sector = sector};
    uint16_t flags = VRING_DESC_F_NEXT | (type == VIRTIO_BLK_T_OUT ? 0 : VRING_DESC_F_WRITE);
    memcpy(guest_at(header), &content, sizeof(content));
    guest_desc(&ring, head, header, 16, VRING_DESC_F_NEXT, (uint16_t)(head + 1));
    guest_desc(&ring, head + 1u, DATA + number * 0x10000ull, length, flags, (uint16_t)(head + 2));
    guest_desc(&ring, head + 2u, STATUS + number, 1, VRING_DESC_F_WRITE, 0);
    *(uint8_t *)guest_at(STATUS + number) = 0xff;
    guest_offer(&ring, head);
}

static uint8_t status(uint16_t number)
{
    return *(const uint8_t *)guest_at(STATUS + number);
}

static void test_one_call_each(void)
{
    running(VERSION_1 | FLUSH);
    for (uint16_t i = 0; i < 20; i++)
        offer(i, VIRTIO_BLK_T_IN, i, 8 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 20);
    for (unsigned int i = 0; i < 20; i++) {
        /* An interrupt may be due, or other requests wait. */
        CU_ASSERT_EQUAL(calls[i].flags, RWF_NOWAIT);
        CU_ASSERT_EQUAL(calls[i].segments, 1);
        CU_ASSERT_EQUAL(calls[i].used_idx, i);
        CU_ASSERT_EQUAL(calls[i].interrupts, i / 8);
        CU_ASSERT_EQUAL(calls[i].used_flags, VRING_USED_F_NO_NOTIFY);
    }
    CU_ASSERT_EQUAL(ring.used->idx, 20);
}

/* With so many bytes, each request is worth an interrupt. */
static void test_large_requests(void)
{
    running(VERSION_1 | FLUSH);
    for (uint16_t i = 0; i < 4; i++)
        offer(i, VIRTIO_BLK_T_IN, 0, 64 * SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 4);
    for (unsigned int i = 0; i < 4; i++)
        CU_ASSERT_EQUAL(calls[i].interrupts, i);
    CU_ASSERT_EQUAL(guest_state.counters.interrupts_sent, 4);
}

/* The device has to wait for the disk. Before that, the driver is told of what is completed. */
static void test_slow_disk(void)
{
    running(VERSION_1 | FLUSH);
    for (uint16_t i = 0; i < 3; i++)
        offer(i, VIRTIO_BLK_T_IN, 2 * i, SECTOR);
    errors[1] = EAGAIN;
    error_count = 2;
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 4);
    CU_ASSERT_EQUAL(calls[1].flags, RWF_NOWAIT);
    CU_ASSERT_EQUAL(calls[1].interrupts, 0);
    CU_ASSERT_EQUAL(calls[2].flags, 0);
    CU_ASSERT_EQUAL(calls[2].interrupts, 1);
    CU_ASSERT_EQUAL(calls[3].flags, RWF_NOWAIT);
    CU_ASSERT_EQUAL(ring.used->idx, 3);
    for (uint16_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(status(i), VIRTIO_BLK_S_OK);
}

static void test_no_nowait(void)
{
    running(VERSION_1 | FLUSH);
    for (uint16_t i = 0; i < 4; i++)
        offer(i, VIRTIO_BLK_T_IN, 2 * i, SECTOR);
    errors[1] = EOPNOTSUPP;
    error_count = 2;
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 5); /* tried once, and never again */
    CU_ASSERT_EQUAL(calls[1].flags, RWF_NOWAIT);
    for (unsigned int i = 2; i < 5; i++)
        CU_ASSERT_EQUAL(calls[i].flags, 0);
    CU_ASSERT_EQUAL(ring.used->idx, 4);
}

static void test_write_back_and_through(void)
{
    running(VERSION_1 | FLUSH);
    offer(0, VIRTIO_BLK_T_OUT, 0, SECTOR);
    offer(1, VIRTIO_BLK_T_OUT, 2, SECTOR);
    offer(2, VIRTIO_BLK_T_FLUSH, 0, 0);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 3);
    CU_ASSERT_EQUAL(calls[0].flags, 0);
    CU_ASSERT_EQUAL(calls[0].segments, 1);
    CU_ASSERT_EQUAL(calls[1].flags, 0);
    CU_ASSERT_EQUAL(calls[2].call, CALL_SYNC);
    CU_ASSERT_EQUAL(calls[1].interrupts, 0);
    CU_ASSERT_EQUAL(calls[2].interrupts, 1); /* it did not wait for the flush */

    running(VERSION_1); /* without FLUSH, a completed write is stable */
    offer(0, VIRTIO_BLK_T_OUT, 0, SECTOR);
    offer(1, VIRTIO_BLK_T_OUT, 2, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(call_count, 2);
    CU_ASSERT_EQUAL(calls[0].flags, RWF_DSYNC);
    CU_ASSERT_EQUAL(calls[1].flags, RWF_DSYNC);
    CU_ASSERT_EQUAL(calls[1].interrupts, 1);
}

static void test_short_and_interrupted(void)
{
    static const uint32_t types[] = {VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN};
    running(VERSION_1 | FLUSH);
    for (uint32_t i = 0; i < 8 * SECTOR; i++)
        ((unsigned char *)guest_at(DATA))[i] = (unsigned char)(i % 239);
    for (size_t t = 0; t < 2; t++) {
        if (t == 1)
            memset(guest_at(DATA), 0, 8 * SECTOR);
        bytes_max = 100;
        errors[0] = EINTR;
        errors[2] = EINTR;
        error_count = 3;
        offer(0, types[t], 32, 8 * SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(status(0), VIRTIO_BLK_S_OK);
        CU_ASSERT_EQUAL(call_count, 2 + 41);
        call_count = 0;
    }
    for (uint32_t i = 0; i < 8 * SECTOR; i++)
        CU_ASSERT_EQUAL_FATAL(((unsigned char *)guest_at(DATA))[i], i % 239);
}

static void test_errors(void)
{
    running(VERSION_1 | FLUSH);
    errors[0] = EIO;
    errors[1] = ENOSPC;
    errors[2] = EIO;
    error_count = 3;
    offer(0, VIRTIO_BLK_T_IN, 0, SECTOR);
    offer(1, VIRTIO_BLK_T_OUT, 0, SECTOR);
    offer(2, VIRTIO_BLK_T_FLUSH, 0, 0);
    offer(3, VIRTIO_BLK_T_IN, 0, SECTOR);
    guest_kick(0);
    for (uint16_t i = 0; i < 3; i++)
        CU_ASSERT_EQUAL(status(i), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(status(3), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(guest_logged(LOG_IO_ERROR), 3);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

int main(int argc, char **argv)
{
    image = memfd_create("image", MFD_CLOEXEC);
    if (image < 0 || ftruncate(image, SECTORS * SECTOR) < 0)
        return EXIT_FAILURE;
    image = fcntl(image, F_DUPFD_CLOEXEC, 100);
    guest_window_init();
    CU_TestInfo tests[] = {
        {"one call each", test_one_call_each},
        {"large requests", test_large_requests},
        {"slow disk", test_slow_disk},
        {"no RWF_NOWAIT", test_no_nowait},
        {"write back and through", test_write_back_and_through},
        {"short and interrupted", test_short_and_interrupted},
        {"errors", test_errors},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "block I/O", tests);
}
