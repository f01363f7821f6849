/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/block/block.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/log.h"

#define SEGMENT_BYTES 0x20000u /* size_max: what a driver may put in one segment, 128 KiB */

/*
 * A turn ends after this many requests or bytes; each queue has an equal part of them. So a
 * register access never waits for full queues, and no queue waits long for another.
 */
#define TURN_REQUESTS 256u
#define TURN_REQUESTS_MIN 32u
#define TURN_BYTES 0x80000u /* 512 KiB */
#define TURN_BYTES_MIN 0x20000u

/*
 * A driver sees each request as soon as it is completed, but is interrupted at most once for this
 * many requests or bytes. A driver that sleeps is woken while this side still works on the other
 * requests; a driver that is at work needs no interrupt. Before this side sleeps, it decides in any
 * case whether an interrupt is due.
 */
#define SIGNAL_REQUESTS 8u
#define SIGNAL_BYTES 0x8000u

#define FEATURE(bit) (1ull << (bit))

struct block block;

/* ---- The device ---- */

static uint64_t features_of(const struct message_start *start)
{
    const struct start_block *from = &start->of_kind.block;
    uint64_t features = FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) |
                        FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY);
    if (start->queue_count > 1)
        features |= FEATURE(VIRTIO_BLK_F_MQ);
    if (from->read_only)
        features |= FEATURE(VIRTIO_BLK_F_RO);
    else
        features |= FEATURE(VIRTIO_BLK_F_WRITE_ZEROES);
    if (!from->read_only && from->discard_sectors > 0)
        features |= FEATURE(VIRTIO_BLK_F_DISCARD);
    if (from->advertise_flush)
        features |= FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_CONFIG_WCE);
    return features;
}

/* Header and status take one descriptor each. */
static uint32_t segments_max(const struct device *dev)
{
    uint32_t size = dev->queue_size_max;
    return (size < CHAIN_SEGMENTS_MAX ? size : CHAIN_SEGMENTS_MAX) - 2;
}

static void set_config(struct device *dev, const struct start_block *from)
{
    const struct virtio_blk_config config = {
        .capacity = from->capacity,
        .size_max = SEGMENT_BYTES,
        .seg_max = segments_max(dev),
        .blk_size = from->blk_size,
        .physical_block_exp = (uint8_t)from->physical_blk_exp,
        .min_io_size = (uint16_t)from->min_io_size,
        .opt_io_size = from->opt_io_size,
        .num_queues = (uint16_t)dev->queue_count,
        .max_discard_sectors = BLOCK_RANGE_SECTORS,
        .max_discard_seg = BLOCK_RANGES_MAX,
        .discard_sector_alignment = from->discard_sectors,
        .max_write_zeroes_sectors = BLOCK_RANGE_SECTORS,
        .max_write_zeroes_seg = BLOCK_RANGES_MAX,
        .write_zeroes_may_unmap = from->discard_sectors > 0,
    };
    dev->config_size = offsetof(struct virtio_blk_config, unused1) + sizeof(config.unused1);
    _Static_assert(sizeof(config) <= DEVICE_CONFIG_MAX, "fits");
    memcpy(dev->config, &config, dev->config_size);
}

static int block_init(struct device *dev, const struct message_start *start)
{
    const struct start_block *from = &start->of_kind.block;
    block.capacity = from->capacity;
    block.blk_size = from->blk_size;
    block.read_only = from->read_only != 0;
    block.direct = from->direct != 0;
    block.unsafe = from->unsafe != 0;
    block.ring = dev->info->ring;
    memcpy(block.serial, from->serial, sizeof(block.serial));
    _Static_assert(sizeof(block.serial) == sizeof(from->serial), "§5.2.6: 20 bytes");
    block_io_init(dev, start);
    dev->features = features_of(start);
    set_config(dev, from);
    dev->user_queues = (1u << dev->queue_count) - 1;
    return 0;
}

/* ---- The cache's mode, §5.2.5, and the capacity ---- */

static bool accepted(const struct device *dev, unsigned int feature)
{
    return (dev->state->transport.driver_features & FEATURE(feature)) != 0;
}

/* The mode that the driver sees. */
static bool write_through(const struct device *dev)
{
    uint32_t mode = dev->state->of_kind.block.writeback;
    if (!accepted(dev, VIRTIO_BLK_F_CONFIG_WCE) || mode == STATE_WRITEBACK_INITIAL)
        return !accepted(dev, VIRTIO_BLK_F_FLUSH); /* it can't ask for durability otherwise */
    return mode == STATE_WRITEBACK_OFF;
}

bool block_durable(const struct device *dev)
{
    return !block.unsafe && write_through(dev);
}

static void show_writeback(struct device *dev)
{
    dev->config[offsetof(struct virtio_blk_config, wce)] = !write_through(dev);
}

static int block_adopt(struct device *dev)
{
    struct state_block *state = &dev->state->of_kind.block;
    if (state->writeback > STATE_WRITEBACK_ON)
        return -EINVAL;
    /* The image was resized, and the worker that noticed it ended. */
    uint64_t capacity = block.capacity > 0 ? block.capacity : STATE_CAPACITY_NONE;
    if (state->capacity != 0 && state->capacity != capacity)
        device_config_changed(dev);
    state->capacity = capacity;
    show_writeback(dev);
    return 0;
}

/*
 * The broker asks for this check once a second. A worker can't go on with another size: how long
 * its file may become was decided before lock-down. So the worker ends, and its successor measures
 * the image again.
 */
static bool block_backend_changed(struct device *dev)
{
    int64_t bytes = block_bytes(dev);
    uint64_t capacity = block_sectors((uint64_t)bytes, block.blk_size);
    if (bytes < 0 || capacity == block.capacity)
        return false;
    log_event(LOG_RESIZED, capacity, block.capacity);
    _exit(EXIT_SUCCESS);
}

static int block_write_config(struct device *dev, uint32_t offset, unsigned int width,
                              uint64_t value, struct guest_fault *ret_fault)
{
    (void)ret_fault;
    if (offset == offsetof(struct virtio_blk_config, wce) && width == 1 && value <= 1 &&
        accepted(dev, VIRTIO_BLK_F_CONFIG_WCE)) {
        dev->state->of_kind.block.writeback = value ? STATE_WRITEBACK_ON : STATE_WRITEBACK_OFF;
        show_writeback(dev);
    }
    return 0;
}

void block_advance(struct turn *turn, struct block_request *request, uint32_t moved)
{
    struct state_counters *counters = &turn->dev->state->counters;
    bool in = request->type == VIRTIO_BLK_T_IN;
    request->done += moved;
    turn->bytes += moved;
    /* Of a request that is done nobody needs to know what is behind its data: for a large one, that
     * is a walk over many segments. */
    if (request->done < request->data_length)
        cursor_skip(&request->data, moved);
    device_count(in ? &counters->bytes_in : &counters->bytes_out, moved);
}

/* ---- Requests ---- */

void block_finish(struct turn *turn, struct block_request *request, uint32_t written,
                  uint8_t status)
{
    __atomic_store_n(request->status, status, __ATOMIC_RELAXED);
    /* The used length counts the bytes that were written without a gap from the start of the
     * device-writable part. */
    if (written == request->writable_data)
        written++;
    virtqueue_push(turn->vq, request->ref, written);
    request->active = false;
    turn->completed_bytes += request->done;
    device_count(&turn->dev->state->counters.requests, 1);
}

void block_finish_moved(struct turn *turn, struct block_request *request)
{
    bool in = request->type == VIRTIO_BLK_T_IN;
    block_finish(turn, request, in ? request->done : 0, VIRTIO_BLK_S_OK);
}

void block_fail(struct turn *turn, struct block_request *request, int error)
{
    bool in = request->type == VIRTIO_BLK_T_IN;
    log_event(LOG_IO_ERROR, request->type, request->sector, (uint64_t)error);
    block_finish(turn, request, in ? request->done : 0, VIRTIO_BLK_S_IOERR);
}

bool block_range_valid(uint64_t sector, uint64_t bytes)
{
    return bytes % BLOCK_SECTOR == 0 && sector <= block.capacity &&
           bytes / BLOCK_SECTOR <= block.capacity - sector;
}

/* Does the data of this request type go from the driver to the device? */
static bool readable_data(uint32_t type)
{
    return type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
           type == VIRTIO_BLK_T_WRITE_ZEROES;
}

enum serve block_next(struct turn *turn)
{
    struct block_queue *queue = block_queue(turn);
    struct block_request *request = &queue->request;
    struct chain *chain = &queue->chain;
    struct virtio_blk_outhdr header = {0};
    enum serve r = turn_take(turn, chain, sizeof(header), 1);
    if (r != SERVE_DONE)
        return r;
    request->data = chain_readable(chain);
    cursor_read(&request->data, &header, sizeof(header));
    request->active = true;
    request->type = header.type;
    request->sector = header.sector;
    request->ref = chain->ref;
    request->done = 0;
    request->status = chain_last_byte(chain); /* §5.2.6 */
    request->writable_data = chain->writable_length - 1;
    if (!readable_data(request->type)) {
        request->data = chain_writable(chain);
        cursor_cut(&request->data, request->writable_data);
    }
    request->data_length = (uint32_t)request->data.left;
    queue->range_count = 0;
    return SERVE_DONE;
}

void block_before_write(struct turn *turn)
{
    if (block.direct || block_durable(turn->dev))
        device_signal(turn->dev, turn->vq);
}

ssize_t block_move(struct turn *turn, uint32_t type, const struct cursor *data, uint64_t offset)
{
    if (type == VIRTIO_BLK_T_OUT) {
        block_before_write(turn);
        return block_write(turn->dev, data, offset);
    }
    block_ahead(turn, offset);
    /* It matters whether the read will wait for the disk: to the driver, if an interrupt may be
     * due, and to the requests behind it. With a ring, only reads that are too large for it come
     * here. */
    if (block.ring) {
        device_signal(turn->dev, turn->vq);
    } else if (virtqueue_undecided(turn->vq) || virtqueue_available(turn->vq)) {
        ssize_t moved = block_read(turn->dev, data, offset, false);
        block_read_waits(moved == -EAGAIN);
        if (moved != -EAGAIN)
            return moved;
        block_ahead(turn, offset); /* it may be the first that waits */
        device_signal(turn->dev, turn->vq);
    }
    return block_read(turn->dev, data, offset, true);
}

int block_flush(struct turn *turn)
{
    if (block.unsafe)
        return 0;
    device_signal(turn->dev, turn->vq); /* this can take long */
    return block_sync(turn->dev);
}

/* Do one call of a read or write. */
static void move_data(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    uint64_t offset = request->sector * BLOCK_SECTOR + request->done;
    if (request->data_length == 0) {
        block_finish_moved(turn, request);
        return;
    }
    ssize_t moved = block_move(turn, request->type, &request->data, offset);
    if (moved == -EINTR)
        return;
    if (moved < 0) {
        block_fail(turn, request, (int)-moved);
        return;
    }
    block_advance(turn, request, (uint32_t)moved);
    if (request->done == request->data_length)
        block_finish_moved(turn, request);
}

static enum serve read_or_write(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    if (!block_range_valid(request->sector, request->data_length)) {
        block_finish(turn, request, 0, VIRTIO_BLK_S_IOERR);
        return SERVE_DONE;
    }
    if (block_mergeable(turn))
        return block_merged(turn);
    move_data(turn);
    return SERVE_DONE;
}

static void flush(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    int r = block_flush(turn);
    if (r < 0)
        block_fail(turn, request, -r);
    else
        block_finish(turn, request, 0, VIRTIO_BLK_S_OK);
}

/* §5.2.6: give as much of the serial number as the driver has room for. */
static void get_id(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    size_t filled = cursor_write(&request->data, block.serial, sizeof(block.serial));
    block_finish(turn, request, (uint32_t)filled, VIRTIO_BLK_S_OK);
}

/* The status for a request that the driver must not send to this device; VIRTIO_BLK_S_OK for any
 * other. */
static uint8_t refusal(const struct device *dev, uint32_t type)
{
    /* §5.2.6.2: this holds whatever features were accepted. */
    if (readable_data(type) && block.read_only)
        return VIRTIO_BLK_S_IOERR;
    if ((type == VIRTIO_BLK_T_DISCARD && !accepted(dev, VIRTIO_BLK_F_DISCARD)) ||
        (type == VIRTIO_BLK_T_WRITE_ZEROES && !accepted(dev, VIRTIO_BLK_F_WRITE_ZEROES)) ||
        (type == VIRTIO_BLK_T_FLUSH && (dev->features & FEATURE(VIRTIO_BLK_F_FLUSH)) == 0))
        return VIRTIO_BLK_S_UNSUPP;
    return VIRTIO_BLK_S_OK;
}

enum serve block_serve_alone(struct turn *turn)
{
    struct block_request *request = &block_queue(turn)->request;
    uint8_t refused = refusal(turn->dev, request->type);
    if (refused != VIRTIO_BLK_S_OK) {
        block_finish(turn, request, 0, refused);
        return SERVE_DONE;
    }
    switch (request->type) {
    case VIRTIO_BLK_T_IN:
    case VIRTIO_BLK_T_OUT:
        return read_or_write(turn);
    case VIRTIO_BLK_T_FLUSH:
        flush(turn);
        break;
    case VIRTIO_BLK_T_GET_ID:
        get_id(turn);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
        block_ranges(turn);
        break;
    default:
        block_finish(turn, request, 0, VIRTIO_BLK_S_UNSUPP);
        break;
    }
    return SERVE_DONE;
}

/* ---- A turn ---- */

static enum serve serve(struct turn *turn)
{
    if (!block_queue(turn)->request.active) {
        enum serve r = block_next(turn);
        if (r != SERVE_DONE)
            return r;
    }
    return block_serve_alone(turn);
}

static uint32_t share(const struct device *dev, uint32_t all, uint32_t least)
{
    return all / dev->queue_count > least ? all / dev->queue_count : least;
}

static enum serve block_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    const struct turn_rules rules = {
        .steps = share(dev, TURN_REQUESTS, TURN_REQUESTS_MIN),
        .bytes = share(dev, TURN_BYTES, TURN_BYTES_MIN),
        .signal_chains = SIGNAL_REQUESTS,
        .signal_bytes = SIGNAL_BYTES,
    };
    if (!block.ring)
        return turn_run(dev, queue, &rules, serve, ret_fault);
    if (!block_flight_begins(queue, rules.bytes))
        return SERVE_END;
    struct turn turn = turn_begin(dev, queue, ret_fault);
    enum serve last = turn_serve(&turn, &rules, block_flight_step);
    block_flight_ends(&turn, last);
    return turn_end(&turn, &rules, last);
}

static void block_queue_stop(struct device *dev, unsigned int queue)
{
    if (block.ring)
        block_flight_stop(dev, queue);
    block.queues[queue].request.active = false;
}

static void block_stop(struct device *dev)
{
    for (unsigned int queue = 0; queue < dev->queue_count; queue++)
        block_queue_stop(dev, queue);
}

const struct device_ops block_ops = {
    .start_usable = block_start_usable,
    .measure = block_measure,
    .file_size_max = block_file_size_max,
    .init = block_init,
    .stop = block_stop,
    .queue_stop = block_queue_stop,
    .turn = block_turn,
    .backend_changed = block_backend_changed,
    .write_config = block_write_config,
    .adopt = block_adopt,
};
