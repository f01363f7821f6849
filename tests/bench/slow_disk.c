/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/slow_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define ATTEMPTS 100u
#define READ_NS 100000u
#define AT_ONCE 64u
#define READ_MAX 0x100000u
#define REQUEST_MAX (READ_MAX + 4096u)

/* ---- The server: a thread, with one file, which is the root ---- */

struct held {
    uint64_t unique, due;
    uint32_t size;
};

static struct {
    int fuse;
    uint64_t size;
    struct held held[AT_ONCE]; /* all take the same time, so the oldest is due first */
    unsigned int first, count;
} server;

static void answer(uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + size), .error = error, .unique = unique};
    const struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)(uintptr_t)data, size}};
    ssize_t ignored = writev(server.fuse, parts, 2); /* the kernel may have given it up */
    (void)ignored;
}

static void answer_init(const struct fuse_in_header *request)
{
    const struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .flags = FUSE_ASYNC_READ | FUSE_ASYNC_DIO | FUSE_MAX_PAGES,
        .max_write = READ_MAX,
        .max_pages = READ_MAX / 4096,
        .max_background = AT_ONCE,
        .congestion_threshold = AT_ONCE,
        .time_gran = 1,
    };
    answer(request->unique, 0, &out, sizeof(out));
}

static void take(const struct fuse_in_header *request)
{
    const struct fuse_attr_out attr = {
        .attr_valid = 3600,
        .attr = {.ino = FUSE_ROOT_ID, .size = server.size, .mode = S_IFREG | 0600, .nlink = 1}};
    const struct fuse_open_out opened = {.open_flags = FOPEN_DIRECT_IO};
    const struct fuse_read_in *in = (const void *)(request + 1);
    switch (request->opcode) {
    case FUSE_INIT:
        answer_init(request);
        break;
    case FUSE_GETATTR:
        answer(request->unique, 0, &attr, sizeof(attr));
        break;
    case FUSE_OPEN:
        answer(request->unique, 0, &opened, sizeof(opened));
        break;
    case FUSE_READ:
        server.held[(server.first + server.count++) % AT_ONCE] =
            (struct held){request->unique, bench_now_ns() + READ_NS, in->size};
        break;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
        answer(request->unique, 0, NULL, 0);
        break;
    default:
        answer(request->unique, -ENOSYS, NULL, 0);
        break;
    }
}

static void answer_due(void)
{
    static const unsigned char zeros[READ_MAX];
    for (; server.count > 0; server.count--, server.first++) {
        const struct held *oldest = &server.held[server.first % AT_ONCE];
        if (oldest->due > bench_now_ns())
            return;
        answer(oldest->unique, 0, zeros, oldest->size < READ_MAX ? oldest->size : READ_MAX);
    }
}

static void *serve(void *unused)
{
    static _Alignas(8) unsigned char request[REQUEST_MAX];
    (void)unused;
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    for (;;) {
        answer_due();
        uint64_t now = bench_now_ns(), due = server.held[server.first % AT_ONCE].due;
        const struct timespec wait = {.tv_nsec = due > now ? (long)(due - now) : 0};
        struct pollfd more = {.fd = server.count < AT_ONCE ? server.fuse : -1, .events = POLLIN};
        ppoll(&more, 1, server.count > 0 ? &wait : NULL, NULL);
        if ((more.revents & POLLERR) != 0)
            return NULL; /* it is no longer mounted */
        while (server.count < AT_ONCE && read(server.fuse, request, sizeof(request)) > 0)
            take((const void *)request);
    }
}

static int mount_file(struct slow_disk *disk, const char *dir)
{
    char options[128];
    pthread_t thread;
    snprintf(disk->mount, sizeof(disk->mount), "%s/slow", dir);
    int file = open(disk->mount, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0)
        return -errno;
    close(file);
    disk->fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (disk->fuse < 0)
        return -errno;
    snprintf(options, sizeof(options), "fd=%d,rootmode=100600,user_id=0,group_id=0,allow_other",
             disk->fuse);
    if (mount("slow", disk->mount, "fuse.slow", MS_NOSUID, options) < 0)
        return -errno;
    server.fuse = disk->fuse;
    int r = -pthread_create(&thread, NULL, serve, NULL);
    if (r == 0)
        pthread_detach(thread);
    return r;
}

/* ---- The disk ---- */

static int attach_free_one(struct slow_disk *disk, int control, int file)
{
    struct loop_config config = {
        .fd = (unsigned int)file,
        .block_size = 4096,
        .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO | LO_FLAGS_READ_ONLY},
    };
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -errno;
    snprintf(disk->path, sizeof(disk->path), "/dev/loop%d", number);
    disk->loop = open(disk->path, O_RDONLY | O_CLOEXEC);
    if (disk->loop < 0)
        return -errno;
    if (ioctl(disk->loop, LOOP_CONFIGURE, &config) == 0)
        return 0;
    int r = -errno;
    close(disk->loop);
    disk->loop = -1;
    return r;
}

/* A loop device that is free may be somebody else's a moment later. */
static int attach(struct slow_disk *disk)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int file = open(disk->mount, O_RDWR | O_CLOEXEC | O_DIRECT);
    int r = control < 0 || file < 0 ? -errno : -EBUSY;
    for (unsigned int i = 0; i < ATTEMPTS && r == -EBUSY; i++)
        r = attach_free_one(disk, control, file);
    if (control >= 0)
        close(control);
    if (file >= 0)
        close(file);
    return r;
}

int slow_disk_make(struct slow_disk *disk, const char *dir, uint64_t size)
{
    *disk = (struct slow_disk){.loop = -1, .fuse = -1};
    server.size = size;
    int r = mount_file(disk, dir);
    return r < 0 ? r : attach(disk);
}

void slow_disk_forget(const struct slow_disk *disk)
{
    (void)ioctl(disk->loop, BLKFLSBUF, 0);
    (void)posix_fadvise(disk->loop, 0, 0, POSIX_FADV_DONTNEED);
}

void slow_disk_free(struct slow_disk *disk)
{
    if (disk->loop >= 0)
        close(disk->loop);
    if (disk->fuse >= 0) {
        umount2(disk->mount, MNT_DETACH);
        unlink(disk->mount);
        /* The thread still has the fd; it ends with the last use of the mount. */
    }
}
