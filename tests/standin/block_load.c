/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/block_load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIT(n) (1ull << (n))
#define BLOCK_DEVICE_ID 2
#define QUEUES_MAX 16u
#define DEPTH 8u /* slots of a queue */
#define SECTOR 512u
#define REQUEST_SECTORS 16u

struct slot {
    unsigned int queue;
    uint64_t first, sectors; /* its part of the image */
    uint64_t next;           /* the next request's place, for sequential ones */
    bool busy;
    uint32_t type;
    uint64_t sector;
    uint32_t count; /* sectors */
    struct virtio_blk_outhdr *header;
    uint8_t *data, *status;
    uint64_t header_addr, data_addr, status_addr;
};

struct block_load {
    struct guest *guest;
    unsigned int queue_count;
    struct guest_queue queues[QUEUES_MAX];
    struct slot slots[QUEUES_MAX][DEPTH];
    int image;
    uint64_t sectors;
    uint32_t block; /* sectors that are discarded together, or not at all */
    uint8_t *expected;
    uint64_t random;
    uint64_t completed;
    unsigned int wrong;
    bool ending;
};

static uint32_t random_below(struct block_load *load, uint32_t limit)
{
    load->random = load->random * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(load->random >> 33) % limit;
}

static uint8_t *expected_at(const struct block_load *load, uint64_t sector)
{
    return load->expected + sector * SECTOR;
}

static int make_slot(struct block_load *load, unsigned int queue, unsigned int number)
{
    struct slot *slot = &load->slots[queue][number];
    uint64_t part = load->sectors / ((uint64_t)load->queue_count * DEPTH);
    slot->queue = queue;
    slot->sectors = part;
    slot->first = part * (queue * DEPTH + number);
    slot->header = guest_alloc(load->guest, sizeof(*slot->header), 16, &slot->header_addr);
    slot->status = guest_alloc(load->guest, 1, 1, &slot->status_addr);
    slot->data =
        guest_alloc(load->guest, (uint64_t)REQUEST_SECTORS * SECTOR, 4096, &slot->data_addr);
    return slot->header && slot->status && slot->data ? 0 : -ENOMEM;
}

static int bring_up(struct block_load *load, uint64_t format)
{
    struct guest *guest = load->guest;
    uint64_t wanted = GUEST_BLOCK_FEATURES | format | BIT(VIRTIO_BLK_F_MQ) |
                      BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES);
    int r = guest_probe(guest, BLOCK_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, wanted);
    uint16_t queues = 1;
    if (r == 0 && (guest->features & BIT(VIRTIO_BLK_F_MQ)) != 0)
        guest_config(guest, offsetof(struct virtio_blk_config, num_queues), &queues, 2, 2);
    if (r == 0 && queues != load->queue_count)
        return -EPROTO;
    if (r == 0)
        guest_config(guest, offsetof(struct virtio_blk_config, blk_size), &load->block, 4, 4);
    load->block /= SECTOR;
    for (unsigned int q = 0; r == 0 && q < load->queue_count; q++) {
        r = guest_queue_start(guest, &load->queues[q], q, 64);
        for (unsigned int i = 0; r == 0 && i < DEPTH; i++)
            r = make_slot(load, q, i);
    }
    return r < 0 ? r : guest_driver_ok(guest);
}

static void free_load(struct block_load *load)
{
    for (unsigned int q = 0; q < load->queue_count; q++)
        guest_queue_free(&load->queues[q]);
    free(load->expected);
    free(load);
}

struct block_load *block_load_start(struct guest *guest, unsigned int queues, int image,
                                    uint64_t sectors, uint64_t format)
{
    struct block_load *load = calloc(1, sizeof(*load));
    if (!load)
        return NULL;
    *load = (struct block_load){.guest = guest,
                                .queue_count = queues,
                                .image = image,
                                .sectors = sectors,
                                .expected = malloc(sectors * SECTOR),
                                .random = 4711};
    if (!load->expected ||
        pread(image, load->expected, sectors * SECTOR, 0) != (ssize_t)(sectors * SECTOR) ||
        bring_up(load, format) < 0) {
        free_load(load);
        return NULL;
    }
    return load;
}

static bool has(const struct block_load *load, unsigned int feature)
{
    return (load->guest->features & BIT(feature)) != 0;
}

static void choose(struct block_load *load, struct slot *slot)
{
    static const uint32_t types[] = {
        VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,          VIRTIO_BLK_T_IN,
        VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_FLUSH};
    uint32_t choice = random_below(load, 64);
    /* Flushes and ranges (discard, write zeroes) are rarer than reads and writes. */
    slot->type = types[choice < 8 ? choice : choice % 4];
    if ((slot->type == VIRTIO_BLK_T_DISCARD && !has(load, VIRTIO_BLK_F_DISCARD)) ||
        (slot->type == VIRTIO_BLK_T_WRITE_ZEROES && !has(load, VIRTIO_BLK_F_WRITE_ZEROES)))
        slot->type = VIRTIO_BLK_T_OUT;
    slot->count = 1 + random_below(load, REQUEST_SECTORS);
    uint64_t room = slot->sectors - slot->count;
    /* Half of the requests begin where the last one ended. */
    if (choice % 2 == 0 || slot->next > room)
        slot->next = random_below(load, (uint32_t)room + 1);
    slot->sector = slot->first + slot->next;
    slot->next += slot->count;
}

static uint32_t fill(struct block_load *load, struct slot *slot)
{
    uint32_t length = slot->count * SECTOR;
    struct virtio_blk_discard_write_zeroes range = {.sector = slot->sector,
                                                    .num_sectors = slot->count};
    *slot->header = (struct virtio_blk_outhdr){.type = slot->type};
    *slot->status = 0xff;
    switch (slot->type) {
    case VIRTIO_BLK_T_OUT:
        for (uint32_t i = 0; i < length; i++)
            slot->data[i] = (uint8_t)random_below(load, 256);
        /* fallthrough */
    case VIRTIO_BLK_T_IN:
        slot->header->sector = slot->sector;
        return length;
    case VIRTIO_BLK_T_FLUSH:
        return 0;
    default:
        if (slot->type == VIRTIO_BLK_T_WRITE_ZEROES)
            range.flags = slot->count % 2; /* unmap */
        memcpy(slot->data, &range, sizeof(range));
        return sizeof(range);
    }
}

static void submit(struct block_load *load, struct slot *slot)
{
    choose(load, slot);
    uint32_t length = fill(load, slot);
    struct guest_segment segments[3];
    unsigned int count = 0;
    segments[count++] = (struct guest_segment){slot->header_addr, sizeof(*slot->header), false};
    if (length > 0)
        segments[count++] =
            (struct guest_segment){slot->data_addr, length, slot->type == VIRTIO_BLK_T_IN};
    segments[count++] = (struct guest_segment){slot->status_addr, 1, true};
    slot->busy = guest_queue_add(&load->queues[slot->queue], segments, count, slot) == 0;
    load->wrong += !slot->busy;
}

/* After a discard, too, a hole in the file reads as zeros. */
static void discarded(struct block_load *load, const struct slot *slot)
{
    uint64_t first = (slot->sector + load->block - 1) / load->block * load->block;
    uint64_t end = (slot->sector + slot->count) / load->block * load->block;
    if (first < end)
        memset(expected_at(load, first), 0, (end - first) * SECTOR);
}

/* Notes what a write has changed in the image, or checks what a read has found there. */
static void complete(struct block_load *load, struct slot *slot)
{
    size_t length = (size_t)slot->count * SECTOR;
    uint8_t *expected = expected_at(load, slot->sector);
    slot->busy = false;
    load->completed++;
    load->wrong += *slot->status != VIRTIO_BLK_S_OK;
    if (slot->type == VIRTIO_BLK_T_OUT)
        memcpy(expected, slot->data, length);
    else if (slot->type == VIRTIO_BLK_T_IN)
        load->wrong += memcmp(expected, slot->data, length) != 0;
    else if (slot->type == VIRTIO_BLK_T_DISCARD)
        discarded(load, slot);
    else if (slot->type == VIRTIO_BLK_T_WRITE_ZEROES)
        memset(expected, 0, length);
}

static void take(struct block_load *load, struct guest_queue *queue)
{
    do {
        struct slot *slot;
        uint32_t length;
        guest_queue_disable_interrupts(queue);
        while ((slot = guest_queue_get(queue, &length)))
            complete(load, slot);
    } while (!guest_queue_enable_interrupts(queue) && load->guest->error == 0);
}

static unsigned int refill(struct block_load *load)
{
    unsigned int busy = 0;
    for (unsigned int q = 0; q < load->queue_count; q++) {
        for (unsigned int i = 0; i < DEPTH; i++) {
            struct slot *slot = &load->slots[q][i];
            if (!slot->busy && !load->ending)
                submit(load, slot);
            busy += slot->busy;
        }
        if (!load->ending)
            guest_queue_kick(&load->queues[q]);
    }
    return busy;
}

static int step(struct block_load *load)
{
    int r = guest_take_interrupt(load->guest);
    for (unsigned int q = 0; r >= 0 && q < load->queue_count; q++)
        take(load, &load->queues[q]);
    return r < 0 ? r : load->guest->error;
}

int block_load_run(struct block_load *load, unsigned int requests)
{
    uint64_t end = load->completed + requests;
    refill(load);
    while (load->completed < end) {
        int r = step(load);
        if (r < 0)
            return r;
        refill(load);
    }
    return (int)load->wrong;
}

int block_load_end(struct block_load *load)
{
    size_t size = load->sectors * SECTOR;
    uint8_t *found = malloc(size);
    int r = found ? 0 : -ENOMEM;
    load->ending = true;
    while (r == 0 && refill(load) > 0)
        r = step(load);
    if (r == 0 && (pread(load->image, found, size, 0) != (ssize_t)size ||
                   memcmp(found, load->expected, size) != 0))
        load->wrong++;
    r = r < 0 ? r : (int)load->wrong;
    free(found);
    free_load(load);
    return r;
}
