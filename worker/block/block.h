/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device, VirtIO 1.2 §5.2: what its files share.
 *
 *   block.c   the device: configuration space, framing, one turn of a queue
 *   merge.c   neighbours in the ring that are neighbours in the image: one call
 *   ranges.c  VIRTIO_BLK_T_DISCARD and VIRTIO_BLK_T_WRITE_ZEROES
 *   io.c      the calls on the image, and what O_DIRECT asks of memory
 *
 * Requests of a queue are served and completed in the order of the ring, so that a successor
 * does exactly those again that the driver has not seen completed. Doing one twice does no harm:
 * its data still are the driver's until then.
 */
#ifndef WORKER_BLOCK_H
#define WORKER_BLOCK_H

#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "worker/turn.h"

#define BLOCK_SECTOR 512u

/*
 * A single call moves at most so much, so that a register access never waits for one huge request
 * (a guest can describe 4 GiB in one, by naming the same pages again and again).
 */
#define BLOCK_CALL_BYTES 0x80000u

/* Segments of one call: what the kernel takes (UIO_MAXIOV). */
#define BLOCK_SEGMENTS_MAX 1024u

/* Of one VIRTIO_BLK_T_DISCARD or _WRITE_ZEROES: max_discard_seg and max_write_zeroes_seg. */
#define BLOCK_RANGES_MAX 32u
#define BLOCK_RANGE_SECTORS 0x200000u /* 1 GiB */

struct block_request {
    bool active;
    uint32_t type;
    uint64_t sector;
    struct chain_ref ref;
    struct cursor data;     /* what is left of it */
    uint32_t data_length;   /* bytes of all of it */
    uint32_t done;          /* bytes of it */
    uint32_t writable_data; /* bytes of the device-writable part before the status byte */
    unsigned char *status;  /* guest memory */
};

struct block_queue {
    struct block_request request; /* the one that is being served, maybe for several turns */
    struct chain chain;           /* its segments */
    /* A discard's or write zeroes's: copied and checked. */
    struct virtio_blk_discard_write_zeroes ranges[BLOCK_RANGES_MAX];
    unsigned int range_count; /* 0: not yet copied */
    unsigned int range;       /* the first that is not done */
    uint64_t range_done;      /* bytes of that one */
};

struct block {
    uint64_t capacity; /* sectors */
    uint32_t blk_size; /* bytes: a power of two, from 512 to 65536 */
    bool read_only;
    bool direct;
    bool unsafe; /* the user wants nothing to wait for the disk */
    char serial[VIRTIO_BLK_ID_BYTES];
    struct block_queue queues[STATE_QUEUES_MAX];
};

/* A process is one device. */
extern struct block block;

/* The queue that a turn serves. */
static inline struct block_queue *block_queue(const struct turn *turn)
{
    return &block.queues[turn->vq->index];
}

/* ---- block.c ---- */

/* Take the next request off the ring into queue->request. Returns as turn_take. */
enum serve block_next(struct turn *turn);

/* `moved` bytes of the data are done, and moved in this turn. */
void block_advance(struct turn *turn, struct block_request *request, uint32_t moved);

/* §5.2.6: whole sectors, inside the device. */
bool block_range_valid(uint64_t sector, uint64_t bytes);

/*
 * §5.2.6.2: write the status and give the request back. The driver sees it at the end of the step.
 * `written` bytes of the data were written, without a gap from their start.
 */
void block_finish(struct turn *turn, struct block_request *request, uint32_t written,
                  uint8_t status);
/* A read or write that is done. */
void block_finish_moved(struct turn *turn, struct block_request *request);
/* Any, by the error that a call gave. */
void block_fail(struct turn *turn, struct block_request *request, int error);

/* Must a write be stable when it completes, §5.2.6.2? */
bool block_durable(const struct device *dev);

/*
 * Where a request waits for the disk, the interrupt that may be due for those before it is decided
 * on first. block_move is one call for a read or write, of block_read or block_write; block_flush
 * is VIRTIO_BLK_T_FLUSH, unless the user does not want it to be done, and returns 0 or -errno.
 */
ssize_t block_move(struct turn *turn, uint32_t type, const struct cursor *data, uint64_t offset);
int block_flush(struct turn *turn);
/* For other calls that write. */
void block_before_write(struct turn *turn);

/* ---- merge.c ---- */

/*
 * Serve the current read or write, which is valid and not begun, together with those behind it that
 * go on where it ends. The one that does not is the queue's current request then. Returns
 * SERVE_DONE; SERVE_FAULT if the ring has something behind them that is no request.
 */
enum serve block_merged(struct turn *turn);

/* Is there any sense in trying? */
bool block_mergeable(const struct turn *turn);

/* ---- ranges.c ---- */

/* Take the current discard or write zeroes a step further. */
void block_ranges(struct turn *turn);

/* ---- start.c: of struct device_ops ---- */

bool block_start_usable(const struct message_start *start);
void block_measure(struct message_start *start);
uint64_t block_file_size_max(const struct message_start *start);

/* ---- io.c ---- */

/* After block.direct is set. Asks once whether O_DIRECT reaches the window; does not read it. */
void block_io_init(const struct device *dev, const struct message_start *start);

/*
 * Move up to BLOCK_CALL_BYTES between the image and `data`, which holds at least a byte: one call,
 * or two where O_DIRECT writes a part of a block. Returns the bytes moved, more than 0; -errno:
 * -EIO also where the image has been cut short. A read that may not wait for the disk, and would
 * have to, returns -EAGAIN.
 */
ssize_t block_read(struct device *dev, const struct cursor *data, uint64_t offset, bool may_wait);
ssize_t block_write(struct device *dev, const struct cursor *data, uint64_t offset);
/* Zeros over up to `length` bytes, as block_write. */
ssize_t block_write_zeros(struct device *dev, uint64_t offset, uint64_t length);
/* A hole. -EOPNOTSUPP: the image can't. */
ssize_t block_punch(struct device *dev, uint64_t offset, uint64_t length);
/* Make all that has been written stable. 0 or -errno. */
int block_sync(struct device *dev);

/* How long the image is now, or -errno. */
int64_t block_bytes(struct device *dev);

/* Whole blocks that one call can move, from where they are or by memory of our own? Always true
 * without O_DIRECT. */
bool block_aligned(const struct cursor *data, uint64_t offset);

#endif
