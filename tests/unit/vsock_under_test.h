/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket device for unit tests: the guest's driver on one side, the broker and programs of the
 * host on the other. The guest's receive queue always has buffers, unless a test says otherwise.
 */
#ifndef TESTS_UNIT_VSOCK_UNDER_TEST_H
#define TESTS_UNIT_VSOCK_UNDER_TEST_H

#include <linux/virtio_vsock.h>

#include "tests/unit/guest.h"

#define RX 0u
#define TX 1u
#define EVENT 2u
#define GUEST_CID 3u
#define HOST_CID 2u
#define STREAM VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET VIRTIO_VSOCK_TYPE_SEQPACKET
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define BUFFER 4096u /* bytes of an RX buffer */
/* The buffer of descriptor i of the receive queue begins at VSOCK_RX_AT + i * VSOCK_STRIDE. */
#define VSOCK_RX_AT (GUEST_BASE + GUEST_BUFFERS)
#define VSOCK_STRIDE 0x20000u /* bytes: more than a packet of the tests has */

extern struct guest_ring vsock_rings[3];
extern bool vsock_offers; /* each RX buffer is offered again as soon as it was used */

/* A fresh device whose driver has accepted everything and runs. */
void vsock_running(uint32_t connections);

/* The same in steps. */
void vsock_worker(uint32_t connections);
void vsock_driver(uint64_t features_off);
void vsock_offer_rx(unsigned int count);

/* ---- The guest ---- */

/* A packet of a stream, from the guest's port to the host's. */
struct virtio_vsock_hdr vsock_header(uint16_t op, uint32_t guest_port, uint32_t host_port);

/* Make it available, with header->len bytes behind it, but do not kick. NULL: zeros. */
void vsock_offer(const struct virtio_vsock_hdr *header, const void *payload);
void vsock_kick(void);
/* Both. */
void vsock_send(const struct virtio_vsock_hdr *header, const void *payload);
/* A packet without payload or flags. */
void vsock_says(uint16_t op, uint32_t guest_port, uint32_t host_port);

/* Get the next packet for the guest; false: there is none. */
bool vsock_got(struct virtio_vsock_hdr *ret);
extern uint8_t vsock_payload[BUFFER]; /* of that packet */

/* The next packet's op, or -1; its ports are checked. */
int vsock_hears(uint32_t guest_port, uint32_t host_port);

/* ---- The host ---- */

/* A client connects, and says this (NULL: nothing). Returns its socket. */
int vsock_client(uint16_t type, const char *line);

/* The next question of the device to the broker; false: there is none. */
bool vsock_asks(struct message_connect *ret);
unsigned int vsock_logs(enum log_code code); /* since the last call for that code */

/* Answer it with a server's connection, whose other end is returned, or with an error. */
int vsock_serve(const struct message_connect *question);
void vsock_refuse(const struct message_connect *question, int error);

/* The guest's connection to a server. Returns the server's end. */
int vsock_connected(uint16_t type, uint32_t guest_port, uint32_t host_port);

/* Has the device closed its end? */
bool vsock_closed(int fd);

/* What a program of the host reads; -1: nothing now. */
ssize_t vsock_read(int fd, void *to, size_t size);

#endif
