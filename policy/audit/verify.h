/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of verify. Each group of checks adds rows to a report. */
#ifndef POLICY_AUDIT_VERIFY_H
#define POLICY_AUDIT_VERIFY_H

#include "policy/audit/report.h"

#define TOLD_TEXT 64
#define TOLD_DEVICES_MAX 64

/* What the broker says about one of its devices. */
struct told_device {
    unsigned int id;
    pid_t pid;           /* of its worker; 0: it has none at the moment */
    unsigned int layers; /* 1 << enum sandbox_layer, by the worker's READY; 0: it is not ready */
    char policy[TOLD_TEXT], name[TOLD_TEXT];
};

/* What a broker says about all its devices; bao-dmctl asks it for that. */
struct told {
    pid_t broker;
    char policy[TOLD_TEXT]; /* the broker's, by its driver's generation */
    size_t count;
    struct told_device devices[TOLD_DEVICES_MAX];
};

/* One process, and what it is compared with. */
struct verified {
    const struct process *process;
    const struct process *keeper; /* its parent; NULL for a keeper, or if there is none */
    const struct process *all;    /* every process of ours */
    size_t count;
    struct filters filters;
    const struct policy_listing *policy; /* NULL: no policy is to be in force */
    const struct told *told;             /* NULL: no broker has been asked */
};

/* Adds a row that compares a value of /proc/PID/status. */
void verify_field(struct report *report, const struct process *process, const char *key,
                  const char *expected);

void verify_filters(struct report *report, const struct verified *verified,
                    const struct filters *keeper_filters);

/* Checks that every thread has the filters and credentials of the main thread. For that all threads
 * are stopped at the same time, for some milliseconds. */
void verify_threads(struct report *report, const struct verified *verified);
void verify_privileges(struct report *report, const struct verified *verified);
void verify_namespaces(struct report *report, const struct verified *verified);
void verify_memory(struct report *report, const struct verified *verified);
void verify_fds(struct report *report, const struct verified *verified);

/* Where to look for processes of others. */
struct others {
    const struct process *all; /* every process of ours, of each device model */
    size_t all_count;
    const struct process *own; /* those that were asked about */
    size_t own_count;          /* at most PROCESSES_MAX */
    pid_t root;                /* a keeper, whose /dev has the driver's nodes */
};

/*
 * Adds rows for each process of others that has the memory of a device, or a node of Bao's driver:
 * who it is, how it is confined, what of this is weak. Returns how many there are.
 */
size_t verify_others(struct report *report, const struct others *others);

/* Checks whether broker and worker are those that the broker names, and the layers that only a
 * worker's READY reports. */
void verify_told(struct report *report, const struct verified *verified);

/*
 * Reads what bao-dmctl writes, one line for each:
 *   broker PID POLICY                     the policy for its generation of Bao's driver
 *   device ID PID LAYERS POLICY NAME      LAYERS in hexadecimal, NAME with its blanks
 * from the file of that name, or stdin if it is "-". Returns 0; -EINVAL; -errno.
 */
int told_read(const char *path, struct told *ret);

#endif
