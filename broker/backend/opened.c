/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/opened.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/box.h"

_Static_assert(OPENED_TAP_FIRST + TAP_QUEUES_MAX == OPENED_TAP_SOCKET, "one a queue");
_Static_assert(OPENED_PORT_FIRST + STATE_CONSOLE_PORTS == OPENED_LISTENER_FIRST, "one a port");
_Static_assert(OPENED_LISTENER_FIRST + BACKEND_LISTENERS == OPENED_DIRECTORY, "all of them");
_Static_assert(OPENED_FILES <= 32 && OPENED_FILES <= MESSAGE_FDS_MAX, "bits of `files`");
_Static_assert(OPENED_TEXT == FAILURE_SIZE, "a failure fits");

/* --- Into boxes ------------------------------------------------------------------------------ */

static int box(int *file)
{
    int made = box_make(*file);
    if (made < 0)
        return made;
    *file = made;
    return 0;
}

int opened_box(struct backend *backend, struct failure *failure)
{
    int result = backend->image >= 0 ? box(&backend->image) : 0;
    bool has_log = backend->console.start.files != 0;
    for (size_t i = 0; result == 0 && has_log && i < CONSOLE_LOG_FILES; i++)
        result = box(&backend->console.files[i]);
    return result < 0
               ? failure_set(failure, result, "can't keep its files open: %s", strerror(-result))
               : 0;
}

/* --- Out ------------------------------------------------------------------------------------ */

static size_t pack_files(const struct backend *backend, uint32_t *ret_files, int *ret_fds)
{
    int files[OPENED_FILES];
    size_t count = 0;
    for (size_t i = 0; i < OPENED_FILES; i++)
        files[i] = -1;
    files[OPENED_IMAGE] = backend->image;
    for (unsigned int q = 0; q < backend->tap.queue_count; q++)
        files[OPENED_TAP_FIRST + q] = backend->tap.queues[q];
    if (backend->tap.queue_count > 0)
        files[OPENED_TAP_SOCKET] = backend->tap.socket;
    const struct start_console *console = &backend->console.start;
    unsigned int console_files = console->files != 0 ? CONSOLE_LOG_FILES : console->ports;
    for (unsigned int i = 0; i < console_files; i++)
        files[OPENED_PORT_FIRST + i] = backend->console.files[i];
    for (unsigned int i = 0; i < BACKEND_LISTENERS; i++)
        files[OPENED_LISTENER_FIRST + i] = backend->listeners[i];
    files[OPENED_DIRECTORY] = backend->directory;

    *ret_files = 0;
    for (size_t i = 0; i < OPENED_FILES; i++) {
        if (files[i] < 0)
            continue;
        *ret_files |= 1u << i;
        ret_fds[count++] = files[i];
    }
    return count;
}

size_t opened_pack(const struct backend *backend, const struct device_config *config,
                   struct message_opened *ret, int *ret_fds)
{
    const struct vhost_user_terms *terms = &backend->daemon.terms;
    const struct message_header header = ret->header;
    memset(ret, 0, sizeof(*ret)); /* padding included: it may lie in a page */
    ret->header = header;
    ret->magic = OPENED_MAGIC;
    ret->version = OPENED_VERSION;
    ret->dm_id = config->id;
    ret->digest = config->digest;
    ret->guest_cid = backend->guest_cid;
    ret->rate_limit = backend->rate_limit;
    ret->tap_offloads = backend->tap.offloads;
    ret->tap_mtu = backend->tap.mtu;
    ret->tap_index = (uint32_t)backend->tap.index;
    ret->file_id[0] = backend->file_id.device;
    ret->file_id[1] = backend->file_id.inode;
    ret->directory_id[0] = backend->directory_id.device;
    ret->directory_id[1] = backend->directory_id.inode;
    memcpy(ret->tap_name, backend->tap.name, sizeof(ret->tap_name));
    ret->block = backend->block;
    ret->net = backend->net;
    ret->console = backend->console.start;
    memcpy(ret->directory_in_root, backend->directory_in_root, sizeof(ret->directory_in_root));
    memcpy(ret->socket_name, backend->socket_name, sizeof(ret->socket_name));
    ret->daemon.address = terms->address;
    ret->daemon.queues = terms->queues;
    ret->daemon.queue_size = terms->queue_size;
    ret->daemon.config_size = terms->config_size;
    ret->daemon.config_needed = terms->config_needed;
    ret->daemon.space_size = backend->config_size;
    memcpy(ret->daemon.space, backend->config, sizeof(ret->daemon.space));
    snprintf(ret->daemon.socket_path, sizeof(ret->daemon.socket_path), "%.150s",
             backend->socket_path);
    memcpy(ret->words, backend->words, sizeof(ret->words));
    return pack_files(backend, &ret->files, ret_fds);
}

/* --- In ------------------------------------------------------------------------------------- */

#define LISTENER_FILES (((1u << BACKEND_LISTENERS) - 1) << OPENED_LISTENER_FIRST)
#define SOCKET_DIRECTORY (1u << OPENED_DIRECTORY)

/* The first `count` files from `first` on. */
static uint32_t files_from(enum opened_file first, uint32_t count)
{
    return ((1u << count) - 1) << first;
}

uint32_t opened_files(const struct device_config *config)
{
    uint32_t pairs = config->queues > 0 ? config->queues : 1;
    switch (config->kind) {
    case DEVICE_BLOCK_VIRTIO:
        return 1u << OPENED_IMAGE;
    case DEVICE_NET_VIRTIO:
        return files_from(OPENED_TAP_FIRST, pairs) | 1u << OPENED_TAP_SOCKET;
    case DEVICE_NET_VHOST:
        return files_from(OPENED_TAP_FIRST, 1) | 1u << OPENED_TAP_SOCKET;
    case DEVICE_CONSOLE_VIRTIO:
        return files_from(OPENED_PORT_FIRST, config->log_path ? CONSOLE_LOG_FILES : config->ports);
    case DEVICE_CONSOLE_SOCKET:
        return 1u << OPENED_LISTENER_FIRST;
    case DEVICE_VSOCK_VIRTIO:
        return LISTENER_FILES | SOCKET_DIRECTORY;
    case DEVICE_VSOCK_VHOST_USER:
    case DEVICE_FS_VHOST_USER:
    case DEVICE_OTHER_VHOST_USER:
        return SOCKET_DIRECTORY;
    case DEVICE_RNG_VIRTIO:
    case DEVICE_VSOCK_VHOST:
    case DEVICE_KINDS:
        return 0;
    }
    return 0;
}

static bool ends(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

static bool is_of(const struct message_opened *message, const struct device_config *config,
                  size_t fd_count)
{
    return message->magic == OPENED_MAGIC && message->version == OPENED_VERSION &&
           message->error == 0 && message->dm_id == config->id &&
           message->digest == config->digest && message->files == opened_files(config) &&
           (size_t)__builtin_popcount(message->files) == fd_count &&
           message->console.ports <= STATE_CONSOLE_PORTS &&
           ends(message->tap_name, sizeof(message->tap_name)) &&
           ends(message->directory_in_root, sizeof(message->directory_in_root)) &&
           ends(message->socket_name, sizeof(message->socket_name)) &&
           ends(message->daemon.socket_path, sizeof(message->daemon.socket_path)) &&
           ends(message->words, sizeof(message->words)) &&
           ends(message->daemon.address.sun_path, sizeof(message->daemon.address.sun_path)) &&
           message->daemon.space_size <= VHOST_USER_CONFIG_MAX;
}

static void take_file(struct backend *backend, size_t item, int fd)
{
    if (item == OPENED_IMAGE)
        backend->image = fd;
    else if (item < OPENED_TAP_SOCKET)
        backend->tap.queues[backend->tap.queue_count++] = fd;
    else if (item == OPENED_TAP_SOCKET)
        backend->tap.socket = fd;
    else if (item < OPENED_LISTENER_FIRST)
        backend->console.files[item - OPENED_PORT_FIRST] = fd;
    else if (item < OPENED_DIRECTORY)
        backend->listeners[item - OPENED_LISTENER_FIRST] = fd;
    else
        backend->directory = fd;
}

static void take_daemon(struct backend *backend, const struct message_opened *message)
{
    struct vhost_user_terms *terms = &backend->daemon.terms;
    vhost_user_init(&backend->daemon);
    terms->address = message->daemon.address;
    terms->queues = message->daemon.queues;
    terms->queue_size = (uint16_t)message->daemon.queue_size;
    terms->config_size = message->daemon.config_size;
    terms->config_needed = message->daemon.config_needed != 0;
    backend->config_size = message->daemon.space_size;
    memcpy(backend->config, message->daemon.space, sizeof(backend->config));
}

void opened_identify(struct backend *backend, const struct message_opened *message)
{
    backend->file_id = (struct file_id){message->file_id[0], message->file_id[1]};
    backend->directory_id = (struct file_id){message->directory_id[0], message->directory_id[1]};
    snprintf(backend->socket_path, sizeof(backend->socket_path), "%.*s",
             (int)sizeof(message->daemon.socket_path) - 1, message->daemon.socket_path);
}

int opened_unpack(struct backend *backend, const struct device_config *config,
                  const struct message_opened *message, const int *fds, size_t fd_count)
{
    if (!is_of(message, config, fd_count))
        return -EPROTO;
    backend->guest_cid = message->guest_cid;
    backend->rate_limit = message->rate_limit;
    backend->tap.offloads = message->tap_offloads;
    backend->tap.mtu = message->tap_mtu;
    backend->tap.index = (int)message->tap_index;
    opened_identify(backend, message);
    memcpy(backend->tap.name, message->tap_name, sizeof(backend->tap.name));
    backend->block = message->block;
    backend->net = message->net;
    backend->console.start = message->console;
    memcpy(backend->directory_in_root, message->directory_in_root,
           sizeof(backend->directory_in_root));
    memcpy(backend->socket_name, message->socket_name, sizeof(backend->socket_name));
    memcpy(backend->words, message->words, sizeof(backend->words));
    take_daemon(backend, message);
    for (size_t item = 0, next = 0; item < OPENED_FILES; item++) {
        if ((message->files & 1u << item) != 0)
            take_file(backend, item, fds[next++]);
    }
    return 0;
}
