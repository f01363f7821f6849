/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/vsock_under_test.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"

#define RING 256u
#define TX_AT (VSOCK_RX_AT + RING * VSOCK_STRIDE)

struct guest_ring vsock_rings[3];
bool vsock_offers;
uint8_t vsock_payload[BUFFER];

static bool fds_made;
static unsigned int logs[LOG_CODE_COUNT];
static struct message_connect questions[256];
static unsigned int asked, taken;

/* ---- The guest ---- */

void vsock_worker(uint32_t connections)
{
    struct message_start message = guest_start(DEVICE_VSOCK_VIRTIO);
    message.of_kind.vsock.guest_cid = GUEST_CID;
    message.of_kind.vsock.connections = connections;
    if (!fds_made)
        guest_window_init();
    fds_made = true;
    guest_fds(DEVICE_VSOCK_VIRTIO, -1);
    asked = taken = 0;
    memset(logs, 0, sizeof(logs));
    guest_worker(&message);
}

void vsock_driver(uint64_t features_off)
{
    const uint64_t wanted = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
                            1ull << VIRTIO_VSOCK_F_SEQPACKET | 1; /* F_STREAM */
    uint32_t status = guest_negotiate(wanted & ~features_off);
    CU_ASSERT_TRUE_FATAL((status & VIRTIO_CONFIG_S_FEATURES_OK) != 0);
    for (unsigned int q = 0; q < 3; q++) {
        guest_ring_init(&vsock_rings[q], q, RING);
        guest_queue_setup(q, &vsock_rings[q]);
    }
    guest_driver_ok();
}

void vsock_offer_rx(unsigned int count)
{
    struct guest_ring *ring = &vsock_rings[RX];
    for (unsigned int i = 0; i < count; i++) {
        uint16_t head = ring->avail_idx % RING;
        guest_desc(ring, head, VSOCK_RX_AT + head * VSOCK_STRIDE, BUFFER, VRING_DESC_F_WRITE, 0);
        guest_offer(ring, head);
    }
    guest_kick(RX);
}

void vsock_running(uint32_t connections)
{
    memset(&guest_state, 0, sizeof(guest_state));
    vsock_worker(connections);
    vsock_driver(0);
    vsock_offers = true;
    vsock_offer_rx(RING);
    (void)guest_interrupts();
}

struct virtio_vsock_hdr vsock_header(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    return (struct virtio_vsock_hdr){
        .src_cid = GUEST_CID,
        .dst_cid = HOST_CID,
        .src_port = guest_port,
        .dst_port = host_port,
        .type = STREAM,
        .op = op,
        .buf_alloc = 0x100000,
    };
}

static void take_back_tx(void)
{
    struct vring_used_elem used;
    while (guest_used(&vsock_rings[TX], &used))
        CU_ASSERT_EQUAL(used.len, 0);
}

void vsock_offer(const struct virtio_vsock_hdr *header, const void *payload)
{
    struct guest_ring *ring = &vsock_rings[TX];
    take_back_tx();
    CU_ASSERT_FATAL((uint16_t)(ring->avail_idx - ring->used_seen) < RING);
    uint16_t head = ring->avail_idx % RING;
    uint64_t at = TX_AT + head * VSOCK_STRIDE;
    memcpy(guest_at(at), header, HEADER);
    CU_ASSERT_FATAL(HEADER + header->len <= VSOCK_STRIDE);
    if (payload)
        memcpy(guest_at(at + HEADER), payload, header->len);
    else
        memset(guest_at(at + HEADER), 0, header->len);
    guest_desc(ring, head, at, HEADER + header->len, 0, 0);
    guest_offer(ring, head);
}

void vsock_kick(void)
{
    guest_kick(TX);
}

void vsock_send(const struct virtio_vsock_hdr *header, const void *payload)
{
    vsock_offer(header, payload);
    vsock_kick();
}

void vsock_says(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
    const struct virtio_vsock_hdr header = vsock_header(op, guest_port, host_port);
    vsock_send(&header, NULL);
}

bool vsock_got(struct virtio_vsock_hdr *ret)
{
    struct vring_used_elem used;
    if (!guest_used(&vsock_rings[RX], &used))
        return false;
    const uint8_t *packet = guest_at(VSOCK_RX_AT + used.id * VSOCK_STRIDE);
    memcpy(ret, packet, HEADER);
    CU_ASSERT_EQUAL_FATAL(used.len, HEADER + ret->len);
    CU_ASSERT_FATAL(used.len <= BUFFER);
    memcpy(vsock_payload, packet + HEADER, ret->len);
    if (vsock_offers)
        vsock_offer_rx(1);
    return true;
}

int vsock_hears(uint32_t guest_port, uint32_t host_port)
{
    struct virtio_vsock_hdr header;
    if (!vsock_got(&header))
        return -1;
    CU_ASSERT_EQUAL(header.src_cid, HOST_CID);
    CU_ASSERT_EQUAL(header.dst_cid, GUEST_CID);
    CU_ASSERT_EQUAL(header.src_port, host_port);
    CU_ASSERT_EQUAL(header.dst_port, guest_port);
    return header.op;
}

/* ---- The host ---- */

static void take_messages(void)
{
    union message message;
    while (recv(guest_control, &message, sizeof(message), MSG_DONTWAIT) > 0) {
        if (message.header.type == MSG_LOG && message.log.code < LOG_CODE_COUNT)
            logs[message.log.code]++;
        if (message.header.type == MSG_CONNECT && asked < sizeof(questions) / sizeof(questions[0]))
            questions[asked++] = message.connect;
    }
}

bool vsock_asks(struct message_connect *ret)
{
    take_messages();
    if (taken == asked)
        return false;
    *ret = questions[taken++];
    return true;
}

unsigned int vsock_logs(enum log_code code)
{
    take_messages();
    unsigned int count = logs[code];
    logs[code] = 0;
    return count;
}

static int give(uint32_t request, uint16_t type, const char *line)
{
    union message message = {
        .connection = {.header = {.type = MSG_CONNECTION, .device = 5},
                       .request = request,
                       .type = type},
    };
    int pair[2], kind = type == STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    if (line)
        CU_ASSERT_EQUAL(send(pair[0], line, strlen(line), 0), (ssize_t)strlen(line));
    CU_ASSERT_EQUAL(message_send(guest_control, &message, &pair[1], 1), 0);
    close(pair[1]);
    guest_run();
    return pair[0];
}

int vsock_client(uint16_t type, const char *line)
{
    return give(CONNECTION_FROM_HOST, type, line);
}

int vsock_serve(const struct message_connect *question)
{
    return give(question->request, (uint16_t)question->type, NULL);
}

void vsock_refuse(const struct message_connect *question, int error)
{
    union message message = {
        .connection = {.header = {.type = MSG_CONNECTION, .device = 5},
                       .request = question->request,
                       .type = question->type,
                       .error = error},
    };
    CU_ASSERT_EQUAL(message_send(guest_control, &message, NULL, 0), 0);
    guest_run();
}

int vsock_connected(uint16_t type, uint32_t guest_port, uint32_t host_port)
{
    struct virtio_vsock_hdr header = vsock_header(VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port);
    struct message_connect question = {0};
    header.type = type;
    vsock_send(&header, NULL);
    CU_ASSERT_TRUE_FATAL(vsock_asks(&question));
    int fd = vsock_serve(&question);
    CU_ASSERT_EQUAL(vsock_hears(guest_port, host_port), VIRTIO_VSOCK_OP_RESPONSE);
    return fd;
}

bool vsock_closed(int fd)
{
    struct pollfd look = {.fd = fd, .events = 0};
    return poll(&look, 1, 0) > 0 && (look.revents & POLLHUP) != 0;
}

ssize_t vsock_read(int fd, void *to, size_t size)
{
    return recv(fd, to, size, MSG_DONTWAIT);
}
