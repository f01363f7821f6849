/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a socket device, VirtIO 1.2 §5.10.6: who is connected, what each packet from
 * the guest means, which packets the guest is owed, and the credit of both sides. This module knows
 * no rings, no files and no memory but its own; it makes no system call.
 *
 * The guest is hostile: it can send any packet at any moment, claim any credit and use any port.
 * Whatever it sends, this holds:
 *  - a connection never holds more of its bytes than VSOCK_BUFFER_SIZE, which is the limit that it
 *    is told;
 *  - it is never sent more bytes than the credit that it gave, nor more packets than its kernel
 *    keeps;
 *  - a packet that breaks the protocol costs the guest that connection (RST), and nothing else;
 *  - packets that are owed to it take no memory but a bit of their connection, or one of
 *    VSOCK_REPLIES_MAX places; when all of these are taken, its packets have to wait (§5.10.6.1).
 */
#ifndef WORKER_VSOCK_TABLE_H
#define WORKER_VSOCK_TABLE_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/worker_fds.h"

#define VSOCK_CONNECTIONS_MAX CONNECTIONS_MAX
#define VSOCK_BUFFER_SIZE 0x40000u /* buf_alloc, the same value as in Linux; a power of two */
#define VSOCK_REPLIES_MAX 64u

/*
 * Linux keeps a structure of its own for each packet that is not read yet. It resets a connection
 * whose structures alone would take more than buf_alloc (576 bytes each on x86_64, more in some
 * builds; since 6.12.92 and the other stable releases of that time). So a packet counts as this
 * many bytes.
 */
#define VSOCK_PACKET_COST 1024u
/* The packets that the guest has not read are counted in this many groups. Each group counts until
 * all of it is read. */
#define VSOCK_PACKET_GROUPS 16u

#define VSOCK_HINTS 4096u /* a power of two */

#define VSOCK_NONE UINT32_MAX /* no slot */

enum vsock_state {
    VSOCK_FREE,
    VSOCK_GREETING,  /* a client of the host has connected, and has not named a port */
    VSOCK_REQUESTED, /* it has named a port: the guest is asked */
    VSOCK_DIALLING,  /* the guest has asked: the host's server is asked */
    VSOCK_OPEN,
    VSOCK_DRAINING, /* the guest's end is gone; the host's end still takes what is buffered */
    VSOCK_CLOSING,  /* the host's end is gone; the guest is told, and its RST is awaited */
};

struct vsock_connection {
    enum vsock_state state;
    uint16_t type; /* enum virtio_vsock_type */
    uint32_t guest_port, host_port;
    uint64_t age; /* a lower number means an older connection */
    /* From the guest: free-running counts of payload bytes. */
    uint32_t received;
    uint32_t forwarded; /* of those, given to the host or discarded: fwd_cnt */
    uint32_t announced; /* fwd_cnt as the guest knows it */
    /* To the guest. */
    uint32_t sent;
    uint32_t message_start;              /* seqpacket: `sent` when the last message had ended */
    uint32_t peer_alloc, peer_forwarded; /* buf_alloc and fwd_cnt, as it claims */
    bool credit_asked;                   /* CREDIT_REQUEST was sent since there was room last */
    uint16_t unread_packets;             /* an upper bound, in all groups together */
    uint8_t first_group, groups;         /* of the ring `unread` */
    struct vsock_packet_group {
        uint32_t end; /* the end of its last packet: a count like `sent` */
        uint16_t packets;
    } unread[VSOCK_PACKET_GROUPS];
    bool idle; /* REQUESTED: the client has gone. DIALLING: the server has no room yet */
    /* enum virtio_vsock_shutdown: a bit that is set stays set. */
    uint8_t guest_shutdown; /* the guest has said */
    uint8_t host_shutdown;  /* the host has done */
    uint8_t told_shutdown;  /* of that, what the guest knows */
    uint16_t due;           /* 1 << enum virtio_vsock_op: packets that the guest is owed */
};

/* An RST without a connection. */
struct vsock_reply {
    uint64_t host_cid; /* the CID to which the packet was addressed */
    uint32_t guest_port, host_port;
    uint16_t type;
};

struct vsock_table {
    uint64_t guest_cid;
    uint32_t limit; /* connections[0 .. limit) are used */
    bool seqpacket; /* VIRTIO_VSOCK_F_SEQPACKET negotiated */
    uint32_t next_port;
    uint64_t next_age;
    struct vsock_connection connections[VSOCK_CONNECTIONS_MAX];
    uint16_t hints[VSOCK_HINTS]; /* indexed by ports: where the connection was found last */
    struct vsock_reply replies[VSOCK_REPLIES_MAX]; /* a ring */
    uint32_t reply_first, reply_count;
};

/* Start with no connection and nothing owed; `limit` connections from now on. Host ports begin
 * anew. */
void vsock_init(struct vsock_table *table, uint64_t guest_cid, uint32_t limit, bool seqpacket);

/*
 * A slot for a new connection, in `state`. If all slots are taken, a connection gives way that is
 * owed nothing but an RST, or that waits for somebody who may never come; of several that give way
 * equally readily it is the oldest. *ret_evicted is then true, and the caller has to close the host
 * end of that slot. VSOCK_NONE if no connection can give way.
 */
uint32_t vsock_take(struct vsock_table *table, enum vsock_state state, uint16_t type,
                    bool *ret_evicted);

/* The host's client has said which port it wants: GREETING becomes REQUESTED. */
void vsock_request(struct vsock_table *table, uint32_t slot, uint32_t guest_port);

/*
 * REQUESTED: the client has closed its end before the guest has answered; the guest is asked
 * nevertheless, and gets what the client has written. DIALLING: the host's server has no room for
 * the connection yet. Either state can last long, so the connection gives way to others if need be.
 */
void vsock_set_idle(struct vsock_table *table, uint32_t slot);

/* The host has accepted: DIALLING becomes OPEN. */
void vsock_accepted(struct vsock_table *table, uint32_t slot);

/* ---- Packets from the guest ---- */

enum vsock_verdict {
    VSOCK_NOTHING,  /* all is done */
    VSOCK_CONNECT,  /* a new connection in DIALLING: ask the host */
    VSOCK_ANSWERED, /* the guest accepts the host's client: OPEN */
    VSOCK_PAYLOAD,  /* take the packet's payload, then say vsock_forwarded */
    VSOCK_SHUTDOWN, /* guest_shutdown has grown */
    VSOCK_GONE,     /* the guest's end is gone: the state is now DRAINING */
    VSOCK_BROKEN,   /* the guest broke the protocol: close the host's end; the state is CLOSING */
};

/* Is there a place for any reply that a packet from the guest may need? */
static inline bool vsock_reply_room(const struct vsock_table *table)
{
    return table->reply_count < VSOCK_REPLIES_MAX;
}

/*
 * Take a packet from the guest; vsock_reply_room must hold. `payload` is how many bytes follow the
 * header, which may be more than the header says. *ret_slot is set unless the verdict is
 * VSOCK_NOTHING. A VSOCK_CONNECT may have evicted the connection that had the slot before:
 * *ret_evicted, as vsock_take.
 */
enum vsock_verdict vsock_receive(struct vsock_table *table, const struct virtio_vsock_hdr *header,
                                 uint32_t payload, uint32_t *ret_slot, bool *ret_evicted);

/* `length` more of the received bytes are no longer held here. */
void vsock_forwarded(struct vsock_table *table, uint32_t slot, uint32_t length);

/* All that had to wait is forwarded: the guest is told at once, whether it needs that or not. */
void vsock_run_empty(struct vsock_table *table, uint32_t slot);

static inline uint32_t vsock_buffered(const struct vsock_connection *connection)
{
    return connection->received - connection->forwarded;
}

/* ---- The host's end ---- */

/* The host's end will not send (VIRTIO_VSOCK_SHUTDOWN_SEND), or not receive (_RCV), any more. */
void vsock_host_shutdown(struct vsock_table *table, uint32_t slot, uint8_t flags);

/*
 * The host's end is closed: the connection becomes CLOSING, or free if the guest need not know.
 * With `reset` the guest is told by an RST, else by SHUTDOWN, so that it can still read what it
 * has.
 */
void vsock_host_gone(struct vsock_table *table, uint32_t slot, bool reset);

/* ---- Packets to the guest ---- */

/* Bytes of payload that the guest has room for. */
uint32_t vsock_credit(const struct vsock_connection *connection);

/* How many packets with payload the guest has room for. There is room for at least one if the guest
 * has read all that came before, or all that came before the message that is under way. */
uint32_t vsock_packet_credit(const struct vsock_connection *connection);

/*
 * A connection's data cannot be sent since the guest has no room: ask for room, once. The guest's
 * answer may come before its program reads, and some drivers report nothing when it reads. So
 * vsock_ask_again is due after a while. It returns false if the connection is not open, or no
 * question is pending.
 */
void vsock_ask_credit(struct vsock_table *table, uint32_t slot);
bool vsock_ask_again(struct vsock_table *table, uint32_t slot);

/* The next packet without payload that is owed to the guest: one of no connection, or one of a slot
 * (which may be free afterwards). Returns false if there is none. */
bool vsock_next_reply(struct vsock_table *table, struct virtio_vsock_hdr *ret);
bool vsock_next_packet(struct vsock_table *table, uint32_t slot, struct virtio_vsock_hdr *ret);

/* Make a packet with `length` bytes, at most vsock_credit; `flags`: enum virtio_vsock_rw. */
void vsock_data_packet(struct vsock_table *table, uint32_t slot, uint32_t length, uint32_t flags,
                       struct virtio_vsock_hdr *ret);

#endif
