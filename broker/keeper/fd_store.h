/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fds that must outlive a broker, one set for each device. If a service manager has started the
 * keeper, it keeps copies of them (its file descriptor store), so that they outlive the keeper,
 * too.
 *
 * A DM file is never closed and never replaced: its last close is fatal for the frontend, and a
 * second DM file is not available. If a set is stored again, only its pages are replaced.
 *
 * The service manager has a set as fds with names (fd_names.h), which it gets one by one. One of
 * them is a page of the keeper's own, the record. Its field `commit`, in memory, decides which
 * state counts. One store changes `commit`, when all messages before it have been sent (notify.h).
 * The order is
 *
 *     first time  record (commit 0), DM file, other fds, pages of generation 1; commit = 1; STORED
 *     again       pages of generation G + 1; commit = G + 1; STORED; pages of generation G removed
 *
 * If the keeper dies between any two steps, it leaves one of these states. (The messages that it
 * has sent arrive, and in this order, even if it dies.)
 *
 *     no record or no DM file  Nothing was kept, and the broker's copy of the DM file died with it,
 *                              as without a service manager. The remaining fds are removed.
 *     commit 0, a DM file      The broker has not been told STORED, so it has registered nothing
 *                              with the dispatcher and attached to nothing. All fds but the DM file
 *                              can be made again; those that exist are removed.
 *     commit G                 The set with the pages of generation G is complete. Pages of another
 *                              generation were not in use yet, or are not in use any more: they are
 *                              removed.
 *     commit G, fds missing    No step of the keeper leaves this: the manager has lost or refused
 *                              some fds. The registered eventfds are gone, so the device can't
 *                              work. Its DM file is kept, and the broker says so.
 *
 * The beginning of the record is the same in every version of this program. Of a set of another
 * version only this part is read, and the device starts from "needs reset" on new pages.
 */
#ifndef BROKER_KEEPER_FD_STORE_H
#define BROKER_KEEPER_FD_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/keeper/notify.h"
#include "common/bao_abi.h"
#include "common/message.h"

#define STORE_RECORD_MAGIC 0x64726f6365726221ull /* "!brecord" */
#define STORE_RECORD_SIZE 4096u
/* Changes when the meaning of what is stored changes: of `kind`, of an fd. The state page has a
 * version of its own and does not count here. */
#define STORE_RECORD_VERSION 2u

struct store_record { /* this layout in every version */
    uint64_t magic;
    uint32_t dm_id;
    uint32_t kind; /* enum device_kind, if the version is ours */
    uint64_t mmio_addr, shmem_addr, shmem_size;
    uint32_t queue_count;
    uint32_t
        generation; /* enum bao_generation; 0 in a record of earlier versions, which only knew A */
    _Atomic uint64_t commit; /* version << 32 | generation of the pages; 0: the set is not whole */
};

struct stored_set {
    size_t fd_count;              /* 0: none; 1: the DM file alone */
    struct message_store message; /* its condition: as MSG_RESTORE says it */
    int fds[MESSAGE_FDS_MAX];
    uint32_t generation;         /* of its pages */
    struct store_record *record; /* the service manager has this record; NULL: it has none */
    bool uncommitted;            /* the service manager may not have all of the set yet */
    uint64_t whole_at;           /* it has all when this number of messages (notify.h) are gone */
    int64_t patience;            /* ms: after this time we do not wait for it any longer */
    bool untold;                 /* the broker must still be told STORED */
};

/* A broker, and its guests, wait at most this time for a service manager that does not take its
 * messages. */
#define STORE_PATIENCE_MS 3000

struct kept_set { /* kept.h */
    bool present;
    struct message_opened message;
    int fds[OPENED_FILES];
    size_t fd_count;
};

struct fd_store {
    struct notify *notify;
    struct stored_set sets[BAO_DEVICES_MAX]; /* indexed by the dispatcher's id */
    struct kept_set kept[BAO_DEVICES_MAX];   /* indexed in the same way */
    int config;                              /* the configuration's text; -1: none */
    uint32_t config_generation;
    int claims;       /* which process has which device, broker/claims.h; -1: not known */
    bool claims_kept; /* the service manager has it, too */
};

/*
 * Take the fds that a service manager passed to this process, if it did. Before lock-down. Returns
 * the number of devices with a DM file among them. -errno if the fds can't be identified, after a
 * message: then the keeper must end, and leave them with the service manager.
 */
int fd_store_take(struct fd_store *store);

/*
 * Keep what a broker has stored; the fds are then ours. Returns false for a set that no broker of
 * ours stores; then the fds are still the caller's.
 */
bool fd_store_put(struct fd_store *store, const struct message_store *message, const int *fds,
                  size_t fd_count);

/*
 * The next set for which STORED must be sent: *ret_device is its index. A set is ready when the
 * manager has all of it. It is also ready when the manager does not take it in time; then a log
 * line says so. Returns false if no set is ready now. If *ret_wait is not -1 then, call again after
 * at most so many ms.
 */
bool fd_store_next_stored(struct fd_store *store, int64_t now, uint32_t *ret_device, int *ret_wait);

/* The next broker gets the sets, and registers them with the dispatcher. So they count as complete,
 * even if the manager lacks something yet, and nobody waits for STORED. */
void fd_store_broker_gone(struct fd_store *store);

/* Devices are served now: the claims for them have to outlive this process, as the devices do. */
void fd_store_keep_claims(struct fd_store *store);

/* Does a service manager have the set of any device? */
bool fd_store_outlives(const struct fd_store *store);

/* Can this record belong to the device? Only `kind` and the pages may be those of another version.
 * Pure. */
bool store_record_valid(const struct store_record *record, uint32_t dm_id);

#endif
