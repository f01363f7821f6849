/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/opening.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/backend/opened.h"
#include "broker/device.h"
#include "broker/log.h"
#include "broker/places.h"

#define KEEP_AGAIN_MS 1000 /* when to try again if the keeper takes no message just now */

uint32_t opening_next_wait(uint32_t wait_ms)
{
    if (wait_ms == 0)
        return OPENING_WAIT_FIRST_MS;
    return wait_ms >= OPENING_WAIT_MAX_MS / 2 ? OPENING_WAIT_MAX_MS : wait_ms * 2;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* --- To the keeper -------------------------------------------------------------------------- */

int opening_forget(uint32_t dm_id, int keeper)
{
    union message message = {0};
    message.header.type = MSG_KEEP;
    message.header.device = MESSAGE_NO_DEVICE;
    message.opened.dm_id = dm_id;
    message.opened.error = ESTALE;
    return message_send(keeper, &message, NULL, 0);
}

/* The directory is for the connector, which gets it from the keeper. */
static void close_directory(struct backend *backend)
{
    int *directory = &backend->files[OPENED_DIRECTORY];
    if (*directory >= 0)
        close(*directory);
    *directory = -1;
}

static void keep(struct device *device, int keeper, int64_t now)
{
    union message message = {0};
    int fds[OPENED_FILES];
    message.header.type = MSG_KEEP;
    message.header.device = device->index;
    size_t count = opened_pack(&device->backend, &message.opened, fds);
    if (message_send(keeper, &message, fds, count) < 0) {
        device->opening.when = now + KEEP_AGAIN_MS;
        return;
    }
    device->opening.unkept = false;
    close_directory(&device->backend);
}

/* --- What comes ----------------------------------------------------------------------------- */

static int adopt(struct device *device, const struct message_opened *message, const int *fds,
                 size_t fd_count)
{
    struct backend *backend = &device->backend;
    const struct backend before = *backend;
    int result = opened_unpack(backend, message, fds, fd_count);
    if (result == 0 && backend->ops->adopt)
        result = backend->ops->adopt(backend);
    if (result == 0) {
        device->opening.phase = OPENING_DONE;
        return 0;
    }
    *backend = before;
    close_all(fds, fd_count);
    return result;
}

bool opening_take_kept(struct device *device, const struct message_opened *kept, const int *fds,
                       size_t fd_count, int keeper)
{
    if (adopt(device, kept, fds, fd_count) < 0) {
        if (device->opening.tap_index == 0)
            (void)opening_forget(device->config->id, keeper);
        return false;
    }
    close_directory(&device->backend); /* the keeper has it */
    return true;
}

static void failed(struct device *device, const struct opening_context *context,
                   enum config_key key, const struct failure *failure, int64_t now)
{
    static char where[CONFIG_WHERE_SIZE];
    struct opening *opening = &device->opening;
    if (opening->socket >= 0)
        close(opening->socket); /* this removes it from epoll as well */
    opening->socket = -1;
    opening->phase = OPENING_DUE;
    opening->wait_ms = opening_next_wait(opening->wait_ms);
    opening->when = now + opening->wait_ms;
    if (strcmp(opening->said.text, failure->text) == 0)
        return;
    opening->said = *failure;
    opening->said_key = key;
    if (context->quiet)
        return;
    config_where(context->config, device->config, key, where);
    log_line(device->name, "%s %s", where, failure->text);
}

/* Does another device have the same file? At the first start the caller reports this, for all
 * devices at once. */
static int of_another(const struct device *device, const struct opening_context *context,
                      enum config_key *ret_key, struct failure *failure)
{
    if (context->quiet)
        return 0;
    return places_compare(context->config, context->devices, context->device_count, device, ret_key,
                          failure);
}

static void take_opened(struct device *device, const struct opening_context *context,
                        union message *message, const int *fds, size_t fd_count, int64_t now)
{
    struct opening *opening = &device->opening;
    struct failure failure = {""};
    if (message->opened.error != 0) {
        close_all(fds, fd_count);
        opened_identify(&device->backend, &message->opened);
        memcpy(failure.text, message->opened.text, sizeof(failure.text));
        failure.text[sizeof(failure.text) - 1] = '\0';
        enum config_key key = message->opened.key < CONFIG_KEYS
                                  ? (enum config_key)message->opened.key
                                  : CONFIG_KEY_ID;
        failed(device, context, key, &failure, now);
        return;
    }
    enum config_key key = CONFIG_KEY_ID;
    opened_identify(&device->backend, &message->opened);
    int result = of_another(device, context, &key, &failure);
    if (result < 0)
        close_all(fds, fd_count);
    if (result == 0) {
        result = adopt(device, &message->opened, fds, fd_count);
        failure_set(&failure, result, "its backend can't be used: %s", strerror(-result));
    }
    if (result < 0) {
        failed(device, context, key, &failure, now);
        return;
    }
    close(opening->socket);
    opening->socket = -1;
    opening->unkept = true;
    opening->when = now;
    if (opening->wait_ms > 0 || opening->told_slow)
        log_info(device->name, "its backend is open now");
    if (context->locked_down && device->backend.words[0])
        log_info(device->name, "%s", device->backend.words);
}

/* The opener's socket may have a message, or be closed. */
static void receive(struct device *device, const struct opening_context *context, int64_t now)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;
    struct failure failure;
    int result = message_receive(device->opening.socket, ROLE_OPENER, &message, fds, &fd_count);
    if (result == -EAGAIN)
        return;
    if (result == 1) {
        take_opened(device, context, &message, fds, fd_count, now);
        return;
    }
    failure_set(&failure, -EIO,
                "its backend can't be opened just now: the process that opens it has not "
                "answered, or an earlier one has not ended");
    failed(device, context, CONFIG_KEY_ID, &failure, now);
}

/* --- What is due ---------------------------------------------------------------------------- */

static void start(struct device *device, const struct opening_context *context, int64_t now)
{
    struct opening *opening = &device->opening;
    struct failure failure;
    int sockets[2], result;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0) {
        result = -errno;
    } else {
        union message open = {
            .open =
                {
                    .header = {.type = MSG_OPEN, .device = device->config->id},
                    .again = opening->again,
                    .tap_index = opening->tap_index,
                },
        };
        const int fds[] = {sockets[1], context->text};
        result = message_send(context->keeper, &open, fds, 2);
        close(sockets[1]);
        opening->socket = sockets[0];
    }
    if (result < 0) {
        failure_set(&failure, result, "can't have its backend opened: %s", strerror(-result));
        failed(device, context, CONFIG_KEY_ID, &failure, now);
        return;
    }
    opening->phase = OPENING_RUNS;
    opening->when = now;
}

int64_t opening_look(struct device *device, const struct opening_context *context, int64_t now)
{
    struct opening *opening = &device->opening;
    if (opening->phase == OPENING_DUE && now >= opening->when)
        start(device, context, now);
    if (opening->phase == OPENING_RUNS)
        receive(device, context, now);
    /* Only once the broker is locked down: a start that fails leaves nothing behind. */
    if (opening->phase == OPENING_DONE && opening->unkept && context->locked_down &&
        now >= opening->when)
        keep(device, context->keeper, now);

    switch (opening->phase) {
    case OPENING_DUE:
        return opening->when;
    case OPENING_RUNS:
        if (now - opening->when < OPENING_SLOW_MS && !opening->told_slow)
            return opening->when + OPENING_SLOW_MS;
        if (!opening->told_slow)
            log_line(device->name,
                     "its backend has not been opened for %d s: the device waits for it, the "
                     "others do not",
                     OPENING_SLOW_MS / 1000);
        opening->told_slow = true;
        return INT64_MAX;
    case OPENING_DONE:
        return opening->unkept ? opening->when : INT64_MAX;
    }
    return INT64_MAX;
}
