/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device served in user space: the sockets of this machine that stand for its ports, in the
 * scheme of Firecracker. `socket_path` P is where clients connect and say "CONNECT port\n"; a
 * guest that connects to port N is connected to P_N. For seqpacket, clients connect to
 * P_seqpacket instead, and P_N is a seqpacket socket.
 *
 * The connector has the directory of P at hand, read-only: servers may come later. The guest
 * chooses nothing but digits of a name in it.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "broker/backend/backend.h"
#include "broker/backend/unix_socket.h"
#include "broker/config/names.h"

#define SUFFIX_MAX sizeof("_4294967295") /* with the 0 */
#define DIRECTORY_MAX sizeof(CONNECTOR_DIRECTORY "/")
#define SEQPACKET_SUFFIX "_seqpacket"

/* The configuration has seen to it that every socket has a name that fits into an address, here and
 * in the connector's root. */
_Static_assert(CONFIG_VSOCK_PATH_MAX + SUFFIX_MAX + DIRECTORY_MAX <=
                   sizeof(((struct sockaddr_un *)0)->sun_path),
               "each of its sockets has a name");
_Static_assert(CONFIG_VSOCK_PATH_MAX < BACKEND_SOCKET_NAME_SIZE,
               "the last part of a path is shorter");

/* --- Before lock-down --------------------------------------------------------------------------
 */

static int listen_all(struct backend *backend, const struct directory *directory, const char *path,
                      struct failure *failure)
{
    char seqpacket[BACKEND_SOCKET_NAME_SIZE + sizeof(SEQPACKET_SUFFIX)];
    snprintf(seqpacket, sizeof(seqpacket), "%s" SEQPACKET_SUFFIX, backend->socket_name);
    const struct {
        const char *name;
        int type;
    } sockets[BACKEND_LISTENERS] = {
        {backend->socket_name, SOCK_STREAM},
        {seqpacket, SOCK_SEQPACKET},
    };
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        int fd = unix_listen(directory, sockets[i].name, path, sockets[i].type, 0, failure);
        if (fd < 0)
            return fd;
        backend->listeners[i] = fd;
    }
    return 0;
}

static int vsock_open(struct backend *backend, const struct device_config *config,
                      enum config_key *ret_key, struct failure *failure)
{
    struct directory directory;
    *ret_key = CONFIG_KEY_SOCKET_PATH;
    int result = directory_find(config->socket_path, false, "socket_path", &directory, failure);
    if (result < 0)
        return result;
    backend->directory = directory.fd;
    backend->directory_id = directory.id;
    snprintf(backend->directory_in_root, sizeof(backend->directory_in_root), CONNECTOR_DIRECTORY);
    snprintf(backend->socket_name, sizeof(backend->socket_name), "%.*s", (int)CONFIG_VSOCK_PATH_MAX,
             directory.name);
    backend->guest_cid = config->guest_cid;
    return listen_all(backend, &directory, config->socket_path, failure);
}

/* --- While it runs ------------------------------------------------------------------------------
 */

static int vsock_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->vsock = (struct start_vsock){.guest_cid = backend->guest_cid};
    *ret = (struct backend_fds){.count = 0};
    return 0;
}

static int vsock_accept(struct backend *backend, unsigned int number, uint32_t *ret_type)
{
    static const uint32_t types[BACKEND_LISTENERS] = {VIRTIO_VSOCK_TYPE_STREAM,
                                                      VIRTIO_VSOCK_TYPE_SEQPACKET};
    *ret_type = types[number];
    return unix_accept(backend->listeners[number]);
}

static int vsock_address(const struct backend *backend, uint32_t port, uint32_t type,
                         struct sockaddr_un *ret)
{
    if (type != VIRTIO_VSOCK_TYPE_STREAM && type != VIRTIO_VSOCK_TYPE_SEQPACKET)
        return -EPROTOTYPE;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s_%u",
                          backend->directory_in_root, backend->socket_name, port);
    if (length >= (int)sizeof(ret->sun_path))
        return -ENAMETOOLONG; /* vsock_open lets none be so long */
    return type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
}

const struct backend_ops backend_vsock_virtio = {
    .open = vsock_open,
    .give = vsock_give,
    .accept = vsock_accept,
    .address = vsock_address,
};
