/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/vhost_node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/ioctl.h>
#include <unistd.h>

int vhost_node_open(const char *path, uint64_t *ret_features)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ioctl(fd, VHOST_GET_FEATURES, ret_features) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}
