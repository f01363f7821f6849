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

static uint32_t files_of(const struct backend *backend)
{
    return backend->ops->files ? backend->ops->files(backend->config) : 0;
}

int opened_box(struct backend *backend, struct failure *failure)
{
    uint32_t boxed = backend->ops->boxed ? backend->ops->boxed(backend->config) : 0;
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if ((boxed & 1u << file) == 0)
            continue;
        int made = box_make(backend->files[file]);
        if (made < 0)
            return failure_set(failure, made, "can't keep its files open: %s", strerror(-made));
        backend->files[file] = made;
    }
    return 0;
}

size_t opened_pack(const struct backend *backend, struct message_opened *ret, int *ret_fds)
{
    const struct message_header header = ret->header;
    size_t count = 0;
    memset(ret, 0, sizeof(*ret)); /* with the padding: it may lie in a page */
    ret->header = header;
    ret->magic = OPENED_MAGIC;
    ret->version = OPENED_VERSION;
    ret->dm_id = backend->config->id;
    ret->digest = backend->config->digest;
    ret->kind = (uint32_t)backend->config->kind;
    ret->file_id[0] = backend->file_id.device;
    ret->file_id[1] = backend->file_id.inode;
    ret->directory_id[0] = backend->directory_id.device;
    ret->directory_id[1] = backend->directory_id.inode;
    snprintf(ret->socket_path, sizeof(ret->socket_path), "%.150s", backend->socket_path);
    ret->learned = backend->learned;
    memcpy(ret->words, backend->words, sizeof(ret->words));
    for (size_t file = 0; file < OPENED_FILES; file++) {
        if (backend->files[file] < 0)
            continue;
        ret->files |= 1u << file;
        ret_fds[count++] = backend->files[file];
    }
    return count;
}

static bool is_of(const struct message_opened *message, const struct backend *backend,
                  size_t fd_count)
{
    const struct backend_ops *ops = backend->ops;
    return message->magic == OPENED_MAGIC && message->version == OPENED_VERSION &&
           message->error == 0 && message->dm_id == backend->config->id &&
           message->digest == backend->config->digest &&
           message->kind == (uint32_t)backend->config->kind &&
           message->files == files_of(backend) &&
           (size_t)__builtin_popcount(message->files) == fd_count &&
           backend_text_ends(message->socket_path, sizeof(message->socket_path)) &&
           backend_text_ends(message->words, sizeof(message->words)) &&
           (!ops->learned_usable || ops->learned_usable(&message->learned));
}

void opened_identify(struct backend *backend, const struct message_opened *message)
{
    backend->file_id = (struct file_id){message->file_id[0], message->file_id[1]};
    backend->directory_id = (struct file_id){message->directory_id[0], message->directory_id[1]};
    snprintf(backend->socket_path, sizeof(backend->socket_path), "%.*s",
             (int)sizeof(message->socket_path) - 1, message->socket_path);
}

int opened_unpack(struct backend *backend, const struct message_opened *message, const int *fds,
                  size_t fd_count)
{
    if (!is_of(message, backend, fd_count))
        return -EPROTO;
    opened_identify(backend, message);
    backend->learned = message->learned;
    memcpy(backend->words, message->words, sizeof(backend->words));
    for (size_t file = 0, next = 0; file < OPENED_FILES; file++) {
        if ((message->files & 1u << file) != 0)
            backend->files[file] = fds[next++];
    }
    return 0;
}
