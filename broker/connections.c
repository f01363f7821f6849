/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connections.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/connector.h"
#include "broker/supervision.h"
#include "broker/words.h"

/* Clients from this machine that one device may get per millisecond. More of them wait in the
 * listener's backlog. */
#define CLIENTS_A_MS 4

/*
 * How much of what it gets a worker may leave unread. The kernel counts the files in flight for all
 * of root's processes together, up to their RLIMIT_NOFILE (keeper/privileges.c). Without a bound, a
 * few workers that read nothing would prevent the start of any other worker. The value is in the
 * kernel's bytes (SIOCOUTQ), so the worker can't influence it. A message takes more than 512 of
 * these bytes and has at most one file: that is at most 33 files for a worker.
 */
#define UNREAD_MAX 16384
#define ROOM_LOOK_MS 10 /* time between two looks while the worker has no room */
#define SHORTAGE_LOOK_MS 100

int connections_watch(const struct device *device, int epoll, uint32_t source)
{
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = source};
        int listener = backend_listener(&device->backend, i);
        if (listener >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
            return -errno;
    }
    return 0;
}

/* `fd` is borrowed. If it is -errno instead, that is the reason why there is no fd. */
static int hand_over(const struct device *device, uint32_t request, uint32_t type, int fd)
{
    union message message = {
        .connection =
            {
                .header = {.type = MSG_CONNECTION, .device = device->index},
                .request = request,
                .type = type,
                .error = fd < 0 ? -fd : 0,
            },
    };
    return message_send(device->worker.socket, &message, &fd, fd < 0 ? 0 : 1);
}

static void hand_over_client(struct device *device, uint32_t type, int fd)
{
    struct backend *backend = &device->backend;
    int result = hand_over(device, CONNECTION_FROM_HOST, type, fd);
    if (backend->ops->keeps_client && result == 0)
        return;
    close(fd);
    backend->client = -1;
}

static void look_again(int64_t at, int64_t *ret_again)
{
    if (at < *ret_again)
        *ret_again = at;
}

/* Returns 1 if there is room; 0 if the worker has to read first; -1 if its time to read is over. */
static int has_room(struct device *device, int64_t now)
{
    struct worker *worker = &device->worker;
    int unread = 0;
    if (ioctl(worker->socket, SIOCOUTQ, &unread) == 0 && unread < UNREAD_MAX) {
        worker->no_room_since = 0;
        return 1;
    }
    if (worker->no_room_since == 0)
        worker->no_room_since = now;
    return now - worker->no_room_since < ALIVE_MS ? 0 : -1;
}

/* May one more be handed over now? Returns 1; 0 with *ret_again lowered; -1, as has_room does. */
static int may_hand_over(struct device *device, int64_t now, int64_t *ret_again)
{
    int room = has_room(device, now);
    if (room == 0)
        look_again(now + ROOM_LOOK_MS, ret_again);
    return room;
}

/* Can this machine not have another file just now? The client still waits, and the listener does
 * not tell of it again. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Returns 1 if there may be more clients, 0 if there are none, -1 as may_hand_over does. */
static int accept_clients(struct device *device, unsigned int number, int64_t now,
                          int64_t *ret_again)
{
    struct backend *backend = &device->backend;
    struct pace *pace = &device->worker.clients;
    while (pace_has(pace, CLIENTS_A_MS, now)) {
        uint32_t type;
        int may = may_hand_over(device, now, ret_again);
        if (may <= 0)
            return may < 0 ? -1 : 1;
        int fd = backend->ops->accept(backend, number, &type);
        if (is_shortage(-fd)) {
            look_again(now + SHORTAGE_LOOK_MS, ret_again);
            return 1;
        }
        if (fd < 0 && fd != -ECONNREFUSED)
            return 0;
        pace_count(pace, now);
        if (fd < 0) {
            log_debug(device->name, "a client was turned away");
        } else {
            log_debug(device->name, "a client has connected");
            hand_over_client(device, type, fd);
        }
    }
    look_again(now + 1, ret_again);
    return 1;
}

/* The rate is limited, since a guest makes as many connections as it likes. */
static void log_connection(struct device *device, uint32_t port, int fd)
{
    char line[WORDS_SIZE];
    snprintf(line, sizeof(line), "connection to port %u: %s", port,
             fd < 0 ? words_error(-fd) : "made");
    supervision_log(device, LOG_LEVEL_DEBUG, line);
}

/* Returns false if the worker does not take it. */
static bool answer(struct device *device, const struct connector_request *request)
{
    int fd = request->result;
    if (request->incarnation != device->worker.incarnation) {
        if (fd >= 0)
            close(fd); /* it was for a worker that is dead */
        return true;
    }
    log_connection(device, request->port, fd);
    uint32_t type =
        request->type == SOCK_STREAM ? VIRTIO_VSOCK_TYPE_STREAM : VIRTIO_VSOCK_TYPE_SEQPACKET;
    int result = hand_over(device, request->tag, type, fd);
    if (fd >= 0)
        close(fd);
    return result != -EAGAIN;
}

/* Returns 0, or -1 if the worker does not take the answers. */
static int answer_all(struct device *device, int64_t now, int64_t *ret_again)
{
    struct connector *connector = &device->backend.connector;
    struct connector_request request;
    while (connector_answered(connector)) {
        int may = may_hand_over(device, now, ret_again);
        if (may <= 0)
            return may;
        (void)connector_take(connector, &request);
        if (request.incarnation == device->worker.incarnation)
            device->worker.connects--;
        if (!answer(device, &request))
            return -1;
    }
    return 0;
}

const char *connections_serve(struct device *device, int64_t now_ms, int64_t *ret_again)
{
    const struct backend *backend = &device->backend;
    int result = backend->ops->address ? answer_all(device, now_ms, ret_again) : 0;
    bool waits = device->worker.clients_wait;
    device->worker.clients_wait = false;
    for (unsigned int i = 0; waits && result >= 0 && i < BACKEND_LISTENERS; i++) {
        if (backend_listener(backend, i) < 0)
            continue;
        result = accept_clients(device, i, now_ms, ret_again);
        device->worker.clients_wait |= result == 1;
    }
    return result < 0 ? "it does not take the connections that it is handed" : NULL;
}

void connections_resume(struct device *device)
{
    int client = device->backend.client;
    if (client >= 0)
        hand_over_client(device, 0, client);
}

const char *connections_make(struct device *device, const struct message_connect *wanted)
{
    struct backend *backend = &device->backend;
    struct worker *worker = &device->worker;
    struct connector_request request = {
        .tag = wanted->request,
        .port = wanted->port,
        .incarnation = worker->incarnation,
    };
    if (!backend->ops->address || worker->phase != WORKER_READY)
        return "it asks for a connection that it can't have";
    if (worker->connects == CONNECTIONS_AT_ONCE)
        return "it asks for more connections at once than it may";
    request.result = backend->ops->address(backend, wanted->port, wanted->type, &request.address);
    if (request.result >= 0) {
        request.type = request.result;
        request.result = connector_ask(&backend->connector, &request);
    }
    if (request.result == 0)
        worker->connects++;
    else if (!answer(device, &request))
        return "it does not take the answers to what it asks for";
    return NULL;
}
