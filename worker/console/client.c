/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/console/client.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "worker/loop.h"

static struct {
    int fd;
    bool reads;
} client;

int console_client_init(bool expected)
{
    client.fd = -1;
    client.reads = expected;
    return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -errno : 0;
}

static void drop(void)
{
    client.reads = false;
    if (client.fd < 0)
        return;
    loop_forget_connection(client.fd);
    close(client.fd);
    client.fd = -1;
}

bool console_client_take(const union message *message, const int *fds, size_t fd_count)
{
    if (message->header.type != MSG_CONNECTION || fd_count != 1)
        return false;
    drop();
    if (loop_watch_connection(fds[0], 0, true) < 0) {
        close(fds[0]);
        return true;
    }
    client.fd = fds[0];
    client.reads = true;
    return true;
}

int console_client_fd(void)
{
    return client.fd;
}

bool console_client_reads(void)
{
    return client.reads;
}

void console_client_left(void)
{
    client.reads = false;
}
