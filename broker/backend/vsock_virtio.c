/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device served in user space. Its ports are Unix sockets of this machine, in the scheme of
 * Firecracker. Clients connect to `socket_path` P and send "CONNECT port\n"; a guest that connects
 * to port N is connected to P_N. For seqpacket, clients connect to P_seqpacket instead, and P_N is
 * a seqpacket socket.
 *
 * The connector has the directory of P, read-only, since servers may start later. The guest chooses
 * only the digits in a name in that directory.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "broker/backend/backend.h"
#include "broker/backend/socket_path.h"
#include "broker/config/names.h"
#include "broker/connector_process.h"
#include "broker/unix_socket.h"

#define SUFFIX_MAX sizeof("_4294967295") /* with the terminating 0 */
#define DIRECTORY_MAX sizeof(CONNECTOR_DIRECTORY "/")
#define SEQPACKET_SUFFIX "_seqpacket"

/* The configuration has checked that the name of every socket fits into an address, here and in the
 * connector's root. */
_Static_assert(CONFIG_VSOCK_PATH_MAX + SUFFIX_MAX + DIRECTORY_MAX <=
                   sizeof(((struct sockaddr_un *)0)->sun_path),
               "each of its sockets has a name");
_Static_assert(CONFIG_VSOCK_PATH_MAX < sizeof(((struct opened_vsock *)0)->name),
               "the last part of a path is shorter");

/* --- Before lock-down ------------------------------------------------------------------------ */

static int listen_all(struct backend *backend, const struct directory *directory,
                      struct failure *failure)
{
    const char *name = backend->learned.vsock.name, *path = backend->config->socket_path;
    char seqpacket[sizeof(backend->learned.vsock.name) + sizeof(SEQPACKET_SUFFIX)];
    snprintf(seqpacket, sizeof(seqpacket), "%s" SEQPACKET_SUFFIX, name);
    const struct {
        const char *name;
        int type;
    } sockets[BACKEND_LISTENERS] = {
        {name, SOCK_STREAM},
        {seqpacket, SOCK_SEQPACKET},
    };
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++) {
        int fd = socket_path_listen(directory, sockets[i].name, path, sockets[i].type,
                                    UNIX_MODE_OF_UMASK, failure);
        if (fd < 0)
            return fd;
        backend->files[OPENED_LISTENER_FIRST + i] = fd;
    }
    return 0;
}

static int vsock_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const char *path = backend->config->socket_path;
    struct opened_vsock *learned = &backend->learned.vsock;
    struct directory directory;
    *ret_key = CONFIG_KEY_SOCKET_PATH;
    int result = directory_find(path, false, "socket_path", &directory, failure);
    if (result < 0)
        return result;
    backend->files[OPENED_DIRECTORY] = directory.fd;
    backend->directory_id = directory.id;
    snprintf(learned->name, sizeof(learned->name), "%.*s", (int)CONFIG_VSOCK_PATH_MAX,
             directory.name);
    return listen_all(backend, &directory, failure);
}

static uint32_t vsock_files(const struct device_config *config)
{
    (void)config;
    return backend_files_from(OPENED_LISTENER_FIRST, BACKEND_LISTENERS) | 1u << OPENED_DIRECTORY;
}

static bool vsock_learned_usable(const union opened_part *learned)
{
    return backend_text_ends(learned->vsock.name, sizeof(learned->vsock.name));
}

/* --- While it runs --------------------------------------------------------------------------- */

static int vsock_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    start->of_kind.vsock = (struct start_vsock){
        .guest_cid = backend->config->guest_cid,
        .connections = backend->config->connections,
    };
    *ret = (struct backend_fds){.count = 0};
    return 0;
}

static int vsock_accept(struct backend *backend, unsigned int number, uint32_t *ret_type)
{
    static const uint32_t types[BACKEND_LISTENERS] = {VIRTIO_VSOCK_TYPE_STREAM,
                                                      VIRTIO_VSOCK_TYPE_SEQPACKET};
    *ret_type = types[number];
    int fd = unix_accept(backend_listener(backend, number));
    if (fd >= 0 && types[number] == VIRTIO_VSOCK_TYPE_SEQPACKET)
        connector_take_messages(fd);
    return fd;
}

static int vsock_address(const struct backend *backend, uint32_t port, uint32_t type,
                         struct sockaddr_un *ret)
{
    if (type != VIRTIO_VSOCK_TYPE_STREAM && type != VIRTIO_VSOCK_TYPE_SEQPACKET)
        return -EPROTOTYPE;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int length = snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s_%u", CONNECTOR_DIRECTORY,
                          backend->learned.vsock.name, port);
    if (length >= (int)sizeof(ret->sun_path))
        return -ENAMETOOLONG; /* vsock_open accepts no name that is so long */
    return type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
}

const struct backend_ops backend_vsock_virtio = {
    .open = vsock_open,
    .files = vsock_files,
    .learned_usable = vsock_learned_usable,
    .give = vsock_give,
    .accept = vsock_accept,
    .address = vsock_address,
};
