/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at random. One vCPU starts the device again and again and gives it spoiled rings.
 * Another vCPU writes any register and any ring memory at the same time. Every access is answered,
 * no worker is restarted, and the neighbour's requests succeed.
 *
 * BAO_FUZZ_SECONDS (10; 300 if BVDM_LONG is 1) and BAO_FUZZ_SEED (1) make longer and other
 * campaigns. What each vCPU does follows from the seed. How they interleave does not.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/fixture.h"

#define BIT(n) (1ull << (n))
#define SCRIBBLE_SIZE 0x40000u /* bytes from the window's start: the rings are there */
#define LOG_MAX (1 << 20)

struct hostile {
    struct fixture *fixture;
    uint64_t random;
    atomic_bool *stop;
    int error; /* of the first access that was not answered */
    uint64_t accesses, resets, kicks;
};

static uint64_t next_random(struct hostile *hostile)
{
    hostile->random ^= hostile->random << 13;
    hostile->random ^= hostile->random >> 7;
    hostile->random ^= hostile->random << 17;
    return hostile->random;
}

static uint64_t below(struct hostile *hostile, uint64_t limit)
{
    return next_random(hostile) % limit;
}

static uint64_t hostile_value(struct hostile *hostile)
{
    static const uint64_t corners[] = {
        0,          1,          2,         3,          7,          15,
        16,         0x7f,       0x80,      0xff,       0x100,      0x7fff,
        0x8000,     0xffff,     0x10000,   0x7fffffff, 0x80000000, 0xfffffff0,
        0xffffffff, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX,
    };
    if (below(hostile, 4) == 0)
        return next_random(hostile);
    return corners[below(hostile, sizeof(corners) / sizeof(corners[0]))];
}

static uint64_t hostile_address(struct hostile *hostile, const struct guest *guest)
{
    switch (below(hostile, 8)) {
    case 0:
        return hostile_value(hostile);
    case 1: /* around the end of the window */
        return guest->shmem_addr + guest->shmem_size - 32 + below(hostile, 64);
    case 2: /* around its start: the ring itself */
        return guest->shmem_addr - 16 + below(hostile, 64);
    default:
        return guest->shmem_addr + below(hostile, SCRIBBLE_SIZE) / 16 * 16;
    }
}

static void hostile_descriptor(struct hostile *hostile, const struct guest *guest,
                               struct vring_desc *desc)
{
    static const uint32_t lengths[] = {0, 1, 16, 17, 32, 48, 512, 513, 4096, 65536};
    desc->addr = hostile_address(hostile, guest);
    desc->len = below(hostile, 8) == 0
                    ? (uint32_t)hostile_value(hostile)
                    : lengths[below(hostile, sizeof(lengths) / sizeof(lengths[0]))];
    desc->flags =
        below(hostile, 16) == 0 ? (uint16_t)next_random(hostile) : (uint16_t)below(hostile, 8);
    desc->next =
        below(hostile, 16) == 0 ? (uint16_t)next_random(hostile) : (uint16_t)below(hostile, 256);
}

/* A block request, mostly correct, at descriptors at, at + 1, at + 2. */
static void good_request(struct hostile *hostile, const struct guest_queue *queue, uint16_t at)
{
    const struct guest *guest = queue->guest;
    const uint64_t area = 0x100000 + 0x4000ull * at; /* behind the memory that is scribbled on */
    struct virtio_blk_outhdr header = {
        .type = (uint32_t)below(hostile, 2),
        .sector = below(hostile, FIXTURE_IMAGE_SECTORS),
    };
    if (below(hostile, 8) == 0)
        header.type = (uint32_t)hostile_value(hostile);
    if (below(hostile, 8) == 0)
        header.sector = hostile_value(hostile);
    memcpy(guest->window + area, &header, sizeof(header));
    bool write = header.type == VIRTIO_BLK_T_OUT;
    queue->desc[at] =
        (struct vring_desc){guest->shmem_addr + area, 16, VRING_DESC_F_NEXT, (uint16_t)(at + 1)};
    queue->desc[at + 1] = (struct vring_desc){
        guest->shmem_addr + area + 0x1000, 512 * (uint32_t)below(hostile, 16),
        (uint16_t)(VRING_DESC_F_NEXT | (write ? 0 : VRING_DESC_F_WRITE)), (uint16_t)(at + 2)};
    queue->desc[at + 2] =
        (struct vring_desc){guest->shmem_addr + area + 16, 1, VRING_DESC_F_WRITE, 0};
}

/* The n-th chain. It is mostly correct except for one thing, so that the device gets far into it.
 */
static void offer_chain(struct hostile *hostile, struct guest_queue *queue, uint16_t n)
{
    uint16_t at = (uint16_t)(n * 3 % (queue->size - 2));
    good_request(hostile, queue, at);
    if (below(hostile, 3) == 0)
        hostile_descriptor(hostile, queue->guest, &queue->desc[at + below(hostile, 3)]);
    if (queue->indirect && below(hostile, 3) == 0) {
        struct vring_desc *table = queue->indirect + 4ul * at;
        for (unsigned int i = 0; i < 4; i++)
            hostile_descriptor(hostile, queue->guest, &table[i]);
        table[0] = queue->desc[at];
        table[0].next = 1;
        queue->desc[at] =
            (struct vring_desc){queue->indirect_addr + 64ull * at, 16 * (uint32_t)below(hostile, 5),
                                VRING_DESC_F_INDIRECT, 0};
    }
    bool bad_head = below(hostile, 64) == 0;
    queue->avail->ring[n & (queue->size - 1)] = bad_head ? (uint16_t)next_random(hostile) : at;
}

/* Bring the device up as far as the other vCPU allows. */
static bool come_up(struct hostile *hostile, struct guest *guest, struct guest_queue *queue)
{
    uint64_t features = GUEST_BLOCK_FEATURES;
    if (below(hostile, 2) == 0)
        features &= ~BIT(VIRTIO_RING_F_INDIRECT_DESC);
    if (below(hostile, 2) == 0)
        features &= ~BIT(VIRTIO_RING_F_EVENT_IDX);
    guest_queue_free(queue);
    if (guest_probe(guest, 2) < 0 || guest_negotiate(guest, features) < 0 ||
        guest_queue_start(guest, queue, 0, 4u << below(hostile, 6)) < 0 ||
        guest_driver_ok(guest) < 0)
        return false;
    hostile->resets++;
    return queue->size >= 4;
}

/* Errors that the driver finds are expected. An access without an answer is not. */
static void note_error(struct hostile *hostile, struct guest *guest)
{
    if (guest->error == -ETIMEDOUT || guest->error == -ESHUTDOWN)
        hostile->error = guest->error;
    guest->error = 0;
    hostile->accesses += guest->register_accesses;
    guest->register_accesses = 0;
}

static void *spoil_rings(void *argument)
{
    struct hostile *hostile = argument;
    struct guest guest;
    struct guest_queue queue = {0};
    fixture_guest(hostile->fixture, 0, &guest);
    while (!atomic_load(hostile->stop) && hostile->error == 0) {
        bool up = come_up(hostile, &guest, &queue);
        for (unsigned int round = 0; up && round < 8; round++) {
            uint64_t count = 1 + below(hostile, queue.size / 3 + 1);
            for (uint64_t i = 0; i < count; i++)
                offer_chain(hostile, &queue, (uint16_t)(queue.avail_index + i));
            queue.avail_index = (uint16_t)(queue.avail_index + count);
            if (below(hostile, 32) == 0)
                queue.avail_index = (uint16_t)next_random(hostile);
            __atomic_store_n(&queue.avail->idx, queue.avail_index, __ATOMIC_RELEASE);
            guest_write(&guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
            hostile->kicks++;
            (void)guest_read(&guest, VIRTIO_MMIO_INTERRUPT_STATUS, 4);
            /* an interrupt may or may not come */
            (void)standin_wait_irq(guest.standin, 0, (int)below(hostile, 2));
        }
        note_error(hostile, &guest);
    }
    guest_queue_free(&queue);
    return NULL;
}

static void *spoil_registers(void *argument)
{
    static const unsigned int widths[] = {1, 2, 4, 8};
    struct hostile *hostile = argument;
    struct guest guest;
    fixture_guest(hostile->fixture, 0, &guest);
    while (!atomic_load(hostile->stop) && hostile->error == 0) {
        /* Rare enough for the device to run between two resets. */
        uint64_t offset = below(hostile, 4) == 0 ? below(hostile, 0x210) : below(hostile, 0x40) * 4;
        unsigned int width = below(hostile, 4) == 0 ? widths[below(hostile, 4)] : 4;
        uint64_t value =
            below(hostile, 3) == 0 ? hostile_address(hostile, &guest) : hostile_value(hostile);
        bool disruptive = offset < VIRTIO_MMIO_CONFIG && offset != VIRTIO_MMIO_QUEUE_NOTIFY;
        if (below(hostile, 2) == 0)
            (void)guest_read(&guest, offset, width);
        else if (!disruptive || below(hostile, 16) == 0)
            guest_write(&guest, offset, width, value);
        for (uint64_t i = below(hostile, 64); i > 0; i--) {
            uint64_t at = below(hostile, SCRIBBLE_SIZE);
            if (below(hostile, 8) == 0)
                at = below(hostile, 0x2000); /* the rings themselves */
            __atomic_store_n(&guest.window[at], (uint8_t)hostile_value(hostile), __ATOMIC_RELAXED);
        }
        note_error(hostile, &guest);
    }
    return NULL;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

/* The neighbour does its work until the time is over. */
static unsigned int run_neighbour(struct guest_block *block, uint64_t seconds)
{
    unsigned int done = 0;
    uint8_t data[4096], expected[512];
    time_t end = time(NULL) + (time_t)seconds;
    while (time(NULL) < end && block->guest.error == 0) {
        uint64_t sector = done * 8ull % FIXTURE_IMAGE_SECTORS;
        int r = guest_block_io(block, VIRTIO_BLK_T_IN, sector, data, sizeof(data));
        fixture_sector(sector, expected);
        if (r != 0 || memcmp(data, expected, 512) != 0) {
            CU_FAIL("the neighbour's request failed");
            break;
        }
        done++;
        usleep(1000);
    }
    return done;
}

static void a_guest_that_does_anything_at_all(void)
{
    struct fixture fixture;
    struct guest_block neighbour, block;
    atomic_bool stop = false;
    const uint64_t seed = number_from("BAO_FUZZ_SEED", 1);
    struct hostile rings = {
        .fixture = &fixture, .stop = &stop, .random = seed * 0x9e3779b97f4a7c15 | 1};
    struct hostile registers = {
        .fixture = &fixture, .stop = &stop, .random = seed * 0xbf58476d1ce4e5b9 | 1};
    pthread_t threads[2];
    fixture_start_blocks(&fixture, 2);
    fixture_block(&fixture, 1, &neighbour, GUEST_BLOCK_FEATURES, 1, 4096);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[0], NULL, spoil_rings, &rings), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&threads[1], NULL, spoil_registers, &registers), 0);
    unsigned int done = run_neighbour(
        &neighbour, number_from("BAO_FUZZ_SECONDS", number_from("BVDM_LONG", 0) ? 300 : 10));
    atomic_store(&stop, true);
    for (unsigned int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);

    printf("%llu accesses, %llu kicks, %llu times up, neighbour %u requests ... ",
           (unsigned long long)(rings.accesses + registers.accesses),
           (unsigned long long)rings.kicks, (unsigned long long)rings.resets, done);
    CU_ASSERT_EQUAL(rings.error, 0);
    CU_ASSERT_EQUAL(registers.error, 0);
    CU_ASSERT(rings.resets > 10 && rings.kicks > 100 && registers.accesses > 1000 && done > 10);

    fixture_assert_never_restarted(&fixture);
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 1, 4096);
    uint8_t data[512];
    (void)standin_wait_irq(fixture.standin, 0, 0);
    CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_IN, 0, data, 512), 0);
    struct stat file;
    int image = fixture_open(&fixture, "disk0.img");
    CU_ASSERT(fstat(image, &file) == 0 && file.st_size == FIXTURE_IMAGE_SECTORS * 512);
    close(image);
    CU_ASSERT(fstat(fixture.log_fd, &file) == 0 && file.st_size < LOG_MAX);
    guest_block_free(&block);
    guest_block_free(&neighbour);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a guest that does anything at all", a_guest_that_does_anything_at_all},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "hostile guest", tests);
}
