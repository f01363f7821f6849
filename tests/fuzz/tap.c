/* SPDX-License-Identifier: Apache-2.0 */
/* The tap of a net device. It checks that the worker gives the kernel only memory that it may give.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/uio.h>

#include "tests/fuzz/watch.h"

#define FRAMES_MAX 8u
#define HEADER_SIZE ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define FRAME_MAX 65557u
#define BIT(n) (1ull << (n))

static struct {
    struct {
        uint32_t length;
        uint8_t seed, flags, gso_type;
    } frames[FRAMES_MAX];
    unsigned int first, count;
    unsigned int sent;
    uint32_t last_length;
    uint8_t last[FRAME_MAX];
} tap;

void tap_clear(void)
{
    memset(&tap, 0, sizeof(tap));
}

uint8_t tap_byte(uint8_t seed, uint32_t i)
{
    return (uint8_t)(seed + i * 7);
}

void tap_frame(uint32_t length, uint8_t seed, uint8_t flags, uint8_t gso_type)
{
    if (tap.count == FRAMES_MAX)
        return; /* it is full, as a real one can be */
    unsigned int at = (tap.first + tap.count++) % FRAMES_MAX;
    tap.frames[at].length = length;
    tap.frames[at].seed = seed;
    tap.frames[at].flags = flags;
    tap.frames[at].gso_type = gso_type;
}

unsigned int tap_sent(uint32_t length, uint8_t seed)
{
    if (tap.last_length != length)
        return 0;
    for (uint32_t i = 0; i < length; i++) {
        if (tap.last[i] != tap_byte(seed, i))
            return 0;
    }
    return tap.sent;
}

int tap_set_offloads(unsigned long offloads)
{
    unsigned long known = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_UFO;
    if ((offloads & ~known) != 0 || ((offloads & TUN_F_CSUM) == 0 && offloads != 0))
        violated("the tap is given offloads %#lx", offloads);
    return 0;
}

ssize_t __real_readv(int fd, const struct iovec *parts, int count);
ssize_t __wrap_readv(int fd, const struct iovec *parts, int count);
ssize_t __real_writev(int fd, const struct iovec *parts, int count);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int count);

/* Put byte `at` of the data into the parts. False: it is behind their end. */
static bool put(const struct iovec *parts, int count, size_t at, uint8_t byte)
{
    for (int i = 0; i < count; i++) {
        if (at < parts[i].iov_len) {
            ((uint8_t *)parts[i].iov_base)[at] = byte;
            return true;
        }
        at -= parts[i].iov_len;
    }
    return false;
}

/* All parts except the first and the last belong to the driver. */
static void check_input(const struct iovec *parts, int count)
{
    if (count < 2 || watch_in_window(parts[0].iov_base) ||
        watch_in_window(parts[count - 1].iov_base))
        violated("input from the tap without memory of the worker's at both ends");
    for (int i = 1; i < count - 1; i++)
        watch_check_part(&parts[i], MARK_WRITABLE);
}

ssize_t __wrap_readv(int fd, const struct iovec *parts, int count)
{
    if (fd != WORKER_FD_BACKEND)
        violated("readv of fd %d", fd);
    if (count > 1) /* with one part the frame is thrown away: the driver is not ready */
        check_input(parts, count);
    enum io_fault fault = watch_next_fault();
    if (fault != IO_WELL && fault != IO_SHORT && fault != IO_NOTHING)
        return watch_fail_with(fault);
    if (tap.count == 0) {
        errno = EAGAIN;
        return -1;
    }
    unsigned int frame = tap.first;
    tap.first = (tap.first + 1) % FRAMES_MAX;
    tap.count--;
    struct virtio_net_hdr_v1 header = {.flags = tap.frames[frame].flags,
                                       .gso_type = tap.frames[frame].gso_type};
    const uint8_t *bytes = (const uint8_t *)&header;
    size_t length = fault == IO_NOTHING ? 0 : HEADER_SIZE + tap.frames[frame].length, done = 0;
    if (fault == IO_SHORT)
        length /= 2;
    while (done < length && put(parts, count, done,
                                done < HEADER_SIZE ? bytes[done]
                                                   : tap_byte(tap.frames[frame].seed,
                                                              (uint32_t)(done - HEADER_SIZE))))
        done++;
    watch.io_bytes += done;
    return (ssize_t)done;
}

static void check_header(const struct virtio_net_hdr_v1 *header, uint32_t length)
{
    static const struct {
        uint8_t type;
        unsigned int feature;
    } types[] = {{VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4},
                 {VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6},
                 {VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_HOST_UFO}};
    uint64_t features = machine_state->transport.driver_features;
    bool csum = header->flags == VIRTIO_NET_HDR_F_NEEDS_CSUM;
    if (!csum && header->flags != 0)
        violated("the kernel is given header flags %#x", header->flags);
    if (csum && ((features & BIT(VIRTIO_NET_F_CSUM)) == 0 ||
                 header->csum_start + header->csum_offset + 2u > length))
        violated("the kernel is given a checksum at %u + %u of %u bytes", header->csum_start,
                 header->csum_offset, length);
    if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return;
    bool known = false;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        known |= (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == types[i].type &&
                 (features & BIT(types[i].feature)) != 0;
    if (!known || !csum || header->gso_size == 0 || header->hdr_len > length)
        violated("the kernel is given gso_type %#x that is not right", header->gso_type);
}

ssize_t __wrap_writev(int fd, const struct iovec *parts, int count)
{
    struct virtio_net_hdr_v1 header;
    uint64_t length = 0;
    if (fd != WORKER_FD_BACKEND || count < 2 || parts[0].iov_len != HEADER_SIZE ||
        watch_in_window(parts[0].iov_base))
        violated("writev to fd %d without a header of the worker's", fd);
    memcpy(&header, parts[0].iov_base, sizeof(header));
    for (int i = 1; i < count; i++) {
        watch_check_part(&parts[i], MARK_READABLE);
        length += parts[i].iov_len;
    }
    if (length < 14 || length > FRAME_MAX)
        violated("a frame of %llu bytes is sent", (unsigned long long)length);
    check_header(&header, (uint32_t)length);
    enum io_fault fault = watch_next_fault();
    if (fault != IO_WELL && fault != IO_SHORT && fault != IO_NOTHING)
        return watch_fail_with(fault);
    tap.sent++;
    tap.last_length = 0;
    for (int i = 1; i < count; i++) {
        memcpy(tap.last + tap.last_length, parts[i].iov_base, parts[i].iov_len);
        tap.last_length += (uint32_t)parts[i].iov_len;
    }
    watch.io_bytes += length;
    return (ssize_t)(HEADER_SIZE + length);
}
