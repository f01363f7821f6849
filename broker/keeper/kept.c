/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/kept.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/keeper/fd_names.h"
#include "broker/log.h"
#include "broker/shared_page.h"

/* --- To the service manager ----------------------------------------------------------------- */

static void hand_over(const struct fd_store *store, const struct fd_name *name, int fd)
{
    char text[FD_NAME_SIZE];
    if (!notify_present(store->notify))
        return;
    fd_name_format(name, text);
    int result = notify_store(store->notify, text, fd);
    if (result < 0)
        log_line(NULL,
                 "can't hand %s to the service manager: %s: after this process's end it is "
                 "opened again",
                 text, strerror(-result));
}

static void take_away(const struct fd_store *store, const struct fd_name *name)
{
    char text[FD_NAME_SIZE];
    if (!notify_present(store->notify))
        return;
    fd_name_format(name, text);
    int result = notify_remove(store->notify, text);
    if (result < 0)
        log_line(NULL, "can't have the service manager forget %s: %s", text, strerror(-result));
}

static struct fd_name name_of_file(uint32_t dm_id, uint32_t file)
{
    return (struct fd_name){.dm_id = dm_id, .item = FD_NAME_FILE_FIRST + file};
}

/* Hands over in the order of kept.h. */
static void hand_over_kept(const struct fd_store *store, const struct kept_set *kept)
{
    uint32_t dm_id = kept->message.dm_id;
    if (!notify_present(store->notify))
        return;
    int page = shared_page_of_text("opened", &kept->message, sizeof(kept->message));
    if (page < 0) {
        log_line(NULL, "can't make a page for the service manager: %s", strerror(-page));
        return;
    }
    for (uint32_t file = 0, next = 0; file < OPENED_FILES; file++) {
        const struct fd_name name = name_of_file(dm_id, file);
        if ((kept->message.files & 1u << file) != 0)
            hand_over(store, &name, kept->fds[next++]);
    }
    hand_over(store, &(struct fd_name){.dm_id = dm_id, .item = FD_NAME_OPENED}, page);
    close(page);
}

/* --- From the broker ------------------------------------------------------------------------ */

static void forget(struct fd_store *store, struct kept_set *kept)
{
    uint32_t dm_id = kept->message.dm_id;
    if (!kept->present)
        return;
    take_away(store, &(struct fd_name){.dm_id = dm_id, .item = FD_NAME_OPENED});
    for (uint32_t file = 0; file < OPENED_FILES; file++) {
        const struct fd_name name = name_of_file(dm_id, file);
        if ((kept->message.files & 1u << file) != 0)
            take_away(store, &name);
    }
    for (size_t i = 0; i < kept->fd_count; i++)
        close(kept->fds[i]);
    *kept = (struct kept_set){0};
}

bool kept_put(struct fd_store *store, const struct message_opened *message, const int *fds,
              size_t fd_count)
{
    if (message->dm_id >= BAO_DEVICES_MAX || message->files >> OPENED_FILES != 0 ||
        (size_t)__builtin_popcount(message->files) != fd_count ||
        (message->error != 0 && fd_count > 0))
        return false;
    struct kept_set *kept = &store->kept[message->dm_id];
    forget(store, kept);
    if (message->error != 0)
        return true;
    kept->present = true;
    kept->message = *message;
    kept->fd_count = fd_count;
    memcpy(kept->fds, fds, fd_count * sizeof(fds[0]));
    hand_over_kept(store, kept);
    return true;
}

int kept_file(const struct fd_store *store, uint32_t dm_id, enum opened_file file)
{
    const struct kept_set *kept = &store->kept[dm_id];
    const uint32_t files = kept->message.files;
    if (!kept->present || (files & 1u << file) == 0)
        return -1;
    return kept->fds[__builtin_popcount(files & ((1u << file) - 1))];
}

unsigned int kept_taps(const struct fd_store *store, uint32_t dm_id, int *ret)
{
    unsigned int count = 0;
    for (unsigned int file = OPENED_TAP_FIRST; file < OPENED_TAP_SOCKET; file++) {
        int fd = kept_file(store, dm_id, (enum opened_file)file);
        if (fd >= 0)
            ret[count++] = fd;
    }
    return count;
}

bool kept_put_config(struct fd_store *store, int fd)
{
    const struct fd_name before = {FD_NAME_NO_DEVICE, FD_NAME_CONFIG, store->config_generation};
    if (!shared_page_is_text(fd))
        return false;
    const struct fd_name now = {FD_NAME_NO_DEVICE, FD_NAME_CONFIG, before.generation + 1};
    hand_over(store, &now, fd);
    if (store->config >= 0) {
        take_away(store, &before);
        close(store->config);
    }
    store->config = fd;
    store->config_generation = now.generation;
    return true;
}

/* --- From the service manager --------------------------------------------------------------- */

bool kept_read(int fd, uint32_t dm_id, struct message_opened *ret)
{
    return shared_page_is_text(fd) && shared_page_is(fd, sizeof(*ret)) &&
           pread(fd, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret) && ret->magic == OPENED_MAGIC &&
           ret->version == OPENED_VERSION && ret->dm_id == dm_id && ret->error == 0 &&
           ret->files >> OPENED_FILES == 0;
}

/* No request here goes to a file system, which may not answer. An image and a log are in boxes,
 * which are sockets. For a directory it is enough that its fd (O_PATH) can't read or write
 * anything. */
bool kept_is_file(int fd, uint32_t file)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || ((flags & O_PATH) != 0) != (file == OPENED_DIRECTORY))
        return false;
    if (file == OPENED_DIRECTORY)
        return true;
    if (fstat(fd, &status) < 0)
        return false;
    if (file >= OPENED_TAP_FIRST && file < OPENED_TAP_SOCKET)
        return S_ISCHR(status.st_mode);
    if (file >= OPENED_PORT_FIRST && file < OPENED_LISTENER_FIRST)
        return S_ISCHR(status.st_mode) || S_ISSOCK(status.st_mode);
    return S_ISSOCK(status.st_mode);
}
