/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has what. Several bao-virtio-dm may run side by side, each with a configuration of its own;
 * but no device of the dispatcher's belongs to two of them, nor what a device takes of the machine:
 * an image, a tap, a CID, names of files. One file, CLAIMS_PATH, has a place for each id of the
 * dispatcher's: who serves it, and what that device takes. The place is locked as long as that one
 * runs, so what the dead have left there counts for nothing.
 *
 * The locks are an open file's (F_OFD_SETLK), and it is the keeper that has the file open: so they
 * outlive its brokers, and where a service manager keeps the file, the keeper as well.
 *
 * Only root can write to the file. What is read from it is bounded, and believed.
 */
#ifndef BROKER_CLAIMS_H
#define BROKER_CLAIMS_H

#include "broker/backend/directory.h"
#include "broker/config/config.h"
#include "broker/config/names.h"
#include "broker/failure.h"
#include "common/control.h"

#define CLAIMS_PATH CONTROL_DIRECTORY "/claims"
#define CLAIMS_VERSION 1u /* changes with struct claim */
#define CLAIMS_WAIT_MS 1000
#define CLAIMS_PATIENCE_MS 10000

/* A device of somebody's. Text is cut off where there is no room. */
struct claim {
    uint32_t version; /* another one's: no more is known than that the id is taken */
    int32_t keeper;   /* its process */
    uint32_t kind;    /* enum device_kind */
    uint32_t read_only;
    uint32_t guest_cid;             /* 0: none */
    uint32_t has_names;             /* of files: */
    struct config_names names;      /* in an absolute directory, as text */
    struct file_id file, directory; /* what they led to, once they were opened; 0: not known */
    uint64_t network;               /* the network namespace of the tap: its inode */
    char tap_name[16];              /* "": none */
    char config[PATH_MAX];          /* the file that it was started with */
};

#define CLAIMS_SIZE (BAO_DEVICES_MAX * sizeof(struct claim))

/*
 * The keeper, at its start: open the file, and make it and its directory where they are missing.
 * Returns the fd; -errno; -EPERM if somebody else than root could write there.
 */
int claims_open(void);

/* A path as text, from the root on; nothing looks whether it is there. Cut off if it is too long.
 */
void claims_absolute(const char *path, char ret[PATH_MAX]);

/* What is not to be had, and why: `text` names the other one. */
struct claim_refused {
    const struct device_config *device; /* NULL: the file itself can't be used */
    enum config_key key;
    struct failure failure;
};

/*
 * The broker, before it opens anything: take what these devices need, or find out who has it. Ids
 * in the mask `kept`, those that run, stay taken, whether or not the configuration has them; all
 * others are given back. Waits up to CLAIMS_WAIT_MS for one that may just be ending, and for its
 * turn to compare; for the latter up to CLAIMS_PATIENCE_MS if none runs. `fd` is the file, `keeper`
 * the process that has it open. Returns 0; -EBUSY or -errno with *ret_refused filled in: all that
 * is to be had has been taken nevertheless.
 */
int claims_take(int fd, const struct config *config, int32_t keeper, uint32_t kept,
                struct claim_refused *ret_refused);

/*
 * Which files a device's names led to is known now: write it down. Returns 0; -EEXIST with *ret_key
 * and *failure filled in if that is another one's by another name.
 */
int claims_settle(int fd, const struct device_config *device, const struct file_id *file,
                  const struct file_id *directory, enum config_key *ret_key,
                  struct failure *failure);

#endif
