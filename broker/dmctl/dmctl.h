/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl: main.c has the command line and the socket, status.c and stats.c what is printed,
 * audit.c what is handed to bao-seccomp, instances.c which bao-virtio-dm there are.
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
    double at;                        /* seconds, monotonic */
    int32_t keeper;                   /* the process that was started ... */
    char config[CONTROL_CONFIG_SIZE]; /* ... with this file */
};

/* "bao-dmctl: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* A string of JSON. What is not ASCII is written as if each byte were a character. */
void json_print_string(const char *text);

/* ---- main.c ---- */

/* Returns the connected socket, or -errno. */
int control_connect(const char *path);
/* Say why there is no connection. */
void dmctl_complain_of_connect(const char *path, int error);

/* Every device, or the one with that id. Returns 0 or a positive errno that has been said. */
int dmctl_take_snapshot(int fd, const char *wanted, struct snapshot *ret);

/* ---- instances.c ---- */

#define INSTANCES_MAX 64u /* more than there are devices */

struct instance {
    char path[CONTROL_PATH_SIZE]; /* of its socket */
    int fd;                       /* connected; -EACCES: it is there and does not let us in */
};

/* All that run and have their sockets where they are by default, by name. */
size_t instances_find(struct instance ret[INSTANCES_MAX]);
void instances_close(struct instance *instances, size_t count);

/* The socket of the only one that runs; or -errno, having said that there is none, or which. */
int instances_only(void);

/* status --all. Returns the exit status: 1 if there is none, or if one has not answered. */
int instances_status(bool json);

/* ---- Others ---- */

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
