/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/connections.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "broker/supervision.h"
#include "broker/words.h"

#define ACCEPTS_A_TURN 32

/* What a guest can have made: more than any well-behaved one needs, and little to do. */
static const struct rate guest_rate = {.burst = 256, .interval_ms = 1};

int connections_watch(const struct device *device, int epoll, uint32_t source)
{
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = source};
        int listener = device->backend.listeners[i];
        if (listener >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
            return -errno;
    }
    return 0;
}

/* `fd` (borrowed); -errno instead of it is the reason why there is none. */
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

/* A client that the worker has no room to be told of is turned away: it finds itself closed. */
bool connections_accept(struct device *device)
{
    struct backend *backend = &device->backend;
    bool more = false;
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        unsigned int left = backend->listeners[i] >= 0 ? ACCEPTS_A_TURN : 0;
        for (; left > 0; left--) {
            uint32_t type;
            int fd = backend->ops->accept(backend, i, &type);
            if (fd < 0 && fd != -ECONNREFUSED)
                break;
            if (fd < 0) {
                log_debug(device->name, "a client was turned away");
            } else {
                log_debug(device->name, "a client has connected");
                hand_over_client(device, type, fd);
            }
            more |= left == 1;
        }
    }
    return more;
}

void connections_resume(struct device *device)
{
    int client = device->backend.client;
    if (client >= 0)
        hand_over_client(device, 0, client);
}

/* A guest makes as many as it likes. */
static void log_connection(struct device *device, uint32_t port, int fd)
{
    char line[WORDS_SIZE];
    snprintf(line, sizeof(line), "connection to port %u: %s", port,
             fd < 0 ? words_error(-fd) : "made");
    log_limited(device, LOG_LEVEL_DEBUG, line);
}

const char *connections_make(struct device *device, const struct message_connect *wanted,
                             int64_t now_ms)
{
    struct backend *backend = &device->backend;
    uint64_t refused;
    if (!backend->ops->connect || device->worker.phase != WORKER_READY)
        return "it asks for a connection that it can't have";
    int fd = -EBUSY;
    if (rate_limit_take(&device->worker.connections, &guest_rate, now_ms, &refused))
        fd = backend->ops->connect(backend, wanted->port, wanted->type);
    log_connection(device, wanted->port, fd);
    int result = hand_over(device, wanted->request, wanted->type, fd);
    if (fd >= 0)
        close(fd);
    if (result == -EAGAIN)
        return "it does not take the connections that it asks for";
    return NULL;
}
