/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket driver, VirtIO 1.2 §5.10, on queues 0 to 2: connections, credit, and raw packets for
 * tests that want to break the rules. It handles credit as Linux does. It never has more under way
 * than the smaller of the two buffers holds, and does not ask for credit. It tells the device what
 * it has read at the latest when, by its last message, only 64 KiB are free; after a message of a
 * seqpacket socket it tells at once. Everything happens in guest_vsock_poll and in the calls that
 * send. If the device breaks a rule, this is counted in `violations`, with a line on stderr.
 */
#ifndef TESTS_STANDIN_GUEST_VSOCK_H
#define TESTS_STANDIN_GUEST_VSOCK_H

#include <linux/virtio_vsock.h>

#include "tests/standin/guest.h"

#define GUEST_VSOCK_F_STREAM 0
#define GUEST_VSOCK_CID 3u
#define GUEST_VSOCK_FEATURES                                                                       \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX |                       \
     1ull << GUEST_VSOCK_F_STREAM | 1ull << VIRTIO_VSOCK_F_SEQPACKET)

#define GUEST_SOCKETS 1100
#define GUEST_RX_BUFFERS 128
#define GUEST_RX_SIZE 4096u /* as in Linux */
#define GUEST_TX_BUFFERS 64
#define GUEST_TX_SIZE 65536u
#define GUEST_EVENT_BUFFERS 4
#define GUEST_SOCKET_BUFFER 0x40000u      /* buf_alloc, unless a test changes it */
#define GUEST_SOCKET_BUFFER_MAX 0x100000u /* the most that a test may change it to */
#define GUEST_MESSAGES 4096
#define GUEST_PACKETS 4096
#define GUEST_PACKET_COST 576u /* of buf_alloc: newer Linux counts it for each unread packet */

enum guest_socket_state { SOCKET_FREE, SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_RESET };

struct guest_socket {
    enum guest_socket_state state;
    uint16_t type;
    uint32_t port, peer_port;
    uint32_t sent, peer_alloc, peer_forwarded; /* towards the device */
    bool overdrawn; /* the device got more than it had said it has room for */
    uint32_t received, forwarded, announced; /* from it */
    uint32_t buf_alloc;
    uint64_t came_at;       /* value of packets_in when its last data came */
    uint32_t peer_shutdown; /* enum virtio_vsock_shutdown */
    uint8_t *data;          /* received and not yet taken: GUEST_SOCKET_BUFFER_MAX bytes, a ring */
    uint32_t *packet_ends; /* ends of the packets that are not read: counts of `received`, a ring */
    unsigned int packet_first, packet_count;
    uint32_t *message_ends; /* seqpacket: the same for messages */
    unsigned int message_first, message_count;
};

struct guest_vsock_buffer {
    uint8_t *at;
    uint64_t addr;
    bool busy;
};

struct guest_vsock {
    struct guest guest;
    struct guest_queue rx, tx, event;
    struct guest_vsock_buffer rx_buffers[GUEST_RX_BUFFERS], tx_buffers[GUEST_TX_BUFFERS],
        event_buffers[GUEST_EVENT_BUFFERS];
    struct guest_socket sockets[GUEST_SOCKETS];
    uint32_t listening; /* port; 0: none */
    bool hold_rx;       /* no rx buffer is given back */
    bool no_copies;     /* payloads are neither written nor kept: for measurements */
    uint32_t buf_alloc; /* of new sockets; 0: GUEST_SOCKET_BUFFER */
    uint64_t credit_requests, most_unread_packets;
    uint32_t next_port;
    /* Counters. */
    uint64_t packets_in, packets_out, resets, transport_resets;
    struct virtio_vsock_hdr last_reset;
    unsigned int violations;
};

/* Bring the device up; it may have been started before. Returns 0 or -errno. */
int guest_vsock_start(struct guest_vsock *vsock, uint64_t features);
void guest_vsock_free(struct guest_vsock *vsock);

/* Take what is there. If there is nothing, wait for an interrupt or timeout_ms first. Returns how
 * many packets and events came, or -errno. */
int guest_vsock_poll(struct guest_vsock *vsock, int timeout_ms);
/* Whether the device has taken every packet that was sent. */
bool guest_vsock_all_taken(struct guest_vsock *vsock);

/* Send a packet unchanged, including its CIDs. Returns 0, -ETIMEDOUT if no tx buffer comes back, or
 * -errno. */
int guest_vsock_packet(struct guest_vsock *vsock, const struct virtio_vsock_hdr *header,
                       const void *data, uint32_t length);
/* A header for a socket, which the caller may change before it sends it. */
struct virtio_vsock_hdr guest_vsock_header(struct guest_vsock *vsock, struct guest_socket *socket,
                                           uint16_t op);
/* Send a packet without payload. */
int guest_vsock_control(struct guest_vsock *vsock, struct guest_socket *socket, uint16_t op,
                        uint32_t flags);

/* Send REQUEST to a port of the host; NULL if all sockets are taken. */
struct guest_socket *guest_vsock_connect(struct guest_vsock *vsock, uint16_t type, uint32_t port);
/* The connection from that port of the host, or any accepted one if 0; NULL if there is none. */
struct guest_socket *guest_vsock_accepted(struct guest_vsock *vsock, uint32_t peer_port);
/* Wait until the socket leaves CONNECTING. Returns its state, or -errno. */
int guest_vsock_wait(struct guest_vsock *vsock, struct guest_socket *socket, int timeout_ms);

/* Send as much as credit and one packet allow. `flags`: of the packet, if all of it fits. Returns
 * the number of bytes, or -errno. */
int guest_vsock_send(struct guest_vsock *vsock, struct guest_socket *socket, const void *data,
                     uint32_t length, uint32_t flags);
/* Receive what is there; from a seqpacket socket, one message at most. Returns the number of bytes;
 * 0: nothing now. */
uint32_t guest_vsock_receive(struct guest_vsock *vsock, struct guest_socket *socket, void *data,
                             uint32_t length);
/* SHUTDOWN in both directions; the socket is free once it is reset. */
void guest_vsock_close(struct guest_vsock *vsock, struct guest_socket *socket);
/* Forget the socket, without telling the device. */
void guest_vsock_forget(struct guest_socket *socket);

#endif
