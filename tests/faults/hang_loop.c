/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/faults/hang_fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LOOP_MAJOR 7
#define ATTEMPTS 50 /* other processes look for a free one as well */

static int open_device(int number, char ret_path[32])
{
    snprintf(ret_path, 32, "/dev/loop%d", number);
    int fd = open(ret_path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT &&
        mknod(ret_path, S_IFBLK | 0600, makedev(LOOP_MAJOR, (unsigned int)number)) == 0)
        fd = open(ret_path, O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int configure_free_one(int control, int file, struct hang_loop *ret)
{
    struct loop_config config = {
        .fd = (unsigned int)file,
        .block_size = 512,
        .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}, /* a test that dies leaves none behind */
    };
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0)
        return -errno;
    int fd = open_device(number, ret->path);
    if (fd < 0)
        return fd;
    if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    ret->fd = fd;
    return 0;
}

int hang_loop_attach(const char *file, struct hang_loop *ret)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    int r = control < 0 || fd < 0 ? -errno : -EBUSY;
    for (unsigned int i = 0; i < ATTEMPTS && r == -EBUSY; i++) {
        r = configure_free_one(control, fd, ret);
        if (r == -EBUSY)
            usleep(20000);
    }
    if (control >= 0)
        close(control);
    if (fd >= 0)
        close(fd);
    return r;
}

void hang_loop_detach(struct hang_loop *loop)
{
    if (loop->fd < 0)
        return;
    close(loop->fd);
    loop->fd = -1;
}
