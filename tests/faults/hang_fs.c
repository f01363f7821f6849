/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/hang_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define NODES_MAX 64
#define NAME_SIZE 64
#define TARGET_SIZE 128
#define HELD_MAX 256
#define WRITE_MAX 131072u
#define BUFFER_SIZE (WRITE_MAX + 8192u)
#define LOOK_US 500

struct node {
    char name[NAME_SIZE]; /* "": removed; a process that has it open keeps it */
    mode_t mode;          /* 0: never used */
    int fd;               /* of a regular file */
    char target[TARGET_SIZE];
    unsigned int uid, gid;
};

struct hang_fs {
    char *dir;
    int device; /* the open /dev/fuse */
    int wake;   /* eventfd: there is something to go on with, or the end has come */
    pthread_t server;
    pthread_mutex_t lock; /* for all that follows, except what belongs to the server */
    unsigned int hanging;
    int errors[HANG_KINDS];
    unsigned int delays_us[HANG_KINDS];
    bool go_on, over;
    unsigned int held_count;
    struct fuse_in_header *held[HELD_MAX]; /* copies of complete requests */
    struct node nodes[NODES_MAX];          /* index: node id - FUSE_ROOT_ID */
    /* Only the server uses these. */
    _Alignas(8) unsigned char request[BUFFER_SIZE], answer[BUFFER_SIZE];
};

static unsigned int kind_of(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_READLINK:
    case FUSE_SYMLINK:
    case FUSE_MKNOD:
    case FUSE_UNLINK:
    case FUSE_RENAME2:
    case FUSE_RENAME:
        return HANG_LOOKUP;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return HANG_OPEN;
    case FUSE_READ:
    case FUSE_READDIR:
        return HANG_READ;
    case FUSE_WRITE:
        return HANG_WRITE;
    case FUSE_FSYNC:
        return HANG_FSYNC;
    case FUSE_FLUSH:
        return HANG_FLUSH;
    case FUSE_GETATTR:
    case FUSE_STATFS:
        return HANG_GETATTR;
    case FUSE_SETATTR:
        return HANG_SETATTR;
    case FUSE_FALLOCATE:
        return HANG_FALLOCATE;
    case FUSE_LSEEK:
        return HANG_LSEEK;
    default:
        return 0; /* never held: the kernel's own requests, and those that are not implemented */
    }
}

/* ---- Nodes: under the lock ---- */

static struct node *node_of(struct hang_fs *fs, uint64_t id)
{
    const uint64_t index = id - FUSE_ROOT_ID;
    return index < NODES_MAX && fs->nodes[index].mode != 0 ? &fs->nodes[index] : NULL;
}

static struct node *find(struct hang_fs *fs, const char *name)
{
    for (unsigned int i = 1; i < NODES_MAX; i++) {
        if (strcmp(fs->nodes[i].name, name) == 0 && name[0] != '\0')
            return &fs->nodes[i];
    }
    return NULL;
}

/* Node ids are never used again: a process may have the old node open. */
static int add(struct hang_fs *fs, const char *name, mode_t mode, int fd, struct node **ret)
{
    if (strlen(name) >= NAME_SIZE)
        return -ENAMETOOLONG;
    if (find(fs, name))
        return -EEXIST;
    for (unsigned int i = 1; i < NODES_MAX; i++) {
        struct node *node = &fs->nodes[i];
        if (node->mode != 0)
            continue;
        *node = (struct node){.mode = mode, .fd = -1};
        strcpy(node->name, name);
        if (S_ISREG(mode)) {
            node->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3)
                               : memfd_create("hang-fs", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            if (node->fd < 0)
                return -errno;
        }
        *ret = node;
        return 0;
    }
    return -ENOSPC;
}

static void fill_attr(const struct hang_fs *fs, const struct node *node, struct fuse_attr *ret)
{
    struct stat file = {0};
    if (node->fd >= 0)
        (void)!fstat(node->fd, &file);
    *ret = (struct fuse_attr){
        .ino = (uint64_t)(node - fs->nodes) + FUSE_ROOT_ID,
        .size = S_ISLNK(node->mode) ? strlen(node->target) : (uint64_t)file.st_size,
        .blocks = (uint64_t)file.st_blocks,
        .mtime = (uint64_t)file.st_mtime,
        .mode = node->mode,
        .nlink = 1,
        .uid = node->uid,
        .gid = node->gid,
        .blksize = 4096,
    };
}

/* ---- Operations: each returns the length of its answer in fs->answer, or -errno ---- */

static int answer_entry(struct hang_fs *fs, const struct node *node)
{
    struct fuse_entry_out *out = (void *)fs->answer;
    *out = (struct fuse_entry_out){.nodeid = (uint64_t)(node - fs->nodes) + FUSE_ROOT_ID};
    fill_attr(fs, node, &out->attr);
    return sizeof(*out);
}

static int answer_attr(struct hang_fs *fs, const struct node *node)
{
    struct fuse_attr_out *out = (void *)fs->answer;
    *out = (struct fuse_attr_out){0};
    fill_attr(fs, node, &out->attr);
    return sizeof(*out);
}

static int do_init(struct hang_fs *fs, const struct fuse_init_in *in)
{
    struct fuse_init_out *out = (void *)fs->answer;
    *out = (struct fuse_init_out){
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = in->max_readahead,
        .flags = (FUSE_BIG_WRITES | FUSE_ASYNC_DIO) & in->flags,
        .max_write = WRITE_MAX,
        .max_background = 64,
        .congestion_threshold = 48,
        .time_gran = 1,
    };
    return sizeof(*out);
}

static int do_make(struct hang_fs *fs, const struct fuse_in_header *header, const char *name,
                   mode_t mode, const char *target)
{
    struct node *node = NULL;
    if (target && strlen(target) >= TARGET_SIZE)
        return -ENAMETOOLONG;
    int r = add(fs, name, mode, -1, &node);
    if (r < 0)
        return r;
    node->uid = header->uid;
    node->gid = header->gid;
    if (target)
        strcpy(node->target, target);
    return answer_entry(fs, node);
}

static int do_unlink(struct hang_fs *fs, const char *name)
{
    struct node *node = find(fs, name);
    if (!node)
        return -ENOENT;
    node->name[0] = '\0';
    return 0;
}

static int do_rename(struct hang_fs *fs, const char *from, const char *to)
{
    struct node *node = find(fs, from);
    if (!node)
        return -ENOENT;
    if (strlen(to) >= NAME_SIZE)
        return -ENAMETOOLONG;
    (void)do_unlink(fs, to);
    strcpy(node->name, to);
    return 0;
}

static int do_open(struct hang_fs *fs)
{
    struct fuse_open_out *out = (void *)fs->answer;
    *out = (struct fuse_open_out){.open_flags = FOPEN_DIRECT_IO};
    return sizeof(*out);
}

static int do_read(struct hang_fs *fs, const struct node *node, const struct fuse_read_in *in)
{
    size_t size = in->size < BUFFER_SIZE ? in->size : BUFFER_SIZE;
    ssize_t length = pread(node->fd, fs->answer, size, (off_t)in->offset);
    return length < 0 ? -errno : (int)length;
}

static int do_write(struct hang_fs *fs, const struct node *node, const struct fuse_write_in *in)
{
    struct fuse_write_out *out = (void *)fs->answer;
    ssize_t length = pwrite(node->fd, in + 1, in->size, (off_t)in->offset);
    *out = (struct fuse_write_out){.size = (uint32_t)length};
    return length < 0 ? -errno : (int)sizeof(*out);
}

static int do_setattr(struct hang_fs *fs, struct node *node, const struct fuse_setattr_in *in)
{
    if ((in->valid & FATTR_SIZE) != 0 && ftruncate(node->fd, (off_t)in->size) < 0)
        return -errno;
    if ((in->valid & FATTR_MODE) != 0)
        node->mode = (node->mode & S_IFMT) | (in->mode & ~(mode_t)S_IFMT);
    if ((in->valid & FATTR_UID) != 0)
        node->uid = in->uid;
    if ((in->valid & FATTR_GID) != 0)
        node->gid = in->gid;
    return answer_attr(fs, node);
}

static int do_lseek(struct hang_fs *fs, const struct node *node, const struct fuse_lseek_in *in)
{
    struct fuse_lseek_out *out = (void *)fs->answer;
    off_t at = lseek(node->fd, (off_t)in->offset, (int)in->whence);
    *out = (struct fuse_lseek_out){.offset = (uint64_t)at};
    return at < 0 ? -errno : (int)sizeof(*out);
}

static int do_statfs(struct hang_fs *fs)
{
    struct fuse_statfs_out *out = (void *)fs->answer;
    *out = (struct fuse_statfs_out){.st = {.blocks = 1u << 20,
                                           .bfree = 1u << 19,
                                           .bavail = 1u << 19,
                                           .bsize = 4096,
                                           .frsize = 4096,
                                           .namelen = NAME_SIZE - 1}};
    return sizeof(*out);
}

static int do_readlink(struct hang_fs *fs, const struct node *node)
{
    size_t length = strlen(node->target);
    memcpy(fs->answer, node->target, length);
    return (int)length;
}

/* Returns all names at once, from the offset'th on. */
static int do_readdir(struct hang_fs *fs, const struct fuse_read_in *in)
{
    size_t used = 0;
    for (uint64_t i = in->offset + 1; i < NODES_MAX; i++) {
        const struct node *node = &fs->nodes[i];
        struct fuse_dirent *entry = (void *)(fs->answer + used);
        const size_t length = strlen(node->name);
        if (length == 0)
            continue;
        if (used + FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length) > in->size)
            break;
        *entry = (struct fuse_dirent){.ino = i + FUSE_ROOT_ID,
                                      .off = i,
                                      .namelen = (uint32_t)length,
                                      .type = node->mode >> 12};
        memcpy(entry->name, node->name, length);
        used += FUSE_DIRENT_SIZE(entry);
    }
    return (int)used;
}

static int carry_out_names(struct hang_fs *fs, const struct fuse_in_header *header)
{
    const char *text = (const char *)(header + 1);
    const struct node *found;
    switch (header->opcode) {
    case FUSE_LOOKUP:
        found = find(fs, text);
        return found ? answer_entry(fs, found) : -ENOENT;
    case FUSE_SYMLINK:
        return do_make(fs, header, text, S_IFLNK | 0777, text + strlen(text) + 1);
    case FUSE_MKNOD:
        return do_make(fs, header, text + sizeof(struct fuse_mknod_in),
                       ((const struct fuse_mknod_in *)(const void *)text)->mode, NULL);
    case FUSE_UNLINK:
        return do_unlink(fs, text);
    case FUSE_RENAME:
        text += sizeof(struct fuse_rename_in);
        return do_rename(fs, text, text + strlen(text) + 1);
    case FUSE_RENAME2:
        text += sizeof(struct fuse_rename2_in);
        return do_rename(fs, text, text + strlen(text) + 1);
    default:
        return -ENOSYS;
    }
}

static int carry_out(struct hang_fs *fs, const struct fuse_in_header *header)
{
    const void *in = header + 1;
    struct node *node = node_of(fs, header->nodeid);
    if (header->opcode == FUSE_INIT)
        return do_init(fs, in);
    if (!node)
        return -ESTALE;
    switch (header->opcode) {
    case FUSE_GETATTR:
        return answer_attr(fs, node);
    case FUSE_SETATTR:
        return do_setattr(fs, node, in);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return do_open(fs);
    case FUSE_READ:
        return do_read(fs, node, in);
    case FUSE_READDIR:
        return do_readdir(fs, in);
    case FUSE_WRITE:
        return do_write(fs, node, in);
    case FUSE_FSYNC:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        return 0;
    case FUSE_FALLOCATE: {
        const struct fuse_fallocate_in *range = in;
        int r = fallocate(node->fd, (int)range->mode, (off_t)range->offset, (off_t)range->length);
        return r < 0 ? -errno : 0;
    }
    case FUSE_LSEEK:
        return do_lseek(fs, node, in);
    case FUSE_STATFS:
        return do_statfs(fs);
    case FUSE_READLINK:
        return do_readlink(fs, node);
    default:
        return carry_out_names(fs, header);
    }
}

/* ---- The server ---- */

static void answer(struct hang_fs *fs, const struct fuse_in_header *header)
{
    if (header->opcode == FUSE_FORGET || header->opcode == FUSE_BATCH_FORGET ||
        header->opcode == FUSE_INTERRUPT || header->opcode == FUSE_DESTROY)
        return; /* nobody waits for these */
    const unsigned int kind = kind_of(header->opcode);
    const int index = kind == 0 ? 0 : __builtin_ctz(kind);
    unsigned int delay = 0;
    pthread_mutex_lock(&fs->lock);
    int r = kind == 0 ? 0 : -fs->errors[index];
    if (r == 0)
        r = carry_out(fs, header);
    if (kind != 0)
        delay = fs->delays_us[index];
    pthread_mutex_unlock(&fs->lock);
    if (delay > 0)
        usleep(delay);
    struct fuse_out_header out = {.unique = header->unique, .error = r < 0 ? r : 0};
    struct iovec parts[] = {{&out, sizeof(out)}, {fs->answer, r > 0 ? (size_t)r : 0}};
    out.len = (uint32_t)(parts[0].iov_len + parts[1].iov_len);
    (void)!writev(fs->device, parts, 2); /* the process that asked may have gone */
}

/* Returns whether the request was put aside. */
static bool hold(struct hang_fs *fs, const struct fuse_in_header *header, size_t length)
{
    bool held = false;
    pthread_mutex_lock(&fs->lock);
    if ((kind_of(header->opcode) & fs->hanging) != 0 && fs->held_count < HELD_MAX) {
        struct fuse_in_header *copy = malloc(length);
        if (copy) {
            memcpy(copy, header, length);
            fs->held[fs->held_count++] = copy;
            held = true;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return held;
}

/* Answer the requests that were held. Returns false when the end has come. */
static bool go_on(struct hang_fs *fs)
{
    struct fuse_in_header *held[HELD_MAX];
    unsigned int count = 0;
    eventfd_t woken;
    (void)!eventfd_read(fs->wake, &woken);
    pthread_mutex_lock(&fs->lock);
    if (fs->go_on) {
        count = fs->held_count;
        memcpy(held, fs->held, count * sizeof(held[0]));
        fs->held_count = 0;
        fs->go_on = false;
    }
    bool over = fs->over;
    pthread_mutex_unlock(&fs->lock);
    for (unsigned int i = 0; i < count; i++) {
        answer(fs, held[i]);
        free(held[i]);
    }
    return !over;
}

static void *serve(void *argument)
{
    struct hang_fs *fs = argument;
    struct fuse_in_header *header = (void *)fs->request;
    for (;;) {
        struct pollfd events[] = {{.fd = fs->device, .events = POLLIN},
                                  {.fd = fs->wake, .events = POLLIN}};
        (void)!poll(events, 2, -1);
        if ((events[1].revents & POLLIN) != 0 && !go_on(fs))
            return NULL;
        ssize_t length = read(fs->device, fs->request, sizeof(fs->request));
        if (length < 0 && errno == ENODEV) { /* the last mount has gone: wait for the end */
            while (go_on(fs))
                (void)!poll(&events[1], 1, -1);
            return NULL;
        }
        if (length >= (ssize_t)sizeof(*header) && !hold(fs, header, (size_t)length))
            answer(fs, header);
    }
}

static void wake(struct hang_fs *fs)
{
    (void)!eventfd_write(fs->wake, 1);
}

/* ---- For the test ---- */

static void free_fs(struct hang_fs *fs)
{
    for (unsigned int i = 1; i < NODES_MAX; i++) {
        if (fs->nodes[i].mode != 0 && fs->nodes[i].fd >= 0)
            close(fs->nodes[i].fd);
    }
    if (fs->device >= 0)
        close(fs->device);
    if (fs->wake >= 0)
        close(fs->wake);
    pthread_mutex_destroy(&fs->lock);
    free(fs->dir);
    free(fs);
}

int hang_fs_start(const char *dir, struct hang_fs **ret)
{
    struct hang_fs *fs = calloc(1, sizeof(*fs));
    if (!fs)
        return -ENOMEM;
    char options[128];
    int r = 0;
    pthread_mutex_init(&fs->lock, NULL);
    fs->nodes[0] = (struct node){.mode = S_IFDIR | 0755, .fd = -1};
    fs->dir = strdup(dir);
    fs->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fs->device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fs->device < 0 || fs->wake < 0 || !fs->dir)
        r = -errno;
    /* allow_other: workers run as other users, in user namespaces below this one. */
    snprintf(options, sizeof(options),
             "fd=%d,rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions",
             fs->device);
    if (r == 0 && mount("hang_fs", dir, "fuse.hang_fs", MS_NOSUID, options) < 0)
        r = -errno;
    if (r == 0) {
        r = -pthread_create(&fs->server, NULL, serve, fs);
        if (r < 0)
            umount2(dir, MNT_DETACH);
    }
    if (r < 0) {
        free_fs(fs);
        return r;
    }
    *ret = fs;
    return 0;
}

int hang_fs_add(struct hang_fs *fs, const char *name, int fd)
{
    struct node *node;
    pthread_mutex_lock(&fs->lock);
    int r = add(fs, name, S_IFREG | 0600, fd, &node);
    pthread_mutex_unlock(&fs->lock);
    return r;
}

void hang_fs_hang(struct hang_fs *fs, unsigned int kinds)
{
    pthread_mutex_lock(&fs->lock);
    fs->hanging |= kinds;
    pthread_mutex_unlock(&fs->lock);
}

void hang_fs_fail(struct hang_fs *fs, unsigned int kinds, int error)
{
    pthread_mutex_lock(&fs->lock);
    for (unsigned int i = 0; i < HANG_KINDS; i++) {
        if ((kinds & 1u << i) != 0)
            fs->errors[i] = error;
    }
    pthread_mutex_unlock(&fs->lock);
}

void hang_fs_slow(struct hang_fs *fs, unsigned int kinds, unsigned int us)
{
    pthread_mutex_lock(&fs->lock);
    for (unsigned int i = 0; i < HANG_KINDS; i++) {
        if ((kinds & 1u << i) != 0)
            fs->delays_us[i] = us;
    }
    pthread_mutex_unlock(&fs->lock);
}

void hang_fs_go_on(struct hang_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    fs->hanging = 0;
    fs->go_on = true;
    pthread_mutex_unlock(&fs->lock);
    wake(fs);
}

unsigned int hang_fs_held(struct hang_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    unsigned int count = fs->held_count;
    pthread_mutex_unlock(&fs->lock);
    return count;
}

int hang_fs_wait_held(struct hang_fs *fs, unsigned int count, int timeout_ms)
{
    const uint64_t end = now_ms() + (uint64_t)timeout_ms;
    while (hang_fs_held(fs) < count) {
        if (now_ms() > end)
            return -ETIMEDOUT;
        usleep(LOOK_US);
    }
    return 0;
}

void hang_fs_stop(struct hang_fs *fs)
{
    if (!fs)
        return;
    hang_fs_go_on(fs);
    umount2(fs->dir, MNT_DETACH);
    pthread_mutex_lock(&fs->lock);
    fs->over = true;
    pthread_mutex_unlock(&fs->lock);
    wake(fs);
    pthread_join(fs->server, NULL);
    free_fs(fs); /* this closes /dev/fuse: the kernel ends all requests that are left */
}
