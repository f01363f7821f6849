/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl: main.c has the command line and the socket, status.c and stats.c what is printed,
 * audit.c what is handed to bao-seccomp.
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

/* "bao-dmctl: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* A string of JSON. What is not ASCII is written as if each byte were a character. */
void json_print_string(const char *text);

/* What confines and what happened, a block of lines a device, or JSON. */
void status_print(const struct snapshot *snapshot, bool json);

/*
 * Counters since the device was started, or, with an earlier snapshot, what has been counted a
 * second meanwhile: a line a device, or JSON.
 */
void stats_print(const struct snapshot *snapshot, const struct snapshot *before, bool json);

/* Counters and states, in the text format of OpenMetrics 1.0. */
void stats_print_openmetrics(const struct snapshot *snapshot);

/*
 * Becomes bao-seccomp, which verifies the processes of the broker behind the control socket, with
 * what it has said of every device. Returns only if that fails, which it then has said.
 */
void audit_run(int control, const struct snapshot *snapshot, bool json, bool markdown);

#endif
