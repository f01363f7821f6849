/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper hands to a new broker, before the broker uses anything of it: for each device,
 * the files that outlive a broker and the files of its backend. The broker receives all of it
 * first, since it chooses a configuration that fits it.
 */
#ifndef BROKER_HANDED_H
#define BROKER_HANDED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bao_abi.h"
#include "common/message.h"

struct handed_device { /* the broker owns the fds */
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
    struct handed_device devices[BAO_DEVICES_MAX]; /* indexed by the dispatcher's id */
};

/* Receive all of it. The keeper sends it at once. Returns 0 or -errno. */
int handed_receive(int keeper, struct handed *ret);

/* The ids of the devices that an earlier broker served: one bit for each. Ask before one of them is
 * closed. */
uint32_t handed_ids(const struct handed *handed);

/* Close the files that are not needed. */
void handed_close_stored(struct handed_device *device);
void handed_close_kept(struct handed_device *device);

#endif
