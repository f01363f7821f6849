/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bao-dmctl: main.c has the command line and the socket, status.c and stats.c print, audit.c
 * prepares the input of bao-seccomp, instances.c finds the bao-virtio-dm processes that run.
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

/* Prints "bao-dmctl: ..." on stderr. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* Prints a string of JSON. A byte that is not ASCII is written as if it were a character. */
void json_print_string(const char *text);

/* ---- main.c ---- */

/* Returns the connected socket, or -errno. */
int control_connect(const char *path);
/* Say why there is no connection. */
void dmctl_complain_of_connect(const char *path, int error);

/* Take the state of every device, or of the device with that id. Returns 0, or a positive errno
 * after a message. */
int dmctl_take_snapshot(int fd, const char *wanted, struct snapshot *ret);

/* ---- instances.c ---- */

#define INSTANCES_MAX 64u /* more than there are devices */

struct instance {
    char path[CONTROL_PATH_SIZE]; /* of its socket */
    int fd;                       /* connected; -EACCES: it exists and does not let us in */
};

/* Find all that run and have their sockets in the default directory, ordered by name. */
size_t instances_find(struct instance ret[INSTANCES_MAX]);
void instances_close(struct instance *instances, size_t count);

/* The socket of the only bao-virtio-dm that runs; or -errno, after a message that none runs, or
 * which ones run. */
int instances_only(void);

/* status --all. Returns the exit status: 1 if none runs, or if one has not answered. */
int instances_status(bool json);

/* ---- Others ---- */

/* Prints what confines each device and what happened to it: a block of lines for each device, or
 * JSON. */
void status_print(const struct snapshot *snapshot, bool json);

/*
 * Prints the counters since the start of the device; or, with an earlier snapshot, the increase per
 * second since then. One line for each device, or JSON.
 */
void stats_print(const struct snapshot *snapshot, const struct snapshot *before, bool json);

/* Prints counters and states in the text format of OpenMetrics 1.0. */
void stats_print_openmetrics(const struct snapshot *snapshot);

struct audit_options {
    bool markdown;
    const char *against, *output; /* files, for bao-seccomp; or NULL */
};

/*
 * Turns this process into bao-seccomp. That program verifies the processes of the broker behind the
 * control socket, against what the broker has said of every device. Returns only if it can't be
 * run, after a message.
 */
void audit_run(int control, const struct snapshot *snapshot, bool json,
               const struct audit_options *options);

#endif
