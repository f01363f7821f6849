/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fds that must outlive a broker, one set a device; and, if a service manager has started the
 * keeper, the copies of them that it keeps (its file descriptor store), so that they outlive the
 * keeper as well.
 *
 * A DM file is never closed and never replaced: its last close is fatal for the frontend, and a
 * second one can't be had. Of a set that is stored again only the pages are replaced.
 *
 * A set lies with the manager as fds with names (fd_names.h), put there one by one, with a page
 * that is the keeper's own, the record. What counts is decided by one store to the record's memory,
 * `commit`, which is done when all messages before it are out (notify.h); the order is
 *
 *     first time  record (commit 0), DM file, other fds, pages of generation 1; commit = 1; STORED
 *     again       pages of generation G + 1; commit = G + 1; STORED; pages of generation G removed
 *
 * and the keeper's death between any two steps leaves one of these. (What it has sent arrives, and
 * in this order, though it dies.)
 *
 *     no record or no DM file  Nothing was kept, and the broker's copy of the DM file died with it,
 *                              as without a service manager. What there is gets removed.
 *     commit 0, a DM file      The broker has not been told STORED, so it has registered nothing
 *                              with the dispatcher and attached to nothing: all but the DM file
 *                              can be made anew, and what there is of it gets removed.
 *     commit G                 The set with the pages of generation G is whole. Pages of another
 *                              generation were not yet in use, or are not any more: removed.
 *     commit G, fds missing    None of ours leaves this: the manager has lost or refused some. The
 *                              registered eventfds are gone, so the device can't work; its DM
 *                              file is kept, and the broker says so.
 *
 * The record begins with what every version of this program writes and can read: of another
 * version's set, only that is read, and the device starts from "needs reset" on pages of its own.
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
/* Changes with the meaning of what is stored: of `kind`, of an fd; not with the state page, which
 * has a version of its own. */
#define STORE_RECORD_VERSION 2u

struct store_record { /* of this layout in every version */
    uint64_t magic;
    uint32_t dm_id;
    uint32_t kind; /* enum device_kind, if the version is ours */
    uint64_t mmio_addr, shmem_addr, shmem_size;
    uint32_t queue_count;
    uint32_t
        generation; /* enum bao_generation; earlier versions, which knew A alone, have 0 here */
    _Atomic uint64_t commit; /* version << 32 | generation of the pages; 0: the set is not whole */
};

struct stored_set {
    size_t fd_count;              /* 0: none; 1: the DM file alone */
    struct message_store message; /* its condition: what MSG_RESTORE says */
    int fds[MESSAGE_FDS_MAX];
    uint32_t generation;         /* of its pages */
    struct store_record *record; /* the manager has it; NULL: no */
    bool uncommitted;            /* the manager may not have all of it yet */
    uint64_t whole_at;           /* it has, when so many messages (notify.h) are gone */
    int64_t patience;            /* ms: when it is waited for no longer */
    bool untold;                 /* STORED is still to be said */
};

/* So long a broker waits for a manager that does not take its messages. Its guests wait, too. */
#define STORE_PATIENCE_MS 3000

struct kept_set { /* kept.h */
    bool present;
    struct message_opened message;
    int fds[OPENED_FILES];
    size_t fd_count;
};

struct fd_store {
    struct notify *notify;
    struct stored_set sets[BAO_DEVICES_MAX]; /* by the dispatcher's id */
    struct kept_set kept[BAO_DEVICES_MAX];   /* likewise */
    int config;                              /* the configuration's text; -1: none */
    uint32_t config_generation;
    int claims;       /* who has what, broker/claims.h; -1: not known */
    bool claims_kept; /* the manager has it, too */
};

/*
 * Take the fds that a service manager passed to this process, if it did. Before lock-down. Returns
 * how many devices have a DM file among them; -errno if the fds can't be made out, having said so:
 * then the keeper must end, and leave them where they are.
 */
int fd_store_take(struct fd_store *store);

/*
 * Keep what a broker has stored; the fds are then ours. Returns false, with the fds still the
 * caller's, for what no broker of ours stores.
 */
bool fd_store_put(struct fd_store *store, const struct message_store *message, const int *fds,
                  size_t fd_count);

/*
 * The next set of which STORED is to be said: *ret_device is its index. A set is, when the manager
 * has all of it, or does not take it in time: that is said in a line, and goes on. Returns false if
 * there is none at present; then, if *ret_wait is not -1, in so many ms at the latest there may be
 * one.
 */
bool fd_store_next_stored(struct fd_store *store, int64_t now, uint32_t *ret_device, int *ret_wait);

/* The next broker is given the sets, and registers them with the dispatcher: they count as whole,
 * though the manager may lack something yet, and nobody waits for STORED. */
void fd_store_broker_gone(struct fd_store *store);

/* Devices are served now: what is claimed for them is to outlive this process as they do. */
void fd_store_keep_claims(struct fd_store *store);

/* Is any device's set with a service manager? */
bool fd_store_outlives(const struct fd_store *store);

/* Can this record be that of the device? Of what it says, only `kind` and the pages may be another
 * version's. Pure. */
bool store_record_valid(const struct store_record *record, uint32_t dm_id);

#endif
