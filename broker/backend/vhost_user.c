/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that a vhost-user daemon serves: vsock, fs, and any other type. The daemon may start,
 * exit and start again at any time. Each worker gets its own connection, which vhost_user_step
 * makes.
 *
 * The daemon's socket is found through its directory, since a daemon that starts again makes a new
 * socket.
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

#define VSOCK_DAEMON_QUEUES 2u /* rx and tx: the worker serves the event queue */

/* --- The socket ------------------------------------------------------------------------------ */

static bool is_socket(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* The path of the socket: the key's value, or that value with "Vsock0.sock", "Fs1.sock"
 * appended. */
static int socket_path(const struct device_config *config, char ret[PATH_MAX])
{
    const char *given = config->socket_path;
    if (!config_daemon_named(given) && !is_socket(given))
        return config_daemon_socket(given, config->type_name, config->id, ret);
    snprintf(ret, PATH_MAX, "%s", given);
    return 0;
}

static int daemon_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    struct sockaddr_un *address = &backend->learned.daemon.address;
    struct directory directory;
    *ret_key = CONFIG_KEY_SOCKET_PATH;
    if (socket_path(backend->config, backend->socket_path) < 0)
        return failure_set(failure, -ENAMETOOLONG, "socket_path is too long");
    int result = directory_find(backend->socket_path, false, "socket_path", &directory, failure);
    const char *slash = strrchr(backend->socket_path, '/');
    if (slash && (result == -ENOENT || result == -ENOTDIR))
        return failure_set(
            failure, result, "\"%.*s\": %s: make the directory of the daemon's socket first",
            (int)(slash - backend->socket_path), backend->socket_path, strerror(-result));
    if (result < 0)
        return result;
    backend->files[OPENED_DIRECTORY] = directory.fd;
    backend->directory_id = directory.id;

    address->sun_family = AF_UNIX;
    int length = snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s",
                          CONNECTOR_DIRECTORY, directory.name);
    if (length >= (int)sizeof(address->sun_path))
        return failure_set(
            failure, -ENAMETOOLONG, "the socket's name \"%s\" is too long: at most %zu bytes",
            directory.name, sizeof(address->sun_path) - strlen(CONNECTOR_DIRECTORY) - 2);
    return 0;
}

/* --- What the daemon is asked for, and what the file says ------------------------------------ */

static void use_config(struct backend_daemon *daemon, const void *config, uint32_t size)
{
    memcpy(daemon->config, config, size);
    daemon->config_size = size;
}

/* In the broker: set the terms of the dialogue. `config_size`: of the configuration space. */
static int begin_dialogue(struct backend *backend, uint32_t queues, uint32_t config_size)
{
    const struct device_config *config = backend->config;
    vhost_user_init(&backend->daemon.dialogue);
    struct vhost_user_terms *terms = &backend->daemon.dialogue.terms;
    terms->address = backend->learned.daemon.address;
    terms->queues = queues;
    terms->queue_size = (uint16_t)(config->queue_size > 0 ? config->queue_size
                                                          : device_kinds[config->kind].queue_size);
    terms->config_size = config_size;
    terms->config_needed = config_size > 0 && backend->daemon.config_size == 0;
    return 0;
}

static int vsock_adopt(struct backend *backend)
{
    const struct virtio_vsock_config space = {.guest_cid = backend->config->guest_cid};
    if (backend->config->guest_cid > 0)
        use_config(&backend->daemon, &space, sizeof(space));
    return begin_dialogue(backend, VSOCK_DAEMON_QUEUES, sizeof(space));
}

/* §5.11.2: one high-priority queue, then the request queues. */
static uint32_t fs_queues(const struct device_config *config)
{
    return 1 + (config->queues > 0 ? config->queues : 1);
}

/* pivot_root(2) fails in an initramfs, and virtiofsd calls it unless an option tells it not to. */
static void tell_of_sandbox(struct backend *backend)
{
    if (root_is_initramfs("") && !is_socket(backend->socket_path))
        snprintf(
            backend->words, sizeof(backend->words),
            "there is no virtiofsd at %.150s yet: in a VM whose root is an initramfs it starts "
            "with --sandbox=chroot only",
            backend->socket_path);
}

static int fs_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    int result = daemon_open(backend, ret_key, failure);
    if (result == 0)
        tell_of_sandbox(backend);
    return result;
}

static int fs_adopt(struct backend *backend)
{
    const char *tag = backend->config->tag;
    struct virtio_fs_config space = {.num_request_queues = fs_queues(backend->config) - 1};
    if (tag) {
        memcpy(space.tag, tag, strlen(tag));
        use_config(&backend->daemon, &space, sizeof(space));
    }
    return begin_dialogue(backend, fs_queues(backend->config), sizeof(space));
}

static uint32_t other_queues(const struct device_config *config)
{
    return config->queues;
}

/* If the file gives the configuration space, that counts; otherwise the daemon is asked. */
static int other_adopt(struct backend *backend)
{
    const struct device_config *config = backend->config;
    if (config->config_bytes > 0)
        use_config(&backend->daemon, config->config, config->config_bytes);
    return begin_dialogue(backend, config->queues,
                          config->config_bytes > 0 ? 0 : config->config_size);
}

static uint32_t daemon_files(const struct device_config *config)
{
    (void)config;
    return 1u << OPENED_DIRECTORY;
}

static bool daemon_learned_usable(const union opened_part *learned)
{
    const struct sockaddr_un *address = &learned->daemon.address;
    return backend_text_ends(address->sun_path, sizeof(address->sun_path));
}

/* --- Each worker ------------------------------------------------------------------------------ */

/* Write one line for each kind of failure, not one for each attempt. */
static void tell(struct backend *backend, const struct failure *failed, struct backend_wait *ret)
{
    struct failure line;
    failure_set(&line, 0, "waits for the daemon at %.150s: %s", backend->socket_path, failed->text);
    if (strcmp(line.text, backend->trouble.text) == 0)
        return;
    ret->news = line;
    backend->trouble = line;
}

static int prepare(struct backend *backend, const struct backend_memory *memory, int64_t now,
                   struct backend_wait *ret)
{
    struct vhost_user *daemon = &backend->daemon.dialogue;
    struct failure failed;
    daemon->connector = &backend->connector;
    daemon->terms.memory = memory->dm;
    daemon->terms.guest_addr = memory->guest_addr;
    daemon->terms.memory_size = memory->size;

    *ret = (struct backend_wait){.fd = -1};
    int result = vhost_user_step(daemon, now, &failed);
    if (result == 0) {
        backend->trouble.text[0] = '\0';
        return 0;
    }
    if (result == -ECONNREFUSED)
        tell(backend, &failed, ret);
    ret->fd = daemon->fd;
    ret->until = daemon->until;
    return -EINPROGRESS;
}

/* Takes the place of a file that this daemon does not need. Returns a file, or -errno. */
static int placeholder(void)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Returns 0, or the -errno that stands in place of a file. Then none is left open. */
static int check_files(const struct backend_fds *fds)
{
    int result = 0;
    for (uint32_t i = 0; i < fds->count && result == 0; i++)
        result = fds->fds[i] < 0 ? fds->fds[i] : 0;
    for (uint32_t i = 0; i < fds->count && result < 0; i++) {
        if (fds->fds[i] >= 0 && (fds->kept & 1u << i) == 0)
            close(fds->fds[i]);
    }
    return result;
}

static int give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    struct vhost_user *daemon = &backend->daemon.dialogue;
    struct start_vhost_user given = {
        .features = daemon->features,
        .protocol_features = daemon->protocol_features,
        .inflight = daemon->inflight,
        .config_size = backend->daemon.config_size,
    };
    memcpy(given.config, backend->daemon.config, sizeof(given.config));
    if (vhost_user_has(given.protocol_features, VHOST_USER_PROTOCOL_F_CONFIG)) {
        given.config_size = daemon->terms.config_size;
        memcpy(given.config, daemon->config, sizeof(given.config));
    }
    if (start->incarnation > 0 &&
        memcmp(given.config, backend->daemon.shown, sizeof(given.config)) != 0)
        start->config_changed = 1;
    memcpy(backend->daemon.given, given.config, sizeof(given.config));
    start->of_kind.vhost_user = given;

    bool has_inflight =
        vhost_user_has(given.protocol_features, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD);
    *ret = (struct backend_fds){.count = 4, .owned = true};
    int requests = daemon->requests;
    ret->fds[0] = vhost_user_take(daemon);
    ret->fds[1] = placeholder(); /* this one is the eventfd for ring errors */
    ret->fds[2] = requests >= 0 ? requests : placeholder();
    ret->fds[3] = has_inflight ? daemon->inflight_fd : placeholder();
    ret->kept = has_inflight ? 1u << 3 : 0;
    return check_files(ret);
}

static void ready(struct backend *backend)
{
    memcpy(backend->daemon.shown, backend->daemon.given, sizeof(backend->daemon.shown));
}

const struct backend_ops backend_vsock_vhost_user = {
    .calls_without_worker = true,
    .adopt = vsock_adopt,
    .open = daemon_open,
    .files = daemon_files,
    .learned_usable = daemon_learned_usable,
    .prepare = prepare,
    .give = give,
    .ready = ready,
};

const struct backend_ops backend_fs_vhost_user = {
    .calls_without_worker = true,
    .adopt = fs_adopt,
    .open = fs_open,
    .files = daemon_files,
    .learned_usable = daemon_learned_usable,
    .queues = fs_queues,
    .prepare = prepare,
    .give = give,
    .ready = ready,
};

const struct backend_ops backend_other_vhost_user = {
    .calls_without_worker = true,
    .adopt = other_adopt,
    .open = daemon_open,
    .files = daemon_files,
    .learned_usable = daemon_learned_usable,
    .queues = other_queues,
    .prepare = prepare,
    .give = give,
    .ready = ready,
};
