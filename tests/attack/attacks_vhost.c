/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds can try with the side that serves their queues: the kernel's vhost, or a daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/attack/attacker.h"

/* ---- A daemon ---- */

#define DAEMON WORKER_FD_BACKEND
#define REQUESTS WORKER_FD_BACKEND3
#define INFLIGHT WORKER_FD_BACKEND4
#define FDS_AT_ONCE 8u

static long send_noise(int socket, size_t size, const int *fds, size_t fd_count)
{
    static unsigned char bytes[256];
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(FDS_AT_ONCE * sizeof(int))];
    } control = {0};
    attack_spoil(bytes, sizeof(bytes));
    struct iovec iov = {bytes, size};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > 0) {
        header.msg_control = control.buffer;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
    }
    return sendmsg(socket, &header, MSG_NOSIGNAL);
}

void attack_daemon_noise(struct device *dev, struct attack_report *report)
{
    for (;;)
        attack_step(dev, report, send_noise(DAEMON, 1 + attack_random() % 256, NULL, 0));
}

/* Sends all fds that it has: the control socket, eventfds, the daemon's own. */
void attack_daemon_fds(struct device *dev, struct attack_report *report)
{
    const int fds[FDS_AT_ONCE] = {WORKER_FD_CONTROL,  WORKER_FD_EPOLL, WORKER_FD_REQUEST,
                                  WORKER_FD_REPLY,    WORKER_FD_CALL,  DAEMON,
                                  WORKER_FD_BACKEND2, INFLIGHT};
    for (;;)
        attack_step(dev, report, send_noise(DAEMON, 12, fds, FDS_AT_ONCE));
}

/* The socket itself limits each wait. Meanwhile the attacker answers nobody: that must harm no
 * other. */
void attack_daemon_silence(struct device *dev, struct attack_report *report)
{
    static unsigned char bytes[256];
    for (;;) {
        struct iovec iov = {bytes, sizeof(bytes)};
        struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
        attack_count(report, recvmsg(DAEMON, &header, MSG_WAITALL));
        attack_answer(dev);
    }
}

void attack_daemon_requests(struct device *dev, struct attack_report *report)
{
    static unsigned char bytes[256];
    for (;;) {
        struct iovec iov = {bytes, sizeof(bytes)};
        struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
        attack_step(dev, report, send_noise(REQUESTS, 12, NULL, 0));
        attack_step(dev, report, recvmsg(REQUESTS, &header, MSG_DONTWAIT));
    }
}

void attack_inflight_holes(struct device *dev, struct attack_report *report)
{
    for (off_t at = 0;; at = (at + 4096) % (1 << 30))
        attack_step(dev, report,
                    fallocate(INFLIGHT, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 4096));
}

/* ---- The kernel's vhost ---- */

#define VHOST WORKER_FD_BACKEND

static long run_vhost(const struct device *dev, int run)
{
    if (dev->kind == DEVICE_VSOCK_VHOST)
        return ioctl(VHOST, VHOST_VSOCK_SET_RUNNING, &run);
    const struct vhost_vring_file file = {.index = 0, .fd = run ? WORKER_FD_BACKEND2 : -1};
    return ioctl(VHOST, VHOST_NET_SET_BACKEND, &file);
}

/* The driver has set up the rings. So each start gives vhost everything to do that the features ask
 * for. */
void attack_vhost_features(struct device *dev, struct attack_report *report)
{
    for (;;) {
        const uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
                                  (attack_random() % 2 ? 1ull << VHOST_F_LOG_ALL : 0);
        attack_step(dev, report, run_vhost(dev, 0));
        attack_step(dev, report, ioctl(VHOST, VHOST_SET_FEATURES, &features));
        attack_step(dev, report, run_vhost(dev, 1));
    }
}

static uint64_t any_address(const struct device *dev)
{
    switch (attack_random() % 4) {
    case 0:
        return (uintptr_t)dev->window.base + attack_random() % dev->window.size;
    case 1:
        return (uintptr_t)dev->state + attack_random() % STATE_SIZE;
    case 2:
        return attack_random() & ~15ull;
    default:
        return UINT64_MAX << (attack_random() % 64);
    }
}

void attack_vhost_rings(struct device *dev, struct attack_report *report)
{
    for (;;) {
        const unsigned int queue = (unsigned int)(attack_random() % 4);
        const struct vhost_vring_state num = {queue, 1u << (attack_random() % 32)};
        const struct vhost_vring_state base = {queue, (unsigned int)attack_random()};
        const struct vhost_vring_addr addr = {
            .index = queue,
            .flags = (unsigned int)attack_random() & 1,
            .desc_user_addr = any_address(dev),
            .used_user_addr = any_address(dev),
            .avail_user_addr = any_address(dev),
            .log_guest_addr = any_address(dev),
        };
        attack_step(dev, report, run_vhost(dev, 0));
        attack_step(dev, report, ioctl(VHOST, VHOST_SET_VRING_BASE, &base));
        attack_step(dev, report, ioctl(VHOST, VHOST_SET_VRING_ADDR, &addr));
        attack_step(dev, report, ioctl(VHOST, VHOST_SET_VRING_NUM, &num));
        attack_step(dev, report, run_vhost(dev, 1));
    }
}

/* result[0]: number of backends, other than the tap, that vhost has accepted. */
void attack_vhost_backend(struct device *dev, struct attack_report *report)
{
    (void)dev;
    for (int fd = 0; fd < 32; fd++) {
        const struct vhost_vring_file file = {.index = 0, .fd = fd};
        const struct vhost_vring_file none = {.index = 0, .fd = -1};
        attack_count(report, ioctl(VHOST, VHOST_NET_SET_BACKEND, &none));
        long taken = ioctl(VHOST, VHOST_NET_SET_BACKEND, &file);
        attack_count(report, taken);
        report->result[0] += taken == 0 && fd != WORKER_FD_BACKEND2;
    }
}
