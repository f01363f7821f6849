/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket device, VirtIO 1.2 §5.10, in user space: the guest's streams and seqpackets end in Unix
 * sockets of the host. This file does to connections what table.c decides; from_guest.c and
 * to_guest.c move the data, and the sockets belong to host.c.
 *
 * The guest's packets are completed at once, whatever the host's reader does: what its socket does
 * not take is kept in the connection's buffer, within the credit. The host's data stay in the
 * socket until there are both credit and a buffer from the guest; they go straight into that
 * buffer.
 *
 * The worker makes no connection. It asks the broker by MSG_CONNECT (sendto on WORKER_FD_CONTROL),
 * which hands it sockets by MSG_CONNECTION (recvmsg on the same).
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/log.h"
#include "worker/vsock/device.h"
#include "worker/vsock/event.h"
#include "worker/vsock/host.h"

#define VSOCK_F_STREAM 0 /* §5.10.3; not in <linux/virtio_vsock.h> */

/*
 * Some connections wait for something that can come without an event: a guest that has read, a
 * server that has room again. The worker looks for it after a while without events, first soon and
 * then less often. If other connections keep events coming all the time, it looks after
 * PATIENCE_TURNS turns.
 */
#define PATIENCE_FIRST_MS 16u
#define PATIENCE_LAST_MS 512u
#define PATIENCE_SERVER_MS 64u
#define PATIENCE_TURNS 2048u
#define RETRIES 4u /* how many servers' ports are tried again at once */

struct vsock_device vsock;

static int vsock_init_device(struct device *dev, const struct message_start *start)
{
    const struct virtio_vsock_config config = {.guest_cid = start->of_kind.vsock.guest_cid};
    if (start->of_kind.vsock.connections == 0 ||
        start->of_kind.vsock.connections > VSOCK_CONNECTIONS_MAX)
        return -EINVAL;
    memset(&vsock, 0, offsetof(struct vsock_device, table));
    vsock.device = start->header.device;
    vsock.guest_cid = start->of_kind.vsock.guest_cid;
    vsock.limit = start->of_kind.vsock.connections;
    memcpy(dev->config, &config, sizeof(config));
    dev->config_size = sizeof(config);
    dev->features = 1ull << VSOCK_F_STREAM | 1ull << VIRTIO_VSOCK_F_SEQPACKET;
    dev->user_queues = 1u << QUEUE_RX | 1u << QUEUE_TX | 1u << QUEUE_EVENT;
    vsock_init(&vsock.table, vsock.guest_cid, vsock.limit, false);
    return vsock_host_init(vsock.limit);
}

void vsock_stir(struct device *dev, uint32_t slot)
{
    slots_add(&vsock.busy, slot);
    dev->work |= 1u << QUEUE_RX;
}

/* ---- What becomes of a connection ---- */

void vsock_drop(struct device *dev, uint32_t slot, bool reset)
{
    vsock_host_close(slot);
    vsock_host_gone(&vsock.table, slot, reset);
    vsock_stir(dev, slot);
}

void vsock_refuse_message(struct device *dev, uint32_t slot, uint32_t most)
{
    const struct vsock_connection *connection = vsock_connection(slot);
    log_event(LOG_VSOCK_MESSAGE, connection->guest_port, connection->host_port, most);
    device_count(&dev->state->counters.guest_errors, 1);
    vsock_drop(dev, slot, true);
}

void vsock_settle(struct device *dev, uint32_t slot)
{
    const struct vsock_connection *connection = vsock_connection(slot);
    const uint8_t both = VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND;
    if (!vsock_host_is_open(slot))
        return;
    bool flushed = vsock_buffered(connection) == 0;
    bool guest_done = connection->state == VSOCK_DRAINING || connection->guest_shutdown == both;
    bool guest_deaf = (connection->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0;
    /* A close ends both directions at once. Shut down one after the other, the socket would tell
     * its program for a moment that the guest still listens. */
    if ((guest_done && flushed) || (guest_deaf && vsock_host_hung_up(slot))) {
        vsock_drop(dev, slot, false);
    } else {
        vsock_host_shut(&vsock.table, slot);
        vsock_stir(dev, slot);
    }
}

void vsock_delivered(struct device *dev, uint32_t slot, int result)
{
    if (result == -EMSGSIZE)
        vsock_refuse_message(dev, slot, VSOCK_MESSAGE_MAX);
    else if (result < 0)
        vsock_drop(dev, slot, true);
    else
        vsock_settle(dev, slot);
}

void vsock_flush(struct device *dev, uint32_t slot)
{
    vsock_delivered(dev, slot, vsock_host_flush(&vsock.table, slot));
}

static void greet(struct device *dev, uint32_t slot)
{
    uint32_t port;
    int r = vsock_host_greeting(slot, vsock_connection(slot)->type, &port);
    if (r == 0)
        return;
    if (r == -EPROTO)
        log_event(LOG_VSOCK_GREETING, 0);
    if (r < 0) {
        vsock_drop(dev, slot, false);
        return;
    }
    vsock_request(&vsock.table, slot, port);
    if (vsock_host_hung_up(slot))
        vsock_set_idle(&vsock.table, slot);
    vsock_stir(dev, slot);
}

static void vsock_connection_event(struct device *dev, unsigned int slot, uint32_t events)
{
    if (!vsock_host_is_open(slot))
        return; /* closed since, in the same round */
    if (vsock_host_event(slot, events) < 0) {
        vsock_drop(dev, slot, true);
        return;
    }
    switch (vsock_connection(slot)->state) {
    case VSOCK_GREETING:
        greet(dev, slot);
        break;
    case VSOCK_REQUESTED:
        if (vsock_host_hung_up(slot))
            vsock_set_idle(&vsock.table, slot);
        break;
    case VSOCK_OPEN:
    case VSOCK_DRAINING:
        vsock_flush(dev, slot);
        break;
    case VSOCK_FREE:
    case VSOCK_DIALLING:
    case VSOCK_CLOSING:
        break; /* these states have no socket */
    }
}

/* ---- The broker ---- */

static bool ask_broker(uint32_t slot)
{
    const struct vsock_connection *connection = vsock_connection(slot);
    vsock.last_request = (vsock.last_request + 1) & INT32_MAX;
    vsock.requests[slot] = vsock.last_request;
    const struct message_connect message = {
        .header = {.type = MSG_CONNECT, .version = MESSAGE_VERSION, .device = vsock.device},
        .port = connection->host_port,
        .type = connection->type,
        .request = vsock.last_request,
    };
    return send(WORKER_FD_CONTROL, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

static uint32_t oldest(const struct slots *slots)
{
    uint32_t best = VSOCK_NONE, from = 0;
    for (uint32_t i = 0; i < slots->count; i++) {
        uint32_t slot = slots_next(slots, from);
        if (best == VSOCK_NONE || vsock_connection(slot)->age < vsock_connection(best)->age)
            best = slot;
        from = slot + 1;
    }
    return best;
}

/* The broker ends a worker that asks for more connections at once than it may. So further requests
 * of the guest wait here; the guest may have given up some of them. */
static void dial(struct device *dev)
{
    while (vsock.undialled.count > 0 && vsock.unanswered < CONNECTIONS_AT_ONCE) {
        uint32_t slot = oldest(&vsock.undialled);
        slots_drop(&vsock.undialled, slot);
        if (vsock_connection(slot)->state != VSOCK_DIALLING)
            continue;
        if (ask_broker(slot))
            vsock.unanswered++;
        else
            vsock_drop(dev, slot, true); /* the broker has not yet taken earlier messages */
    }
}

static bool same_server(uint32_t slot, uint32_t other)
{
    const struct vsock_connection *a = vsock_connection(slot), *b = vsock_connection(other);
    return a->host_port == b->host_port && a->type == b->type;
}

/* The oldest of those that wait for the same server as `like`, or VSOCK_NONE. Forgets those that
 * have given up. */
static uint32_t first_refused(uint32_t like)
{
    uint32_t best = VSOCK_NONE, from = 0;
    for (uint32_t i = vsock.refused.count; i > 0; i--) {
        uint32_t slot = slots_next(&vsock.refused, from);
        from = slot + 1;
        if (vsock_connection(slot)->state != VSOCK_DIALLING)
            slots_drop(&vsock.refused, slot);
        else if (same_server(slot, like) &&
                 (best == VSOCK_NONE || vsock_connection(slot)->age < vsock_connection(best)->age))
            best = slot;
    }
    return best;
}

/* Is the broker being asked for the same server, for another connection? The one that came first
 * shall be served first. */
static bool is_asked(uint32_t like)
{
    for (uint32_t slot = 0; slot < vsock.limit; slot++) {
        if (vsock_connection(slot)->state == VSOCK_DIALLING && same_server(slot, like) &&
            !slots_has(&vsock.refused, slot))
            return true;
    }
    return false;
}

static void be_patient(struct device *dev, uint32_t ms)
{
    if (dev->pause_ms == 0 || dev->pause_ms > ms)
        dev->pause_ms = ms;
}

/* The server's backlog is full. Connections that ask for the same server later wait behind this
 * one; those for other servers do not. */
static void wait_for_server(struct device *dev, uint32_t slot)
{
    vsock_set_idle(&vsock.table, slot);
    slots_add(&vsock.refused, slot);
    if (vsock.refused.count == 1)
        vsock.patience_ms = PATIENCE_FIRST_MS;
    be_patient(dev,
               vsock.patience_ms < PATIENCE_SERVER_MS ? vsock.patience_ms : PATIENCE_SERVER_MS);
}

void vsock_dial(struct device *dev, uint32_t slot)
{
    slots_drop(&vsock.refused, slot); /* this is not the connection that had the slot before */
    if (first_refused(slot) != VSOCK_NONE) {
        wait_for_server(dev, slot);
        return;
    }
    slots_add(&vsock.undialled, slot);
    dial(dev);
}

static void dial_again(struct device *dev, uint32_t slot)
{
    slots_drop(&vsock.refused, slot);
    slots_add(&vsock.undialled, slot);
    dial(dev);
}

/* ---- Patience ---- */

void vsock_starve(struct device *dev, uint32_t slot)
{
    if (!slots_has(&vsock.starved, slot)) {
        slots_add(&vsock.starved, slot);
        vsock.patience_ms = PATIENCE_FIRST_MS;
    }
    vsock_ask_credit(&vsock.table, slot);
    be_patient(dev, vsock.patience_ms);
}

static void ask_starved(struct device *dev)
{
    uint32_t from = 0;
    for (uint32_t i = vsock.starved.count; i > 0; i--) {
        uint32_t slot = slots_next(&vsock.starved, from);
        from = slot + 1;
        if (vsock_ask_again(&vsock.table, slot))
            vsock_stir(dev, slot);
        else
            slots_drop(&vsock.starved, slot); /* its state has changed, or it has had room since */
    }
}

/* Ask again for the first connection that waits for a server, for some of the servers, in turn. */
static void ask_servers(struct device *dev)
{
    static uint32_t from;
    for (uint32_t i = 0; i < RETRIES && vsock.refused.count > 0; i++) {
        uint32_t like = slots_next(&vsock.refused, from), slot = first_refused(like);
        from = like + 1;
        if (slot != VSOCK_NONE && !is_asked(slot))
            dial_again(dev, slot);
    }
}

static void vsock_patience_over(struct device *dev)
{
    vsock.turns = 0;
    dev->pause_ms = 0;
    vsock.patience_ms *= 2;
    if (vsock.patience_ms > PATIENCE_LAST_MS)
        vsock.patience_ms = PATIENCE_LAST_MS;
    ask_starved(dev);
    ask_servers(dev);
    if (vsock.starved.count > 0)
        be_patient(dev, vsock.patience_ms);
    if (vsock.refused.count > 0)
        be_patient(dev, PATIENCE_SERVER_MS);
}

void vsock_count_turn(struct device *dev)
{
    if (dev->pause_ms > 0 && ++vsock.turns >= PATIENCE_TURNS)
        vsock_patience_over(dev);
}

/* ---- What the broker says ---- */

static void host_connects(struct device *dev, uint16_t type, int fd)
{
    bool evicted = false, usable = type == VIRTIO_VSOCK_TYPE_STREAM || vsock.table.seqpacket;
    uint32_t slot = VSOCK_NONE;
    if (device_live(dev) && usable)
        slot = vsock_take(&vsock.table, VSOCK_GREETING, type, &evicted);
    if (evicted)
        vsock_host_close(slot);
    if (slot == VSOCK_NONE)
        close(fd);
    else if (vsock_host_open(slot, type, fd))
        greet(dev, slot);
    else
        vsock_drop(dev, slot, false);
    dev->work |= 1u << QUEUE_RX; /* the guest may be owed an RST for the connection that gave way */
}

static uint32_t find_request(uint32_t request)
{
    for (uint32_t slot = 0; slot < vsock.limit; slot++) {
        const struct vsock_connection *connection = vsock_connection(slot);
        bool asked = !slots_has(&vsock.undialled, slot) && !slots_has(&vsock.refused, slot);
        if (connection->state == VSOCK_DIALLING && asked && vsock.requests[slot] == request)
            return slot;
    }
    return VSOCK_NONE;
}

/* `fd` is -EAGAIN if the server at that port has no room yet, another -errno if there is no server.
 * The guest may have given up meanwhile. */
static void host_answers(struct device *dev, uint32_t request, int fd)
{
    uint32_t slot = find_request(request);
    if (vsock.unanswered > 0)
        vsock.unanswered--;
    dial(dev);
    if (slot == VSOCK_NONE) {
        if (fd >= 0)
            close(fd);
        return;
    }
    if (fd == -EAGAIN) {
        wait_for_server(dev, slot);
        return;
    }
    /* If the server has room for one, it may have room for the next. */
    uint32_t next = first_refused(slot);
    if (fd < 0 || !vsock_host_open(slot, vsock_connection(slot)->type, fd)) {
        vsock_drop(dev, slot, true);
    } else {
        vsock_accepted(&vsock.table, slot);
        vsock_stir(dev, slot);
    }
    if (next != VSOCK_NONE && !is_asked(next))
        dial_again(dev, next);
}

static bool vsock_message(struct device *dev, const union message *message, const int *fds,
                          size_t fd_count)
{
    const struct message_connection *connection = &message->connection;
    if (message->header.type != MSG_CONNECTION)
        return false;
    int fd = fd_count > 0 ? fds[0] : -ECONNREFUSED;
    /* The server's backlog is full, or the connector process is being replaced. Both pass. */
    if (fd < 0 && (connection->error == EAGAIN || connection->error == EBUSY))
        fd = -EAGAIN;
    if (connection->request != CONNECTION_FROM_HOST)
        host_answers(dev, connection->request, fd);
    else if (fd >= 0)
        host_connects(dev, (uint16_t)connection->type, fd);
    return true;
}

/* ---- Rings ---- */

static enum serve vsock_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    switch (queue) {
    case QUEUE_RX:
        return vsock_rx_turn(dev, ret_fault);
    case QUEUE_TX:
        return vsock_tx_turn(dev, ret_fault);
    default:
        return vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
    }
}

/* ---- Starting and stopping ---- */

static int vsock_start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    uint64_t features = dev->state->transport.driver_features;
    vsock_init(&vsock.table, vsock.guest_cid, vsock.limit,
               (features >> VIRTIO_VSOCK_F_SEQPACKET & 1) != 0);
    /* §5.10.6.7: the connections of a predecessor are gone, and the guest's sockets shall fail at
     * once. The event must also be early so that the guest does not take it for the end of new
     * connections. */
    vsock.reset_pending = resumed;
    if (!resumed || !dev->queues[QUEUE_EVENT].running)
        return 0;
    enum serve r = vsock_event_turn(dev, &vsock.reset_pending, ret_fault);
    return r == SERVE_FAULT ? -EBADMSG : 0;
}

static void vsock_stop(struct device *dev)
{
    vsock_host_reset();
    vsock_rx_stop();
    dev->pause_ms = 0;
    vsock.reset_pending = false;
    vsock.tx_waits = false;
    vsock.busy = (struct slots){0};
    vsock.starved = (struct slots){0};
    vsock.undialled = (struct slots){0};
    vsock.refused = (struct slots){0};
}

static void vsock_queue_stop(struct device *dev, unsigned int queue)
{
    (void)dev;
    if (queue == QUEUE_RX)
        vsock_rx_stop();
}

const struct device_ops vsock_virtio_ops = {
    .init = vsock_init_device,
    .start = vsock_start,
    .stop = vsock_stop,
    .queue_stop = vsock_queue_stop,
    .turn = vsock_turn,
    .message = vsock_message,
    .connection_event = vsock_connection_event,
    .pause_over = vsock_patience_over,
};
