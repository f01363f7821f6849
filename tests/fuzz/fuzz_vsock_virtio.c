/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device in user space against a hostile guest. Clients and servers come and go, and the
 * broker answers or does not. Each byte is an action, followed by its arguments, see act(). What
 * the device sends is checked against the guest's own claims. Whatever has happened, after a reset
 * the device works, and no connection is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "tests/fuzz/violated.h"
#include "tests/unit/guest.h"
#include "worker/vsock/table.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RX 0
#define TX 1
#define EVENT 2
#define RING_SIZE 16u
#define MEMORY_SIZE (GUEST_BUFFERS + 0x200000u) /* of the window: the guest writes to this part */
#define RX_AT (GUEST_BASE + GUEST_BUFFERS)
#define TX_AT (RX_AT + 0x80000u)
#define BUFFER_STRIDE 0x8000u
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define HOSTS 8
#define PORTS 4u /* of each side: few, so that packets hit connections */
#define ROUNDS_MAX 4000u

static struct message_start start;
static struct guest_ring rings[3];
static uint16_t rx_head, tx_head;
static uint32_t rx_size;
static int hosts[HOSTS]; /* the host's ends; -1: none */
static unsigned int next_host;
static bool spoiled; /* the contents of the guest's rings are not known here */
static struct input input;

/* For each pair of ports: what the guest has claimed, and what it was sent. */
static struct claim {
    uint32_t alloc, forwarded, sent;
    uint16_t type; /* of the packet with the claim: it does not count for another connection */
    bool heard;    /* the device has accepted it, from a valid packet, and uses it */
} claims[PORTS][2 * PORTS];

static uint64_t number(size_t bytes)
{
    return input_number(&input, bytes);
}

/* ---- The guest ---- */

/* Ports of the host's clients begin at 2^30; those of servers are small. */
static struct claim *claim_of(uint32_t guest_port, uint32_t host_port)
{
    uint32_t column = host_port >= 0x40000000u ? PORTS + host_port % PORTS : host_port % PORTS;
    return &claims[guest_port % PORTS][column];
}

static void check_packet(const struct virtio_vsock_hdr *header, uint32_t used)
{
    if (used < HEADER || used - HEADER != header->len || header->len > rx_size)
        violated("a packet's length");
    if (header->dst_cid != 3)
        violated("a packet for somebody else");
    if (header->op == VIRTIO_VSOCK_OP_INVALID || header->op > VIRTIO_VSOCK_OP_CREDIT_REQUEST)
        violated("an operation that there is not");
    if (header->op != VIRTIO_VSOCK_OP_RW) {
        if (header->len > 0)
            violated("payload where there is none");
        return;
    }
    struct claim *claim = claim_of(header->dst_port, header->src_port);
    /* Several connections can use the same entry, one after the other. */
    uint64_t unread = (uint32_t)(claim->sent - claim->forwarded);
    if (claim->heard && claim->type == header->type &&
        (header->len > claim->alloc ||
         (unread <= claim->alloc && header->len > claim->alloc - unread)))
        violated("more than the guest's credit");
    claim->sent += header->len;
}

static void take_used(void)
{
    struct vring_used_elem used;
    while (guest_used(&rings[RX], &used)) {
        struct virtio_vsock_hdr header;
        if (spoiled)
            continue;
        memcpy(&header, guest_at(RX_AT + used.id * BUFFER_STRIDE), HEADER);
        check_packet(&header, used.len);
        struct claim *claim = claim_of(header.dst_port, header.src_port);
        if (header.op == VIRTIO_VSOCK_OP_REQUEST)
            *claim = (struct claim){.heard = false};
        else if (header.op == VIRTIO_VSOCK_OP_RESPONSE)
            claim->sent = 0;
    }
    while (guest_used(&rings[TX], &used) || guest_used(&rings[EVENT], &used))
        ;
}

static void run(void)
{
    unsigned int rounds = 0;
    do {
        guest_run();
        if (++rounds == ROUNDS_MAX)
            violated("the worker does not come to rest");
    } while (guest_device.work != 0);
}

static void settle(void)
{
    run();
    take_used();
}

static void offer_rx(uint32_t size)
{
    if ((uint16_t)(rings[RX].avail_idx - rings[RX].used_seen) >= RING_SIZE)
        return;
    uint16_t head = rx_head++ % RING_SIZE;
    rx_size = size > rx_size ? size : rx_size;
    guest_desc(&rings[RX], head, RX_AT + head * BUFFER_STRIDE, HEADER + size, VRING_DESC_F_WRITE,
               0);
    guest_offer(&rings[RX], head);
    device_notify(&guest_device, RX);
}

/* Whether all packets have been taken. They wait if the device has no room for its answers. */
static bool tx_idle(void)
{
    struct vring_used_elem used;
    while (guest_used(&rings[TX], &used))
        ;
    return rings[TX].avail_idx == rings[TX].used_seen;
}

/* Returns whether the device has taken this packet, and no other was waiting. */
static bool send_packet(const struct virtio_vsock_hdr *header, uint32_t payload)
{
    if ((uint16_t)(rings[TX].avail_idx - rings[TX].used_seen) >= RING_SIZE)
        return false;
    bool first = tx_idle();
    uint16_t head = tx_head++ % RING_SIZE;
    uint64_t at = TX_AT + head * BUFFER_STRIDE;
    memcpy(guest_at(at), header, HEADER);
    guest_desc(&rings[TX], head, at, HEADER + payload, 0, 0);
    guest_offer(&rings[TX], head);
    device_notify(&guest_device, TX);
    run();
    return first && tx_idle();
}

static void guest_sends(void)
{
    uint8_t kind = (uint8_t)number(1), ports = (uint8_t)number(1);
    uint32_t host_port = ports / PORTS % PORTS;
    if ((ports & 0x80) != 0)
        host_port += 0x40000000u;
    struct virtio_vsock_hdr header = {
        .src_cid = 3,
        .dst_cid = 2,
        .src_port = ports % PORTS,
        .dst_port = host_port,
        .type = (kind & 0x10) != 0 ? VIRTIO_VSOCK_TYPE_SEQPACKET : VIRTIO_VSOCK_TYPE_STREAM,
        .op = kind & 0xf,
        .flags = (uint8_t)number(1),
    };
    uint32_t length = (uint16_t)number(2) % (BUFFER_STRIDE - HEADER);
    struct claim *claim = claim_of(header.src_port, header.dst_port);
    header.len = header.op == VIRTIO_VSOCK_OP_RW ? length : 0;
    header.buf_alloc = 0x10000;
    header.fwd_cnt = claim->sent;
    if ((kind & 0x20) != 0)
        header.buf_alloc = (uint32_t)number(4);
    if ((kind & 0x40) != 0)
        header.fwd_cnt = (uint32_t)number(4);
    if ((kind & 0x80) != 0) {
        header.len = (uint32_t)number(4);
        header.type = (uint16_t)number(1);
        header.dst_cid = number(1);
        header.src_cid = number(1);
    }
    if (header.op == VIRTIO_VSOCK_OP_REQUEST)
        claim->sent = 0;
    claim->alloc = header.buf_alloc;
    claim->forwarded = header.fwd_cnt;
    claim->type = header.type;
    claim->heard = send_packet(&header, length) && (kind & 0x80) == 0;
    take_used(); /* this claim judges what comes */
}

/* Descriptors of any kind. */
static void spoil_ring(void)
{
    unsigned int queue = (unsigned int)number(1) % 3;
    uint16_t head = (uint16_t)number(1) % RING_SIZE;
    guest_desc(&rings[queue], head, RX_AT + number(3), (uint32_t)number(2), (uint16_t)number(1),
               (uint16_t)number(1));
    guest_offer(&rings[queue], head);
    device_notify(&guest_device, queue);
    spoiled = true;
}

static void write_register(void)
{
    uint32_t offset = (uint32_t)number(1) & ~3u;
    guest_write(offset, (uint32_t)number(4));
    spoiled = true;
}

/* ---- The host ---- */

static int *new_host(int ret_pair[2], int type)
{
    int *host = &hosts[next_host++ % HOSTS];
    if (*host >= 0)
        close(*host);
    if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_pair) < 0)
        violated("socketpair");
    *host = ret_pair[0];
    return host;
}

static void broker_says(uint32_t request, uint32_t type, bool refused)
{
    union message message = {
        .connection =
            {
                .header = {.type = MSG_CONNECTION, .device = 5},
                .request = request,
                .type = type,
                .error = refused ? ECONNREFUSED : 0,
            },
    };
    int pair[2] = {-1, -1};
    if (!refused)
        new_host(pair, type == VIRTIO_VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM);
    (void)message_send(guest_control, &message, &pair[1], refused ? 0 : 1);
    if (pair[1] >= 0)
        close(pair[1]);
}

/* The broker answers what the worker has asked for, or some of it. */
static void broker_answers(uint8_t how)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    int r;
    while ((r = message_receive(guest_control, ROLE_WORKER, &message, fds, &count)) == 1) {
        if (message.header.type == MSG_CONNECT && (how & 3) != 3)
            broker_says(message.connect.request, message.connect.type, (how & 1) != 0);
        else if (message.header.type != MSG_LOG && message.header.type != MSG_CONNECT)
            violated("a message that a worker does not send");
        how = (uint8_t)(how >> 1 | how << 7);
    }
    if (r != -EAGAIN)
        violated("what is no message");
}

static void host_acts(void)
{
    static char data[0x20000];
    uint8_t which = (uint8_t)number(1);
    int *host = &hosts[which % HOSTS];
    size_t length = (uint16_t)number(2) * 2u;
    if (*host < 0)
        return;
    switch (which / HOSTS % 6) {
    case 0:
        snprintf(data, sizeof(data), "CONNECT %u\n", (unsigned int)length / 2 % PORTS);
        (void)!send(*host, data, strlen(data), MSG_NOSIGNAL);
        break;
    case 1:
        (void)!send(*host, data, length, MSG_NOSIGNAL);
        break;
    case 2:
        (void)!recv(*host, data, length, 0);
        break;
    case 3:
        (void)shutdown(*host, length % 2 == 0 ? SHUT_WR : SHUT_RD);
        break;
    case 4:
        close(*host);
        *host = -1;
        break;
    default:
        for (size_t i = 0; i < 16 && input.size > 0; i++) {
            char byte = (char)number(1);
            (void)!send(*host, &byte, 1, MSG_NOSIGNAL);
        }
    }
}

/* ---- Programs ---- */

static void driver(uint64_t features)
{
    rx_head = tx_head = 0;
    rx_size = 0;
    spoiled = false;
    memset(claims, 0, sizeof(claims));
    guest_negotiate(guest_device.features & features & ~(1ull << VIRTIO_F_RING_PACKED));
    for (unsigned int q = 0; q < 3; q++) {
        guest_ring_init(&rings[q], q, RING_SIZE);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
}

static void act(void)
{
    uint8_t action = (uint8_t)number(1);
    switch (action % 10) {
    case 0:
    case 1:
        guest_sends();
        break;
    case 2:
        for (unsigned int i = 0; i < (action / 10u) % RING_SIZE + 1; i++)
            offer_rx((uint32_t)number(1) * 16 + 1);
        settle();
        break;
    case 3:
        broker_answers((uint8_t)number(1));
        settle();
        break;
    case 4:
        broker_says(CONNECTION_FROM_HOST, action / 10 % 4, false);
        settle();
        break;
    case 5:
    case 6:
        host_acts();
        settle();
        break;
    case 7:
        spoil_ring();
        settle();
        break;
    case 8:
        if (action / 10 % 3 == 0)
            broker_says((uint32_t)number(2), VIRTIO_VSOCK_TYPE_STREAM, action / 10 % 2 == 0);
        else if (action / 10 % 3 == 1)
            write_register();
        else
            device_notify(&guest_device, (unsigned int)number(1));
        settle();
        break;
    default:
        driver(number(8));
    }
}

static unsigned int open_fds(void)
{
    unsigned int count = 0;
    for (int fd = WORKER_FD_CONTROL; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void close_hosts(void)
{
    for (unsigned int i = 0; i < HOSTS; i++) {
        if (hosts[i] >= 0)
            close(hosts[i]);
        hosts[i] = -1;
    }
}

/* A client connects to the guest. */
static void recover(void)
{
    driver(~0ull);
    broker_answers(3);
    broker_says(CONNECTION_FROM_HOST, VIRTIO_VSOCK_TYPE_STREAM, false);
    const int *host = &hosts[(next_host + HOSTS - 1) % HOSTS];
    (void)!send(*host, "CONNECT 7\n", 10, MSG_NOSIGNAL);
    offer_rx(100);
    settle();
    struct virtio_vsock_hdr header;
    memcpy(&header, guest_at(RX_AT), HEADER);
    if (header.op != VIRTIO_VSOCK_OP_REQUEST || header.dst_port != 7)
        violated("after a reset, a client is not announced");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    memset(hosts, 0xff, sizeof(hosts));
    guest_window_init();
    guest_fds(DEVICE_VSOCK_VIRTIO, -1);
    start = guest_start(DEVICE_VSOCK_VIRTIO);
    start.of_kind.vsock.guest_cid = 3;
    start.of_kind.vsock.connections = 63;
    guest_worker(&start);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct input){data, size};
    memset(guest_memory, 0, MEMORY_SIZE);
    unsigned int before = open_fds();
    driver(number(8));
    while (input.size > 0)
        act();
    recover();
    guest_write(VIRTIO_MMIO_STATUS, 0);
    close_hosts();
    broker_answers(3);
    settle();
    if (open_fds() != before)
        violated("a connection is left");
    return 0;
}
