/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the socket device in user space: virtio.c decides what happens to connections and
 * talks to the broker, from_guest.c serves the transmit queue, to_guest.c serves the receive queue.
 * This header is what they share.
 */
#ifndef WORKER_VSOCK_DEVICE_H
#define WORKER_VSOCK_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/turn.h"
#include "worker/vsock/event.h"
#include "worker/vsock/slots.h"
#include "worker/vsock/table.h"

/* A turn ends after this many packets or bytes, so that a register access never waits long. */
#define TURN_PACKETS 128u
#define TURN_BYTES 0x80000u /* 512 KiB */
#define SIGNAL_PACKETS 8u   /* as in worker/block/block.c */

struct vsock_device {
    uint32_t device; /* index, for messages to the broker */
    uint64_t guest_cid;
    uint32_t limit;         /* connections */
    bool reset_pending;     /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
    bool tx_waits;          /* it waits for room for replies */
    struct slots busy;      /* they may have something for the guest */
    struct slots starved;   /* they have something, and the guest has no room for it */
    struct slots undialled; /* the broker is still to be asked for them */
    struct slots refused;   /* the server had no room: the broker will be asked again */
    uint32_t patience_ms;   /* until starved and refused slots try again */
    uint32_t turns;         /* since they last tried */
    /* How many answers are awaited, the number of the last request, and the request of each slot.
     * These count all connections ever asked for, since the answers to requests from before a reset
     * come after the reset. */
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

/* Close the host's end; the guest is told as vsock_host_gone says. */
void vsock_drop(struct device *dev, uint32_t slot, bool reset);

/* A message from the host or from the guest is larger than `most`, which is all that the other side
 * could ever take: the connection ends, and is counted. */
void vsock_refuse_message(struct device *dev, uint32_t slot, uint32_t most);

/* Called after data, or after an end of either side: is there anything left for this connection to
 * do? */
void vsock_settle(struct device *dev, uint32_t slot);
/* vsock_host_deliver or vsock_host_flush has returned `result`. */
void vsock_delivered(struct device *dev, uint32_t slot, int result);
void vsock_flush(struct device *dev, uint32_t slot);

/* The slot has data, and the guest has no room for it. Asks the guest for room. */
void vsock_starve(struct device *dev, uint32_t slot);

/* A turn is over. Slots that wait for something that may come without an event may be due. */
void vsock_count_turn(struct device *dev);

/* Ask the broker for the connection of a slot in DIALLING. */
void vsock_dial(struct device *dev, uint32_t slot);

/* ---- from_guest.c, to_guest.c ---- */

enum serve vsock_tx_turn(struct device *dev, struct guest_fault *ret_fault);
enum serve vsock_rx_turn(struct device *dev, struct guest_fault *ret_fault);
/* The receive queue has stopped: its buffers are the guest's again. */
void vsock_rx_stop(void);

#endif
