/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bao-virtio-dm uses which devices and resources. Several of them may run side by side, each
 * with its own configuration. But no two may use the same device of the dispatcher, or the same
 * resource of this machine: an image, a tap, a CID, names of files. One file, CLAIMS_PATH, has a
 * place for each id of the dispatcher. The place says which process serves the id, and what that
 * device takes. The place is locked as long as that bao-virtio-dm runs, so a place that a dead one
 * has left does not count.
 *
 * The locks belong to an open file description (F_OFD_SETLK), and the keeper has the file open. So
 * the locks outlive the keeper's brokers. Where a service manager stores the file, they outlive the
 * keeper as well.
 *
 * Only root can write to the file. The reader checks the bounds of what it reads, and believes it.
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

/* A device that is claimed. Text is cut off where there is no room. */
struct claim {
    uint32_t version; /* if it is of another version, only that the id is taken is known */
    int32_t keeper;   /* process id of the keeper */
    uint32_t kind;    /* enum device_kind */
    uint32_t read_only;
    uint32_t guest_cid;             /* 0: none */
    uint32_t has_names;             /* it has names of files: */
    struct config_names names;      /* the directory is absolute, as text */
    struct file_id file, directory; /* what the names led to, once they were opened; 0: not known */
    uint64_t network;               /* the network namespace of the tap, as its inode */
    char tap_name[16];              /* "": none */
    char config[PATH_MAX];          /* the configuration that it was started with */
};

#define CLAIMS_SIZE (BAO_DEVICES_MAX * sizeof(struct claim))

/*
 * The keeper calls this at its start. Opens the file; makes it and its directory where they are
 * missing. Returns the fd; -errno; -EPERM if a user other than root could write there.
 */
int claims_open(void);

/* A path as text, from the root on. Does not look whether the file exists. Cut off if it is too
 * long. */
void claims_absolute(const char *path, char ret[PATH_MAX]);

/* What can't be taken, and why. The text of `failure` names the other bao-virtio-dm. */
struct claim_refused {
    const struct device_config *device; /* NULL: the claims file itself can't be used */
    enum config_key key;
    struct failure failure;
};

/*
 * The broker calls this before it opens anything. Takes what these devices need, or finds out which
 * bao-virtio-dm has it. The ids in the mask `kept` are those that run: they stay taken, whether or
 * not the configuration has them. All other ids are given back. Waits up to CLAIMS_WAIT_MS for
 * another bao-virtio-dm that may just be ending, and for its turn to compare; if no device runs
 * yet, it waits up to CLAIMS_PATIENCE_MS for its turn. `fd` is the file, `keeper` the process that
 * has it open. Returns 0; -EBUSY or -errno with *ret_refused filled in: then all that can be had
 * has been taken nevertheless.
 */
int claims_take(int fd, const struct config *config, int32_t keeper, uint32_t kept,
                struct claim_refused *ret_refused);

/*
 * Write down which files a device's names led to, once that is known. Returns 0; -EEXIST with
 * *ret_key and *failure filled in if another bao-virtio-dm has such a file by another name.
 */
int claims_settle(int fd, const struct device_config *device, const struct file_id *file,
                  const struct file_id *directory, enum config_key *ret_key,
                  struct failure *failure);

#endif
