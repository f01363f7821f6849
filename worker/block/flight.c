/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests under way: with io_engine: io_uring the kernel works on several reads at once, and with
 * O_DIRECT on several writes as well. A disk that is slow then has as much to do as it can take.
 *
 * Requests are handed to the kernel in the order of the ring, end in any order, and are completed
 * in the order of the ring: when the worker finds the oldest one done, the driver sees it, and all
 * behind it that are done, too. If there is nothing else to do, the worker sleeps until an eighth
 * of those under way is done. If a turn ends at its bound, those that are under way stay so until
 * the next turn of the same queue, unless another queue waits: the disk goes on while the worker
 * looks at its mailbox. When the queue stops, none is under way any more.
 *
 * A write into the page cache does not wait for the disk, so it is done at once. With O_DIRECT the
 * kernel gets it like a read. If each write has to be stable when it completes, one fdatasync makes
 * all those stable that are under way.
 *
 * Where O_DIRECT does not reach the window (io.c), each request has memory of our own.
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

/* A worker that waits is woken up when an eighth of those under way is done: each wake-up costs
 * more than those few lose by it. */
#define WAKE_SHARE 8u

#define POOL_BYTES (4 * BLOCK_CALL_BYTES)
#define POOL_ALIGNMENT 65536u /* the largest block size */
#define PLACE_ALIGNMENT 4096u /* the largest alignment that O_DIRECT asks of memory */

enum stage {
    STAGE_SENT,   /* the kernel has it */
    STAGE_MOVED,  /* it is done */
    STAGE_WRITTEN /* it is done, but not stable yet */
};

struct sent {
    struct block_request request;
    enum stage stage;
    int32_t result;   /* bytes moved, or -errno */
    int error;        /* of making it stable: -errno, or 0 */
    struct iovec own; /* the memory of our own; iov_base NULL: none */
};

static _Alignas(POOL_ALIGNMENT) unsigned char pool[POOL_BYTES];

static struct {
    struct sent items[RING_ENTRIES];
    unsigned int queue; /* of which they are */
    uint32_t first;     /* the oldest one; counts on, modulo RING_ENTRIES */
    uint32_t count;     /* how many are under way */
    uint32_t sent;      /* how many of them are in the ring, or were just added */
    uint32_t bytes;     /* of all of them */
    uint32_t bytes_max; /* when so many are under way, no more are taken */
    struct iovec segments[BLOCK_SEGMENTS_MAX];
    /* Of these and of `pool`: used by all that were sent since nothing was under way. */
    unsigned int segment_count;
    uint32_t pool_used;
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
    bool writes = request->type == VIRTIO_BLK_T_OUT && !block.read_only;
    /* Writes that need not wait are best joined with their neighbours (merge.c), unless there are
     * reads to go on with meanwhile. */
    bool may_wait = block.direct || block_durable(turn->dev) || flight.count > 0;
    if (!reads && !(writes && may_wait))
        return false;
    return request->done == 0 && request->data_length > 0 &&
           request->data_length <= BLOCK_CALL_BYTES &&
           block_range_valid(request->sector, request->data_length) &&
           block_aligned(&request->data, request->sector * BLOCK_SECTOR);
}

static bool has_room(void)
{
    return flight.count < RING_ENTRIES && flight.bytes < flight.bytes_max &&
           flight.segment_count + CHAIN_SEGMENTS_MAX <= BLOCK_SEGMENTS_MAX &&
           flight.pool_used + BLOCK_CALL_BYTES <= POOL_BYTES;
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

static void give_memory(struct sent *sent)
{
    uint32_t length = sent->request.data_length;
    sent->own = (struct iovec){pool + flight.pool_used, length};
    flight.pool_used += (length + PLACE_ALIGNMENT - 1) & ~(PLACE_ALIGNMENT - 1);
    if (sent->request.type == VIRTIO_BLK_T_OUT) {
        struct cursor data = sent->request.data;
        cursor_read(&data, sent->own.iov_base, length);
    }
}

/* The kernel moves it, and ring_done tells when that is done. */
static void add_to_ring(struct sent *sent, uint32_t number)
{
    const struct cursor *data = &sent->request.data;
    uint64_t offset = sent->request.sector * BLOCK_SECTOR;
    if (block_needs_detour())
        give_memory(sent);
    const struct iovec *segments = sent->own.iov_base ? &sent->own : data->segments;
    unsigned int count = sent->own.iov_base ? 1 : data->count;
    sent->stage = STAGE_SENT;
    flight.sent++;
    if (sent->request.type == VIRTIO_BLK_T_IN)
        ring_add_read(number, segments, count, offset);
    else
        ring_add_write(number, segments, count, offset);
}

static void launch(struct turn *turn, struct block_request *request)
{
    uint32_t number = flight.first + flight.count;
    struct sent *sent = board(request);
    const struct cursor *data = &sent->request.data;
    uint64_t offset = sent->request.sector * BLOCK_SECTOR;
    if (sent->request.type == VIRTIO_BLK_T_IN || block.direct) {
        add_to_ring(sent, number);
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
    for (unsigned int taken = 0; taken < TAKEN_AT_ONCE && has_room(); taken++) {
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

static void note_result(const struct device *dev, uint32_t number, int32_t result)
{
    struct sent *sent = item(number);
    bool wrote = sent->request.type == VIRTIO_BLK_T_OUT;
    sent->stage = wrote && block_durable(dev) ? STAGE_WRITTEN : STAGE_MOVED;
    sent->result = result;
    flight.sent--;
    if (!wrote && sent->own.iov_base && result > 0) {
        struct cursor data = sent->request.data;
        cursor_write(&data, sent->own.iov_base, (size_t)result);
    }
}

static void take_results(const struct device *dev)
{
    uint32_t number;
    int32_t result;
    while (ring_done(&number, &result))
        note_result(dev, number, result);
}

/* What the kernel does not take, is done alone. */
static void take_back(const struct device *dev, int error)
{
    uint32_t number;
    while (ring_take_back(&number))
        note_result(dev, number, error);
}

static void enter(struct device *dev, unsigned int wait)
{
    device_io_begins(dev);
    int r = ring_enter(wait);
    device_io_ends(dev);
    if (r < 0 && r != -EINTR)
        take_back(dev, r);
    take_results(dev);
}

/* For so many it waits. */
static unsigned int wake_count(void)
{
    return flight.sent < WAKE_SHARE ? 1 : flight.sent / WAKE_SHARE;
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

/* Make stable what is wholly written. If that fails, it is not known which of them are: the kernel
 * tells of a failure only once. */
static void make_stable(struct turn *turn)
{
    device_signal(turn->dev, turn->vq); /* this can take long */
    int r = block_sync(turn->dev);
    for (uint32_t i = 0; i < flight.count; i++) {
        struct sent *sent = item(flight.first + i);
        bool whole = sent->result == (int32_t)sent->request.data_length;
        if (sent->stage != STAGE_WRITTEN || (r == 0 && !whole))
            continue;
        sent->stage = STAGE_MOVED;
        sent->error = r;
    }
}

/* Do all that is left of the oldest one. Returns 0 or -errno. */
static int settle_oldest(struct turn *turn)
{
    struct sent *sent = item(flight.first);
    struct block_request *request = &sent->request;
    if (sent->result > 0)
        block_advance(turn, request, (uint32_t)sent->result);
    int r = sent->error == 0 ? move_rest(turn, request) : sent->error;
    if (r < 0 || sent->stage != STAGE_WRITTEN)
        return r;
    sent->result = (int32_t)request->data_length;
    make_stable(turn);
    return sent->error;
}

static void finish_oldest(struct turn *turn)
{
    struct block_request *request = &item(flight.first)->request;
    int r = settle_oldest(turn);
    if (r < 0)
        block_fail(turn, request, -r);
    else
        block_finish_moved(turn, request);
    flight.bytes -= request->data_length;
    flight.first++;
    if (--flight.count == 0) {
        flight.segment_count = 0;
        flight.pool_used = 0;
    }
}

/* Complete the oldest ones that are done. Returns how many. */
static unsigned int finish(struct turn *turn)
{
    unsigned int finished = 0;
    for (; flight.count > 0 && item(flight.first)->stage != STAGE_SENT; finished++)
        finish_oldest(turn);
    return finished;
}

/* Wait until the oldest one is done, and complete it. */
static void wait_for_oldest(struct turn *turn)
{
    device_signal(turn->dev, turn->vq);
    while (finish(turn) == 0)
        enter(turn->dev, wake_count());
}

/* ---- A turn ---- */

enum serve block_flight_step(struct turn *turn)
{
    const struct block_request *request = &block_queue(turn)->request;
    enum serve r = gather(turn);
    if (flight.count == 0)
        return request->active ? block_serve_alone(turn) : r;
    /* The driver works on what it has seen. If there is nothing to do before the oldest one is
     * done, the driver may have to be interrupted for what it has not seen. */
    bool wait = r != SERVE_DONE || request->active || !has_room();
    bool oldest_sent = item(flight.first)->stage == STAGE_SENT;
    if (flight.sent > 0)
        enter(turn->dev, wait && oldest_sent && !virtqueue_undecided(turn->vq) ? wake_count() : 0);
    if (finish(turn) == 0 && wait)
        wait_for_oldest(turn);
    return r == SERVE_FAULT ? r : SERVE_DONE;
}

bool block_flight_begins(unsigned int queue, uint32_t bytes_max)
{
    if (flight.count > 0 && flight.queue != queue)
        return false;
    flight.queue = queue;
    flight.bytes_max = bytes_max;
    return true;
}

void block_flight_stop(struct device *dev, unsigned int queue)
{
    if (flight.count == 0 || flight.queue != queue)
        return;
    while (flight.sent > 0)
        enter(dev, 1);
    flight.first += flight.count;
    flight.count = flight.bytes = flight.segment_count = flight.pool_used = 0;
}

void block_flight_ends(struct turn *turn, enum serve last)
{
    const uint32_t others = turn->dev->work & ~(1u << flight.queue);
    while (flight.count > 0 && (last != SERVE_DONE || others != 0)) {
        if (finish(turn) == 0)
            wait_for_oldest(turn);
        virtqueue_publish(turn->vq);
    }
}
