/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image of a block device: a regular file or a block device, opened once and locked for as
 * long as anyone holds it, so that two writers can't share it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend.h"

#define SECTOR 512u
#define FILE_PHYSICAL_EXP 3 /* a file's pages are 4096 bytes: 2^3 logical blocks of 512 */

static int failed(struct failure *failure, const char *path, int error)
{
    return failure_set(failure, -error, "image \"%s\": %s", path, strerror(error));
}

/* The lock belongs to the open file, so it is held by every copy of the fd, in workers too. */
static int lock_image(int fd, const struct device_config *config, struct failure *failure)
{
    struct flock lock = {
        .l_type = config->read_only ? F_RDLCK : F_WRLCK,
        .l_whence = SEEK_SET,
    };
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
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

static int measure_disk(int fd, struct start_block *ret, uint64_t *ret_size)
{
    int logical = 0;
    unsigned int physical = 0, min_io = 0, opt_io = 0;
    if (ioctl(fd, BLKGETSIZE64, ret_size) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0)
        return -errno;
    if (logical < (int)SECTOR || logical > 65536)
        return -ERANGE;
    /* Hints: a disk that does not know them has none. */
    (void)ioctl(fd, BLKPBSZGET, &physical);
    (void)ioctl(fd, BLKIOMIN, &min_io);
    (void)ioctl(fd, BLKIOOPT, &opt_io);
    ret->blk_size = (uint32_t)logical;
    ret->physical_blk_exp = exponent(physical, ret->blk_size);
    ret->min_io_size = min_io / ret->blk_size;
    ret->opt_io_size = opt_io / ret->blk_size;
    return 0;
}

static int measure(int fd, const char *path, struct start_block *ret, struct failure *failure)
{
    struct stat status;
    uint64_t size = 0;
    if (fstat(fd, &status) < 0)
        return failed(failure, path, errno);
    if (S_ISREG(status.st_mode)) {
        size = (uint64_t)status.st_size;
        ret->blk_size = SECTOR;
        ret->physical_blk_exp = FILE_PHYSICAL_EXP;
        ret->min_io_size = 1u << FILE_PHYSICAL_EXP;
    } else if (S_ISBLK(status.st_mode)) {
        int result = measure_disk(fd, ret, &size);
        if (result < 0)
            return failed(failure, path, -result);
    } else {
        return failure_set(failure, -EINVAL,
                           "image \"%s\" is neither a regular file nor a block device", path);
    }
    if (size == 0 || size % SECTOR != 0)
        return failure_set(failure, -EINVAL,
                           "image \"%s\" has %llu bytes, expected a multiple of 512 and not 0: "
                           "make one with \"truncate --size 1G FILE\"",
                           path, (unsigned long long)size);
    ret->capacity = size / SECTOR;
    return 0;
}

static int open_image(const struct device_config *config, struct failure *failure)
{
    /* Non-blocking, so that a pipe by that name is found out and does not hang us. */
    int flags = (config->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int fd = open(config->file_path, flags);
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
    default:
        return failed(failure, config->file_path, errno);
    }
}

static int block_open(struct backend *backend, const struct device_config *config,
                      enum config_key *ret_key, struct failure *failure)
{
    *ret_key = CONFIG_KEY_FILE_PATH;
    int fd = open_image(config, failure);
    if (fd < 0)
        return fd;

    struct start_block block = {
        .read_only = config->read_only,
        .advertise_flush = config->advertise_flush,
    };
    char serial[sizeof(block.serial) + 1];
    snprintf(serial, sizeof(serial), "bao-block-%u", config->id);
    memcpy(block.serial, serial, sizeof(block.serial));

    int result = measure(fd, config->file_path, &block, failure);
    if (result == 0)
        result = lock_image(fd, config, failure);
    if (result == 0 && fcntl(fd, F_SETFL, 0) < 0)
        result = failed(failure, config->file_path, errno);
    if (result < 0) {
        close(fd);
        return result;
    }
    backend->image = fd;
    backend->block = block;
    return 0;
}

static int block_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->block = backend->block;
    *ret = (struct backend_fds){.fds = {backend->image}, .count = 1, .owned = false};
    return 0;
}

static uint32_t block_queues(const struct device_config *config)
{
    return config->queues > 0 ? config->queues : device_kinds[config->kind].queue_count;
}

const struct backend_ops backend_block = {
    .open = block_open,
    .queues = block_queues,
    .give = block_give,
};
