/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "worker/block/block.h"

/* A hole costs far less than a write: a turn counts this many bytes of a hole as one byte moved. */
#define PUNCHED_AS_ONE 64u

#define RANGE_SIZE sizeof(struct virtio_blk_discard_write_zeroes)

/* Copy the ranges from the data, once. */
static void copy_ranges(struct block_queue *queue)
{
    cursor_read(&queue->request.data, queue->ranges, queue->request.data_length);
    queue->range_count = queue->request.data_length / (uint32_t)RANGE_SIZE;
    queue->range = 0;
    queue->range_done = 0;
}

/*
 * §5.2.6.2: an unknown flag, or UNMAP in a discard, is not supported. All ranges are checked before
 * the first is changed.
 */
static uint8_t check_ranges(const struct block_queue *queue)
{
    uint32_t known =
        queue->request.type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0;
    for (unsigned int i = 0; i < queue->range_count; i++) {
        if ((queue->ranges[i].flags & ~known) != 0)
            return VIRTIO_BLK_S_UNSUPP;
    }
    for (unsigned int i = 0; i < queue->range_count; i++) {
        uint32_t sectors = queue->ranges[i].num_sectors;
        if (sectors > BLOCK_RANGE_SECTORS ||
            !block_range_valid(queue->ranges[i].sector, (uint64_t)sectors * BLOCK_SECTOR))
            return VIRTIO_BLK_S_IOERR;
    }
    return VIRTIO_BLK_S_OK;
}

static ssize_t punch(struct turn *turn, uint64_t offset, uint64_t length)
{
    device_signal(turn->dev, turn->vq); /* this can take long */
    ssize_t done = block_punch(turn->dev, offset, length);
    if (done > 0)
        turn->bytes += (uint32_t)((size_t)done / PUNCHED_AS_ONE);
    return done;
}

static ssize_t write_zeros(struct turn *turn, uint64_t offset, uint64_t length)
{
    block_before_write(turn);
    ssize_t done = block_write_zeros(turn->dev, offset, length);
    if (done > 0)
        turn->bytes += (uint32_t)done;
    return done;
}

/* If only a part of a block is discarded, the whole block stays. */
static ssize_t discard(struct turn *turn, uint64_t offset, uint64_t length)
{
    uint64_t mask = block.blk_size - 1;
    uint64_t first = (offset + mask) & ~mask, end = (offset + length) & ~mask;
    if (first >= end)
        return (ssize_t)length;
    ssize_t done = punch(turn, first, end - first);
    if (done < 0)
        return done;
    uint64_t reached = first + (uint64_t)done;
    return (ssize_t)(reached == end ? length : reached - offset);
}

static ssize_t write_zeroes(struct turn *turn, uint64_t offset, uint64_t length, bool unmap)
{
    if (unmap) {
        /* Deallocated bytes read as zeros, both in a file and on a block device. */
        ssize_t done = punch(turn, offset, length);
        if (done != -EOPNOTSUPP && done != -EINVAL)
            return done;
    }
    return write_zeros(turn, offset, length);
}

/* Do the next piece of the current range, of which `length` bytes are left. Returns the bytes done,
 * or -errno. */
static ssize_t next_piece(struct turn *turn, uint64_t length)
{
    const struct block_queue *queue = block_queue(turn);
    const struct virtio_blk_discard_write_zeroes *range = &queue->ranges[queue->range];
    uint64_t offset = range->sector * BLOCK_SECTOR + queue->range_done;
    if (queue->request.type == VIRTIO_BLK_T_DISCARD)
        return discard(turn, offset, length);
    return write_zeroes(turn, offset, length,
                        (range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0);
}

static void all_done(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    int r = 0;
    /* fallocate has no flag for durability. */
    if (request->type == VIRTIO_BLK_T_WRITE_ZEROES && block_durable(turn->dev))
        r = block_flush(turn);
    if (r < 0)
        block_fail(turn, request, -r);
    else
        block_finish(turn, request, 0, VIRTIO_BLK_S_OK);
}

static void failed(struct turn *turn, int error)
{
    struct block_request *request = &block_queue(turn)->request;
    if (error == EINTR)
        return;
    if (error == EOPNOTSUPP)
        block_finish(turn, request, 0, VIRTIO_BLK_S_UNSUPP);
    else
        block_fail(turn, request, error);
}

/* Returns false if the request is finished: it has no ranges to work on. */
static bool begin(struct turn *turn)
{
    struct block_queue *queue = block_queue(turn);
    struct block_request *request = &queue->request;
    uint8_t status = VIRTIO_BLK_S_IOERR;
    if (request->data_length != 0 && request->data_length % RANGE_SIZE == 0 &&
        request->data_length <= sizeof(queue->ranges)) {
        copy_ranges(queue);
        status = check_ranges(queue);
    }
    if (status == VIRTIO_BLK_S_OK)
        return true;
    block_finish(turn, request, 0, status);
    return false;
}

void block_ranges(struct turn *turn)
{
    struct block_queue *queue = block_queue(turn);
    if (queue->range_count == 0 && !begin(turn))
        return;
    if (queue->range == queue->range_count) {
        all_done(turn);
        return;
    }
    uint64_t left = (uint64_t)queue->ranges[queue->range].num_sectors * BLOCK_SECTOR;
    left -= queue->range_done;
    ssize_t done = left > 0 ? next_piece(turn, left) : 0;
    if (done < 0) {
        failed(turn, (int)-done);
        return;
    }
    queue->range_done += (uint64_t)done;
    if ((uint64_t)done == left) {
        queue->range++;
        queue->range_done = 0;
    }
}
