/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a report says, as a list of short statements, so that two reports can be compared. Those of
 * a report that was just made and those of one that was read from a file are made here in the same
 * way.
 */
#ifndef POLICY_AUDIT_ENTRIES_H
#define POLICY_AUDIT_ENTRIES_H

#include <stdbool.h>
#include <stddef.h>

struct entry {
    char *where; /* "worker block 0, /etc/bao-virtio-dm.yaml"; "machine" */
    char *what;  /* a check, or what else has a value: ENTRY_PROGRAM, "kernel" */
    char *value;
};

/* The first entry of each process. Of a process that only one report has, this one is the change.
 */
#define ENTRY_PROGRAM "program"

/* What is no process. */
#define ENTRY_MACHINE "machine"
#define ENTRY_AUDITOR "auditor"
#define ENTRY_POLICIES "policies"
#define ENTRY_CONFIGURATIONS "configurations"

struct entries {
    size_t count;
    struct entry *items;
    bool out_of_memory;
};

void entries_add(struct entries *entries, const char *where, const char *what, const char *value);
void entries_free(struct entries *entries);

/* A process in words; `configuration` may be NULL or empty. */
void entries_name_process(const char *role, const char *name, const char *configuration, char *ret,
                          size_t size);

/* A program and its hash, which may be NULL or empty. */
void entries_program(const char *program, const char *hash, char *ret, size_t size);

struct entry_check {
    const char *where, *role, *check, *verdict, *expected, *found;
};

/*
 * Adds a check. Numbers that differ each time are left out: those of sockets and pipes, and the fd
 * numbers of processes that have no fixed ones. Files of the same kind of such a process are one
 * entry, since how many there are changes while it works.
 */
void entries_add_check(struct entries *entries, const struct entry_check *check);

struct change {
    const char *where, *what;
    const char *before, *after; /* NULL: not there */
};

struct changes {
    size_t count;
    struct change *items; /* their texts are the entries' */
};

/* What is different, in the order of `after`, then of `before`. Returns 0 or -ENOMEM. */
int changes_find(const struct entries *before, const struct entries *after, struct changes *ret);

#endif
