/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console whose port is a Unix stream socket, for one client at a time. The worker has the
 * client's connection, and the broker has a copy. When a worker dies, its successor gets the copy,
 * so the client notices nothing. Nobody needs to tell the broker that a client has gone: the broker
 * asks the kernel when the next client comes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/socket_path.h"
#include "broker/unix_socket.h"

#define SOCKET_MODE 0600 /* as for a terminal: access to a console may give a login */

static int socket_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const char *path = backend->config->socket_path;
    *ret_key = CONFIG_KEY_SOCKET_PATH;
    struct directory directory;
    int result = directory_find(path, false, "socket_path", &directory, failure);
    if (result < 0)
        return result;
    backend->directory_id = directory.id;
    int fd =
        socket_path_listen(&directory, directory.name, path, SOCK_STREAM, SOCKET_MODE, failure);
    directory_close(&directory);
    if (fd < 0)
        return fd;
    backend->files[OPENED_LISTENER_FIRST] = fd;
    snprintf(backend->words, sizeof(backend->words), "%s", path);
    return 0;
}

static uint32_t socket_files(const struct device_config *config)
{
    (void)config;
    return 1u << OPENED_LISTENER_FIRST;
}

static int socket_give(struct backend *backend, struct message_start *start,
                       struct backend_fds *ret)
{
    start->of_kind.console = (struct start_console){.ports = 1, .client = backend->client >= 0};
    *ret = (struct backend_fds){.count = 0};
    return 0;
}

/* A client that has only shut down its output has not gone: it may still read. */
static bool has_gone(int client)
{
    struct pollfd state = {.fd = client};
    return poll(&state, 1, 0) == 1;
}

static int socket_accept(struct backend *backend, unsigned int number, uint32_t *ret_type)
{
    int fd = unix_accept(backend_listener(backend, number));
    if (fd < 0)
        return fd;
    if (backend->client >= 0 && !has_gone(backend->client)) {
        close(fd);
        return -ECONNREFUSED;
    }
    if (backend->client >= 0)
        close(backend->client);
    backend->client = fd;
    *ret_type = 0;
    return fd;
}

const struct backend_ops backend_console_socket = {
    .keeps_client = true,
    .open = socket_open,
    .files = socket_files,
    .give = socket_give,
    .accept = socket_accept,
};
