/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the socket device in user space: virtio.c says what becomes of connections and talks
 * to the broker, from_guest.c serves the transmit queue, to_guest.c the receive queue. This is what
 * they share.
 */
#ifndef WORKER_VSOCK_DEVICE_H
#define WORKER_VSOCK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/turn.h"
#include "worker/vsock/event.h"
#include "worker/vsock/slots.h"
#include "worker/vsock/table.h"

/* A turn ends after so many packets or bytes, so that a register access never waits long. */
#define TURN_PACKETS 128u
#define TURN_BYTES 0x80000u /* 512 KiB */
#define SIGNAL_PACKETS 8u   /* as in worker/block/block.c */

static const struct turn_rules vsock_turn_rules = {
    .steps = TURN_PACKETS,
    .bytes = TURN_BYTES,
    .signal_chains = SIGNAL_PACKETS,
};

struct vsock_device {
    uint32_t device; /* index, for messages to the broker */
    uint64_t guest_cid;
    uint32_t limit;         /* connections */
    bool reset_pending;     /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
    bool tx_waits;          /* for room for replies */
    struct slots busy;      /* may have something for the guest */
    struct slots starved;   /* have, and the guest has no room for it */
    struct slots undialled; /* the broker is still to be asked for them */
    struct slots refused;   /* it has been, and the server had no room: it will be again */
    uint32_t patience_ms;   /* of starved and refused ones: until they try again */
    uint32_t turns;         /* since they last did */
    /* Of all connections ever asked for, since the answers to those of before a reset come after
     * it: how many answers are awaited, the last number, and each slot's. */
    uint32_t unanswered, last_request, requests[VSOCK_CONNECTIONS_MAX];
    struct vsock_table table;
};

extern struct vsock_device vsock;

static inline struct vsock_connection *vsock_connection(uint32_t slot)
{
    return &vsock.table.connections[slot];
}

/* ---- virtio.c ---- */

/* The slot may have a packet for the guest. */
void vsock_stir(struct device *dev, uint32_t slot);

/* Close the host's end; the guest is told as of vsock_host_gone. */
void vsock_drop(struct device *dev, uint32_t slot, bool reset);

/* A message of the host's or of the guest's is larger than the other side could ever take, which is
 * `most`: the connection ends, and is counted. */
void vsock_refuse_message(struct device *dev, uint32_t slot, uint32_t most);

/* After data or an end of either side: is there anything left for this connection to do? */
void vsock_settle(struct device *dev, uint32_t slot);
void vsock_flush(struct device *dev, uint32_t slot);

/* The slot has data and no room at the guest's, who has been asked. */
void vsock_starve(struct device *dev, uint32_t slot);

/* A turn is over: those that wait for an event that may never be told may be due. */
void vsock_count_turn(struct device *dev);

/* Of a slot in DIALLING. */
void vsock_dial(struct device *dev, uint32_t slot);

/* ---- from_guest.c, to_guest.c ---- */

enum serve vsock_tx_turn(struct device *dev, struct guest_fault *ret_fault);
enum serve vsock_rx_turn(struct device *dev, struct guest_fault *ret_fault);
/* The receive queue has stopped: its buffers are the guest's again. */
void vsock_rx_stop(void);

#endif
