/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merging: a driver that reads or writes sequentially in small requests has many neighbours in the
 * ring at the same time, and each would cost a system call. They are gathered until one does not
 * fit, moved by one call, and completed in order. Each is still a request of its own: if one call
 * fails for all of them, a call is made for each.
 */
#include "worker/block/block.h"

#include <errno.h>

/* The driver is interrupted after this many requests in any case. So it works on these while this
 * side works on the next ones. */
#define MERGE_REQUESTS 8u
#define MERGE_BYTES 0x10000u
/* With O_DIRECT each call waits for the disk. That takes longer than the work that a driver could
 * do meanwhile, and the disk is faster if it gets more at once. */
#define MERGE_DIRECT_REQUESTS 64u
#define MERGE_DIRECT_BYTES 0x40000u

/* It holds requests only within a turn. */
static struct {
    struct block_request requests[MERGE_DIRECT_REQUESTS];
    unsigned int count;
    unsigned int next; /* the first request that is not finished */
    struct iovec segments[BLOCK_SEGMENTS_MAX];
    unsigned int segment_count;
    uint32_t bytes;
    uint64_t next_sector; /* where the last request ends */
} batch;

static unsigned int requests_max(void)
{
    return block.direct ? MERGE_DIRECT_REQUESTS : MERGE_REQUESTS;
}

static uint32_t bytes_max(void)
{
    return block.direct ? MERGE_DIRECT_BYTES : MERGE_BYTES;
}

static void add(struct block_request *request)
{
    struct iovec *segments = &batch.segments[batch.segment_count];
    unsigned int count =
        cursor_segments(&request->data, segments, BLOCK_SEGMENTS_MAX - batch.segment_count);
    batch.requests[batch.count++] = (struct block_request){
        .type = request->type,
        .sector = request->sector,
        .ref = request->ref,
        .data = cursor_over(segments, count, request->data_length),
        .data_length = request->data_length,
        .writable_data = request->writable_data,
        .status = request->status,
    };
    batch.segment_count += count;
    batch.bytes += request->data_length;
    batch.next_sector = request->sector + request->data_length / BLOCK_SECTOR;
    request->active = false;
}

/* Is the request small enough to be one of several? */
static bool fits(const struct block_request *request, uint32_t bytes, unsigned int segments)
{
    return request->data_length > 0 && request->data_length <= bytes_max() - bytes &&
           request->data.count <= BLOCK_SEGMENTS_MAX - segments &&
           block_aligned(&request->data, request->sector * BLOCK_SECTOR);
}

static bool goes_on(const struct block_request *request)
{
    return request->type == batch.requests[0].type && request->sector == batch.next_sector &&
           block_range_valid(request->sector, request->data_length) &&
           fits(request, batch.bytes, batch.segment_count);
}

bool block_mergeable(const struct turn *turn)
{
    const struct block_request *request = &block_queue(turn)->request;
    return request->done == 0 && request->data_length <= bytes_max() / 2 &&
           virtqueue_available(turn->vq) && fits(request, 0, 0);
}

/* Returns SERVE_DONE, or SERVE_FAULT if the ring is broken behind the gathered requests. */
static enum serve gather(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    batch.count = 0;
    batch.next = 0;
    batch.segment_count = 0;
    batch.bytes = 0;
    add(request);
    while (batch.count < requests_max() && virtqueue_available(turn->vq)) {
        enum serve r = block_next(turn);
        if (r == SERVE_FAULT)
            return r;
        if (r != SERVE_DONE)
            break;
        turn->steps++;
        if (!goes_on(request))
            break;
        add(request);
    }
    return SERVE_DONE;
}

/* Note that `moved` bytes are done, counted from the first request that is not finished. */
static void account(struct turn *turn, uint32_t moved)
{
    while (moved > 0) {
        struct block_request *request = &batch.requests[batch.next];
        uint32_t left = request->data_length - request->done;
        uint32_t part = moved < left ? moved : left;
        moved -= part;
        block_advance(turn, request, part);
        if (part < left)
            return;
        block_finish_moved(turn, request);
        batch.next++;
    }
}

/* Move what is left of `count` requests, beginning with the first that is not finished. Their data
 * lie one after the other in batch.segments. */
static ssize_t move_data(struct turn *turn, unsigned int count)
{
    const struct block_request *first = &batch.requests[batch.next];
    const struct block_request *last = first + count - 1;
    uint64_t offset = first->sector * BLOCK_SECTOR + first->done;
    struct cursor all = first->data;
    all.count = (unsigned int)(last->data.segments + last->data.count - all.segments);
    for (const struct block_request *request = first + 1; request <= last; request++)
        all.left += request->data.left;
    return block_move(turn, first->type, &all, offset);
}

static void serve_batch(struct turn *turn)
{
    bool singly = false;
    while (batch.next < batch.count) {
        unsigned int count = singly ? 1 : batch.count - batch.next;
        ssize_t moved = move_data(turn, count);
        if (moved > 0) {
            account(turn, (uint32_t)moved);
        } else if (count > 1 && moved != -EINTR) {
            singly = true; /* one call for each request shows which one fails */
        } else if (moved != -EINTR) {
            block_fail(turn, &batch.requests[batch.next], (int)-moved);
            batch.next++;
        }
    }
}

enum serve block_merged(struct turn *turn)
{
    enum serve r = gather(turn);
    serve_batch(turn);
    return r;
}
