/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl: main.c has the command line and the socket, status.c and stats.c what is printed.
 */
#ifndef BROKER_DMCTL_DMCTL_H
#define BROKER_DMCTL_DMCTL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/bao_abi.h"
#include "common/control.h"

struct snapshot {
    size_t count;
    struct control_device devices[BAO_DEVICES_MAX];
    double at; /* seconds, monotonic */
};

/* What confines and what happened, a block of lines a device, or JSON. */
void status_print(const struct snapshot *snapshot, bool json);

/*
 * Counters since the device was started, or, with an earlier snapshot, what has been counted a
 * second meanwhile: a line a device, or JSON.
 */
void stats_print(const struct snapshot *snapshot, const struct snapshot *before, bool json);

#endif
