/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/dispatcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <sys/ioctl.h>

int dispatcher_open(void)
{
    int fd = open(BAO_DISPATCHER_NODE, O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int dispatcher_get_info(int node, uint32_t id, struct bao_dm_info *ret_info)
{
    struct bao_dm_info info = {.id = id, .fd = -1};
    /* Returns 1 on success, so only a negative result is a failure. */
    if (ioctl(node, BAO_IOCTL_DM_GET_INFO, &info) < 0)
        return -errno;
    if (info.fd < 0)
        return -EBADF;
    *ret_info = info;
    return 0;
}

int dispatcher_add_kick(int dm, int eventfd, uint64_t mmio_addr, uint32_t queue)
{
    struct bao_ioeventfd request = {
        .fd = (uint32_t)eventfd,
        .flags = BAO_IOEVENTFD_DATAMATCH,
        .addr = mmio_addr + VIRTIO_MMIO_QUEUE_NOTIFY,
        .len = 4,
        .data = queue,
    };
    return ioctl(dm, BAO_IOCTL_IOEVENTFD, &request) < 0 ? -errno : 0;
}

int dispatcher_add_irq(int dm, int eventfd)
{
    struct bao_irqfd request = {.fd = eventfd};
    return ioctl(dm, BAO_IOCTL_IRQFD, &request) < 0 ? -errno : 0;
}

int dispatcher_remove_irq(int dm, int eventfd)
{
    struct bao_irqfd request = {.fd = eventfd, .flags = BAO_IRQFD_DEASSIGN};
    return ioctl(dm, BAO_IOCTL_IRQFD, &request) < 0 ? -errno : 0;
}

int dispatcher_attach(int dm, struct bao_io_request *slot)
{
    return ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, slot) < 0 ? -errno : 0;
}

/* A signal's request would be a vCPU that waits for ever: it is completed again, or had been. */
int dispatcher_complete(int dm, const struct bao_io_request *request)
{
    int r;
    do
        r = ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, request) < 0 ? -errno : 0;
    while (r == -EINTR);
    return r;
}
