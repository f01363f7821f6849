/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block device, VirtIO 1.2 §5.2: what its files share.
 *
 *   block.c   the device: configuration space, framing, one turn of a queue
 *   merge.c   neighbours in the ring that are neighbours in the image: one call
 *   flight.c  with an io_uring (worker/ring.h): several requests at once
 *   ahead.c   what waits in the ring is announced to a disk that is slow
 *   ranges.c  VIRTIO_BLK_T_DISCARD and VIRTIO_BLK_T_WRITE_ZEROES
 *   io.c      the calls on the image, and what O_DIRECT asks of memory
 *
 * Requests of a queue are served and completed in the order of the ring. So a successor does
 * exactly those requests again that the driver has not seen completed. To do a request twice does
 * no harm: the driver does not touch its data before it sees the request completed.
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
 * A single call moves at most this many bytes, so that a register access never waits for one huge
 * request (a guest can describe 4 GiB in one request if it names the same pages again and again).
 */
#define BLOCK_CALL_BYTES 0x80000u

/* Segments of one call: what the kernel takes (UIO_MAXIOV). */
#define BLOCK_SEGMENTS_MAX 1024u

/* Ranges of one VIRTIO_BLK_T_DISCARD or _WRITE_ZEROES: max_discard_seg and max_write_zeroes_seg. */
#define BLOCK_RANGES_MAX 32u
#define BLOCK_RANGE_SECTORS 0x200000u /* 1 GiB */

struct block_request {
    bool active;
    uint32_t type;
    uint64_t sector;
    struct chain_ref ref;
    struct cursor data;     /* the data that is not moved yet */
    uint32_t data_length;   /* bytes of all the data */
    uint32_t done;          /* bytes of the data that are done */
    uint32_t writable_data; /* bytes of the device-writable part before the status byte */
    unsigned char *status;  /* guest memory */
};

struct block_queue {
    struct block_request request; /* the request that is being served, maybe for several turns */
    struct chain chain;           /* its segments */
    /* The ranges of a discard or write zeroes, copied and checked. */
    struct virtio_blk_discard_write_zeroes ranges[BLOCK_RANGES_MAX];
    unsigned int range_count; /* 0: not yet copied */
    unsigned int range;       /* the first range that is not done */
    uint64_t range_done;      /* bytes of that range that are done */
};

struct block {
    uint32_t slow;     /* ahead.c */
    uint64_t capacity; /* sectors */
    uint32_t blk_size; /* bytes: a power of two, from 512 to 65536 */
    bool read_only;
    bool direct;
    bool ring;   /* it has an io_uring */
    bool unsafe; /* the user wants that nothing waits for the disk */
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

/* Note that `moved` more bytes of the data are done, and were moved in this turn. */
void block_advance(struct turn *turn, struct block_request *request, uint32_t moved);

/* §5.2.6: is it whole sectors, and all inside the device? */
bool block_range_valid(uint64_t sector, uint64_t bytes);

/*
 * §5.2.6.2: write the status and give the request back. The driver sees it at the end of the step.
 * `written` bytes of the data were written, from their start and without a gap.
 */
void block_finish(struct turn *turn, struct block_request *request, uint32_t written,
                  uint8_t status);
/* Finish a read or write that is done. */
void block_finish_moved(struct turn *turn, struct block_request *request);
/* Finish any request with the error that a call returned. */
void block_fail(struct turn *turn, struct block_request *request, int error);

/* Must a write be stable when it completes, §5.2.6.2? */
bool block_durable(const struct device *dev);

/*
 * Before a request waits for the disk, it is decided whether an interrupt is due for the requests
 * before it. block_move makes one call of block_read or block_write. block_flush does
 * VIRTIO_BLK_T_FLUSH, unless the user does not want it, and returns 0 or -errno.
 */
ssize_t block_move(struct turn *turn, uint32_t type, const struct cursor *data, uint64_t offset);
int block_flush(struct turn *turn);
/* The same decision, before other calls that write. */
void block_before_write(struct turn *turn);

/* Do the next step of the current request, whatever it is. */
enum serve block_serve_alone(struct turn *turn);

/* ---- flight.c ---- */

/*
 * A turn of a queue, if the device has a ring: block_flight_begins, with the bytes that may
 * be under way (false: requests of another queue are under way, which has its turn first); steps,
 * as of turn.h; block_flight_ends, with the last step's result. It waits for all that is under way,
 * unless the queue will have another turn and no other queue has to have one.
 */
bool block_flight_begins(unsigned int queue, uint32_t bytes_max);
enum serve block_flight_step(struct turn *turn);
void block_flight_ends(struct turn *turn, enum serve last);
/* The queue stops: wait for what is under way, and complete none of it. */
void block_flight_stop(struct device *dev, unsigned int queue);

/* ---- merge.c ---- */

/*
 * Serve the current read or write, which is valid and not begun, together with the requests behind
 * it that go on where it ends. The first request that does not is then the queue's current request.
 * Returns SERVE_DONE; SERVE_FAULT if something in the ring behind them is no request.
 */
enum serve block_merged(struct turn *turn);

/* Is it worth trying? */
bool block_mergeable(const struct turn *turn);

/* ---- ahead.c ---- */

/* A read at `offset` is to be made next: if the disk is slow, announce the reads that wait behind
 * it. */
void block_ahead(struct turn *turn, uint64_t offset);

/* A read was to be made without waiting; it would have had to wait for the disk (`waits`), or not.
 */
void block_read_waits(bool waits);

/* ---- ranges.c ---- */

/* Do the next step of the current discard or write zeroes. */
void block_ranges(struct turn *turn);

/* ---- start.c: of struct device_ops ---- */

bool block_start_usable(const struct message_start *start);
void block_measure(struct message_start *start);
uint64_t block_file_size_max(const struct message_start *start);

/* ---- io.c ---- */

/* The image will be read here soon: the kernel begins with it, and does not wait. */
void block_announce(struct device *dev, uint64_t offset, uint64_t length);

/* Call it after block.direct is set. It asks once whether O_DIRECT reaches the window; it does not
 * read the window. */
void block_io_init(const struct device *dev, const struct message_start *start);

/*
 * Move up to BLOCK_CALL_BYTES between the image and `data`, which holds at least one byte. That is
 * one call, or two if O_DIRECT writes a part of a block. Returns the bytes moved, more than 0;
 * -errno: -EIO also if the image has been truncated. A read that would have to wait for the disk,
 * but may not, returns -EAGAIN.
 */
ssize_t block_read(struct device *dev, const struct cursor *data, uint64_t offset, bool may_wait);
ssize_t block_write(struct device *dev, const struct cursor *data, uint64_t offset);
/* The same, but what is written is stable only after block_sync. */
ssize_t block_write_unstable(struct device *dev, const struct cursor *data, uint64_t offset);
/* Write zeros to up to `length` bytes, as block_write does. */
ssize_t block_write_zeros(struct device *dev, uint64_t offset, uint64_t length);
/* Punch a hole. -EOPNOTSUPP: the image does not support it. */
ssize_t block_punch(struct device *dev, uint64_t offset, uint64_t length);
/* Make all that has been written stable. 0 or -errno. */
int block_sync(struct device *dev);

/* The present length of the image in bytes, or -errno. */
int64_t block_bytes(struct device *dev);

/* Is the data whole blocks that one call can move, either directly or through memory of our own?
 * Always true without O_DIRECT. */
bool block_aligned(const struct cursor *data, uint64_t offset);

/* Must data go through memory of our own, even if they are aligned? */
bool block_needs_detour(void);

#endif
