/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds that serve their queues themselves can try with their backends. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/random.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/ring.h"
#include "common/wait.h"
#include "tests/attack/attacker.h"
#include "worker/ring.h"

#define PIECE 65536u

/* ---- rng ---- */

void attack_getrandom_flood(struct device *dev, struct attack_report *report)
{
    for (;;)
        attack_step(dev, report, syscall(SYS_getrandom, dev->window.base, PIECE, GRND_NONBLOCK));
}

/* ---- block ---- */

/* In bytes. The first field of the configuration space counts sectors, §5.2.4. */
static off_t image_size(const struct device *dev)
{
    uint64_t sectors;
    memcpy(&sectors, dev->config, sizeof(sectors));
    return (off_t)(sectors * 512);
}

void attack_image_read(struct device *dev, struct attack_report *report)
{
    const struct iovec memory = {dev->window.base, 1 << 20};
    for (off_t at = 0;; at = (at + (1 << 20)) % image_size(dev)) {
        attack_step(dev, report, preadv2(WORKER_FD_BACKEND, &memory, 1, at, 0));
        attack_step(dev, report, lseek(WORKER_FD_BACKEND, 0, SEEK_END));
        attack_step(dev, report,
                    posix_fadvise(WORKER_FD_BACKEND, 0, image_size(dev), POSIX_FADV_WILLNEED));
    }
}

/* result[0]: number of bytes that were written beyond the image's end. */
void attack_image_beyond(struct device *dev, struct attack_report *report)
{
    const off_t size = image_size(dev);
    const struct iovec memory = {dev->window.base, 4096};
    const off_t places[] = {size - 512, size, size + 512, size + (1 << 20), (off_t)1 << 40};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        ssize_t written = pwritev2(WORKER_FD_BACKEND, &memory, 1, places[i], 0);
        ssize_t inside = i == 0 ? 512 : 0;
        attack_count(report, written);
        report->result[0] += written > inside ? (uint64_t)(written - inside) : 0;
    }
}

void attack_image_sync(struct device *dev, struct attack_report *report)
{
    const struct iovec memory = {dev->window.base, 4096};
    for (off_t at = 0;; at = (at + 4096) % image_size(dev)) {
        attack_step(dev, report, pwritev2(WORKER_FD_BACKEND, &memory, 1, at, RWF_DSYNC));
        attack_step(dev, report, fdatasync(WORKER_FD_BACKEND));
    }
}

/* `argument`: number of bytes behind the image's end. First come the calls that every such policy
 * allows, then those that only some allow: a worker may be ended for those. */
void attack_image_allocate(struct device *dev, struct attack_report *report)
{
    const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    const off_t piece = 1 << 20, size = image_size(dev);
    for (size_t i = 0; i < 2; i++) {
        for (off_t at = size - piece; at < size + (off_t)report->argument; at += piece)
            attack_count(report, fallocate(WORKER_FD_BACKEND, modes[i], at, piece));
    }
}

void attack_image_holes(struct device *dev, struct attack_report *report)
{
    for (off_t at = 0;; at = (at + 4096) % image_size(dev))
        attack_step(
            dev, report,
            fallocate(WORKER_FD_BACKEND, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, 4096));
}

/* ---- block, with a ring ---- */

/* Hands these entries to the kernel, and waits for the results. Returns the last of them. */
static int submit(const struct io_uring_sqe *entry, uint32_t count)
{
    uint32_t tail = *ring_queues.submit_tail, number;
    int32_t result = -EAGAIN;
    for (uint32_t i = 0; i < count; i++)
        ring_queues.entries[(tail + i) & ring_queues.submit_mask] = *entry;
    __atomic_store_n(ring_queues.submit_tail, tail + count, __ATOMIC_RELEASE);
    for (uint32_t done = 0; done < count;) {
        if (ring_enter(1) < 0)
            return -errno;
        while (ring_done(&number, &result))
            done++;
    }
    return result;
}

void attack_ring_read(struct device *dev, struct attack_report *report)
{
    const struct iovec memory = {dev->window.base, 1 << 20};
    struct io_uring_sqe entry = {
        .opcode = IORING_OP_READV, .flags = IOSQE_FIXED_FILE, .addr = (uintptr_t)&memory, .len = 1};
    for (;; entry.off = (entry.off + (1 << 20)) % (uint64_t)image_size(dev)) {
        int result = submit(&entry, RING_ENTRIES);
        errno = result < 0 ? -result : 0;
        attack_step(dev, report, result < 0 ? -1 : result);
    }
}

/* result[0]: number of entries that should have been refused, and were not; result[1]: 1 if a read
 * of the image works. */
void attack_ring_escape(struct device *dev, struct attack_report *report)
{
    static const char path[] = "/";
    const struct iovec memory = {dev->window.base, 512};
    for (unsigned int opcode = 0; opcode < 256; opcode++) {
        const struct io_uring_sqe entry = {.opcode = (uint8_t)opcode,
                                           .flags = IOSQE_FIXED_FILE,
                                           .addr = (uintptr_t)(opcode == IORING_OP_OPENAT
                                                                   ? (const void *)path
                                                                   : (const void *)&memory),
                                           .len = 1};
        bool good = submit(&entry, 1) >= 0;
        attack_count(report, good ? 0 : -1);
        report->result[opcode == IORING_OP_READV ? 1 : 0] += good;
    }
    for (unsigned int flags = 0; flags < 256; flags++) {
        for (int fd = -1; fd <= WORKER_FD_RING + 1; fd++) {
            const struct io_uring_sqe entry = {.opcode = IORING_OP_READV,
                                               .flags = (uint8_t)flags,
                                               .fd = fd,
                                               .addr = (uintptr_t)&memory,
                                               .len = 1};
            bool good = submit(&entry, 1) >= 0, may = flags == IOSQE_FIXED_FILE && fd <= 1;
            attack_count(report, good ? 0 : -1);
            report->result[0] += good && !(may && fd >= 0);
        }
    }
}

/* ---- net ---- */

void attack_frame_flood(struct device *dev, struct attack_report *report)
{
    static struct virtio_net_hdr_v1 header;
    static unsigned char frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
                                      0,    0,    0,    0,    1,    0x88, 0xb5};
    const struct iovec both[] = {{&header, sizeof(header)}, {frame, sizeof(frame)}};
    for (;;)
        attack_step(dev, report, writev(WORKER_FD_BACKEND, both, 2));
}

void attack_frame_take(struct device *dev, struct attack_report *report)
{
    const struct iovec memory = {dev->window.base, PIECE};
    for (;;)
        attack_step(dev, report, readv(WORKER_FD_BACKEND, &memory, 1));
}

void attack_offload_flood(struct device *dev, struct attack_report *report)
{
    for (unsigned long i = 0;; i++)
        attack_step(dev, report,
                    ioctl(WORKER_FD_BACKEND, TUNSETOFFLOAD, i % 2 ? TUN_F_CSUM | TUN_F_TSO4 : 0));
}

/* Behind the taps come the device's own kick eventfds, if it has fewer than seven pairs. */
void attack_tap_number_kick(struct device *dev, struct attack_report *report)
{
    (void)dev;
    for (int fd = WORKER_FD_BACKEND2; fd < WORKER_FD_BACKEND + 7; fd++) {
        for (int bit = 63; bit >= 0; bit--) {
            uint64_t part = 1ull << bit;
            const struct iovec memory = {&part, sizeof(part)};
            attack_count(report, writev(fd, &memory, 1));
        }
    }
    _exit(0);
}

/* ---- console ---- */

void attack_port_flood(struct device *dev, struct attack_report *report)
{
    for (int port = 0;; port = (port + 1) % 2)
        attack_step(dev, report, write(WORKER_FD_BACKEND2 + port, dev->window.base, 4096));
}

void attack_port_take(struct device *dev, struct attack_report *report)
{
    for (;;)
        attack_step(dev, report, read(WORKER_FD_BACKEND2, dev->window.base, 4096));
}

void attack_log_file_flood(struct device *dev, struct attack_report *report)
{
    memset(dev->window.base, 'x', PIECE);
    for (unsigned int i = 0;; i++) {
        int file = i % 2 == 0 ? WORKER_FD_BACKEND2 : WORKER_FD_BACKEND3;
        attack_step(dev, report, write(file, dev->window.base, PIECE));
        if (i % 4096 == 4095) {
            attack_step(dev, report, ftruncate(file, 0));
            attack_step(dev, report, lseek(WORKER_FD_BACKEND4, 0, SEEK_SET));
        }
    }
}

void attack_readers_flood(struct device *dev, struct attack_report *report)
{
    struct epoll_event event;
    for (;;)
        attack_step(dev, report, wait_events(WORKER_FD_BACKEND, &event, 1, 0));
}

/* ---- Connections: console/socket, vsock/virtio ---- */

/* Takes a message, and the fd that comes with it (-1: none). */
static ssize_t receive_connection(struct attack_report *report, int *ret_fd)
{
    union message message;
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {&message, sizeof(message)};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buffer,
        .msg_controllen = sizeof(control.buffer),
    };
    *ret_fd = -1;
    ssize_t length = recvmsg(WORKER_FD_CONTROL, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    attack_count(report, length);
    const struct cmsghdr *cmsg = length >= 0 ? CMSG_FIRSTHDR(&header) : NULL;
    if (cmsg && cmsg->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(ret_fd, CMSG_DATA(cmsg), sizeof(*ret_fd));
    return length;
}

void attack_client_flood(struct device *dev, struct attack_report *report)
{
    for (;;) {
        attack_step(dev, report, write(WORKER_FD_CONNECTION, dev->window.base, 4096));
        attack_step(dev, report, read(WORKER_FD_CONNECTION, dev->window.base, 4096));
    }
}

static void watch_and_forget(struct device *dev, struct attack_report *report)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
    for (;;) {
        attack_step(dev, report,
                    epoll_ctl(WORKER_FD_EPOLL, EPOLL_CTL_DEL, WORKER_FD_CONNECTION, NULL));
        attack_step(dev, report,
                    epoll_ctl(WORKER_FD_EPOLL, EPOLL_CTL_ADD, WORKER_FD_CONNECTION, &event));
    }
}

void attack_client_events(struct device *dev, struct attack_report *report)
{
    watch_and_forget(dev, report);
}

void attack_client_close(struct device *dev, struct attack_report *report)
{
    int fd;
    for (;;) {
        close(WORKER_FD_CONNECTION);
        close(WORKER_FD_CONNECTION + 1);
        (void)receive_connection(report, &fd);
        attack_step(dev, report, 0);
    }
}

/* `argument`: the port to connect to. */
static long ask_for_connection(const struct attack_report *report, uint32_t request)
{
    const struct message_connect message = {
        .header = {.type = MSG_CONNECT, .version = MESSAGE_VERSION},
        .port = (uint32_t)report->argument,
        .type = 1, /* VIRTIO_VSOCK_TYPE_STREAM */
        .request = request,
    };
    return send(WORKER_FD_CONTROL, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void attack_connect_flood(struct device *dev, struct attack_report *report)
{
    int fd;
    for (uint32_t request = 0;; request = (request + 1) % 1024) {
        attack_step(dev, report, ask_for_connection(report, request));
        while (receive_connection(report, &fd) >= 0) {
            if (fd >= 0)
                close(fd);
        }
    }
}

/* Asks for result[0] connections; the test has set this number. After that it only answers, and
 * never takes what has come. */
void attack_connect_hoard(struct device *dev, struct attack_report *report)
{
    for (uint32_t request = 0; request < report->result[0];) {
        long sent = ask_for_connection(report, request);
        request += sent >= 0;
        attack_step(dev, report, sent);
    }
    atomic_store(&report->over, 1);
    for (;;)
        attack_answer(dev);
}

void attack_connection_flood(struct device *dev, struct attack_report *report)
{
    const struct iovec memory = {dev->window.base, 4096};
    for (;;) {
        attack_step(dev, report, writev(WORKER_FD_CONNECTION, &memory, 1));
        attack_step(dev, report, readv(WORKER_FD_CONNECTION, &memory, 1));
    }
}

void attack_connection_events(struct device *dev, struct attack_report *report)
{
    watch_and_forget(dev, report);
}

void attack_connection_close(struct device *dev, struct attack_report *report)
{
    for (;;) {
        for (int fd = WORKER_FD_CONNECTION; fd < WORKER_FD_CONNECTION + 64; fd++) {
            attack_count(report, shutdown(fd, SHUT_RD));
            attack_count(report, shutdown(fd, SHUT_WR));
            attack_step(dev, report, close(fd));
        }
    }
}
