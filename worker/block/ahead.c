/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that wait in the ring are announced to the kernel, if the disk is slow: while the worker
 * waits for one of them, the disk works on all. A disk is slow if a read would have waited for it
 * (RWF_NOWAIT); after some reads that would not, it is slow no longer. A file system that does not
 * tell gets no announcements: time would tell as well who else had the processor.
 *
 * An announcement is a hint. It changes neither what a request does, nor the order of requests.
 */
#include "worker/block/block.h"

/* So many reads in a row must have been in memory before announcing stops: those that were
 * announced mostly are. */
#define FAST_READS 64u
#define ANNOUNCED_AT_ONCE 64u

void block_read_waits(bool waits)
{
    if (waits)
        block.slow = FAST_READS;
    else if (block.slow > 0)
        block.slow--;
}

/* A stretch of the image that is to be announced. */
struct stretch {
    uint64_t offset, length; /* bytes; length 0: none yet */
};

static void announce(struct turn *turn, struct stretch *stretch)
{
    if (stretch->length != 0)
        block_announce(turn->dev, stretch->offset, stretch->length);
    stretch->length = 0;
}

/* Neighbours are announced together. */
static void add(struct turn *turn, struct stretch *stretch, uint64_t sector, uint64_t bytes)
{
    if (bytes > BLOCK_CALL_BYTES)
        bytes = BLOCK_CALL_BYTES;
    if (!block_range_valid(sector, bytes))
        return;
    if (stretch->offset + stretch->length != sector * BLOCK_SECTOR) {
        announce(turn, stretch);
        stretch->offset = sector * BLOCK_SECTOR;
    }
    stretch->length += bytes;
}

/* Is it framed as block_next expects it, and a read? */
static bool is_read(const struct chain *chain, struct virtio_blk_outhdr *ret_header)
{
    struct cursor readable = chain_readable(chain);
    return chain->writable_length > 1 &&
           cursor_read(&readable, ret_header, sizeof(*ret_header)) == sizeof(*ret_header) &&
           ret_header->type == VIRTIO_BLK_T_IN;
}

/* Merging takes one request more off the ring than it merges. */
static bool is_next(const struct block_request *request, uint64_t offset)
{
    return request->active && request->done == 0 && request->type == VIRTIO_BLK_T_IN &&
           request->sector != offset / BLOCK_SECTOR;
}

void block_ahead(struct turn *turn, uint64_t offset)
{
    static struct chain chain;
    const struct block_request *request = &block_queue(turn)->request;
    struct virtio_blk_outhdr header;
    struct stretch stretch = {.length = 0};
    if (block.slow == 0 || block.direct || block.ring)
        return;
    if (is_next(request, offset) && !virtqueue_was_shown(turn->vq))
        add(turn, &stretch, request->sector, request->data_length);
    for (unsigned int i = 0; i < ANNOUNCED_AT_ONCE && virtqueue_ahead(turn->vq, &chain); i++) {
        if (is_read(&chain, &header))
            add(turn, &stretch, header.sector, chain.writable_length - 1);
    }
    announce(turn, &stretch);
}
