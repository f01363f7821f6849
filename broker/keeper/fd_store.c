/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/fd_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/keeper/fd_names.h"
#include "broker/log.h"
#include "broker/shared_page.h"
#include "common/state.h"

static uint64_t commit_of(uint32_t generation)
{
    return (uint64_t)STORE_RECORD_VERSION << 32 | generation;
}

/* --- To the service manager ----------------------------------------------------------------- */

static void hand_over(const struct fd_store *store, const struct fd_name *name, int fd)
{
    char text[FD_NAME_SIZE];
    fd_name_format(name, text);
    int result = notify_store(store->notify, text, fd);
    if (result < 0 && name->dm_id == FD_NAME_NO_DEVICE)
        log_line(NULL, "can't hand %s to the service manager: %s", text, strerror(-result));
    else if (result < 0)
        log_line(NULL,
                 "can't hand %s to the service manager: %s: device %u does not outlive this "
                 "process",
                 text, strerror(-result), name->dm_id);
}

static void take_away(const struct fd_store *store, const struct fd_name *name)
{
    char text[FD_NAME_SIZE];
    fd_name_format(name, text);
    int result = notify_remove(store->notify, text);
    if (result < 0)
        log_line(NULL, "can't have the service manager forget %s: %s", text, strerror(-result));
}

static void hand_over_pages(const struct fd_store *store, const struct stored_set *set)
{
    const uint32_t dm_id = set->message.dm_id, generation = set->generation;
    hand_over(store, &(struct fd_name){dm_id, STORE_STATE, generation}, set->fds[STORE_STATE]);
    hand_over(store, &(struct fd_name){dm_id, STORE_JOURNAL, generation}, set->fds[STORE_JOURNAL]);
}

static void take_away_pages(const struct fd_store *store, uint32_t dm_id, uint32_t generation)
{
    take_away(store, &(struct fd_name){dm_id, STORE_STATE, generation});
    take_away(store, &(struct fd_name){dm_id, STORE_JOURNAL, generation});
}

static int make_record(const struct fd_store *store, struct stored_set *set)
{
    const struct message_store *message = &set->message;
    int fd = shared_page_create("record", STORE_RECORD_SIZE);
    if (fd < 0)
        return fd;
    struct store_record *record = shared_page_map(fd, STORE_RECORD_SIZE);
    if (!record) {
        int error = errno;
        close(fd);
        return -error;
    }
    *record = (struct store_record){
        .magic = STORE_RECORD_MAGIC,
        .dm_id = message->dm_id,
        .kind = message->kind,
        .mmio_addr = message->mmio_addr,
        .shmem_addr = message->shmem_addr,
        .shmem_size = message->shmem_size,
        .queue_count = message->fd_count - STORE_QUEUE_FIRST,
        .generation = message->generation,
    };
    set->record = record;
    hand_over(store, &(struct fd_name){.dm_id = message->dm_id, .item = FD_NAME_RECORD}, fd);
    hand_over(store, &(struct fd_name){.dm_id = message->dm_id, .item = STORE_DM},
              set->fds[STORE_DM]);
    close(fd);
    return 0;
}

/* Hands over a set in the order of fd_store.h, up to the commit. */
static void hand_over_set(const struct fd_store *store, struct stored_set *set)
{
    if (!notify_present(store->notify))
        return;
    int result = set->record ? 0 : make_record(store, set);
    if (result != 0) {
        log_line(NULL,
                 "can't make a record for the service manager: %s: device %u does not outlive "
                 "this process",
                 strerror(-result), set->message.dm_id);
        return;
    }
    bool first = atomic_load(&set->record->commit) == 0;
    for (uint32_t item = STORE_REQUEST; first && item < set->fd_count; item++)
        hand_over(store, &(struct fd_name){.dm_id = set->message.dm_id, .item = item},
                  set->fds[item]);
    hand_over_pages(store, set);
    set->uncommitted = true;
    set->whole_at = store->notify->taken;
    set->patience = clock_ms() + STORE_PATIENCE_MS;
}

static void commit(const struct fd_store *store, struct stored_set *set)
{
    bool first = atomic_load(&set->record->commit) == 0;
    set->uncommitted = false;
    set->record->kind = set->message.kind;
    atomic_store(&set->record->commit, commit_of(set->generation));
    if (!first)
        take_away_pages(store, set->message.dm_id, set->generation - 1);
}

/* After `patience` nobody waits any longer: what is still queued goes out as soon as possible. */
static void look_at_set(const struct fd_store *store, struct stored_set *set, int64_t now)
{
    if (!set->uncommitted)
        return;
    bool whole = store->notify->gone >= set->whole_at;
    if (!whole && now < set->patience)
        return;
    if (!whole)
        log_line(NULL,
                 "the service manager does not take the files of device %u: until it does, the "
                 "device does not outlive this process",
                 set->message.dm_id);
    commit(store, set);
}

void fd_store_broker_gone(struct fd_store *store)
{
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        struct stored_set *set = &store->sets[i];
        set->untold = false;
        if (set->uncommitted)
            commit(store, set);
    }
}

bool fd_store_next_stored(struct fd_store *store, int64_t now, uint32_t *ret_device, int *ret_wait)
{
    *ret_wait = -1;
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        struct stored_set *set = &store->sets[i];
        look_at_set(store, set, now);
        if (set->uncommitted && (*ret_wait < 0 || set->patience - now < *ret_wait))
            *ret_wait = (int)(set->patience - now);
        if (!set->untold || set->uncommitted)
            continue;
        set->untold = false;
        *ret_device = set->message.header.device;
        return true;
    }
    return false;
}

/* --- From the broker ------------------------------------------------------------------------ */

/* Is this fd new? If a set is stored again, all fds but the pages are copies of fds that we
 * have. */
static bool replaces(const struct stored_set *set, size_t item)
{
    if (set->fd_count == 0)
        return true;
    return set->fd_count == 1 ? item != STORE_DM : fd_name_is_page((uint32_t)item);
}

static bool storable(const struct stored_set *set, const struct message_store *message,
                     size_t fd_count)
{
    return fd_count > STORE_QUEUE_FIRST && fd_count <= STORE_QUEUE_FIRST + STATE_QUEUES_MAX &&
           fd_count == message->fd_count && message->condition == STORE_WHOLE &&
           set->message.condition != STORE_UNUSABLE && message->generation < BAO_GENERATIONS &&
           (set->fd_count <= 1 || set->fd_count == fd_count);
}

bool fd_store_put(struct fd_store *store, const struct message_store *message, const int *fds,
                  size_t fd_count)
{
    if (message->dm_id >= BAO_DEVICES_MAX)
        return false;
    struct stored_set *set = &store->sets[message->dm_id];
    if (!storable(set, message, fd_count))
        return false;
    for (size_t item = 0; item < fd_count; item++) {
        if (!replaces(set, item)) {
            close(fds[item]);
            continue;
        }
        if (item < set->fd_count)
            close(set->fds[item]);
        set->fds[item] = fds[item];
    }
    set->fd_count = fd_count;
    set->message = *message;
    set->generation++;
    set->untold = true;
    hand_over_set(store, set);
    look_at_set(store, set, 0);
    return true;
}

void fd_store_keep_claims(struct fd_store *store)
{
    if (store->claims < 0 || store->claims_kept || !notify_present(store->notify))
        return;
    hand_over(store, &(struct fd_name){.dm_id = FD_NAME_NO_DEVICE, .item = FD_NAME_CLAIMS},
              store->claims);
    store->claims_kept = true;
}

bool fd_store_outlives(const struct fd_store *store)
{
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        if (store->sets[i].fd_count > 0)
            return notify_present(store->notify);
    }
    return false;
}
