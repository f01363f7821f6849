/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/connector.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/message.h"

_Static_assert((CONNECTOR_REQUESTS & (CONNECTOR_REQUESTS - 1)) == 0, "counts wrap");

static struct connector_request *request_at(struct connector *connector, unsigned int number)
{
    return &connector->ring[number % CONNECTOR_REQUESTS];
}

int connector_ask(struct connector *connector, const struct connector_request *request)
{
    union message message = {
        .connect_to =
            {
                .header = {.type = MSG_CONNECT_TO, .device = MESSAGE_NO_DEVICE},
                .address = request->address,
                .type = (uint32_t)request->type,
            },
    };
    if (connector->socket < 0 || connector->asked - connector->taken == CONNECTOR_REQUESTS ||
        message_send(connector->socket, &message, NULL, 0) < 0)
        return -EBUSY;
    *request_at(connector, connector->asked++) = *request;
    return 0;
}

static void lose(struct connector *connector)
{
    close(connector->socket); /* this also removes it from epoll */
    connector->socket = -1;
    while (connector->done != connector->asked)
        request_at(connector, connector->done++)->result = -ECONNABORTED;
}

/* Returns false for a message that answers no request. Nobody trusts the connector: a negative
 * error of its would become the number of a file of this process. */
static bool take_answer(struct connector *connector, const struct message_connected *message,
                        int fd)
{
    bool answer = fd >= 0 ? message->error == 0 : message->error > 0;
    if (connector->done == connector->asked || !answer) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    request_at(connector, connector->done++)->result = fd >= 0 ? fd : -message->error;
    return true;
}

bool connector_receive(struct connector *connector)
{
    for (;;) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;
        int result = message_receive(connector->socket, ROLE_CONNECTOR, &message, fds, &fd_count);
        if (result == -EAGAIN)
            return true;
        if (result == 1 && take_answer(connector, &message.connected, fd_count > 0 ? fds[0] : -1))
            continue;
        lose(connector);
        return false;
    }
}

bool connector_answered(const struct connector *connector)
{
    return connector->taken != connector->done;
}

bool connector_take(struct connector *connector, struct connector_request *ret)
{
    if (!connector_answered(connector))
        return false;
    *ret = *request_at(connector, connector->taken++);
    return true;
}
