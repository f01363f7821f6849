/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls, all on WORKER_FD_BACKEND: preadv2 (flags 0, RWF_NOWAIT), pwritev2 (flags 0,
 * RWF_DSYNC), fdatasync, fallocate (PUNCH_HOLE | KEEP_SIZE), lseek (0, SEEK_END).
 *
 * No fallocate that allocates: a filter can't bound its offset, so a worker that was taken over
 * could fill the image's file system from beyond the image's end, where RLIMIT_FSIZE does not count
 * with KEEP_SIZE; nor one that may write a whole slow disk in a call that nothing ends. A hole
 * allocates nothing, and zeros that are written are bounded like all that is written.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/block/block.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; no C library need know it */
#endif

#define BOUNCE_BYTES BLOCK_CALL_BYTES /* what a call moves at most: the disk sees it as one */
#define BOUNCE_ALIGNMENT 65536u       /* the largest block size */

/* One fallocate covers at most so much, so that no call takes too long. */
#define PUNCH_BYTES 0x8000000u

/* It costs far less than writing: so many bytes count as one that is moved. */
#define PUNCHED_AS_ONE 64u

#define ZEROS_BYTES 0x10000u

static struct {
    bool nowait; /* the file system can say that data is not in the page cache */
    bool detour; /* O_DIRECT does not reach the window */
    uint32_t mem_alignment;
} io;

static _Alignas(BOUNCE_ALIGNMENT) unsigned char bounce[BOUNCE_BYTES];
static _Alignas(BOUNCE_ALIGNMENT) unsigned char zeros[ZEROS_BYTES]; /* never written to */

/*
 * O_DIRECT pins the memory that it moves data from and to. Bao's driver maps the window as bare
 * physical memory (remap_pfn_range), which the kernel does not pin: each call would fail with
 * EFAULT. MADV_POPULATE_READ goes the same way and fails likewise, without touching what is there.
 * If it fails for another reason, the detour is right all the same.
 */
static bool can_be_pinned(const struct window *window)
{
    return madvise(window->base, 1, MADV_POPULATE_READ) == 0;
}

void block_io_init(const struct device *dev, const struct message_start *start)
{
    io.nowait = !block.direct; /* it always waits for the disk */
    io.detour = block.direct && !can_be_pinned(&dev->window);
    io.mem_alignment = block.direct ? start->block.mem_alignment : 1;
}

/* ---- Whole calls ---- */

/* The part of the data that one call shall move: whole segments, or a piece of one. */
static unsigned int call_segments(const struct iovec *data, unsigned int count, struct iovec *piece)
{
    size_t bytes = 0;
    unsigned int whole = 0;
    while (whole < count && bytes + data[whole].iov_len <= BLOCK_CALL_BYTES)
        bytes += data[whole++].iov_len;
    if (whole == 0)
        *piece = (struct iovec){data[0].iov_base, BLOCK_CALL_BYTES};
    return whole;
}

static ssize_t result(ssize_t moved)
{
    if (moved < 0)
        return -errno;
    return moved > 0 ? moved : -EIO; /* nothing moved: the image has been cut short */
}

/*
 * Read, without waiting for the disk as long as an interrupt may be due for what is completed:
 * it is sent before this request blocks.
 */
static ssize_t read_image(struct block_turn *turn, const struct iovec *data, unsigned int count,
                          uint64_t offset)
{
    int segments = (int)count;
    if (io.nowait && virtqueue_undecided(turn->vq)) {
        ssize_t moved = preadv2(WORKER_FD_BACKEND, data, segments, (off_t)offset, RWF_NOWAIT);
        if (moved >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP))
            return result(moved);
        io.nowait = errno == EAGAIN;
    }
    if (io.nowait || block.direct)
        device_signal(turn->dev, turn->vq);
    device_io_begins(turn->dev);
    ssize_t moved = result(preadv2(WORKER_FD_BACKEND, data, segments, (off_t)offset, 0));
    device_io_ends(turn->dev);
    return moved;
}

static ssize_t write_image(struct block_turn *turn, const struct iovec *data, unsigned int count,
                           uint64_t offset)
{
    bool through = block_durable(turn->dev);
    if (through || block.direct)
        device_signal(turn->dev, turn->vq); /* this waits for the disk */
    device_io_begins(turn->dev);
    ssize_t moved = result(
        pwritev2(WORKER_FD_BACKEND, data, (int)count, (off_t)offset, through ? RWF_DSYNC : 0));
    device_io_ends(turn->dev);
    return moved;
}

/* ---- O_DIRECT ----
 *
 * The data take a detour through memory of our own where the kernel does not pin the window. Where
 * it does, those do that are not aligned: it wants offset, length and memory so. A driver that
 * heeds blk_size mostly has them so. */

static uint64_t bytes_of(const struct iovec *data, unsigned int count)
{
    uint64_t bytes = 0;
    for (unsigned int i = 0; i < count; i++)
        bytes += data[i].iov_len;
    return bytes;
}

static bool whole_blocks(uint64_t offset, uint64_t length)
{
    return (offset | length) % block.blk_size == 0;
}

/* Can the call be made on the data where they are? */
static bool reachable(const struct iovec *data, unsigned int count, uint64_t offset)
{
    if (!block.direct)
        return true;
    bool fits = !io.detour;
    for (unsigned int i = 0; i < count && fits; i++)
        fits = whole_blocks(offset, data[i].iov_len) &&
               (uintptr_t)data[i].iov_base % io.mem_alignment == 0;
    return fits;
}

bool block_aligned(const struct iovec *data, unsigned int count, uint64_t offset)
{
    return io.detour ? whole_blocks(offset, bytes_of(data, count)) : reachable(data, count, offset);
}

enum direction { TO_GUEST, FROM_GUEST };

static void copy(const struct iovec *data, unsigned int count, unsigned char *at, size_t length,
                 enum direction direction)
{
    for (unsigned int i = 0; i < count && length > 0; i++) {
        size_t part = data[i].iov_len < length ? data[i].iov_len : length;
        if (direction == TO_GUEST)
            memcpy(data[i].iov_base, at, part);
        else
            guest_copy(at, data[i].iov_base, part);
        at += part;
        length -= part;
    }
}

/* The blocks around a piece of the data that fits into `bounce`. */
struct detour {
    uint64_t start;   /* in the image, of the first block */
    struct iovec iov; /* all the blocks */
    size_t skip;      /* bytes of the first block before the data */
    size_t data;      /* bytes of the data */
};

static struct detour plan(const struct iovec *data, unsigned int count, uint64_t offset)
{
    uint64_t mask = block.blk_size - 1, bytes = bytes_of(data, count);
    struct detour detour = {.start = offset & ~mask, .skip = offset & mask};
    detour.data = BOUNCE_BYTES - detour.skip < bytes ? BOUNCE_BYTES - detour.skip : bytes;
    detour.iov = (struct iovec){bounce, (detour.skip + detour.data + mask) & ~mask};
    return detour;
}

/* Of `moved` bytes of the blocks, those that are data. */
static ssize_t data_moved(const struct detour *detour, ssize_t moved)
{
    if (moved < 0)
        return moved;
    if ((size_t)moved <= detour->skip)
        return -EIO;
    size_t data = (size_t)moved - detour->skip;
    return (ssize_t)(data < detour->data ? data : detour->data);
}

static ssize_t read_detour(struct block_turn *turn, const struct iovec *data, unsigned int count,
                           uint64_t offset)
{
    struct detour detour = plan(data, count, offset);
    ssize_t moved = data_moved(&detour, read_image(turn, &detour.iov, 1, detour.start));
    if (moved > 0)
        copy(data, count, bounce + detour.skip, (size_t)moved, TO_GUEST);
    return moved;
}

/*
 * Blocks that are written in part keep the rest: nobody else writes to the image between the two
 * calls, since it is locked, and this process does one thing at a time.
 */
static ssize_t write_detour(struct block_turn *turn, const struct iovec *data, unsigned int count,
                            uint64_t offset)
{
    struct detour detour = plan(data, count, offset);
    if (detour.skip + detour.data < detour.iov.iov_len || detour.skip > 0) {
        ssize_t kept = read_image(turn, &detour.iov, 1, detour.start);
        if (kept < 0)
            return kept;
        if ((size_t)kept < detour.iov.iov_len)
            return -EIO;
    }
    copy(data, count, bounce + detour.skip, detour.data, FROM_GUEST);
    return data_moved(&detour, write_image(turn, &detour.iov, 1, detour.start));
}

/* ---- What requests are made of ---- */

ssize_t block_read(struct block_turn *turn, const struct iovec *data, unsigned int count,
                   uint64_t offset)
{
    struct iovec piece;
    unsigned int whole = call_segments(data, count, &piece);
    data = whole > 0 ? data : &piece;
    count = whole > 0 ? whole : 1;
    return (reachable(data, count, offset) ? read_image : read_detour)(turn, data, count, offset);
}

ssize_t block_write(struct block_turn *turn, const struct iovec *data, unsigned int count,
                    uint64_t offset)
{
    struct iovec piece;
    unsigned int whole = call_segments(data, count, &piece);
    data = whole > 0 ? data : &piece;
    count = whole > 0 ? whole : 1;
    return (reachable(data, count, offset) ? write_image : write_detour)(turn, data, count, offset);
}

ssize_t block_punch(struct block_turn *turn, uint64_t offset, uint64_t length)
{
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (length > PUNCH_BYTES)
        length = PUNCH_BYTES;
    device_signal(turn->dev, turn->vq); /* this can take long */
    device_io_begins(turn->dev);
    int r = fallocate(WORKER_FD_BACKEND, hole, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
    device_io_ends(turn->dev);
    if (r < 0)
        return r;
    turn->bytes += (uint32_t)(length / PUNCHED_AS_ONE);
    return (ssize_t)length;
}

ssize_t block_write_zeros(struct block_turn *turn, uint64_t offset, uint64_t length)
{
    struct iovec data[BLOCK_CALL_BYTES / ZEROS_BYTES];
    unsigned int count = 0;
    do {
        data[count].iov_base = zeros;
        data[count].iov_len = length < ZEROS_BYTES ? length : ZEROS_BYTES;
        length -= data[count].iov_len;
        count++;
    } while (length > 0 && count < sizeof(data) / sizeof(data[0]));
    /* These are our own, and aligned. */
    bool whole = !block.direct || whole_blocks(offset, bytes_of(data, count));
    ssize_t moved = (whole ? write_image : write_detour)(turn, data, count, offset);
    if (moved > 0)
        turn->bytes += (uint32_t)moved;
    return moved;
}

int block_flush(struct block_turn *turn)
{
    if (block.unsafe)
        return 0;
    device_signal(turn->dev, turn->vq); /* this can take long */
    device_io_begins(turn->dev);
    int r = fdatasync(WORKER_FD_BACKEND) < 0 ? -errno : 0;
    device_io_ends(turn->dev);
    return r;
}

int64_t block_bytes(struct device *dev)
{
    device_io_begins(dev);
    off_t size = lseek(WORKER_FD_BACKEND, 0, SEEK_END);
    int r = size < 0 ? -errno : 0;
    device_io_ends(dev);
    return r < 0 ? r : size;
}
