/* SPDX-License-Identifier: Apache-2.0 */
/* Takes what a service manager gives back at the keeper's start; everything in it is checked. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/keeper/fd_names.h"
#include "broker/keeper/fd_store.h"
#include "broker/keeper/kept.h"
#include "broker/log.h"
#include "broker/shared_page.h"
#include "common/state.h"

#define ITEMS (STORE_QUEUE_FIRST + STATE_QUEUES_MAX)

/* An fd that was passed, and what its name says. */
struct passed {
    int fd;
    struct fd_name name;
};

static struct passed passed[LISTEN_FDS_MAX];
static size_t passed_count;

/* --- What kind of fd it is ------------------------------------------------------------------ */

static bool is_eventfd(int fd)
{
    char path[32], target[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof(target));
    static const char wanted[] = "anon_inode:[eventfd]";
    return length == (ssize_t)strlen(wanted) && memcmp(target, wanted, strlen(wanted)) == 0;
}

/* Is it a memfd whose size can't change any more? */
static bool is_page(int fd)
{
    const int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & wanted) == wanted;
}

/* Is it the file of claims? If somebody has removed the file, it is not: other processes then use
 * another file. */
static bool is_in_use(int fd)
{
    struct stat file;
    return fstat(fd, &file) == 0 && S_ISREG(file.st_mode) && file.st_nlink > 0;
}

static bool is_of_its_kind(uint32_t item, int fd)
{
    if (fd_name_is_file(item))
        return kept_is_file(fd, item - FD_NAME_FILE_FIRST);
    switch (item) {
    case STORE_DM: /* every request to a file of the driver has an effect, so it is not asked */
        return !is_eventfd(fd) && !is_page(fd);
    case FD_NAME_CLAIMS:
        return is_in_use(fd);
    case FD_NAME_RECORD:
    case STORE_STATE:
    case STORE_JOURNAL:
        return is_page(fd);
    case FD_NAME_OPENED:
    case FD_NAME_CONFIG:
        return shared_page_is_text(fd);
    default:
        return is_eventfd(fd);
    }
}

/* --- The names ------------------------------------------------------------------------------ */

/* The fd of that name. -ENOENT; -EEXIST: there are several; -EBADF: it is not of the kind that its
 * name says. */
static int find(uint32_t dm_id, uint32_t item, uint32_t generation)
{
    int found = -ENOENT;
    for (size_t i = 0; i < passed_count; i++) {
        const struct fd_name *name = &passed[i].name;
        if (name->dm_id != dm_id || name->item != item || name->generation != generation)
            continue;
        if (found != -ENOENT)
            return -EEXIST;
        found = is_of_its_kind(item, passed[i].fd) ? passed[i].fd : -EBADF;
    }
    return found;
}

/* Is it left over? That is every fd of a device but its record, its DM file, and the set that
 * belongs to the pages of this generation. Generation 0: no set is complete. */
static bool is_left_over(const struct fd_name *name, uint32_t generation)
{
    if (name->item == FD_NAME_RECORD || name->item == STORE_DM)
        return false;
    return generation == 0 || (fd_name_is_page(name->item) && name->generation != generation);
}

static void forget(const struct fd_store *store, size_t index)
{
    char text[FD_NAME_SIZE];
    fd_name_format(&passed[index].name, text);
    (void)notify_remove(store->notify, text);
    close(passed[index].fd);
    passed[index] = passed[--passed_count];
}

/* Forget what a kill between two steps has left (fd_store.h). */
static void forget_left_overs(const struct fd_store *store, uint32_t dm_id, uint32_t generation)
{
    for (size_t i = passed_count; i-- > 0;) {
        if (passed[i].name.dm_id == dm_id && is_left_over(&passed[i].name, generation))
            forget(store, i);
    }
}

static void forget_all(const struct fd_store *store, uint32_t dm_id)
{
    size_t before = passed_count;
    for (size_t i = passed_count; i-- > 0;) {
        if (passed[i].name.dm_id == dm_id)
            forget(store, i);
    }
    if (passed_count < before)
        log_line(NULL, "what the service manager kept of device %u has no DM file: not used",
                 dm_id);
}

/* --- A device's set ------------------------------------------------------------------------- */

bool store_record_valid(const struct store_record *record, uint32_t dm_id)
{
    uint64_t commit = atomic_load(&record->commit);
    return record->magic == STORE_RECORD_MAGIC && record->dm_id == dm_id &&
           record->queue_count > 0 && record->queue_count <= STATE_QUEUES_MAX &&
           record->shmem_addr + record->shmem_size > record->shmem_addr &&
           (commit == 0 || ((uint32_t)commit != 0 && (uint32_t)commit != UINT32_MAX));
}

static struct store_record *map_record(int fd, uint32_t dm_id)
{
    struct stat file;
    if (fstat(fd, &file) < 0 || file.st_size != STORE_RECORD_SIZE)
        return NULL;
    struct store_record *record = shared_page_map(fd, STORE_RECORD_SIZE);
    if (record && !store_record_valid(record, dm_id)) {
        munmap(record, STORE_RECORD_SIZE);
        record = NULL;
    }
    return record;
}

static void read_record(struct stored_set *set)
{
    const struct store_record *record = set->record;
    uint64_t commit = atomic_load(&record->commit);
    set->generation = (uint32_t)commit;
    set->message = (struct message_store){
        .dm_id = record->dm_id,
        .kind = record->kind,
        .mmio_addr = record->mmio_addr,
        .shmem_addr = record->shmem_addr,
        .shmem_size = record->shmem_size,
        .fd_count = STORE_QUEUE_FIRST + record->queue_count,
        .generation = record->generation,
    };
    if (commit == 0)
        set->message.condition = STORE_DM_ONLY;
    else if (commit >> 32 != STORE_RECORD_VERSION)
        set->message.condition = STORE_OTHER_VERSION;
}

/* An earlier version had no CALL eventfd: it used one eventfd for both uses of the interrupt. */
static int make_call(const struct fd_store *store, uint32_t dm_id)
{
    char text[FD_NAME_SIZE];
    const struct fd_name name = {.dm_id = dm_id, .item = STORE_CALL};
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    fd_name_format(&name, text);
    if (fd >= 0 && notify_present(store->notify))
        (void)notify_store(store->notify, text, fd);
    return fd;
}

static bool find_others(const struct fd_store *store, struct stored_set *set)
{
    uint32_t dm_id = set->message.dm_id;
    for (uint32_t item = STORE_DM + 1; item < set->message.fd_count; item++) {
        uint32_t generation = fd_name_is_page(item) ? set->generation : 0;
        set->fds[item] = find(dm_id, item, generation);
        if (set->fds[item] == -ENOENT && item == STORE_CALL &&
            set->message.condition == STORE_OTHER_VERSION)
            set->fds[item] = make_call(store, dm_id);
        if (set->fds[item] < 0)
            return false;
    }
    return true;
}

/* The fd with the name of the DM file, whatever it is: it stands for the device. */
static int any_dm(uint32_t dm_id)
{
    for (size_t i = 0; i < passed_count; i++) {
        if (passed[i].name.dm_id == dm_id && passed[i].name.item == STORE_DM)
            return passed[i].fd;
    }
    return -1;
}

static void take_set(struct fd_store *store, uint32_t dm_id)
{
    struct stored_set *set = &store->sets[dm_id];
    int record = find(dm_id, FD_NAME_RECORD, 0), dm = find(dm_id, STORE_DM, 0);
    if (dm == -ENOENT) {
        forget_all(store, dm_id);
        return;
    }
    set->fd_count = 1;
    set->fds[STORE_DM] = any_dm(dm_id);
    set->record = record < 0 || dm < 0 ? NULL : map_record(record, dm_id);
    if (!set->record) {
        set->message = (struct message_store){.dm_id = dm_id, .condition = STORE_UNUSABLE};
        return;
    }
    read_record(set);
    forget_left_overs(store, dm_id, set->generation);
    if (set->message.condition == STORE_DM_ONLY)
        return;
    if (find_others(store, set))
        set->fd_count = set->message.fd_count;
    else
        set->message.condition = STORE_UNUSABLE;
}

/* --- What can be had again (kept.h) --------------------------------------------------------- */

static bool find_kept(struct kept_set *kept, uint32_t dm_id)
{
    int page = find(dm_id, FD_NAME_OPENED, 0);
    if (page < 0 || !kept_read(page, dm_id, &kept->message))
        return false;
    for (uint32_t file = 0; file < OPENED_FILES; file++) {
        if ((kept->message.files & 1u << file) == 0)
            continue;
        int fd = find(dm_id, FD_NAME_FILE_FIRST + file, 0);
        if (fd < 0)
            return false;
        kept->fds[kept->fd_count++] = fd;
    }
    return true;
}

static bool is_kept(const struct passed *file, uint32_t dm_id)
{
    return file->name.dm_id == dm_id &&
           (file->name.item == FD_NAME_OPENED || fd_name_is_file(file->name.item));
}

static void take_kept(struct fd_store *store, uint32_t dm_id)
{
    struct kept_set *kept = &store->kept[dm_id];
    kept->present = find_kept(kept, dm_id);
    if (kept->present)
        return;
    *kept = (struct kept_set){0};
    for (size_t i = passed_count; i-- > 0;) {
        if (is_kept(&passed[i], dm_id))
            forget(store, i);
    }
}

/* Takes the last text. If there are others, a kill has prevented their removal; they are removed
 * now. */
static void take_config(struct fd_store *store)
{
    store->config = -1;
    store->config_generation = 0;
    for (size_t i = 0; i < passed_count; i++) {
        const struct fd_name *name = &passed[i].name;
        if (name->item == FD_NAME_CONFIG && name->generation > store->config_generation &&
            is_of_its_kind(FD_NAME_CONFIG, passed[i].fd)) {
            store->config = passed[i].fd;
            store->config_generation = name->generation;
        }
    }
    for (size_t i = passed_count; i-- > 0;) {
        if (passed[i].name.item == FD_NAME_CONFIG && passed[i].fd != store->config)
            forget(store, i);
    }
}

static void take_claims(struct fd_store *store)
{
    int fd = find(FD_NAME_NO_DEVICE, FD_NAME_CLAIMS, 0);
    store->claims = fd < 0 ? -1 : fd;
    store->claims_kept = fd >= 0;
    for (size_t i = passed_count; fd < 0 && i-- > 0;) {
        if (passed[i].name.item == FD_NAME_CLAIMS)
            forget(store, i);
    }
}

/* --- The environment ------------------------------------------------------------------------ */

/* Returns how many fds were passed, or -errno. */
static int read_names(const char *names, int count)
{
    size_t unknown = 0;
    for (int i = 0; i < count; i++) {
        int fd = LISTEN_FDS_FIRST + i;
        const char *name;
        size_t length = listen_next_name(&names, &name);
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
            return -errno;
        if (fd_name_parse(name, length, &passed[passed_count].name))
            passed[passed_count++].fd = fd;
        else
            unknown++;
    }
    if (unknown > 0)
        log_line(NULL, "the service manager passed %zu files that are not ours: left alone",
                 unknown);
    return count;
}

int fd_store_take(struct fd_store *store)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int result = listen_count(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), (uint32_t)getpid());
    if (result > 0)
        result = read_names(names ? names : "", result);
    if (result < 0) {
        log_line(NULL, "the service manager's LISTEN_PID and LISTEN_FDS can't be used: %s",
                 strerror(-result));
        return result;
    }
    int taken = 0;
    for (uint32_t dm_id = 0; dm_id < BAO_DEVICES_MAX; dm_id++) {
        take_set(store, dm_id);
        take_kept(store, dm_id);
        taken += store->sets[dm_id].fd_count > 0;
    }
    take_config(store);
    take_claims(store);
    if (taken > 0)
        log_info(NULL, "taken over from the service manager: the files of %d device%s", taken,
                 taken == 1 ? "" : "s");
    return taken;
}
