/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/connector_process.h"
#include "common/message.h"
#include "common/worker_fds.h"

void connector_take_messages(int fd)
{
    const int size =
        CONNECTION_MESSAGE_MAX; /* the kernel doubles it, for what comes with the bytes */
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Never waits for the server: a server whose backlog is full refuses (EAGAIN). */
static int connect_to(const struct message_connect_to *to)
{
    int fd = socket(AF_UNIX, (int)to->type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (to->type == SOCK_SEQPACKET)
        connector_take_messages(fd);
    if (connect(fd, (const struct sockaddr *)&to->address, sizeof(to->address)) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static bool is_type(uint32_t type)
{
    return type == SOCK_STREAM || type == SOCK_SEQPACKET;
}

bool connector_serve(int socket)
{
    for (;;) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0; /* these messages carry none */
        int result = message_receive(socket, ROLE_BROKER, &message, fds, &fd_count);
        if (result == -EAGAIN)
            return true;
        if (result != 1 || message.header.type != MSG_CONNECT_TO ||
            !is_type(message.connect_to.type))
            return false;
        int fd = connect_to(&message.connect_to);
        union message answer = {
            .connected =
                {
                    .header = {.type = MSG_CONNECTED, .device = MESSAGE_NO_DEVICE},
                    .error = fd < 0 ? -fd : 0,
                },
        };
        /* The broker never asks for more than the number of answers that fit into the socket. */
        result = message_send(socket, &answer, &fd, fd < 0 ? 0 : 1);
        if (fd >= 0)
            close(fd);
        if (result < 0)
            return false;
    }
}
