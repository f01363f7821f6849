/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/hung_files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define REQUEST_MAX 0x21000 /* FUSE_MIN_READ_BUFFER and some more */

static void answer(int device, uint64_t unique, int error, const void *data, size_t size)
{
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof(header) + size),
        .error = error,
        .unique = unique,
    };
    const struct iovec parts[] = {{&header, sizeof(header)}, {(void *)data, size}};
    (void)!writev(device, parts, 2);
}

/* Answers what concerns the root. Every other request hangs. */
static void serve(struct hung_files *files, const struct fuse_in_header *request)
{
    switch (request->opcode) {
    case FUSE_INIT: {
        const struct fuse_init_out init = {
            .major = FUSE_KERNEL_VERSION,
            .minor = FUSE_KERNEL_MINOR_VERSION,
            .max_write = 4096,
        };
        answer(files->device, request->unique, 0, &init, sizeof(init));
        break;
    }
    case FUSE_GETATTR: {
        const struct fuse_attr_out root = {
            .attr_valid = 3600,
            .attr = {.ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0755, .nlink = 2, .blksize = 4096},
        };
        answer(files->device, request->unique, 0, &root, sizeof(root));
        break;
    }
    case FUSE_LOOKUP:
        atomic_fetch_add(&files->hangs, 1);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        answer(files->device, request->unique, -ENOSYS, NULL, 0);
    }
}

static void *serve_all(void *argument)
{
    static _Alignas(struct fuse_in_header) char request[REQUEST_MAX];
    struct hung_files *files = argument;
    for (;;) {
        ssize_t length = read(files->device, request, sizeof(request));
        if (length < 0 && errno != EINTR && errno != ENOENT)
            return NULL; /* unmounted */
        if (length >= (ssize_t)sizeof(struct fuse_in_header))
            serve(files, (const struct fuse_in_header *)(const void *)request);
    }
}

int hung_files_mount(struct hung_files *files, const char *path)
{
    char options[128];
    *files = (struct hung_files){.path = path};
    files->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (files->device < 0)
        return -errno;
    snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
             files->device);
    if (mount("hung", path, "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        int error = errno;
        close(files->device);
        return -error;
    }
    return -pthread_create(&files->thread, NULL, serve_all, files);
}

/* A forced unmount aborts the connection, for all copies of the mount. */
void hung_files_end(struct hung_files *files)
{
    (void)umount2(files->path, MNT_FORCE);
    (void)umount2(files->path, MNT_DETACH);
    pthread_join(files->thread, NULL);
    close(files->device);
}
