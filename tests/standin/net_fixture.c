/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_packet.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATUS_WAIT_MS 60000
#define STATUS_LOOK_MS 20

const uint8_t net_fixture_mac[ETH_ALEN] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

const struct guest_net_options net_fixture_plain = {
    .features = GUEST_NET_FEATURES,
    .rx_count = 64,
    .tx_count = 32,
    .rx_size = 1536,
    .tx_size = 65600,
};

bool net_fixture_namespace(void)
{
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    fprintf(stderr, "cannot enter a network namespace of its own: %s\n", strerror(errno));
    return false;
}

/* No shell: BusyBox's shell has an `ip` of its own. */
void net_fixture_ip(const char *words)
{
    char text[160], *argv[24] = {(char *)"ip"}, *rest = NULL;
    size_t count = 1;
    int status = -1;
    pid_t pid = -1;
    snprintf(text, sizeof(text), "%s", words);
    for (char *word = strtok_r(text, " ", &rest); word && count < 23;
         word = strtok_r(NULL, " ", &rest))
        argv[count++] = word;
    CU_ASSERT_EQUAL_FATAL(posix_spawnp(&pid, "ip", NULL, NULL, argv, environ), 0);
    CU_ASSERT_EQUAL_FATAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT_FATAL(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void no_ipv6(const char *interface)
{
    char path[96];
    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", interface);
    FILE *file = fopen(path, "we");
    if (!file)
        return; /* this kernel does not have the setting */
    fputs("1", file);
    fclose(file);
}

static int interface_index(void)
{
    struct ifreq request = {.ifr_name = "tap0"};
    const int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(ioctl(any, SIOCGIFINDEX, &request), 0);
    close(any);
    return request.ifr_ifindex;
}

static void open_packets(struct net_fixture *net)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(NET_FIXTURE_TYPE),
        .sll_ifindex = interface_index(),
    };
    struct ifreq request = {.ifr_name = "tap0"};
    net->packets = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    CU_ASSERT_FATAL(net->packets >= 0);
    CU_ASSERT_EQUAL(ioctl(net->packets, SIOCGIFHWADDR, &request), 0);
    memcpy(net->host_mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
    int size = 1 << 20;
    setsockopt(net->packets, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    CU_ASSERT_EQUAL_FATAL(
        bind(net->packets, (const struct sockaddr *)(const void *)&address, sizeof(address)), 0);
}

void net_fixture_interface(const char *tap)
{
    char words[96];
    snprintf(words, sizeof(words), "tuntap add tap0 %s", tap);
    net_fixture_ip(words);
    no_ipv6("tap0");
    net_fixture_ip("address add 10.9.0.1/24 dev tap0");
    net_fixture_ip("link set tap0 up");
}

/* The operational state of an interface, an IF_OPER_ value, or -1. RTM_GETLINK tells it as it is
 * when the kernel has done all that follows from a carrier that came: it holds the same lock. */
static int operational_state(int rtnetlink, int index)
{
    const struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = RTM_GETLINK,
                   .nlmsg_flags = NLM_F_REQUEST},
        .link = {.ifi_index = index},
    };
    uint8_t answer[8192];
    struct rtattr attribute;
    if (send(rtnetlink, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
        return -1;
    const ssize_t received = recv(rtnetlink, answer, sizeof(answer), 0);
    for (ssize_t at = sizeof(request); at + (ssize_t)sizeof(attribute) < received;
         at += RTA_ALIGN(attribute.rta_len)) {
        memcpy(&attribute, answer + at, sizeof(attribute));
        if (attribute.rta_type == IFLA_OPERSTATE)
            return answer[at + (ssize_t)sizeof(attribute)];
        if (attribute.rta_len < sizeof(attribute))
            return -1;
    }
    return -1;
}

/* The device model has attached to the tap. On a busy machine the kernel takes a while until it has
 * seen that, and loses the frames that are sent meanwhile. */
static void await_up(void)
{
    const int rtnetlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    const int index = interface_index();
    int state = -1;
    CU_ASSERT_FATAL(rtnetlink >= 0);
    for (int i = 0; i < STATUS_WAIT_MS / STATUS_LOOK_MS && state != IF_OPER_UP; i++) {
        if (i > 0)
            usleep(STATUS_LOOK_MS * 1000);
        state = operational_state(rtnetlink, index);
    }
    close(rtnetlink);
    CU_ASSERT_EQUAL(state, IF_OPER_UP);
}

void net_fixture_driver(struct net_fixture *net, const struct guest_net_options *options)
{
    await_up();
    net_fixture_ip("neighbour replace 10.9.0.2 lladdr " NET_FIXTURE_MAC " dev tap0");
    open_packets(net);
    struct guest_net_options formatted = *options;
    formatted.features |= fixture_format;
    CU_ASSERT_EQUAL_FATAL(guest_net_start(&net->net, &formatted), 0);
}

void net_fixture_start(struct net_fixture *net, const char *tap, const char *yaml,
                       const struct guest_net_options *options)
{
    net_fixture_start_plane(net, "virtio", tap, yaml, options);
}

void net_fixture_start_plane(struct net_fixture *net, const char *plane, const char *tap,
                             const char *yaml, const struct guest_net_options *options)
{
    char text[512];
    *net = (struct net_fixture){0};
    net_fixture_interface(tap);
    fixture_init(&net->fixture);
    snprintf(text, sizeof(text),
             "devices:\n  - id: 0\n    type: net\n    data_plane: %s\n"
             "    mmio_addr: 0xa003e00\n    tap_name: tap0\n    mac_addr: \"" NET_FIXTURE_MAC
             "\"\n%s",
             plane, yaml);
    fixture_configure(&net->fixture, text);
    fixture_start(&net->fixture, 1, 1);
    fixture_guest(&net->fixture, 0, &net->net.guest);
    net_fixture_driver(net, options);
}

void net_fixture_stop(struct net_fixture *net)
{
    CU_ASSERT_EQUAL(net->net.guest.error, 0);
    guest_net_free(&net->net);
    close(net->packets);
    fixture_stop(&net->fixture);
    net_fixture_ip("link delete tap0");
    fixture_free(&net->fixture);
}

void net_fixture_stop_well(struct net_fixture *net)
{
    fixture_assert_never_restarted(&net->fixture);
    net_fixture_stop(net);
}

static uint8_t byte_of(uint32_t seed, uint32_t i)
{
    return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

void net_fixture_frame(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint32_t length,
                       uint32_t seed)
{
    memcpy(frame, to, ETH_ALEN);
    memcpy(frame + ETH_ALEN, from, ETH_ALEN);
    frame[12] = NET_FIXTURE_TYPE >> 8;
    frame[13] = NET_FIXTURE_TYPE & 0xff;
    for (uint32_t i = ETH_HLEN; i < length; i++)
        frame[i] = byte_of(seed, i);
}

bool net_fixture_is_frame(const uint8_t *frame, uint32_t length, uint32_t seed)
{
    if (frame[12] != NET_FIXTURE_TYPE >> 8 || frame[13] != (NET_FIXTURE_TYPE & 0xff))
        return false;
    for (uint32_t i = ETH_HLEN; i < length; i++) {
        if (frame[i] != byte_of(seed, i))
            return false;
    }
    return true;
}

void net_fixture_host_send(struct net_fixture *net, const uint8_t *frame, uint32_t length)
{
    CU_ASSERT_EQUAL(send(net->packets, frame, length, MSG_NOSIGNAL), (ssize_t)length);
}

int net_fixture_host_receive(struct net_fixture *net, uint8_t *frame, int timeout_ms)
{
    struct pollfd packets = {.fd = net->packets, .events = POLLIN};
    if (poll(&packets, 1, timeout_ms) <= 0)
        return -ETIMEDOUT;
    ssize_t length = recv(net->packets, frame, GUEST_NET_FRAME_MAX, 0);
    /* If the interface was down in between, recv returns ENETDOWN once. */
    return length < 0 && errno == ENETDOWN ? net_fixture_host_receive(net, frame, timeout_ms)
                                           : (int)length;
}

bool net_fixture_wait_status(struct net_fixture *net, uint16_t mask, uint16_t value)
{
    for (unsigned int i = 0; i < STATUS_WAIT_MS / STATUS_LOOK_MS; i++) {
        uint16_t status;
        guest_config(&net->net.guest, offsetof(struct virtio_net_config, status), &status, 2, 2);
        if ((status & mask) == value)
            return true;
        usleep(STATUS_LOOK_MS * 1000);
    }
    return false;
}
