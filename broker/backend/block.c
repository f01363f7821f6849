/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of a block device: a regular file or a block device. It is opened once, and stays
 * locked as long as any process holds it, so that two writers can't share it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/directory.h"
#include "common/ring.h"

#define SECTOR 512u
#define BLOCK_SIZE_MAX 65536u
#define LOCK_TRIES 50
#define LOCK_PAUSE_NS 20000000 /* 20 ms: a second in all */
#define PAGE 4096u /* the unit in which a file is kept in memory, and mostly on the disk */

static int failed(struct failure *failure, const char *path, int error)
{
    return failure_set(failure, -error, "image \"%s\": %s", path, strerror(error));
}

/*
 * The lock belongs to the open file description, so every copy of the fd holds it, in workers too.
 * An io_uring holds one until the last request in it is done, mostly some ten milliseconds after
 * its worker has ended (worker/ring.h). A device model that is started again waits for that.
 */
static int lock_image(int fd, const struct device_config *config, struct failure *failure)
{
    struct flock lock = {
        .l_type = config->read_only ? F_RDLCK : F_WRLCK,
        .l_whence = SEEK_SET,
    };
    int locked = fcntl(fd, F_OFD_SETLK, &lock);
    for (int tries = 0; locked < 0 && errno == EAGAIN && tries < LOCK_TRIES; tries++) {
        const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
        nanosleep(&pause, NULL);
        locked = fcntl(fd, F_OFD_SETLK, &lock);
    }
    if (locked == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return failure_set(
            failure, -EBUSY, "image \"%s\" is in use by another process: end that one first%s",
            config->file_path, config->read_only ? "" : ", or share it with read_only: true");
    return failed(failure, config->file_path, errno);
}

/* How many blocks of `size` bytes make `bytes`, as the power of two that VirtIO asks for. */
static uint32_t exponent(uint32_t bytes, uint32_t size)
{
    uint32_t exp = 0;
    while ((size << exp) < bytes && exp < 16)
        exp++;
    return exp;
}

/* A number that the kernel reports about the disk that the block device is, or is a part of; 0: not
 * known. */
static uint64_t queue_number(dev_t device, const char *name)
{
    static const char *const folders[] = {"queue", "../queue"};
    unsigned long long number = 0;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%s/%s", major(device), minor(device),
                 folders[i], name);
        FILE *file = fopen(path, "re");
        bool found = file && fscanf(file, "%llu", &number) == 1;
        if (file)
            fclose(file);
        if (found)
            return number;
    }
    return 0;
}

/* A disk punches a hole by freeing and zeroing blocks in one operation, so it must be able to do
 * both. */
static uint32_t disk_discard_sectors(dev_t device, uint32_t blk_size)
{
    uint64_t granularity = queue_number(device, "discard_granularity");
    if (queue_number(device, "discard_max_bytes") == 0 ||
        queue_number(device, "write_zeroes_max_bytes") == 0 || granularity > UINT32_MAX)
        return 0;
    return (uint32_t)(granularity > blk_size ? granularity : blk_size) / SECTOR;
}

static int measure_disk(int fd, dev_t device, bool read_only, struct start_block *ret,
                        uint64_t *ret_size)
{
    int logical = 0;
    unsigned int physical = 0, min_io = 0, opt_io = 0;
    if (ioctl(fd, BLKGETSIZE64, ret_size) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0)
        return -errno;
    if (logical < (int)SECTOR || logical > (int)BLOCK_SIZE_MAX)
        return -ERANGE;
    /* These are hints. A disk that does not know them has none. */
    (void)ioctl(fd, BLKPBSZGET, &physical);
    (void)ioctl(fd, BLKIOMIN, &min_io);
    (void)ioctl(fd, BLKIOOPT, &opt_io);
    ret->blk_size = (uint32_t)logical;
    ret->physical_blk_exp = exponent(physical, ret->blk_size);
    ret->min_io_size = min_io / ret->blk_size;
    ret->opt_io_size = opt_io / ret->blk_size;
    if (!read_only)
        ret->discard_sectors = disk_discard_sectors(device, ret->blk_size);
    return 0;
}

/* A hole beyond the end of the file changes nothing, but shows whether the file system makes
 * holes. */
static uint32_t file_discard_sectors(int fd, uint64_t size)
{
    const int hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    off_t beyond = (off_t)((size + PAGE - 1) / PAGE * PAGE);
    return fallocate(fd, hole, beyond, PAGE) == 0 ? PAGE / SECTOR : 0;
}

static void measure_file(int fd, uint64_t size, uint32_t blk_size, bool read_only,
                         struct start_block *ret)
{
    ret->blk_size = blk_size;
    ret->physical_blk_exp = exponent(PAGE, blk_size);
    ret->min_io_size = PAGE > blk_size ? PAGE / blk_size : 1;
    if (!read_only)
        ret->discard_sectors = file_discard_sectors(fd, size);
}

/* The alignment that O_DIRECT requires, in bytes. */
struct alignment {
    uint32_t blocks; /* of offsets and lengths in a file; for a disk these are its logical blocks */
    uint32_t memory;
};

/* A kernel before 6.1 does not report it; alignment to a page is enough then. */
static int direct_alignment(int fd, const char *path, struct alignment *ret,
                            struct failure *failure)
{
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) < 0)
        return failed(failure, path, errno);
    *ret = (struct alignment){PAGE, PAGE};
    if ((status.stx_mask & STATX_DIOALIGN) == 0)
        return 0;
    uint32_t blocks = status.stx_dio_offset_align, memory = status.stx_dio_mem_align;
    if (blocks == 0 || blocks > BLOCK_SIZE_MAX || memory > PAGE)
        return failure_set(failure, -EINVAL, "image \"%s\": the file system can't do direct: true",
                           path);
    *ret = (struct alignment){blocks > SECTOR ? blocks : SECTOR, memory > 0 ? memory : 1};
    return 0;
}

static int measure(int fd, const struct device_config *config, struct start_block *ret,
                   struct failure *failure)
{
    const char *path = config->file_path;
    struct stat status;
    struct alignment alignment = {SECTOR, 1};
    uint64_t size = 0;
    if (fstat(fd, &status) < 0)
        return failed(failure, path, errno);
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        return failure_set(failure, -EINVAL,
                           "image \"%s\" is neither a regular file nor a block device", path);
    int result = config->direct ? direct_alignment(fd, path, &alignment, failure) : 0;
    if (result < 0)
        return result;
    ret->mem_alignment = alignment.memory;
    if (S_ISREG(status.st_mode)) {
        size = (uint64_t)status.st_size;
        measure_file(fd, size, alignment.blocks, config->read_only, ret);
    } else {
        result = measure_disk(fd, status.st_rdev, config->read_only, ret, &size);
        if (result < 0)
            return failed(failure, path, -result);
    }
    if (size == 0 || size % ret->blk_size != 0)
        return failure_set(failure, -EINVAL,
                           "image \"%s\" has %llu bytes, expected a multiple of %u and not 0: "
                           "make one with \"truncate --size 1G FILE\"",
                           path, (unsigned long long)size, ret->blk_size);
    ret->capacity = size / SECTOR;
    return 0;
}

/* Opens the file by its name in `directory`. From here on no link is followed. */
static int open_named(const struct device_config *config, const struct directory *directory,
                      struct failure *failure)
{
    /* Non-blocking: a FIFO of that name is found out later and does not hang us here. */
    int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = openat(directory->fd, directory->name,
                    flags | O_NOFOLLOW | (config->direct ? O_DIRECT : 0));
    if (fd >= 0)
        return fd;
    switch (errno) {
    case EROFS:
    case EACCES:
        return failure_set(failure, -errno, "image \"%s\": %s%s", config->file_path,
                           strerror(errno),
                           config->read_only ? "" : ": can it be written? Else read_only: true");
    case EISDIR:
        return failure_set(failure, -EISDIR,
                           "image \"%s\" is neither a regular file nor a block device",
                           config->file_path);
    case EINVAL:
        if (config->direct)
            return failure_set(failure, -EINVAL,
                               "image \"%s\": the file system can't do direct: true",
                               config->file_path);
        /* fallthrough */
    default:
        return failed(failure, config->file_path, errno);
    }
}

/* Find out which file it is, and whether it may be used. */
static int identify(int fd, const struct device_config *config, const struct directory *directory,
                    struct file_id *ret, struct failure *failure)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return failed(failure, config->file_path, errno);
    const char *reason = directory_refuses(directory, &status, !config->read_only);
    if (reason)
        return failure_set(failure, -EPERM, "image \"%s\" %s", config->file_path, reason);
    /* A disk is the same, whichever node names it. No file has the inode number 0. */
    *ret = S_ISBLK(status.st_mode) ? (struct file_id){status.st_rdev, 0}
                                   : (struct file_id){status.st_dev, status.st_ino};
    return 0;
}

static int open_image(struct backend *backend, struct failure *failure)
{
    const struct device_config *config = backend->config;
    struct directory directory;
    int result = directory_find(config->file_path, true, "image", &directory, failure);
    if (result < 0)
        return result;
    int fd = open_named(config, &directory, failure);
    if (fd >= 0)
        result = identify(fd, config, &directory, &backend->file_id, failure);
    directory_close(&directory);
    if (fd >= 0 && result < 0)
        close(fd);
    return result < 0 ? result : fd;
}

/* Would the kernel make a ring as the worker makes it? */
static int try_ring(struct failure *failure)
{
    struct io_uring_params params = {.flags = RING_FLAGS};
    int ring = (int)syscall(SYS_io_uring_setup, RING_ENTRIES, &params);
    if (ring >= 0) {
        close(ring);
        return 0;
    }
    const char *why = errno == ENOSYS   ? "this kernel has none (CONFIG_IO_URING)"
                      : errno == EINVAL ? "this needs Linux 6.1"
                      : errno == EPERM  ? "/proc/sys/kernel/io_uring_disabled, or the filter of a "
                                          "container or a service, forbids it"
                                        : strerror(errno);
    return failure_set(failure, -errno,
                       "the kernel makes no io_uring: %s: allow it, or use io_engine: sync", why);
}

static int block_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const struct device_config *config = backend->config;
    struct start_block block = {.blk_size = SECTOR};
    int result = 0;
    *ret_key = CONFIG_KEY_IO_ENGINE;
    if (device_kinds[config->kind].ring)
        result = try_ring(failure);
    if (result < 0)
        return result;
    *ret_key = CONFIG_KEY_FILE_PATH;
    int fd = open_image(backend, failure);
    if (fd < 0)
        return fd;
    result = lock_image(fd, config, failure);
    if (result == 0)
        result = measure(fd, config, &block, failure);
    if (result == 0 && fcntl(fd, F_SETFL, config->direct ? O_DIRECT : 0) < 0)
        result = failed(failure, config->file_path, errno);
    if (result < 0) {
        close(fd);
        return result;
    }
    backend->files[OPENED_IMAGE] = fd;
    backend->learned.block = block;
    return 0;
}

static uint32_t block_files(const struct device_config *config)
{
    (void)config;
    return 1u << OPENED_IMAGE;
}

static int block_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    const struct device_config *config = backend->config;
    struct start_block *block = &start->of_kind.block;
    char serial[sizeof(block->serial) + 1];
    *block = backend->learned.block;
    block->read_only = config->read_only;
    block->advertise_flush = config->advertise_flush;
    block->direct = config->direct;
    block->unsafe = config->cache == CONFIG_CACHE_UNSAFE;
    snprintf(serial, sizeof(serial), "bao-block-%u", config->id);
    memcpy(block->serial, serial, sizeof(block->serial));
    *ret =
        (struct backend_fds){.fds = {backend->files[OPENED_IMAGE]}, .count = 1, .boxed = 1u << 0};
    return 0;
}

static uint32_t block_queues(const struct device_config *config)
{
    return config->queues > 0 ? config->queues : device_kinds[config->kind].queue_count;
}

const struct backend_ops backend_block = {
    .open = block_open,
    .files = block_files,
    .boxed = block_files,
    .queues = block_queues,
    .give = block_give,
    .worker_looks = true, /* to see whether the image has been resized */
};
