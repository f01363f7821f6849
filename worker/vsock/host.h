/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's ends of a socket device's connections: non-blocking Unix sockets that the broker made.
 * Only this file touches them.
 *
 * Nothing here waits. What a socket does not take is kept in the connection's buffer; what the
 * guest has no room for stays in the socket. Readiness is remembered, since epoll reports it
 * edge-triggered.
 *
 * System calls on numbers WORKER_FD_CONNECTION onwards: readv, writev, shutdown, close, epoll_ctl.
 */
#ifndef WORKER_VSOCK_HOST_H
#define WORKER_VSOCK_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/worker_fds.h"
#include "worker/virtqueue/cursor.h"
#include "worker/vsock/table.h"

/* A message cannot be read in parts: what the guest has no room for is kept here. */
#define VSOCK_MESSAGE_MAX CONNECTION_MESSAGE_MAX

/* "CONNECT 4294967295\n", with room for some more blanks. */
#define VSOCK_GREETING_MAX 32u

/* Segments of one call, the worker's own memory included: what the kernel takes (UIO_MAXIOV). */
#define VSOCK_SEGMENTS_MAX 1024u

/* Before lock-down: map the memory for `limit` connections, and make a write to a closed socket
 * raise no signal. Returns 0 or -errno. */
int vsock_host_init(uint32_t limit);

/* Forget every connection; their sockets are closed. */
void vsock_host_reset(void);

/* Give a socket to a slot that has none yet. Returns false if it cannot be watched: it is then
 * closed. */
bool vsock_host_open(uint32_t slot, uint16_t type, int fd);
bool vsock_host_is_open(uint32_t slot);
void vsock_host_close(uint32_t slot);

/* EPOLL* bits from the loop. Returns 0, or -ENOMEM if the socket can't be watched any more. */
int vsock_host_event(uint32_t slot, uint32_t events);
/* The other end is closed altogether. */
bool vsock_host_hung_up(uint32_t slot);

/*
 * Read "CONNECT port\n" from a client that has just connected. Returns 1 with *ret_port; 0 if there
 * is more to come; -EPROTO if the client says something else; -EPIPE if it has left.
 */
int vsock_host_greeting(uint32_t slot, uint16_t type, uint32_t *ret_port);

/* Tell that client "OK port\n". Returns 0, or -EPIPE if it has left; what it wrote before can still
 * be read. */
int vsock_host_welcome(uint32_t slot, uint32_t host_port);

/* Can the guest's bytes go straight into the socket? Only those of a stream whose buffer is
 * empty. */
bool vsock_host_takes(const struct vsock_table *table, uint32_t slot);

/*
 * Deliver a payload from the guest. It is the last bytes counted as received, and lies in guest
 * memory (VSOCK_SEGMENTS_MAX segments at most). It comes from one packet, or from several packets
 * of a stream. `end`: a seqpacket message ends here. Calls vsock_forwarded for what the socket
 * took, and vsock_host_shutdown if it takes no more. Returns 0; -EMSGSIZE if a message is larger
 * than VSOCK_MESSAGE_MAX, or than the socket could ever take (net.core.wmem_max is small); -ENOMEM
 * if the socket can't be watched any more.
 */
int vsock_host_deliver(struct vsock_table *table, uint32_t slot, struct cursor payload, bool end);

/* The same with what is buffered. */
int vsock_host_flush(struct vsock_table *table, uint32_t slot);

/* The guest has said that it will not send (after what is buffered), or not receive any more. */
void vsock_host_shut(struct vsock_table *table, uint32_t slot);

/* Can there be something to read? */
bool vsock_host_readable(uint32_t slot);

/* All bytes of the message that is being read; 0 if the next read begins a new message. */
uint32_t vsock_host_message(uint32_t slot);

/*
 * Read data for the guest into `room` (fewer segments than VSOCK_SEGMENTS_MAX). `room` has as many
 * bytes as may be sent, and not 0. *ret_end: a seqpacket message ends with these bytes. Returns how
 * many bytes; 0 at the end of the data, after which nothing is readable; -EAGAIN if there is
 * nothing now; -EINTR if there can be something, but others have their turn first; -EMSGSIZE for a
 * message of more than `message_max` bytes, which is lost; -errno.
 *
 * An empty message is passed over: the guest could not tell it from an end. The end is returned
 * after vsock_host_event has reported it, so that vsock_host_hung_up then tells what kind it is.
 */
ssize_t vsock_host_read(uint32_t slot, uint16_t type, struct cursor room, uint32_t message_max,
                        bool *ret_end);

#endif
