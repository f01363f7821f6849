/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_LOOK_US 100000

const uint8_t tap_guest_mac[ETH_ALEN] = {2, 0, 0, 0, 0, 2};
static const uint8_t host_mac[ETH_ALEN] = {2, 0, 0, 0, 0, 1};

void tap_make_frame(struct tap_frame *frame, uint16_t ether_type, uint32_t length, bool to_guest)
{
    memset(frame, 0, sizeof(*frame));
    memcpy(frame->bytes, to_guest ? tap_guest_mac : host_mac, ETH_ALEN);
    memcpy(frame->bytes + ETH_ALEN, to_guest ? host_mac : tap_guest_mac, ETH_ALEN);
    const uint16_t type = htons(ether_type), ip_length = htons((uint16_t)(length - ETH_HLEN));
    memcpy(frame->bytes + 12, &type, 2);
    if (length <= ETH_FRAME_LEN)
        return;
    const uint8_t ip[] = {0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2};
    memcpy(frame->bytes + ETH_HLEN, ip, sizeof(ip));
    memcpy(frame->bytes + ETH_HLEN + 2, &ip_length, 2);
    frame->bytes[46] = 0x50; /* the length of the TCP header */
    frame->bytes[47] = 0x10; /* ACK */
    frame->header = (struct virtio_net_hdr_v1){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .gso_size = TAP_SEGMENT,
        .hdr_len = TAP_HEADERS,
        .csum_start = 34,
        .csum_offset = 16,
    };
}

/* ---- The host's end ---- */

int tap_open_host(const char *tap, uint16_t type)
{
    const int on = 1, least = 1;
    const struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(type),
        .sll_ifindex = (int)if_nametoindex(tap),
    };
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    /* Nobody reads what the guest sends in bulk: it is counted, and dropped. */
    if (fd < 0 ||
        (type != TAP_PING_TYPE &&
         (setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
          setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) < 0)) ||
        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

uint64_t tap_host_count(int host)
{
    struct tpacket_stats stats = {0};
    socklen_t size = sizeof(stats);
    if (getsockopt(host, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0)
        return 0;
    return stats.tp_packets;
}

int tap_host_send(int host, const struct tap_frame *frame, uint32_t length, unsigned int count)
{
    struct virtio_net_hdr header;
    struct iovec parts[] = {{&header, sizeof(header)},
                            {(uint8_t *)(uintptr_t)frame->bytes, length}};
    struct mmsghdr messages[TAP_UNDER_WAY] = {0};
    memcpy(&header, &frame->header, sizeof(header)); /* it lacks num_buffers */
    for (unsigned int i = 0; i < count; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = parts, .msg_iovlen = 2};
    for (unsigned int sent = 0; sent < count;) {
        int r = sendmmsg(host, messages + sent, count - sent, 0);
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        sent += (unsigned int)r;
    }
    return 0;
}

static void *serve_echo(void *argument)
{
    struct tap_echo *echo = argument;
    uint8_t bytes[ETH_FRAME_LEN];
    if (echo->anywhere)
        place_nowhere();
    while (!atomic_load(&echo->end)) {
        ssize_t length = recv(echo->host, bytes, sizeof(bytes), 0);
        if (length <= ETH_HLEN)
            continue;
        memcpy(bytes, tap_guest_mac, ETH_ALEN);
        memcpy(bytes + ETH_ALEN, host_mac, ETH_ALEN);
        (void)send(echo->host, bytes, (size_t)length, 0);
    }
    return NULL;
}

int tap_echo_start(struct tap_echo *echo, int host, bool anywhere)
{
    const struct timeval look = {.tv_usec = STOP_LOOK_US};
    *echo = (struct tap_echo){.host = host, .anywhere = anywhere};
    if (setsockopt(host, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look)) < 0)
        return -errno;
    return -pthread_create(&echo->thread, NULL, serve_echo, echo);
}

void tap_echo_stop(struct tap_echo *echo)
{
    atomic_store(&echo->end, true);
    pthread_join(echo->thread, NULL);
}

/* ---- Interfaces ---- */

static int command(const char *text)
{
    int status = system(text);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENODEV;
}

/* The kernel has nothing to say on these interfaces. */
int tap_make_all(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    return command("for tap in 'bench0 mode tap' 'bench4 mode tap multi_queue' 'bare0 mode tap' "
                   "'peer0 mode tap'; do\n"
                   "    ip tuntap add $tap || exit 1\n"
                   "    set -- $tap\n"
                   "    ipv6=/proc/sys/net/ipv6/conf/$1/disable_ipv6\n"
                   "    [ ! -e $ipv6 ] || echo 1 >$ipv6\n"
                   "    ip link set $1 up || exit 1\n"
                   "done");
}

int tap_open_bare(void)
{
    struct ifreq request = {.ifr_name = "bare0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    const int size = (int)TAP_HEADER_SIZE;
    const unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, offloads) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    return fd;
}
