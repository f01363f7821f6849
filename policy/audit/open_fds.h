/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a process has open, as /proc shows them. */
#ifndef POLICY_AUDIT_OPEN_FDS_H
#define POLICY_AUDIT_OPEN_FDS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "policy/audit/process.h"

#define OPEN_FDS_MAX 1024u

struct open_fd {
    unsigned int number;
    char target[PROCESS_TEXT];
    mode_t mode;
    struct stat file;
    bool is_node; /* a node of Bao's driver, for all devices */
};

struct open_fds {
    size_t count;
    struct open_fd items[OPEN_FDS_MAX];
};

/* By number; what does not fit is left out, and the count is then OPEN_FDS_MAX. */
void open_fds_read(pid_t pid, struct open_fds *ret);

/*
 * Marks the driver's nodes for all devices. A process that holds one can get any device, and with
 * generation D any physical memory. The nodes are looked up in this program's /dev, and in that of
 * `root`, another process, whose /dev may be another one.
 */
void open_fds_mark_nodes(pid_t root, struct open_fds *fds);

/* Whether a name in /proc is that of a device's DM file. */
bool is_dm_file(const char *name);

#endif
