/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/net_under_test.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/cunit_main.h"

struct guest_ring net_rings[2 * TAPS + 1];
int net_wire[TAPS] = {-1, -1, -1};
unsigned int net_offloads, offload_calls;
uint32_t net_irq_delay_us;
struct net_reads net_reads;
static unsigned int tap_count;
const uint8_t net_mac[6] = {2, 0, 0, 0, 0, 7};

int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    unsigned long value = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (fd != net_tap(0) || request != TUNSETOFFLOAD) {
        errno = EINVAL;
        return -1;
    }
    net_offloads = (unsigned int)value;
    offload_calls++;
    return 0;
}

static ssize_t read_made_up(const struct iovec *to, size_t room)
{
    if (net_reads.error != 0) {
        errno = net_reads.error;
        net_reads.error = 0;
        return -1;
    }
    net_reads.frames--;
    memset(to[0].iov_base, 0, to[0].iov_len);
    return (ssize_t)(net_reads.length < room ? net_reads.length : room);
}

/* As tun_put_user() of Linux: a frame for whose header there is no room is lost, with an error. */
ssize_t readv(int fd, const struct iovec *to, int count)
{
    size_t room = 0;
    for (int i = 0; i < count; i++)
        room += to[i].iov_len;
    bool is_tap = fd >= net_tap(0) && fd < net_tap(tap_count);
    if (is_tap && (net_reads.error != 0 || net_reads.frames > 0))
        return read_made_up(to, room);
    ssize_t length = syscall(SYS_readv, fd, to, count);
    if (!is_tap || length < 0 || room >= NET_HEADER_SIZE)
        return length;
    errno = EINVAL;
    return -1;
}

void net_worker(unsigned int taps)
{
    struct message_start start = guest_start(DEVICE_NET_VIRTIO);
    start.backend_fd_count = taps;
    start.queue_count = 2 * taps + 1;
    start.irq_delay_us = net_irq_delay_us;
    start.of_kind.net = (struct start_net){
        .mtu = 1500,
        .tun_offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
    };
    memcpy(start.of_kind.net.mac, net_mac, sizeof(net_mac));
    guest_fds(DEVICE_NET_VIRTIO, -1);
    tap_count = taps;
    for (unsigned int tap = 0; tap < taps; tap++) {
        int pair[2];
        if (net_wire[tap] >= 0)
            close(net_wire[tap]);
        CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
        CU_ASSERT_EQUAL_FATAL(dup2(pair[1], net_tap(tap)), net_tap(tap));
        close(pair[1]);
        net_wire[tap] = pair[0];
    }
    guest_worker(&start);
}

void net_driver(unsigned int taps, uint64_t features, uint16_t size)
{
    uint32_t status = guest_negotiate(features);
    CU_ASSERT_TRUE_FATAL((status & VIRTIO_CONFIG_S_FEATURES_OK) != 0);
    for (unsigned int q = 0; q < 2 * taps + 1; q++) {
        guest_ring_init(&net_rings[q], q, size);
        guest_queue_setup(q, &net_rings[q]);
    }
    guest_driver_ok();
    guest_run();
}

void net_running(unsigned int taps, uint64_t features, uint16_t size)
{
    memset(&guest_state, 0, sizeof(guest_state));
    memset(guest_at(BUFFER(0)), 0, 0x400000);
    net_worker(taps);
    net_driver(taps, features, size);
    guest_logged(LOG_FRAME_DROPPED); /* and all older messages are gone */
}

void net_offer(unsigned int queue, uint16_t head, uint64_t addr, uint32_t length, uint16_t flags)
{
    guest_desc(&net_rings[queue], head, addr, length, flags, 0);
    guest_offer(&net_rings[queue], head);
}

int64_t net_used(unsigned int queue, uint32_t id)
{
    struct vring_used_elem element;
    if (!guest_used(&net_rings[queue], &element))
        return -1;
    CU_ASSERT_EQUAL(element.id, id);
    return element.len;
}

unsigned int net_fill_tap(unsigned int queue)
{
    unsigned int done = 0;
    for (uint16_t i = 0; i < NET_FULL; i++) {
        memset(guest_at(BUFFER(i)), 0, NET_HEADER_SIZE);
        memset(guest_at(BUFFER(i) + NET_HEADER_SIZE), i + 1, 0x8000);
        net_offer(queue, i, BUFFER(i), NET_HEADER_SIZE + 0x8000, 0);
    }
    guest_kick(queue);
    while (net_used(queue, done) == 0)
        done++;
    CU_ASSERT_TRUE(done > 0 && done < NET_FULL);
    CU_ASSERT_TRUE(net_tx_waits(queue / 2));
    return done;
}

void net_send(unsigned int tap, uint32_t length, uint8_t fill)
{
    static uint8_t frame[NET_HEADER_SIZE + NET_FRAME_MAX + 1];
    memset(frame, 0, NET_HEADER_SIZE);
    memset(frame + NET_HEADER_SIZE, fill, length);
    ssize_t sent = send(net_wire[tap], frame, NET_HEADER_SIZE + length, 0);
    CU_ASSERT_EQUAL(sent, (ssize_t)(NET_HEADER_SIZE + length));
}

ssize_t net_received(unsigned int tap, void *to, size_t size)
{
    return recv(net_wire[tap], to, size, MSG_DONTWAIT);
}

bool net_needs_reset(void)
{
    return (guest_read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0;
}
