/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image that is a block device, what file systems say of an image, and calls that fail. The
 * image is a regular file; functions of this program stand in front of the C library's (--wrap) and
 * answer as the kernel would for a disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define ANY UINT64_MAX /* the kernel has no such file */

static char folder[] = "/tmp/test_backend_disk.XXXXXX";
static char path[64];

/* What the kernel says of the disk; and of its queue, in files: ANY: there is no such file. */
static struct disk {
    uint64_t size;
    int logical;
    unsigned int physical, min_io, opt_io;
    bool is_part; /* a partition: the queue is that of the disk */
    uint64_t granularity, discard_max, zeroes_max;
} disk;
static bool is_disk;

static struct {
    bool known;
    uint32_t blocks, memory;
} alignment;                /* for O_DIRECT */
static bool is_file_system; /* `alignment` counts */

static struct {
    int mode;
    off_t offset, length;
} hole;

static struct device_config config;
static struct backend backend;
static struct failure failure;
static int opened = -1, open_flags;

/* ---- In front of the C library ---- */

int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status)
{
    if (fd == opened && call_fails("fstat"))
        return -1;
    int result = __real_fstat(fd, status);
    if (result == 0 && is_disk && fd == opened) {
        status->st_mode = S_IFBLK | 0600;
        status->st_rdev = makedev(7, 42);
        status->st_size = 0;
    }
    return result;
}

static const char *name_of(unsigned long request)
{
    return request == BLKGETSIZE64 ? "BLKGETSIZE64"
           : request == BLKSSZGET  ? "BLKSSZGET"
           : request == BLKPBSZGET ? "BLKPBSZGET"
           : request == BLKIOMIN   ? "BLKIOMIN"
                                   : "BLKIOOPT";
}

int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    CU_ASSERT(is_disk && fd == opened);
    if (call_fails(name_of(request)))
        return -1;
    if (request == BLKGETSIZE64)
        *(uint64_t *)argument = disk.size;
    else if (request == BLKSSZGET)
        *(int *)argument = disk.logical;
    else
        *(unsigned int *)argument = request == BLKPBSZGET ? disk.physical
                                    : request == BLKIOMIN ? disk.min_io
                                                          : disk.opt_io;
    return 0;
}

/* A file of /sys/dev/block/7:42/queue. */
FILE *__wrap_fopen(const char *name, const char *mode);
FILE *__wrap_fopen(const char *name, const char *mode)
{
    char prefix[64];
    CU_ASSERT_STRING_EQUAL(mode, "re");
    snprintf(prefix, sizeof(prefix), "/sys/dev/block/7:42/%squeue/", disk.is_part ? "../" : "");
    if (strncmp(name, prefix, strlen(prefix)) != 0)
        return NULL;
    const char *last = name + strlen(prefix);
    uint64_t number = strcmp(last, "discard_granularity") == 0      ? disk.granularity
                      : strcmp(last, "discard_max_bytes") == 0      ? disk.discard_max
                      : strcmp(last, "write_zeroes_max_bytes") == 0 ? disk.zeroes_max
                                                                    : ANY;
    FILE *file = number != ANY ? tmpfile() : NULL;
    if (file) {
        fprintf(file, "%llu\n", (unsigned long long)number);
        rewind(file);
    }
    return file;
}

int __real_statx(int fd, const char *name, int flags, unsigned int mask, struct statx *ret);
int __wrap_statx(int fd, const char *name, int flags, unsigned int mask, struct statx *ret);
int __wrap_statx(int fd, const char *name, int flags, unsigned int mask, struct statx *ret)
{
    if (call_fails("statx"))
        return -1;
    CU_ASSERT((mask & STATX_DIOALIGN) != 0 && fd == opened);
    int result = __real_statx(fd, name, flags, mask, ret);
    if (is_file_system) {
        ret->stx_mask |= STATX_DIOALIGN;
        if (!alignment.known)
            ret->stx_mask &= ~STATX_DIOALIGN;
        ret->stx_dio_offset_align = alignment.blocks;
        ret->stx_dio_mem_align = alignment.memory;
    }
    return result;
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t length)
{
    CU_ASSERT_EQUAL(fd, opened);
    hole.mode = mode;
    hole.offset = offset;
    hole.length = length;
    return call_fails("fallocate") ? -1 : 0;
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const char *name = command == F_OFD_SETLK ? "F_OFD_SETLK" : "F_SETFL";
    if ((command == F_OFD_SETLK || command == F_SETFL) && call_fails(name))
        return -1;
    return __real_fcntl(fd, command, argument);
}

/* O_DIRECT is noted, and not asked of the file system of the tests. */
static int open_at(int directory, const char *name, int flags)
{
    open_flags = flags;
    opened = call_fails("openat") ? -1 : openat(directory, name, flags & ~O_DIRECT);
    return opened;
}

int __real_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...);
int __wrap_openat(int directory, const char *name, int flags, ...)
{
    static bool inside;
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    if (inside || (flags & O_PATH) != 0) /* on its way to the image */
        return __real_openat(directory, name, flags, mode);
    inside = true;
    int fd = open_at(directory, name, flags);
    inside = false;
    return fd;
}

#ifdef __GLIBC__ /* with _FORTIFY_SOURCE, for flags that are not constant */
int __wrap___openat_2(int directory, const char *name, int flags);
int __wrap___openat_2(int directory, const char *name, int flags)
{
    return __wrap_openat(directory, name, flags);
}
#endif

/* ---- An image ---- */

static void begin(void)
{
    config = (struct device_config){.kind = DEVICE_BLOCK_VIRTIO, .id = 4, .file_path = path};
    disk = (struct disk){.size = 1 << 20,
                         .logical = 512,
                         .granularity = 4096,
                         .discard_max = 1 << 30,
                         .zeroes_max = 1 << 30};
    is_disk = true;
    is_file_system = false;
    memset(&hole, 0, sizeof(hole));
    close(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
}

static void begin_file(off_t size, uint32_t blocks, uint32_t memory)
{
    begin();
    is_disk = false;
    config.direct = blocks > 0 || memory > 0;
    is_file_system = true;
    alignment.known = true;
    alignment.blocks = blocks;
    alignment.memory = memory;
    CU_ASSERT_EQUAL(truncate(path, size), 0);
}

/* Somebody holds the lock for so many pauses of the code under test, which take no time here. */
static unsigned int locked_for, pauses_ms;

int __wrap_nanosleep(const struct timespec *time, struct timespec *rest);
int __wrap_nanosleep(const struct timespec *time, struct timespec *rest)
{
    (void)rest;
    pauses_ms += (unsigned int)(time->tv_nsec / 1000000);
    if (locked_for > 0 && --locked_for > 0)
        fail_once("F_OFD_SETLK", EAGAIN, 0);
    return 0;
}

static void lock_for(unsigned int pauses)
{
    locked_for = pauses;
    pauses_ms = 0;
    fail_once("F_OFD_SETLK", EAGAIN, 0);
}

static int open_image(void)
{
    enum config_key key = CONFIG_KEY_ID;
    opened = -1;
    failure.text[0] = '\0';
    backend_init(&backend, &config);
    int result = backend_block.open(&backend, &key, &failure);
    CU_ASSERT_EQUAL(key, CONFIG_KEY_FILE_PATH);
    CU_ASSERT_EQUAL(result < 0, failure.text[0] != '\0');
    CU_ASSERT_EQUAL(result < 0, backend.files[OPENED_IMAGE] < 0);
    CU_ASSERT_PTR_NULL(failing.call); /* it has come to the call that fails */
    return result;
}

static const struct start_block *opens(void)
{
    CU_ASSERT_EQUAL_FATAL(open_image(), 0);
    close(backend.files[OPENED_IMAGE]);
    return &backend.learned.block;
}

/* It fails with exactly these words after the image's name, and leaves no file open. */
static void refused(int error, const char *words)
{
    char line[600];
    unsigned int before = fd_count();
    CU_ASSERT_EQUAL(open_image(), -error);
    snprintf(line, sizeof(line), "image \"%s\"%s", path, words);
    CU_ASSERT_STRING_EQUAL(failure.text, line);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* ---- A disk ---- */

static void geometry(void)
{
    begin();
    disk.logical = 4096;
    disk.physical = 16384;
    disk.min_io = 65536;
    disk.opt_io = 1 << 20;
    unsigned int before = fd_count();
    const struct start_block *block = opens();
    CU_ASSERT_EQUAL(fd_count(), before);
    CU_ASSERT_EQUAL(block->capacity, (1 << 20) / 512);
    CU_ASSERT_EQUAL(block->blk_size, 4096);
    CU_ASSERT_EQUAL(block->physical_blk_exp, 2);
    CU_ASSERT(block->min_io_size == 16 && block->opt_io_size == 256);
    CU_ASSERT_EQUAL(block->mem_alignment, 1);
    /* A disk is the same, whichever node names it. */
    CU_ASSERT(backend.file_id.device == makedev(7, 42) && backend.file_id.inode == 0);
    CU_ASSERT_EQUAL(hole.length, 0); /* nothing is punched into a disk */
    CU_ASSERT_EQUAL(open_flags, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
}

static void physical_blocks(void)
{
    static const struct {
        unsigned int physical;
        int logical;
        uint32_t exponent;
    } cases[] = {{512, 512, 0}, {4096, 512, 3}, {512, 4096, 0},
                 {0, 512, 0},   {1000, 512, 1}, {UINT_MAX, 512, 16}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin();
        disk.physical = cases[i].physical;
        disk.logical = cases[i].logical;
        CU_ASSERT_EQUAL(opens()->physical_blk_exp, cases[i].exponent);
    }
}

/* What a disk does not know is left out. */
static void hints_that_fail(void)
{
    begin();
    disk.physical = disk.min_io = disk.opt_io = 65536;
    fail_once("BLKPBSZGET", EINVAL, 0);
    const struct start_block *block = opens();
    CU_ASSERT(block->physical_blk_exp == 0 && block->min_io_size == 128);
    fail_once("BLKIOMIN", EINVAL, 0);
    block = opens();
    CU_ASSERT(block->physical_blk_exp == 7 && block->min_io_size == 0 && block->opt_io_size == 128);
    fail_once("BLKIOOPT", EINVAL, 0);
    block = opens();
    CU_ASSERT(block->min_io_size == 128 && block->opt_io_size == 0);
}

static void disks_that_fail(void)
{
    static const int wrong[] = {0, 511, 65537, -512};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        begin();
        disk.logical = wrong[i];
        refused(ERANGE, ": Numerical result out of range");
    }
    begin();
    disk.logical = 65536;
    CU_ASSERT_EQUAL(opens()->blk_size, 65536);
    begin();
    fail_once("BLKGETSIZE64", EIO, 0);
    refused(EIO, ": Input/output error");
    fail_once("BLKSSZGET", EIO, 0);
    refused(EIO, ": Input/output error");
    disk.size = 0;
    refused(EINVAL, " has 0 bytes, expected a multiple of 512 and not 0: make one with \"truncate "
                    "--size 1G FILE\"");
    disk.size = 4096 + 512;
    disk.logical = 4096;
    refused(EINVAL, " has 4608 bytes, expected a multiple of 4096 and not 0: make one with "
                    "\"truncate --size 1G FILE\"");
}

/* A disk must be able to free and to zero. */
static void holes_in_disks(void)
{
    begin();
    CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
    disk.is_part = true; /* then the numbers are those of the whole disk */
    CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
    disk.granularity = 512; /* but no less than a block */
    disk.logical = 4096;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
    disk.granularity = ANY;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
    disk.granularity = UINT32_MAX;
    CU_ASSERT_EQUAL(opens()->discard_sectors, UINT32_MAX / 512);
    disk.granularity++;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    begin();
    disk.discard_max = 0;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    disk.discard_max = ANY;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    begin();
    disk.zeroes_max = 0;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    disk.discard_max = disk.zeroes_max = 1; /* however little it can do at a time */
    CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
    begin();
    config.read_only = true;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    CU_ASSERT_EQUAL(open_flags & O_ACCMODE, O_RDONLY);
}

/* ---- A file ---- */

/* A hole beyond the end changes nothing. */
static void holes_in_files(void)
{
    static const struct {
        off_t size, beyond;
    } cases[] = {{512, 4096}, {4096, 4096}, {4608, 8192}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_file(cases[i].size, 0, 0);
        CU_ASSERT_EQUAL(opens()->discard_sectors, 8);
        CU_ASSERT_EQUAL(hole.mode, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
        CU_ASSERT(hole.offset == cases[i].beyond && hole.length == 4096);
    }
    begin_file(4097, 0, 0); /* even if it is no image: not a byte of it is touched */
    refused(EINVAL, " has 4097 bytes, expected a multiple of 512 and not 0: make one with "
                    "\"truncate --size 1G FILE\"");
    CU_ASSERT_EQUAL(hole.offset, 8192);
    begin_file(512, 0, 0);
    fail_once("fallocate", EOPNOTSUPP, 0);
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    begin_file(512, 0, 0);
    config.read_only = true;
    CU_ASSERT_EQUAL(opens()->discard_sectors, 0);
    CU_ASSERT_EQUAL(hole.length, 0);
}

/* What O_DIRECT requires becomes the block size, but for what is smaller than a sector. */
static void alignments(void)
{
    static const struct {
        uint32_t blocks, memory, blk_size, mem_alignment, exponent, min_io;
    } cases[] = {
        {512, 4, 512, 4, 3, 8},       {1, 0, 512, 1, 3, 8},       {513, 4096, 513, 4096, 3, 7},
        {4096, 512, 4096, 512, 0, 1}, {65536, 1, 65536, 1, 0, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin_file((off_t)cases[i].blk_size * 512, cases[i].blocks, cases[i].memory);
        const struct start_block *block = opens();
        CU_ASSERT_EQUAL(block->blk_size, cases[i].blk_size);
        CU_ASSERT_EQUAL(block->mem_alignment, cases[i].mem_alignment);
        CU_ASSERT_EQUAL(block->physical_blk_exp, cases[i].exponent);
        CU_ASSERT_EQUAL(block->min_io_size, cases[i].min_io);
        CU_ASSERT_EQUAL(block->opt_io_size, 0);
        CU_ASSERT_TRUE((open_flags & O_DIRECT) != 0);
    }
    begin_file(4096, 1, 1);
    alignment.known = false; /* an old kernel */
    CU_ASSERT_EQUAL(opens()->blk_size, 4096);
    CU_ASSERT_EQUAL(backend.learned.block.mem_alignment, 4096);
    begin_file(4096, 0, 0);
    CU_ASSERT_EQUAL(opens()->blk_size, 512);
    CU_ASSERT_EQUAL(backend.learned.block.mem_alignment, 1);
    CU_ASSERT_TRUE((open_flags & O_DIRECT) == 0);
}

#define NOT_DIRECT ": the file system can't do direct: true"

static void direct_that_fails(void)
{
    begin_file(65536, 0, 512);
    refused(EINVAL, NOT_DIRECT);
    begin_file(65537, 65537, 512);
    refused(EINVAL, NOT_DIRECT);
    begin_file(65536, 512, 4097);
    refused(EINVAL, NOT_DIRECT);
    begin_file(65536, 512, 512);
    fail_once("statx", EIO, 0);
    refused(EIO, ": Input/output error");
    fail_once("openat", EINVAL, 0); /* as a file system without O_DIRECT answers */
    refused(EINVAL, NOT_DIRECT);
    config.direct = false;
    fail_once("openat", EINVAL, 0);
    refused(EINVAL, ": Invalid argument");
}

/* ---- Both ---- */

/* The lock of a predecessor's ring goes a little later than its processes. */
static void a_lock_is_waited_for(void)
{
    static const unsigned int waits[] = {1, 3, 50}; /* 20 ms each */
    begin();
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        lock_for(waits[i]);
        CU_ASSERT_EQUAL_FATAL(open_image(), 0);
        CU_ASSERT_EQUAL(pauses_ms, 20 * waits[i]); /* and no longer */
        close(backend.files[OPENED_IMAGE]);
    }
    lock_for(51);
    refused(EBUSY, " is in use by another process: end that one first, or share it with "
                   "read_only: true");
    CU_ASSERT_EQUAL(pauses_ms, 1000);
}

static void calls_that_fail(void)
{
    static const int errors[] = {EROFS, EACCES};
    static const char *const words[] = {": Read-only file system", ": Permission denied"};
    for (size_t i = 0; i < 2; i++) {
        char line[100];
        begin();
        snprintf(line, sizeof(line), "%s: can it be written? Else read_only: true", words[i]);
        fail_once("openat", errors[i], 0);
        refused(errors[i], line);
        config.read_only = true;
        fail_once("openat", errors[i], 0);
        refused(errors[i], words[i]);
        begin();
        fail_once("F_OFD_SETLK", EACCES, 0);
        refused(EBUSY, " is in use by another process: end that one first, or share it with "
                       "read_only: true");
        config.read_only = true;
        fail_once("F_OFD_SETLK", EACCES, 0);
        refused(EBUSY, " is in use by another process: end that one first");
        fail_once("fstat", EIO, (unsigned int)i);
        refused(EIO, ": Input/output error");
    }
    fail_once("F_OFD_SETLK", ENOLCK, 0);
    refused(ENOLCK, ": No locks available");
    fail_once("F_SETFL", EIO, 0);
    refused(EIO, ": Input/output error");
    fail_once("openat", EIO, 0);
    refused(EIO, ": Input/output error");
}

/* A number of a file is no failure unless it is negative. */
static void an_image_may_have_the_number_0(void)
{
    begin();
    gives_0 = "openat";
    CU_ASSERT_EQUAL(open_image(), 0);
    CU_ASSERT_EQUAL(backend.files[OPENED_IMAGE], 0);
    CU_ASSERT_EQUAL(backend.file_id.device, makedev(7, 42));
    take_0_back();
    begin();
    unsigned int before = fd_count();
    gives_0 = "openat";
    fail_once("fstat", EIO, 0);
    CU_ASSERT_EQUAL(open_image(), -EIO);
    CU_ASSERT_TRUE(fcntl(0, F_GETFD) < 0 && errno == EBADF); /* it is closed */
    take_0_back();
    CU_ASSERT_EQUAL(fd_count(), before);
}

static void what_a_worker_gets(void)
{
    for (int unsafe = 0; unsafe < 2; unsafe++) {
        struct message_start start;
        struct backend_fds given;
        memset(&start, 0xff, sizeof(start));
        memset(&given, 0xff, sizeof(given));
        begin_file(4096, unsafe != 0 ? 512 : 0, 0);
        config.cache = unsafe != 0 ? CONFIG_CACHE_UNSAFE : CONFIG_CACHE_UNSAFE + 1;
        config.read_only = config.advertise_flush = unsafe == 0;
        CU_ASSERT_EQUAL_FATAL(open_image(), 0);
        CU_ASSERT_EQUAL(backend_block.give(&backend, &start, &given), 0);
        CU_ASSERT_EQUAL(start.of_kind.block.unsafe, unsafe);
        CU_ASSERT_EQUAL(start.of_kind.block.direct, unsafe);
        CU_ASSERT_EQUAL(start.of_kind.block.read_only, unsafe == 0);
        CU_ASSERT_EQUAL(start.of_kind.block.advertise_flush, unsafe == 0);
        CU_ASSERT_EQUAL(start.of_kind.block.capacity, 8);
        CU_ASSERT(given.count == 1 && given.fds[0] == backend.files[OPENED_IMAGE]);
        CU_ASSERT(given.boxed == 1 && !given.owned); /* it comes in a box */
        CU_ASSERT_EQUAL(backend_block.files(&config), 1u << OPENED_IMAGE);
        CU_ASSERT_EQUAL(backend_block.boxed(&config), 1u << OPENED_IMAGE);
        close(backend.files[OPENED_IMAGE]);
    }
}

static int make_folder(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/image", folder);
    return 0;
}

static int remove_folder(void)
{
    unlink(path);
    return rmdir(folder);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a disk's geometry", geometry},
        {"a disk's physical blocks", physical_blocks},
        {"hints that fail", hints_that_fail},
        {"disks that fail", disks_that_fail},
        {"holes in disks", holes_in_disks},
        {"holes in files", holes_in_files},
        {"alignments", alignments},
        {"direct that fails", direct_that_fails},
        {"a lock is waited for", a_lock_is_waited_for},
        {"calls that fail", calls_that_fail},
        {"an image may have the number 0", an_image_may_have_the_number_0},
        {"what a worker gets", what_a_worker_gets},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {.pName = "disks",
         .pInitFunc = make_folder,
         .pCleanupFunc = remove_folder,
         .pTests = tests},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
