/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls, all on WORKER_FD_BACKEND: fadvise64 (POSIX_FADV_WILLNEED), preadv2 (flags 0,
 * RWF_NOWAIT), pwritev2 (flags 0, RWF_DSYNC), fdatasync, fallocate (PUNCH_HOLE | KEEP_SIZE), lseek
 * (0, SEEK_END).
 *
 * There is no fallocate that allocates. A filter can't bound its offset, so a worker that was taken
 * over could fill the image's file system from beyond the end of the image, where RLIMIT_FSIZE does
 * not count with KEEP_SIZE. There is also no fallocate that could write a whole slow disk in one
 * call that nothing can end. A hole allocates nothing, and writes of zeros are bounded like all
 * writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/block/block.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; the C library may not have it */
#endif

#define BOUNCE_BYTES BLOCK_CALL_BYTES /* the most that one call moves: one request for the disk */
#define BOUNCE_ALIGNMENT 65536u       /* the largest block size */

/* One fallocate covers at most this many bytes, so that no call takes too long. */
#define PUNCH_BYTES 0x8000000u

#define ZEROS_BYTES 0x10000u

static struct {
    bool nowait; /* the file system can report that data is not in the page cache */
    bool detour; /* O_DIRECT does not reach the window */
    uint32_t mem_alignment;
} io;

static _Alignas(BOUNCE_ALIGNMENT) unsigned char bounce[BOUNCE_BYTES];
static _Alignas(BOUNCE_ALIGNMENT) unsigned char zeros[ZEROS_BYTES]; /* all zero, never written to */

/*
 * O_DIRECT pins the memory that it moves data from and to. Bao's driver maps the window as bare
 * physical memory (remap_pfn_range), which the kernel does not pin: each call would fail with
 * EFAULT. MADV_POPULATE_READ takes the same path in the kernel and fails in the same way, without
 * touching the memory's content. If it fails for another reason, the detour is still correct.
 */
static bool can_be_pinned(const struct window *window)
{
    return madvise(window->base, 1, MADV_POPULATE_READ) == 0;
}

void block_io_init(const struct device *dev, const struct message_start *start)
{
    io.nowait = !block.direct; /* O_DIRECT always waits for the disk */
    io.detour = block.direct && !can_be_pinned(&dev->window);
    io.mem_alignment = block.direct ? start->of_kind.block.mem_alignment : 1;
}

/* ---- Whole calls ---- */

/* How many bytes one call shall move, of data that is too much for it: whole segments, or a piece
 * of one. */
static size_t bytes_of_call(struct cursor data)
{
    size_t whole = 0, next = cursor_next(&data, SIZE_MAX).iov_len;
    while (next > 0 && whole + next <= BLOCK_CALL_BYTES) {
        whole += next;
        next = cursor_next(&data, SIZE_MAX).iov_len;
    }
    return whole > 0 ? whole : BLOCK_CALL_BYTES;
}

/* The data as an array, which is valid until the next call of this function. */
static const struct iovec *array_of(const struct cursor *data, int *ret_count)
{
    static struct iovec array[BLOCK_SEGMENTS_MAX];
    *ret_count = (int)cursor_segments(data, array, BLOCK_SEGMENTS_MAX);
    return array;
}

static ssize_t result(ssize_t moved)
{
    if (moved < 0)
        return -errno;
    return moved > 0 ? moved : -EIO; /* nothing moved: the image has been truncated */
}

/* Returns -EAGAIN if the read would wait for the disk; -EOPNOTSUPP if the file system can't
 * tell. */
static ssize_t read_at_once(const struct iovec *to, int count, uint64_t offset)
{
    ssize_t moved = preadv2(WORKER_FD_BACKEND, to, count, (off_t)offset, RWF_NOWAIT);
    if (moved < 0 && errno == EOPNOTSUPP)
        io.nowait = false;
    return result(moved);
}

/* If a file system can't tell whether a read will wait, it is read as if it may: such a file system
 * mostly has its data in memory. */
static ssize_t read_image(struct device *dev, const struct cursor *data, uint64_t offset,
                          bool may_wait)
{
    int count;
    const struct iovec *to = array_of(data, &count);
    if (!may_wait && block.direct)
        return -EAGAIN; /* it always waits */
    if (!may_wait && io.nowait) {
        ssize_t moved = read_at_once(to, count, offset);
        if (moved != -EOPNOTSUPP)
            return moved;
    }
    device_io_begins(dev);
    ssize_t moved = result(preadv2(WORKER_FD_BACKEND, to, count, (off_t)offset, 0));
    device_io_ends(dev);
    return moved;
}

void block_announce(struct device *dev, uint64_t offset, uint64_t length)
{
    /* The kernel may wait for a place in the disk's queue. */
    device_io_begins(dev);
    (void)posix_fadvise(WORKER_FD_BACKEND, (off_t)offset, (off_t)length, POSIX_FADV_WILLNEED);
    device_io_ends(dev);
}

static ssize_t write_image(struct device *dev, const struct cursor *data, uint64_t offset,
                           bool stable)
{
    int count;
    const struct iovec *from = array_of(data, &count);
    int flags = stable ? RWF_DSYNC : 0;
    device_io_begins(dev);
    ssize_t moved = result(pwritev2(WORKER_FD_BACKEND, from, count, (off_t)offset, flags));
    device_io_ends(dev);
    return moved;
}

/* ---- O_DIRECT ----
 *
 * If the kernel does not pin the window, all data takes a detour through memory of our own. If it
 * does, only data that is not aligned takes the detour: O_DIRECT needs offset, length and memory
 * aligned. A driver that respects blk_size mostly aligns them. */

static bool whole_blocks(uint64_t offset, uint64_t length)
{
    return (offset | length) % block.blk_size == 0;
}

/* Can the call work directly on the data's own memory? */
static bool reachable(const struct cursor *data, uint64_t offset)
{
    if (!block.direct)
        return true;
    struct cursor rest = *data;
    bool fits = !io.detour;
    while (fits && rest.left > 0) {
        struct iovec piece = cursor_next(&rest, SIZE_MAX);
        fits = whole_blocks(offset, piece.iov_len) &&
               (uintptr_t)piece.iov_base % io.mem_alignment == 0;
    }
    return fits;
}

bool block_aligned(const struct cursor *data, uint64_t offset)
{
    return io.detour ? whole_blocks(offset, data->left) : reachable(data, offset);
}

bool block_needs_detour(void)
{
    return io.detour;
}

/* The blocks around a piece of the data that fits into `bounce`. */
struct detour {
    uint64_t start;   /* where the first block is in the image */
    struct iovec iov; /* all the blocks */
    size_t skip;      /* bytes of the first block before the data */
    size_t data;      /* bytes of the data */
};

static struct detour plan(const struct cursor *data, uint64_t offset)
{
    uint64_t mask = block.blk_size - 1;
    struct detour detour = {.start = offset & ~mask, .skip = offset & mask};
    detour.data = BOUNCE_BYTES - detour.skip < data->left ? BOUNCE_BYTES - detour.skip : data->left;
    detour.iov = (struct iovec){bounce, (detour.skip + detour.data + mask) & ~mask};
    return detour;
}

/* How many of the `moved` bytes of the blocks are data. */
static ssize_t data_moved(const struct detour *detour, ssize_t moved)
{
    if (moved < 0)
        return moved;
    if ((size_t)moved <= detour->skip)
        return -EIO;
    size_t data = (size_t)moved - detour->skip;
    return (ssize_t)(data < detour->data ? data : detour->data);
}

static ssize_t read_detour(struct device *dev, const struct cursor *data, uint64_t offset,
                           bool may_wait)
{
    struct detour detour = plan(data, offset);
    const struct cursor blocks = cursor_of(&detour.iov, 1);
    ssize_t moved = data_moved(&detour, read_image(dev, &blocks, detour.start, may_wait));
    struct cursor to = *data;
    if (moved > 0)
        cursor_write(&to, bounce + detour.skip, (size_t)moved);
    return moved;
}

/*
 * If only a part of a block is written, the rest of the block keeps its content. Nobody else writes
 * to the image between the two calls, since the image is locked and this process does one thing at
 * a time.
 */
static ssize_t write_detour(struct device *dev, const struct cursor *data, uint64_t offset,
                            bool stable)
{
    struct detour detour = plan(data, offset);
    const struct cursor blocks = cursor_of(&detour.iov, 1);
    if (detour.skip + detour.data < blocks.left || detour.skip > 0) {
        ssize_t kept = read_image(dev, &blocks, detour.start, true);
        if (kept < 0)
            return kept;
        if ((size_t)kept < blocks.left)
            return -EIO;
    }
    struct cursor from = *data;
    cursor_read(&from, bounce + detour.skip, detour.data);
    return data_moved(&detour, write_image(dev, &blocks, detour.start, stable));
}

/* ---- What requests are made of ---- */

/* As much of the data as one call shall move. */
static struct cursor of_one_call(const struct cursor *data)
{
    struct cursor part = *data;
    if (part.left > BLOCK_CALL_BYTES)
        cursor_cut(&part, bytes_of_call(part));
    return part;
}

ssize_t block_read(struct device *dev, const struct cursor *data, uint64_t offset, bool may_wait)
{
    const struct cursor part = of_one_call(data);
    return (reachable(&part, offset) ? read_image : read_detour)(dev, &part, offset, may_wait);
}

static ssize_t write_call(struct device *dev, const struct cursor *data, uint64_t offset,
                          bool stable)
{
    const struct cursor part = of_one_call(data);
    return (reachable(&part, offset) ? write_image : write_detour)(dev, &part, offset, stable);
}

ssize_t block_write(struct device *dev, const struct cursor *data, uint64_t offset)
{
    return write_call(dev, data, offset, block_durable(dev));
}

ssize_t block_write_unstable(struct device *dev, const struct cursor *data, uint64_t offset)
{
    return write_call(dev, data, offset, false);
}

ssize_t block_punch(struct device *dev, uint64_t offset, uint64_t length)
{
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (length > PUNCH_BYTES)
        length = PUNCH_BYTES;
    device_io_begins(dev);
    int r = fallocate(WORKER_FD_BACKEND, hole, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
    device_io_ends(dev);
    return r < 0 ? r : (ssize_t)length;
}

ssize_t block_write_zeros(struct device *dev, uint64_t offset, uint64_t length)
{
    struct iovec pieces[BLOCK_CALL_BYTES / ZEROS_BYTES];
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
        pieces[i] = (struct iovec){zeros, ZEROS_BYTES};
    struct cursor data = cursor_of(pieces, sizeof(pieces) / sizeof(pieces[0]));
    cursor_cut(&data, length);
    /* The zeros are our own memory, and aligned. */
    bool whole = !block.direct || whole_blocks(offset, data.left);
    return (whole ? write_image : write_detour)(dev, &data, offset, block_durable(dev));
}

int block_sync(struct device *dev)
{
    device_io_begins(dev);
    int r = fdatasync(WORKER_FD_BACKEND) < 0 ? -errno : 0;
    device_io_ends(dev);
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
