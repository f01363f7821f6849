/* SPDX-License-Identifier: Apache-2.0 */
/* The block device: requests in every framing, the ends of the disk, and what a successor sees. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"

#define FEATURE(bit) (1ull << (bit))
#define USUAL                                                                                      \
    (FEATURE(VIRTIO_F_VERSION_1) | FEATURE(VIRTIO_BLK_F_FLUSH) |                                   \
     FEATURE(VIRTIO_RING_F_INDIRECT_DESC))
#define F_NEXT VRING_DESC_F_NEXT
#define F_WRITE VRING_DESC_F_WRITE
#define SECTORS 2048u
#define SECTOR 512u
#define HEADER (GUEST_BASE + GUEST_BUFFERS)
#define STATUS (HEADER + 0x800)
#define DATA (HEADER + 0x2000)
#define TABLE (HEADER + 0x800000)

static struct guest_ring ring;
static struct message_start start;
static int image = -1;

static void fill_image(void)
{
    static unsigned char sector[SECTOR];
    for (uint32_t s = 0; s < SECTORS; s++) {
        memset(sector, (int)(s % 251 + 1), sizeof(sector));
        if (pwrite(image, sector, sizeof(sector), (off_t)s * SECTOR) != SECTOR)
            abort();
    }
}

static void set_up_ring(uint64_t features, uint16_t size)
{
    guest_ring_init(&ring, 0, size);
    guest_negotiate(features);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    guest_run();
    guest_interrupts();
}

static void running(uint64_t features)
{
    memset(&guest_state, 0, sizeof(guest_state));
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    guest_worker(&start);
    set_up_ring(features, 64);
}

/* ---- The driver's part of a request ---- */

static uint8_t *status_byte(void)
{
    return guest_at(STATUS);
}

static void put_header(uint64_t addr, uint32_t type, uint64_t sector)
{
    const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
    memcpy(guest_at(addr), &header, sizeof(header));
}

/* A request as Linux makes it: header, data and status in one descriptor each. */
static void offer(uint16_t head, uint32_t type, uint64_t sector, uint64_t data, uint32_t length)
{
    uint64_t header = HEADER + head * 16u;
    uint16_t flags = type == VIRTIO_BLK_T_OUT ? F_NEXT : F_NEXT | F_WRITE;
    put_header(header, type, sector);
    guest_desc(&ring, head, header, 16, F_NEXT, (uint16_t)(head + 1));
    guest_desc(&ring, head + 1u, data, length, flags, (uint16_t)(head + 2));
    guest_desc(&ring, head + 2u, STATUS + head, 1, F_WRITE, 0);
    *(uint8_t *)guest_at(STATUS + head) = 0xff;
    guest_offer(&ring, head);
}

/* The used length of its completion; UINT32_MAX if there is none. */
static uint32_t used_length(void)
{
    struct vring_used_elem element;
    return guest_used(&ring, &element) ? element.len : UINT32_MAX;
}

/* One request from start to end; returns its status, or 0xff. */
static uint8_t request(uint32_t type, uint64_t sector, uint32_t length, uint32_t *ret_used)
{
    offer(0, type, sector, DATA, length);
    guest_kick(0);
    *ret_used = used_length();
    return *status_byte();
}

static bool all_bytes(uint64_t addr, uint32_t length, unsigned char value)
{
    const unsigned char *at = guest_at(addr);
    for (uint32_t i = 0; i < length; i++) {
        if (at[i] != value)
            return false;
    }
    return true;
}

static bool image_holds(uint64_t sector, uint32_t sectors, unsigned char value)
{
    unsigned char bytes[SECTOR];
    for (uint64_t s = sector; s < sector + sectors; s++) {
        if (pread(image, bytes, SECTOR, (off_t)(s * SECTOR)) != SECTOR)
            return false;
        for (uint32_t i = 0; i < SECTOR; i++) {
            if (bytes[i] != value)
                return false;
        }
    }
    return true;
}

/* ---- Requests ---- */

static void test_read_and_write(void)
{
    uint32_t used;
    running(USUAL);
    fill_image();
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 7, SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, SECTOR + 1);
    CU_ASSERT_TRUE(all_bytes(DATA, SECTOR, 8));
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 0, SECTORS * SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, SECTORS * SECTOR + 1);
    CU_ASSERT_TRUE(all_bytes(DATA + 100 * SECTOR, SECTOR, 101));

    memset(guest_at(DATA), 0xee, 8 * SECTOR);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_OUT, SECTORS - 8, 8 * SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 1);
    CU_ASSERT_TRUE(image_holds(SECTORS - 8, 8, 0xee));
    CU_ASSERT_TRUE(image_holds(SECTORS - 9, 1, (SECTORS - 9) % 251 + 1));
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, (SECTORS + 1) * SECTOR);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_out, 8 * SECTOR);
    CU_ASSERT_EQUAL(guest_state.counters.requests, 3);

    memset(guest_at(DATA), 0xdd, SECTORS * SECTOR); /* one segment, larger than one call moves */
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_OUT, 0, SECTORS * SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 1);
    CU_ASSERT_TRUE(image_holds(0, SECTORS, 0xdd));

    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 0, 0, &used), VIRTIO_BLK_S_OK); /* no sector */
    CU_ASSERT_EQUAL(used, 1);
}

static void test_other_types(void)
{
    static const uint32_t unknown[] = {2, 3, 5, 10, 11, 13, 14, 0x80000000, UINT32_MAX};
    uint32_t used;
    running(USUAL);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 1);
    memset(guest_at(DATA), 0xff, 64);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_GET_ID, 0, 20, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 21);
    CU_ASSERT_STRING_EQUAL(guest_at(DATA), "unit-test-serial");
    memset(guest_at(DATA), 0xff, 64);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_GET_ID, 0, 4, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 5);
    CU_ASSERT_EQUAL(memcmp(guest_at(DATA), "unit\xff", 5), 0);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_GET_ID, 0, 40, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, 20); /* the rest was not written; so the status in it was not either */
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        CU_ASSERT_EQUAL(request(unknown[i], 0, SECTOR, &used), VIRTIO_BLK_S_UNSUPP);
        CU_ASSERT_EQUAL(used, 0);
    }
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

static void test_ranges(void)
{
    static const struct {
        uint64_t sector;
        uint32_t length;
    } bad[] = {
        {SECTORS, SECTOR},
        {SECTORS - 1, 2 * SECTOR},
        {SECTORS + 1, 0},
        {UINT64_MAX, SECTOR},
        {UINT64_MAX / SECTOR, 512},
        {1ull << 55, SECTOR},
        {UINT64_MAX - 6, 7 * 512},
        {0, 1},
        {0, SECTOR - 1},
        {0, SECTOR + 1},
        {0, (SECTORS + 1) * SECTOR},
    };
    uint32_t used;
    running(USUAL);
    fill_image();
    memset(guest_at(DATA), 0xee, SECTOR);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        for (uint32_t type = VIRTIO_BLK_T_IN; type <= VIRTIO_BLK_T_OUT; type++) {
            CU_ASSERT_EQUAL(request(type, bad[i].sector, bad[i].length, &used), VIRTIO_BLK_S_IOERR);
            CU_ASSERT_EQUAL(used, type == VIRTIO_BLK_T_OUT || bad[i].length == 0 ? 1 : 0);
        }
    }
    CU_ASSERT_EQUAL(lseek(image, 0, SEEK_END), SECTORS * SECTOR);
    CU_ASSERT_TRUE(image_holds(0, 1, 1));
    CU_ASSERT_TRUE(image_holds(SECTORS - 1, 1, (SECTORS - 1) % 251 + 1));
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

static void test_read_only(void)
{
    uint32_t used;
    memset(&guest_state, 0, sizeof(guest_state));
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.of_kind.block.read_only = 1;
    start.of_kind.block.advertise_flush = 0;
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    guest_worker(&start);
    fill_image();
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_RO)) != 0);
    CU_ASSERT_TRUE((guest_device.features & FEATURE(VIRTIO_BLK_F_FLUSH)) == 0);
    set_up_ring(FEATURE(VIRTIO_F_VERSION_1), 64); /* without RO; §5.2.6.2 says "offered" */
    memset(guest_at(DATA), 0xee, SECTOR);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_OUT, 0, SECTOR, &used), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_TRUE(image_holds(0, 1, 1));
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 0, SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_UNSUPP);
}

static void test_write_through(void)
{
    uint32_t used;
    running(FEATURE(VIRTIO_F_VERSION_1));
    memset(guest_at(DATA), 0x5a, 4 * SECTOR);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_OUT, 16, 4 * SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_TRUE(image_holds(16, 4, 0x5a));
}

/* Somebody has truncated the image. A request for the lost part fails; others succeed. */
static void test_short_image(void)
{
    uint32_t used;
    running(USUAL);
    fill_image();
    guest_logged(LOG_IO_ERROR);
    CU_ASSERT_EQUAL(ftruncate(image, 100 * SECTOR), 0);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 99, SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 99, 3 * SECTOR, &used), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(used, SECTOR);
    CU_ASSERT_EQUAL(guest_logged(LOG_IO_ERROR), 1);
    CU_ASSERT_EQUAL(ftruncate(image, SECTORS * SECTOR), 0);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 0);
}

static void test_io_error(void)
{
    uint32_t used;
    running(USUAL);
    int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dup2(directory, WORKER_FD_BACKEND); /* every call on it fails */
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 0, SECTOR, &used), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(used, 0);
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_OUT, 0, SECTOR, &used), VIRTIO_BLK_S_IOERR);
    CU_ASSERT_EQUAL(used, 1);
    CU_ASSERT_EQUAL(guest_logged(LOG_IO_ERROR), 2);
    close(directory);
}

/* ---- Framing, §2.7.4: any division into buffers means the same ---- */

/* Divide the readable and the writable bytes at random, with an indirect table or without one. */
static void offer_divided(uint32_t readable, uint32_t writable, bool indirect)
{
    struct vring_desc descs[240];
    uint32_t count = 0, at = 0;
    while (at < readable + writable) {
        uint32_t end = at < readable ? readable : readable + writable;
        uint32_t part = 1 + (uint32_t)(guest_random() % (guest_random() % 2 ? 40 : 4000));
        if (part > end - at || count >= 100)
            part = end - at;
        if (guest_random() % 8 == 0)
            part = 0;
        /* The bytes of one direction are contiguous: the readable ones from HEADER, the writable
         * ones from DATA. */
        uint64_t addr = at < readable ? HEADER + at : DATA + (at - readable);
        uint16_t flags = at < readable ? F_NEXT : F_NEXT | F_WRITE;
        descs[count] = (struct vring_desc){addr, part, flags, (uint16_t)(count + 1)};
        count++;
        at += part;
    }
    descs[count - 1].flags &= (uint16_t)~F_NEXT;
    if (indirect) {
        memcpy(guest_at(TABLE), descs, count * sizeof(descs[0]));
        guest_desc(&ring, 0, TABLE, count * (uint32_t)sizeof(descs[0]), VRING_DESC_F_INDIRECT, 0);
    } else {
        memcpy(ring.desc, descs, count * sizeof(descs[0]));
    }
    guest_offer(&ring, 0);
}

static void test_framing(void)
{
    running(USUAL);
    set_up_ring(USUAL, 256);
    fill_image();
    for (unsigned int i = 0; i < 3000; i++) {
        uint64_t sector = guest_random() % (SECTORS - 8);
        uint32_t length = SECTOR * (1 + (uint32_t)(guest_random() % 8));
        bool in = i % 2 == 0;
        unsigned char value = (unsigned char)(guest_random() % 255);
        put_header(HEADER, in ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, sector);
        memset(guest_at(DATA), 0xff, 8 * SECTOR + 1);
        if (in)
            offer_divided(16, length + 1, i % 3 == 0);
        else
            memset(guest_at(HEADER + 16), value, length);
        if (!in)
            offer_divided(16 + length, 1, i % 3 == 0);
        guest_kick(0);
        CU_ASSERT_EQUAL_FATAL(used_length(), in ? length + 1 : 1);
        const uint8_t *status = guest_at(DATA + (in ? length : 0));
        CU_ASSERT_EQUAL_FATAL(*status, VIRTIO_BLK_S_OK);
        for (uint32_t s = 0; s < length / SECTOR; s++) {
            unsigned char on_disk;
            CU_ASSERT_EQUAL(pread(image, &on_disk, 1, (off_t)((sector + s) * SECTOR)), 1);
            CU_ASSERT_TRUE_FATAL(in ? all_bytes(DATA + s * SECTOR, SECTOR, on_disk)
                                    : image_holds(sector + s, 1, value));
        }
    }
}

static void expect_malformed(uint64_t features)
{
    guest_kick(0);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
    CU_ASSERT_EQUAL(used_length(), UINT32_MAX);
    running(features);
}

static void test_malformed_requests(void)
{
    running(USUAL);
    put_header(HEADER, VIRTIO_BLK_T_IN, 0);
    guest_desc(&ring, 0, HEADER, 16, 0, 0); /* no status */
    guest_offer(&ring, 0);
    expect_malformed(USUAL);
    guest_desc(&ring, 0, HEADER, 15, F_NEXT, 1); /* no whole header */
    guest_desc(&ring, 1, STATUS, 1, F_WRITE, 0);
    guest_offer(&ring, 0);
    expect_malformed(USUAL);
    guest_desc(&ring, 0, STATUS, 1, F_WRITE, 0); /* no header */
    guest_offer(&ring, 0);
    expect_malformed(USUAL);
    guest_desc(&ring, 0, 0, 0, 0, 0); /* nothing */
    guest_offer(&ring, 0);
    expect_malformed(USUAL);
    guest_offer(&ring, 64); /* what was completed before is visible */
    offer(0, VIRTIO_BLK_T_FLUSH, 0, DATA, 0);
    ring.avail->ring[0] = 0;
    ring.avail->ring[1] = 64;
    guest_kick(0);
    CU_ASSERT_EQUAL(used_length(), 1);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
}

/* ---- Batches and turns ---- */

static void test_batch(void)
{
    running(USUAL);
    fill_image();
    offer(60, VIRTIO_BLK_T_IN, 0, DATA, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(used_length(), SECTOR + 1);
    uint64_t kicks = guest_state.counters.kicks;
    for (uint16_t i = 0; i < 20; i++)
        offer((uint16_t)(3 * i), VIRTIO_BLK_T_IN, 2 * i, DATA + i * SECTOR, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(guest_interrupts(), 1); /* asked for at 8, 16 and 20, sent once */
    guest_run();                            /* a kick is one event, even if nobody reads it */
    CU_ASSERT_EQUAL(guest_state.counters.kicks, kicks + 1);
    CU_ASSERT_EQUAL(guest_state.counters.interrupts_sent, 4);
    for (uint16_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(used_length(), SECTOR + 1);
        CU_ASSERT_TRUE(all_bytes(DATA + i * SECTOR, SECTOR, (unsigned char)(2 * i + 1)));
    }
    CU_ASSERT_EQUAL(used_length(), UINT32_MAX);
    CU_ASSERT_EQUAL(ring.used->flags, 0); /* the device wants a kick for the next one */

    set_up_ring(USUAL | FEATURE(VIRTIO_RING_F_EVENT_IDX), 64);
    const uint16_t *avail_event = (const uint16_t *)&ring.used->ring[64];
    for (uint16_t i = 1; i < 5; i++) {
        offer(0, VIRTIO_BLK_T_IN, i, DATA, SECTOR);
        guest_kick(0);
        CU_ASSERT_EQUAL(*avail_event, i);
    }
}

/* 256 segments of 2 MiB, all in the same memory: 512 MiB for one request. One turn does a small
 * part. */
static void test_turn_is_bounded(void)
{
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.of_kind.block.capacity = 1ull << 21;
    memset(&guest_state, 0, sizeof(guest_state));
    guest_fds(DEVICE_BLOCK_VIRTIO, image);
    CU_ASSERT_EQUAL(ftruncate(image, 1 << 30), 0);
    guest_worker(&start);
    set_up_ring(USUAL, 256);
    put_header(HEADER, VIRTIO_BLK_T_IN, 0);
    guest_desc(&ring, 0, HEADER, 16, F_NEXT, 1);
    for (uint16_t i = 1; i < 255; i++)
        guest_desc(&ring, i, DATA, 2u << 20, F_NEXT | F_WRITE, (uint16_t)(i + 1));
    guest_desc(&ring, 255, STATUS, 1, F_WRITE, 0);
    guest_offer(&ring, 0);
    device_notify(&guest_device, 0);
    unsigned int turns = 0;
    uint64_t before = 0;
    do {
        device_turns(&guest_device);
        CU_ASSERT_TRUE_FATAL(guest_state.counters.bytes_in - before <= 1u << 20);
        before = guest_state.counters.bytes_in;
        turns++;
    } while (turns < 20 && guest_device.work != 0);
    CU_ASSERT_EQUAL(turns, 20);
    CU_ASSERT_EQUAL(used_length(), UINT32_MAX);
    /* A reset in the middle ends it. */
    guest_write(VIRTIO_MMIO_STATUS, 0);
    guest_run();
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, before);
    set_up_ring(USUAL, 256);
    uint32_t used;
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_IN, 0, SECTOR, &used), VIRTIO_BLK_S_OK);
    CU_ASSERT_EQUAL(used, SECTOR + 1);
    CU_ASSERT_EQUAL(ftruncate(image, SECTORS * SECTOR), 0);
}

/* ---- A successor ---- */

static void succeed(void)
{
    start.incarnation++;
    guest_worker(&start);
}

static void test_successor(void)
{
    running(USUAL);
    fill_image();
    memset(guest_at(DATA), 0x77, SECTOR);
    offer(0, VIRTIO_BLK_T_OUT, 5, DATA, SECTOR);
    ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    guest_logged(LOG_RESUMED);
    succeed(); /* the predecessor has not even looked, and nobody kicks again */
    CU_ASSERT_EQUAL(guest_logged(LOG_RESUMED), 1);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    guest_run();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(used_length(), 1);
    CU_ASSERT_TRUE(image_holds(5, 1, 0x77));

    /* Death in the middle of a request: the successor does it again from its start. */
    offer(0, VIRTIO_BLK_T_IN, 5, DATA + 0x10000, SECTOR);
    guest_state.queues[0].next_avail++;
    succeed();
    guest_run();
    CU_ASSERT_EQUAL(used_length(), SECTOR + 1);
    CU_ASSERT_TRUE(all_bytes(DATA + 0x10000, SECTOR, 0x77));

    /* Death between used->idx and next_used: the request is not done again. */
    offer(0, VIRTIO_BLK_T_IN, 6, DATA, SECTOR);
    guest_kick(0);
    CU_ASSERT_EQUAL(used_length(), SECTOR + 1);
    guest_state.queues[0].next_used--;
    uint64_t requests = guest_state.counters.requests;
    succeed();
    guest_run();
    CU_ASSERT_EQUAL(guest_state.counters.requests, requests);
    CU_ASSERT_EQUAL(used_length(), UINT32_MAX);
    uint32_t used;
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
}

static void test_successor_of_a_failed_device(void)
{
    running(USUAL);
    guest_offer(&ring, 0xffff);
    guest_kick(0);
    guest_interrupts();
    succeed();
    guest_run();
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0);
    CU_ASSERT_TRUE((guest_read(VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG) != 0);
    set_up_ring(USUAL, 64);
    uint32_t used;
    CU_ASSERT_EQUAL(request(VIRTIO_BLK_T_FLUSH, 0, 0, &used), VIRTIO_BLK_S_OK);
}

static void test_start_message(void)
{
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.of_kind.block.capacity = 1ull << 55;
    CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
    static const uint32_t sizes[] = {0, 1, 2, 3, 100, 2048, UINT32_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        start = guest_start(DEVICE_BLOCK_VIRTIO);
        start.queue_size_max = sizes[i];
        CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
    }
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.kind = DEVICE_KINDS;
    CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.shmem_addr += 8;
    CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
    start = guest_start(DEVICE_BLOCK_VIRTIO);
    start.shmem_addr = 0 - GUEST_SIZE + 4096;
    CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
}

int main(int argc, char **argv)
{
    image = memfd_create("image", MFD_CLOEXEC);
    if (image < 0)
        return EXIT_FAILURE;
    image = fcntl(image, F_DUPFD_CLOEXEC, 100);
    guest_window_init();
    CU_TestInfo tests[] = {
        {"read and write", test_read_and_write},
        {"other types", test_other_types},
        {"ranges", test_ranges},
        {"read only", test_read_only},
        {"write through", test_write_through},
        {"short image", test_short_image},
        {"I/O error", test_io_error},
        {"framing", test_framing},
        {"malformed requests", test_malformed_requests},
        {"batch", test_batch},
        {"turn is bounded", test_turn_is_bounded},
        {"successor", test_successor},
        {"successor of a failed device", test_successor_of_a_failed_device},
        {"start message", test_start_message},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "block", tests);
}
