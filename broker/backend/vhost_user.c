/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that a vhost-user daemon serves: vsock, fs, and those of any other type. The daemon may
 * come, go and come back at any time; each worker gets a connection of its own, which
 * vhost_user_step makes.
 *
 * The daemon's socket is found by its directory, since a daemon that starts again makes it anew.
 */
#include <errno.h>
#include <limits.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_vsock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/config/names.h"
#include "broker/initramfs.h"

#define VSOCK_DAEMON_QUEUES 2u /* rx and tx: the event queue is served by the worker */

/* --- The socket ------------------------------------------------------------------------------ */

static bool is_socket(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* The socket itself, or what stands before "Vsock0.sock", "Fs1.sock" in its name. */
static int socket_path(const struct device_config *config, char ret[PATH_MAX])
{
    const char *given = config->socket_path;
    if (!config_daemon_named(given) && !is_socket(given))
        return config_daemon_socket(given, config->type_name, config->id, ret);
    snprintf(ret, PATH_MAX, "%s", given);
    return 0;
}

static int find_socket(struct backend *backend, const struct device_config *config,
                       struct failure *failure)
{
    struct sockaddr_un *address = &backend->daemon.terms.address;
    struct directory directory;
    if (socket_path(config, backend->socket_path) < 0)
        return failure_set(failure, -ENAMETOOLONG, "socket_path is too long");
    int result = directory_find(backend->socket_path, false, "socket_path", &directory, failure);
    const char *slash = strrchr(backend->socket_path, '/');
    if (slash && (result == -ENOENT || result == -ENOTDIR))
        return failure_set(
            failure, result, "\"%.*s\": %s: make the directory of the daemon's socket first",
            (int)(slash - backend->socket_path), backend->socket_path, strerror(-result));
    if (result < 0)
        return result;
    backend->directory = directory.fd;
    backend->directory_id = directory.id;

    snprintf(backend->directory_in_root, sizeof(backend->directory_in_root), CONNECTOR_DIRECTORY);
    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s",
                          backend->directory_in_root, directory.name);
    if (length >= (int)sizeof(address->sun_path))
        return failure_set(
            failure, -ENAMETOOLONG, "the socket's name \"%s\" is too long: at most %zu bytes",
            directory.name, sizeof(address->sun_path) - strlen(backend->directory_in_root) - 2);
    return 0;
}

/* --- What the daemon is asked for, and what the file says ---------------------------------------
 */

static void use_config(struct backend *backend, const void *config, uint32_t size)
{
    memcpy(backend->config, config, size);
    backend->config_size = size;
}

static int open_daemon(struct backend *backend, const struct device_config *config, uint32_t queues,
                       uint32_t config_size, enum config_key *ret_key, struct failure *failure)
{
    *ret_key = CONFIG_KEY_SOCKET_PATH;
    vhost_user_init(&backend->daemon);
    struct vhost_user_terms *terms = &backend->daemon.terms;
    terms->queues = queues;
    terms->queue_size = (uint16_t)(config->queue_size > 0 ? config->queue_size
                                                          : device_kinds[config->kind].queue_size);
    terms->config_size = config_size;
    terms->config_needed = config_size > 0 && backend->config_size == 0;
    return find_socket(backend, config, failure);
}

static int vsock_open(struct backend *backend, const struct device_config *config,
                      enum config_key *ret_key, struct failure *failure)
{
    const struct virtio_vsock_config space = {.guest_cid = config->guest_cid};
    if (config->guest_cid > 0)
        use_config(backend, &space, sizeof(space));
    return open_daemon(backend, config, VSOCK_DAEMON_QUEUES, sizeof(space), ret_key, failure);
}

/* §5.11.2: a high-priority queue, then the request queues. */
static uint32_t fs_queues(const struct device_config *config)
{
    return 1 + (config->queues > 0 ? config->queues : 1);
}

/* pivot_root(2) fails there, and with it what virtiofsd does unless it is told otherwise. */
static void tell_of_sandbox(struct backend *backend)
{
    if (root_is_initramfs("") && !is_socket(backend->socket_path))
        snprintf(
            backend->words, sizeof(backend->words),
            "there is no virtiofsd at %.150s yet: in a VM whose root is an initramfs it starts "
            "with --sandbox=chroot only",
            backend->socket_path);
}

static int fs_open(struct backend *backend, const struct device_config *config,
                   enum config_key *ret_key, struct failure *failure)
{
    struct virtio_fs_config space = {.num_request_queues = fs_queues(config) - 1};
    if (config->tag) {
        memcpy(space.tag, config->tag, strlen(config->tag));
        use_config(backend, &space, sizeof(space));
    }
    int result = open_daemon(backend, config, fs_queues(config), sizeof(space), ret_key, failure);
    if (result == 0)
        tell_of_sandbox(backend);
    return result;
}

static uint32_t other_queues(const struct device_config *config)
{
    return config->queues;
}

/* What the file says of the configuration space counts; else the daemon is asked. */
static int other_open(struct backend *backend, const struct device_config *config,
                      enum config_key *ret_key, struct failure *failure)
{
    uint32_t asked = config->config_size;
    if (config->config_bytes > 0) {
        use_config(backend, config->config, config->config_bytes);
        asked = 0;
    }
    return open_daemon(backend, config, config->queues, asked, ret_key, failure);
}

/* --- Each worker ------------------------------------------------------------------------------ */

/* One line for each way in which it fails, not one for each attempt. */
static void tell(struct backend *backend, const struct failure *failed, struct backend_wait *ret)
{
    if (strcmp(failed->text, backend->said.text) == 0)
        return;
    backend->said = *failed;
    failure_set(&ret->news, 0, "waits for the daemon at %.150s: %s", backend->socket_path,
                failed->text);
    backend->trouble = ret->news;
}

static int prepare(struct backend *backend, const struct backend_memory *memory, int64_t now,
                   struct backend_wait *ret)
{
    struct vhost_user *daemon = &backend->daemon;
    struct failure failed;
    daemon->connector = &backend->connector;
    daemon->terms.memory = memory->dm;
    daemon->terms.guest_addr = memory->guest_addr;
    daemon->terms.memory_size = memory->size;

    *ret = (struct backend_wait){.fd = -1};
    int result = vhost_user_step(daemon, now, &failed);
    if (result == 0) {
        backend->said.text[0] = '\0';
        backend->trouble.text[0] = '\0';
        return 0;
    }
    if (result == -ECONNREFUSED)
        tell(backend, &failed, ret);
    ret->fd = daemon->fd;
    ret->until = daemon->until;
    return -EINPROGRESS;
}

/* In the place of a file that this daemon has no use for. */
static int placeholder(void)
{
    return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static int give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    struct vhost_user *daemon = &backend->daemon;
    struct start_vhost_user given = {
        .features = daemon->features,
        .protocol_features = daemon->protocol_features,
        .inflight = daemon->inflight,
        .config_size = backend->config_size,
    };
    memcpy(given.config, backend->config, sizeof(given.config));
    if (vhost_user_has(given.protocol_features, VHOST_USER_PROTOCOL_F_CONFIG)) {
        given.config_size = daemon->terms.config_size;
        memcpy(given.config, daemon->config, sizeof(given.config));
    }
    if (start->incarnation > 0 &&
        memcmp(given.config, backend->given.config, sizeof(given.config)) != 0)
        start->config_changed = 1;
    backend->given = given;
    start->vhost_user = given;

    bool has_inflight =
        vhost_user_has(given.protocol_features, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
    *ret = (struct backend_fds){.count = 4, .owned = true};
    int requests = daemon->requests;
    ret->fds[0] = vhost_user_take(daemon);
    ret->fds[1] = placeholder(); /* this one is the eventfd for ring errors */
    ret->fds[2] = requests >= 0 ? requests : placeholder();
    ret->fds[3] = has_inflight ? daemon->inflight_fd : placeholder();
    ret->kept = has_inflight ? 1u << 3 : 0;
    return 0;
}

const struct backend_ops backend_vsock_vhost_user = {
    .calls_without_worker = true,
    .open = vsock_open,
    .prepare = prepare,
    .give = give,
};

const struct backend_ops backend_fs_vhost_user = {
    .calls_without_worker = true,
    .open = fs_open,
    .queues = fs_queues,
    .prepare = prepare,
    .give = give,
};

const struct backend_ops backend_other_vhost_user = {
    .calls_without_worker = true,
    .open = other_open,
    .queues = other_queues,
    .prepare = prepare,
    .give = give,
};
