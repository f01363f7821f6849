/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper hands to a new broker, before anything of it is used: of each device the files
 * that outlive a broker, and the files of its backend. Which configuration the broker goes by is
 * decided by what has to fit.
 */
#ifndef BROKER_HANDED_H
#define BROKER_HANDED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bao_abi.h"
#include "common/message.h"

struct handed_device { /* the fds are the broker's */
    bool stored;
    struct message_store message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
    bool kept;
    struct message_opened opened;
    int opened_fds[OPENED_FILES];
    size_t opened_count;
};

struct handed {
    struct handed_device devices[BAO_DEVICES_MAX]; /* by the dispatcher's id */
};

/* Receive all of it; the keeper sends it at once. Returns 0 or -errno. */
int handed_receive(int keeper, struct handed *ret);

/* Is there a device that an earlier broker served? */
bool handed_any(const struct handed *handed);

/* Close what is of no use. */
void handed_close_stored(struct handed_device *device);
void handed_close_kept(struct handed_device *device);

#endif
