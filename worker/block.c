/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device, VirtIO 1.2 §5.2: one queue, served in order and synchronously, straight
 * between the image and guest memory.
 *
 * System calls, all on WORKER_FD_BACKEND: preadv2 (flags 0, RWF_NOWAIT), pwritev2 (flags 0,
 * RWF_DSYNC), fdatasync.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/linger.h"
#include "worker/log.h"

#define SECTOR_SIZE 512u
#define SEGMENT_BYTES 0x20000u /* size_max: what a driver may put in one segment, 128 KiB */

/*
 * A turn ends after so many requests or bytes, so that a register access never waits for a full
 * queue; a single call moves at most CALL_BYTES, so that it never waits for one huge request,
 * either (a guest can describe 4 GiB in one, by naming the same pages again and again).
 */
#define TURN_REQUESTS 256u
#define TURN_BYTES 0x80000u /* 512 KiB */
#define CALL_BYTES 0x80000u

/*
 * A driver sees each request as soon as it is completed, but is interrupted at most once for so
 * many requests or bytes: one that sleeps is woken while this side still works on the others, and
 * one that is at work needs no interrupt. Before this side sleeps, it is asked anyway.
 */
#define SIGNAL_REQUESTS 8u
#define SIGNAL_BYTES 0x8000u

/* After a turn of so many requests the driver is expected back at once. */
#define LINGER_REQUESTS 8u

struct block_request {
    bool active;
    uint32_t type;
    uint64_t sector;
    struct chain chain; /* its segments are trimmed to the data that is left */
    struct iovec *data;
    unsigned int data_count;
    uint32_t data_length;
    uint32_t done;          /* bytes of the data */
    uint32_t writable_data; /* bytes of the device-writable part before the status byte */
    unsigned char *status;  /* guest memory */
};

static struct {
    uint64_t capacity; /* sectors */
    bool read_only;
    bool flush;  /* VIRTIO_BLK_F_FLUSH offered */
    bool nowait; /* the file system can say that data is not in the page cache */
    char serial[VIRTIO_BLK_ID_BYTES];
    struct block_request request; /* the one that is being served */
} block;

static int block_init(struct device *dev, const struct message_start *start)
{
    const struct start_block *from = &start->block;
    memset(&block, 0, sizeof(block));
    block.capacity = from->capacity;
    block.read_only = from->read_only != 0;
    block.flush = from->advertise_flush != 0;
    block.nowait = true;
    memcpy(block.serial, from->serial, sizeof(block.serial));
    _Static_assert(sizeof(block.serial) == sizeof(from->serial), "§5.2.6: 20 bytes");
    if (block.capacity > INT64_MAX / SECTOR_SIZE)
        return -EINVAL;

    dev->features = 1ull << VIRTIO_BLK_F_SIZE_MAX | 1ull << VIRTIO_BLK_F_SEG_MAX |
                    1ull << VIRTIO_BLK_F_BLK_SIZE | 1ull << VIRTIO_BLK_F_TOPOLOGY |
                    1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |
                    1ull << VIRTIO_F_RING_RESET;
    if (block.read_only)
        dev->features |= 1ull << VIRTIO_BLK_F_RO;
    if (block.flush)
        dev->features |= 1ull << VIRTIO_BLK_F_FLUSH;

    const struct virtio_blk_config config = {
        .capacity = block.capacity,
        .size_max = SEGMENT_BYTES,
        .seg_max = dev->queue_size_max - 2, /* header and status take a descriptor each */
        .blk_size = from->blk_size,
        .physical_block_exp = (uint8_t)from->physical_blk_exp,
        .min_io_size = (uint16_t)from->min_io_size,
        .opt_io_size = from->opt_io_size,
    };
    _Static_assert(sizeof(config) <= DEVICE_CONFIG_MAX, "fits");
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = offsetof(struct virtio_blk_config, wce); /* the fields that are offered */
    dev->user_queues = 1u << 0;
    return 0;
}

/* ---- Framing: §2.7.4 leaves it to the driver where one buffer ends and the next begins ---- */

/* Copy `length` bytes from the front of the readable segments, and cut them off. */
static void take_header(struct chain *chain, void *to, uint32_t length)
{
    unsigned char *at = to;
    for (unsigned int i = 0; length > 0; i++) {
        struct iovec *segment = &chain->segments[i];
        uint32_t part = segment->iov_len < length ? (uint32_t)segment->iov_len : length;
        guest_copy(at, segment->iov_base, part);
        segment->iov_base = (unsigned char *)segment->iov_base + part;
        segment->iov_len -= part;
        at += part;
        length -= part;
    }
}

/* Cut the last writable byte off: §5.2.6, the status. */
static unsigned char *take_status(struct chain *chain)
{
    struct iovec *last = &chain->segments[chain->readable_count + chain->writable_count - 1];
    if (--last->iov_len == 0)
        chain->writable_count--;
    return (unsigned char *)last->iov_base + last->iov_len;
}

/* Copy to the front of the data; returns how much fitted. */
static uint32_t fill_data(struct block_request *request, const void *from, uint32_t length)
{
    const unsigned char *at = from;
    uint32_t left = length < request->data_length ? length : request->data_length;
    uint32_t filled = left;
    for (unsigned int i = 0; left > 0; i++) {
        const struct iovec *segment = &request->data[i];
        uint32_t part = segment->iov_len < left ? (uint32_t)segment->iov_len : left;
        memcpy(segment->iov_base, at, part);
        at += part;
        left -= part;
    }
    return filled;
}

/* `moved` bytes of the data are done. Leaves no empty segment in front: one is as good as none,
 * but a call with nothing else would look like the end of the image. */
static void advance(struct block_request *request, uint32_t moved)
{
    request->done += moved;
    while (request->data_count > 0 && moved >= request->data->iov_len) {
        moved -= (uint32_t)request->data->iov_len;
        request->data++;
        request->data_count--;
    }
    if (moved > 0) {
        request->data->iov_base = (unsigned char *)request->data->iov_base + moved;
        request->data->iov_len -= moved;
    }
}

/* ---- Requests ---- */

/*
 * §5.2.6.2: write the status and complete. The used length covers what was written without a
 * gap from the start of the device-writable part on.
 */
static void complete(struct device *dev, struct virtqueue *vq, uint32_t written, uint8_t status)
{
    struct block_request *request = &block.request;
    __atomic_store_n(request->status, status, __ATOMIC_RELAXED);
    if (written == request->writable_data)
        written++;
    virtqueue_push(vq, request->chain.ref, written);
    virtqueue_publish(vq);
    request->active = false;
    device_count(&dev->state->counters.requests, 1);
    if (virtqueue_since_interrupt(vq) >= SIGNAL_REQUESTS || request->done >= SIGNAL_BYTES)
        device_signal(dev, vq);
}

static void fail(struct device *dev, struct virtqueue *vq, int error)
{
    struct block_request *request = &block.request;
    log_event(LOG_IO_ERROR, request->type, request->sector, (uint64_t)error);
    complete(dev, vq, request->type == VIRTIO_BLK_T_IN ? request->done : 0, VIRTIO_BLK_S_IOERR);
}

/* §5.2.6: whole sectors, inside the device. */
static bool range_valid(const struct block_request *request)
{
    uint64_t sectors = request->data_length / SECTOR_SIZE;
    return request->data_length % SECTOR_SIZE == 0 && request->sector <= block.capacity &&
           sectors <= block.capacity - request->sector;
}

/* Take the next request off the ring. Returns 1, 0 if there is none, -EBADMSG. */
static int next_request(struct virtqueue *vq, struct guest_fault *ret_fault)
{
    struct block_request *request = &block.request;
    struct chain *chain = &request->chain;
    int r = virtqueue_pop(vq, chain, ret_fault);
    if (r <= 0)
        return r;
    struct virtio_blk_outhdr header;
    if (chain->writable_length == 0 || chain->readable_length < sizeof(header)) {
        *ret_fault =
            (struct guest_fault){LOG_CHAIN_INVALID, {vq->index, chain->ref.id, CHECK_NO_ROOM}};
        return -EBADMSG;
    }
    take_header(chain, &header, sizeof(header));
    request->active = true;
    request->type = header.type;
    request->sector = header.sector;
    request->done = 0;
    request->status = take_status(chain);
    request->writable_data = chain->writable_length - 1;
    if (request->type == VIRTIO_BLK_T_OUT) {
        request->data = chain->segments;
        request->data_count = chain->readable_count;
        request->data_length = chain->readable_length - (uint32_t)sizeof(header);
    } else {
        request->data = chain->segments + chain->readable_count;
        request->data_count = chain->writable_count;
        request->data_length = request->writable_data;
    }
    advance(request, 0);
    return 1;
}

/* ---- Input and output ---- */

/* The part of the data that one call shall move: whole segments, or a piece of one. */
static unsigned int call_segments(const struct block_request *request, struct iovec *piece)
{
    size_t bytes = 0;
    unsigned int count = 0;
    while (count < request->data_count && bytes + request->data[count].iov_len <= CALL_BYTES)
        bytes += request->data[count++].iov_len;
    if (count == 0) {
        *piece = request->data[0];
        piece->iov_len = CALL_BYTES;
    }
    return count;
}

/*
 * Read, without waiting for the disk as long as an interrupt may be due for what is completed:
 * it is sent before this request blocks.
 */
static ssize_t read_data(struct device *dev, struct virtqueue *vq, const struct iovec *data,
                         int count, off_t offset)
{
    if (block.nowait && virtqueue_undecided(vq)) {
        ssize_t moved = preadv2(WORKER_FD_BACKEND, data, count, offset, RWF_NOWAIT);
        if (moved >= 0 || errno != EOPNOTSUPP) {
            if (moved >= 0 || errno != EAGAIN)
                return moved;
            device_signal(dev, vq);
        } else {
            block.nowait = false;
        }
    }
    return preadv2(WORKER_FD_BACKEND, data, count, offset, 0);
}

/*
 * §5.2.6.2: a driver that did not accept VIRTIO_BLK_F_FLUSH cannot ask for a write to become
 * stable, so each one is before it completes.
 */
static ssize_t write_data(struct device *dev, struct virtqueue *vq, const struct iovec *data,
                          int count, off_t offset)
{
    uint64_t accepted = dev->state->transport.driver_features;
    if ((accepted & 1ull << VIRTIO_BLK_F_FLUSH) != 0)
        return pwritev2(WORKER_FD_BACKEND, data, count, offset, 0);
    device_signal(dev, vq);
    return pwritev2(WORKER_FD_BACKEND, data, count, offset, RWF_DSYNC);
}

/* One call's worth of a read or write. Returns bytes moved. */
static uint32_t move_data(struct device *dev, struct virtqueue *vq)
{
    struct block_request *request = &block.request;
    uint32_t left = request->data_length - request->done;
    if (left == 0) {
        complete(dev, vq, 0, VIRTIO_BLK_S_OK);
        return 0;
    }
    struct iovec piece;
    unsigned int count = call_segments(request, &piece);
    const struct iovec *data = count > 0 ? request->data : &piece;
    off_t offset = (off_t)(request->sector * SECTOR_SIZE + request->done);
    bool in = request->type == VIRTIO_BLK_T_IN;
    ssize_t moved =
        (in ? read_data : write_data)(dev, vq, data, count > 0 ? (int)count : 1, offset);
    if (moved < 0 && errno == EINTR)
        return 0;
    if (moved <= 0) {
        fail(dev, vq, moved < 0 ? errno : EIO); /* nothing moved: the image has been cut short */
        return 0;
    }
    advance(request, (uint32_t)moved);
    struct state_counters *counters = &dev->state->counters;
    device_count(in ? &counters->bytes_in : &counters->bytes_out, (uint64_t)moved);
    if (request->done == request->data_length)
        complete(dev, vq, in ? request->done : 0, VIRTIO_BLK_S_OK);
    return (uint32_t)moved;
}

static void flush(struct device *dev, struct virtqueue *vq)
{
    device_signal(dev, vq); /* this can take long */
    if (fdatasync(WORKER_FD_BACKEND) < 0)
        fail(dev, vq, errno);
    else
        complete(dev, vq, 0, VIRTIO_BLK_S_OK);
}

/* Take the current request a step further. Returns bytes moved. */
static uint32_t serve(struct device *dev, struct virtqueue *vq)
{
    struct block_request *request = &block.request;
    switch (request->type) {
    case VIRTIO_BLK_T_OUT:
        if (block.read_only) {
            complete(dev, vq, 0, VIRTIO_BLK_S_IOERR);
            return 0;
        }
        /* fallthrough */
    case VIRTIO_BLK_T_IN:
        if (range_valid(request))
            return move_data(dev, vq);
        complete(dev, vq, 0, VIRTIO_BLK_S_IOERR);
        return 0;
    case VIRTIO_BLK_T_FLUSH:
        if (block.flush)
            flush(dev, vq);
        else
            complete(dev, vq, 0, VIRTIO_BLK_S_UNSUPP);
        return 0;
    case VIRTIO_BLK_T_GET_ID:
        complete(dev, vq, fill_data(request, block.serial, sizeof(block.serial)), VIRTIO_BLK_S_OK);
        return 0;
    default:
        complete(dev, vq, 0, VIRTIO_BLK_S_UNSUPP);
        return 0;
    }
}

static int block_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    struct virtqueue *vq = &dev->queues[queue];
    uint16_t first = vq->next_used;
    uint32_t bytes = 0;
    int r = 1;
    virtqueue_disable_notify(vq);
    for (unsigned int steps = 0; steps < TURN_REQUESTS && bytes < TURN_BYTES; steps++) {
        if (!block.request.active) {
            r = next_request(vq, ret_fault);
            if (r <= 0)
                break;
        }
        bytes += serve(dev, vq);
    }
    device_signal(dev, vq);
    if (r < 0)
        return r;
    if (r == 0 && (uint16_t)(vq->next_used - first) >= LINGER_REQUESTS &&
        linger(dev->linger_looks, vq, &dev->state->mailbox))
        return 1;
    /* Drained: the driver is to kick from now on, and is looked at once more after it knows. */
    return r == 0 && virtqueue_enable_notify(vq) ? 0 : 1;
}

static void block_stop(struct device *dev)
{
    (void)dev;
    block.request.active = false;
}

static void block_queue_stop(struct device *dev, unsigned int queue)
{
    (void)queue;
    block_stop(dev);
}

const struct device_ops block_ops = {
    .init = block_init,
    .stop = block_stop,
    .queue_stop = block_queue_stop,
    .turn = block_turn,
};
