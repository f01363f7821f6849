/* SPDX-License-Identifier: Apache-2.0 */
/* The processes of device models that run on this machine, as /proc shows them. */
#ifndef POLICY_AUDIT_PROCESS_H
#define POLICY_AUDIT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/device_kind.h"
#include "policy/audit/filters.h"
#include "policy/audit/sha256.h"
#include "policy/rule.h"

#define PROCESSES_MAX 256
#define PROCESS_TEXT 256

enum process_role {
    PROCESS_OTHER, /* not one of our processes */
    PROCESS_KEEPER,
    PROCESS_BROKER,
    PROCESS_WORKER,
    PROCESS_OPENER,    /* the broker's program while it opens a backend: broker/opener.h */
    PROCESS_CONNECTOR, /* the broker's program as it connects: broker/connector_process.h */
    PROCESS_DAEMON,    /* of others: serves a device by vhost-user */
    PROCESS_HOLDER,    /* of others: has something of a device's (verify.h, verify_others) */
};

/* Where a process comes from (evidence.h). Each text is empty if it is not known. */
struct origin {
    char program_hash[SHA256_TEXT];
    char configuration[PROCESS_TEXT]; /* its keeper's, by name */
    char configuration_hash[SHA256_TEXT];
};

struct process {
    pid_t pid, parent;
    enum process_role role;  /* by the file name of its program */
    char name[PROCESS_TEXT]; /* its own name; a worker has its device's name, "block 0" */
    char program[PROCESS_TEXT];
    struct origin origin;
};

/* -ESRCH if there is no such process, or only a zombie is left of it. */
int process_read(pid_t pid, struct process *ret);

/* When the process or thread was started, in clock ticks since the machine was started; 0: not
 * known. */
unsigned long long process_started(pid_t pid);

/* Milliseconds since then. */
long long process_age_ms(pid_t pid);

/* Every process of ours, and every child of a keeper, by pid. Returns how many, or -errno. */
int processes_find(struct process ret[PROCESSES_MAX]);

const char *process_role_name(enum process_role role);

/* A whole file of /proc/PID; false if it can't be read. It is truncated if it does not fit. */
bool process_file(pid_t pid, const char *name, char *ret, size_t size);

/* The value after "KEY:" in a file of /proc/PID such as status; tabs become blanks. */
bool process_field(pid_t pid, const char *file, const char *key, char *ret, size_t size);

/* Replaces control characters: text from a process goes to a terminal. */
void process_make_printable(char *text);

/* Where a link of /proc/PID leads; unprintable characters become '?'. */
bool process_link(pid_t pid, const char *name, char *ret, size_t size);

/*
 * The policy of this build that is to be in force in a process, by the role of the process. For a
 * worker it is the policy whose program the worker has loaded; if there is none, it is the policy
 * whose program differs least, among those of its type of device. NULL for other processes.
 */
const struct policy_listing *process_policy(const struct process *process,
                                            const struct filters *filters);

/*
 * How well a worker's policy fits the name that the worker has given itself: 2 if it is that of the
 * name's type of device, 1 if it is for devices of any type, 0 if it is of another type. Policies
 * of different types may have the same program.
 */
int process_name_fits(const char *policy, const char *name);

/* The kind of device whose workers the policy confines; NULL for other policies. */
const struct device_kind_info *process_kind(const struct policy_listing *policy);

/* Whether filter `index` is the program of the listing, byte for byte. */
bool process_has_program(const struct filters *filters, size_t index,
                         const struct policy_listing *listing);

#endif
