/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests under way: with io_engine: io_uring the kernel works on several reads at once, and with
 * O_DIRECT on several writes as well. A disk that is slow then has as much to do as it can take.
 *
 * Requests are handed to the kernel in the order of the ring, end in any order, and are completed
 * in the order of the ring: as soon as the oldest one is done, the driver sees it, and all behind
 * it that are done, too. Nothing is under way between two turns of a queue.
 *
 * A write into the page cache does not wait for the disk, so it is done at once. If each write has
 * to be stable when it completes, one fdatasync makes all those stable that are under way.
 *
 * What does not end as it should, because it moved less than all, or failed in any way, is done by
 * itself in the end, by a call that waits: that one shows what is wrong. The same holds if the
 * kernel has no thread or memory for it.
 */
#include <errno.h>

#include "common/ring.h"
#include "worker/block/block.h"
#include "worker/ring.h"

/* The driver sees what is done at least after so many requests that were taken off the ring. */
#define TAKEN_AT_ONCE 8u

enum stage {
    STAGE_SENT,   /* the kernel has it */
    STAGE_MOVED,  /* it is done */
    STAGE_WRITTEN /* it is done, but not stable yet */
};

struct sent {
    struct block_request request;
    enum stage stage;
    int32_t result; /* bytes moved, or -errno */
};

static struct {
    struct sent items[RING_ENTRIES];
    uint32_t first;     /* the oldest one; counts on, modulo RING_ENTRIES */
    uint32_t count;     /* how many are under way */
    uint32_t bytes;     /* of all of them */
    uint32_t bytes_max; /* in this turn, those that are done included */
    struct iovec segments[BLOCK_SEGMENTS_MAX];
    unsigned int segment_count; /* used by all that were sent since nothing was under way */
} flight;

static struct sent *item(uint32_t number)
{
    return &flight.items[number % RING_ENTRIES];
}

/* ---- To the kernel ---- */

/* Is it a read or write that need not be alone? */
static bool can_fly(const struct turn *turn, const struct block_request *request)
{
    bool reads = request->type == VIRTIO_BLK_T_IN;
    if (block.direct)
        return false;
    bool writes = request->type == VIRTIO_BLK_T_OUT && !block.read_only;
    /* Writes that need not wait are best joined with their neighbours (merge.c), unless there are
     * reads to go on with meanwhile. */
    if (!reads && !(writes && (block_durable(turn->dev) || flight.count > 0)))
        return false;
    return request->done == 0 && request->data_length > 0 &&
           request->data_length <= BLOCK_CALL_BYTES &&
           block_range_valid(request->sector, request->data_length);
}

static bool has_room(const struct turn *turn)
{
    return flight.count < RING_ENTRIES && turn->bytes + flight.bytes < flight.bytes_max &&
           flight.segment_count + CHAIN_SEGMENTS_MAX <= BLOCK_SEGMENTS_MAX;
}

/* Take over the request, and its segments. */
static struct sent *board(struct block_request *request)
{
    struct iovec *segments = &flight.segments[flight.segment_count];
    unsigned int count = cursor_segments(&request->data, segments, CHAIN_SEGMENTS_MAX);
    struct sent *sent = item(flight.first + flight.count);
    *sent = (struct sent){.request = *request, .stage = STAGE_MOVED};
    sent->request.data = cursor_over(segments, count, request->data_length);
    flight.segment_count += count;
    flight.bytes += request->data_length;
    flight.count++;
    request->active = false;
    return sent;
}

static void launch(struct turn *turn, struct block_request *request)
{
    uint32_t number = flight.first + flight.count;
    struct sent *sent = board(request);
    const struct cursor *data = &sent->request.data;
    uint64_t offset = sent->request.sector * BLOCK_SECTOR;
    if (sent->request.type == VIRTIO_BLK_T_IN) {
        sent->stage = STAGE_SENT;
        ring_add_read(number, data->segments, data->count, offset);
        return;
    }
    ssize_t moved = block_write_unstable(turn->dev, data, offset);
    sent->result = (int32_t)moved;
    if (block_durable(turn->dev))
        sent->stage = STAGE_WRITTEN;
}

/*
 * Take requests off the ring and send them. The first one that has to be alone is then the queue's
 * current request. Returns SERVE_DONE; SERVE_WAIT_ROOM if there are no more; SERVE_FAULT.
 */
static enum serve gather(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    for (unsigned int taken = 0; taken < TAKEN_AT_ONCE && has_room(turn); taken++) {
        enum serve r = request->active ? SERVE_DONE : block_next(turn);
        if (r != SERVE_DONE)
            return r;
        if (!can_fly(turn, request))
            return SERVE_DONE;
        launch(turn, request);
        if (taken > 0)
            turn->steps++;
    }
    return SERVE_DONE;
}

/* ---- From the kernel ---- */

static void take_results(void)
{
    uint32_t number;
    int32_t result;
    while (ring_done(&number, &result)) {
        item(number)->stage = STAGE_MOVED;
        item(number)->result = result;
    }
}

/* What the kernel does not take, is done alone. */
static void take_back(int error)
{
    uint32_t number;
    while (ring_take_back(&number)) {
        item(number)->stage = STAGE_MOVED;
        item(number)->result = error;
    }
}

static void enter(struct turn *turn, unsigned int wait)
{
    device_io_begins(turn->dev);
    int r = ring_enter(wait);
    device_io_ends(turn->dev);
    if (r < 0 && r != -EINTR)
        take_back(r);
    take_results();
}

/* ---- To the driver ---- */

/* Do what is left by calls that wait. Returns 0 or -errno. */
static int move_rest(struct turn *turn, struct block_request *request)
{
    while (request->done < request->data_length) {
        uint64_t offset = request->sector * BLOCK_SECTOR + request->done;
        ssize_t moved = request->type == VIRTIO_BLK_T_IN
                            ? block_read(turn->dev, &request->data, offset, true)
                            : block_write_unstable(turn->dev, &request->data, offset);
        if (moved > 0)
            block_advance(turn, request, (uint32_t)moved);
        else if (moved != -EINTR)
            return (int)moved;
    }
    return 0;
}

/* Make stable what was written. If that fails, it is not known which of them are: the kernel tells
 * of a failure only once. */
static void make_stable(struct turn *turn)
{
    device_signal(turn->dev, turn->vq); /* this can take long */
    int r = block_sync(turn->dev);
    for (uint32_t i = 0; i < flight.count; i++) {
        struct sent *sent = item(flight.first + i);
        if (sent->stage != STAGE_WRITTEN)
            continue;
        sent->stage = STAGE_MOVED;
        if (r < 0)
            sent->result = r;
    }
}

static void finish_oldest(struct turn *turn)
{
    struct sent *sent = item(flight.first);
    struct block_request *request = &sent->request;
    int r = 0;
    if (sent->result > 0)
        block_advance(turn, request, (uint32_t)sent->result);
    if (request->done < request->data_length)
        r = move_rest(turn, request);
    if (r < 0)
        block_fail(turn, request, -r);
    else
        block_finish_moved(turn, request);
    flight.bytes -= request->data_length;
    flight.first++;
    if (--flight.count == 0)
        flight.segment_count = 0;
}

/* Complete the oldest ones that are done. Returns how many. */
static unsigned int finish(struct turn *turn)
{
    unsigned int finished = 0;
    while (flight.count > 0 && item(flight.first)->stage != STAGE_SENT) {
        if (item(flight.first)->stage == STAGE_WRITTEN)
            make_stable(turn);
        finish_oldest(turn);
        finished++;
    }
    return finished;
}

/* Wait until the oldest one is done, and complete it. */
static void wait_for_oldest(struct turn *turn)
{
    device_signal(turn->dev, turn->vq);
    while (finish(turn) == 0)
        enter(turn, 1);
}

/* ---- A turn ---- */

enum serve block_flight_step(struct turn *turn)
{
    const struct block_request *request = &block_queue(turn)->request;
    enum serve r = gather(turn);
    if (flight.count == 0)
        return request->active ? block_serve_alone(turn) : r;
    /* It matters whether it has to be waited for: if so, the driver works on what it has, and may
     * have to be interrupted for that. */
    bool wait = r != SERVE_DONE || request->active || !has_room(turn);
    enter(turn, wait && !virtqueue_undecided(turn->vq) ? 1 : 0);
    if (finish(turn) == 0 && wait)
        wait_for_oldest(turn);
    return r == SERVE_FAULT ? r : SERVE_DONE;
}

void block_flight_begins(uint32_t bytes_max)
{
    flight.bytes_max = bytes_max;
}

void block_flight_ends(struct turn *turn)
{
    while (flight.count > 0) {
        if (finish(turn) == 0)
            wait_for_oldest(turn);
        virtqueue_publish(turn->vq);
    }
}
