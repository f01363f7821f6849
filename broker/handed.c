/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/handed.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define RESTORE_TIMEOUT_MS 10000

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Returns false for a message that the keeper must not send; then the caller still owns the fds. */
static bool take(struct handed *handed, const union message *message, const int *fds,
                 size_t fd_count)
{
    bool stored = message->header.type == MSG_RESTORE;
    if (!stored && message->header.type != MSG_KEPT)
        return false;
    uint32_t dm_id = stored ? message->store.dm_id : message->opened.dm_id;
    if (dm_id >= BAO_DEVICES_MAX)
        return false;
    struct handed_device *device = &handed->devices[dm_id];
    if (stored ? device->stored : device->kept)
        return false;
    if (stored) {
        device->stored = true;
        device->message = message->store;
        device->fd_count = fd_count;
        memcpy(device->fds, fds, fd_count * sizeof(fds[0]));
    } else {
        device->kept = true;
        device->opened = message->opened;
        device->opened_count = fd_count;
        memcpy(device->opened_fds, fds, fd_count * sizeof(fds[0]));
    }
    return true;
}

int handed_receive(int keeper, struct handed *ret)
{
    for (;;) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0;
        struct pollfd input = {.fd = keeper, .events = POLLIN};
        int ready = poll(&input, 1, RESTORE_TIMEOUT_MS);
        if (ready <= 0)
            return ready < 0 ? -errno : -ETIMEDOUT;
        int result = message_receive(keeper, ROLE_KEEPER, &message, fds, &fd_count);
        if (result <= 0)
            return result == 0 ? -EPIPE : result;
        if (message.header.type == MSG_RESTORE_END)
            return 0;
        if (!take(ret, &message, fds, fd_count)) {
            close_all(fds, fd_count);
            return -EPROTO;
        }
    }
}

uint32_t handed_ids(const struct handed *handed)
{
    uint32_t ids = 0;
    for (uint32_t id = 0; id < BAO_DEVICES_MAX; id++)
        ids |= handed->devices[id].stored ? 1u << id : 0;
    return ids;
}

void handed_close_stored(struct handed_device *device)
{
    close_all(device->fds, device->fd_count);
    device->stored = false;
    device->fd_count = 0;
}

void handed_close_kept(struct handed_device *device)
{
    close_all(device->opened_fds, device->opened_count);
    device->kept = false;
    device->opened_count = 0;
}
