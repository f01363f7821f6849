/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of confinement that broker and worker share. Callers must be single-threaded. */
#ifndef COMMON_CONFINE_H
#define COMMON_CONFINE_H

#include <stdint.h>

/*
 * Make the current directory the root. It must be a mount of its own, in a private mount namespace.
 * An initramfs can't be exchanged for another root; it can only be covered by one. Without
 * CAP_SYS_ADMIN and CAP_SYS_CHROOT there is no way back to what is covered. The caller then enters
 * "/". Needs both capabilities. Returns 0 or -errno.
 */
int confine_change_root(void);

/* The newest version of Landlock of which something is used here. A kernel may have a newer one. */
#define LANDLOCK_ABI_NEWEST 11

/* What a ruleset denies unless a rule allows it: struct landlock_ruleset_attr of the kernel,
 * without the fields that only say what is not to be logged. A kernel that lacks a field takes it
 * if it is 0. */
struct landlock_rights {
    uint64_t files;   /* LANDLOCK_ACCESS_FS_* */
    uint64_t network; /* LANDLOCK_ACCESS_NET_* */
    uint64_t scopes;  /* LANDLOCK_SCOPE_* */
};

/* Every right that this version of Landlock knows; none for 0. Of a newer version than
 * LANDLOCK_ABI_NEWEST: those of LANDLOCK_ABI_NEWEST. */
struct landlock_rights confine_landlock_rights(unsigned int abi);

/* The version to be used: the kernel's, or LANDLOCK_ABI_NEWEST if that is older. -EOPNOTSUPP if the
 * kernel has no Landlock; -errno. */
int confine_landlock_abi(void);

/* A ruleset before it is entered. */
struct landlock {
    unsigned int abi;
    int ruleset; /* -1: entered or dropped */
};

/* Makes a ruleset that denies everything. Returns as confine_landlock_abi() does, but 0 for
 * success. */
int confine_landlock_begin(struct landlock *ret);

/* Allows to open, read, write and control a device node. 0, also if nothing is there; -errno. */
int confine_landlock_allow_node(const struct landlock *landlock, const char *path);

/* Allows to connect to the sockets in a directory and below it, in any directory before ABI 9. 0,
 * also if nothing is there; -errno. */
int confine_landlock_allow_sockets(const struct landlock *landlock, const char *path);

/*
 * Enters the ruleset for good, and tries whether it holds: to open "/" must be refused. With ABI 7
 * and auditing on, the kernel's log then names this process and the refusal. Needs no_new_privs and
 * a single thread. The ruleset is dropped. 0; -ENOTRECOVERABLE if it does not hold; -errno.
 */
int confine_landlock_enter(struct landlock *landlock);

void confine_landlock_drop(struct landlock *landlock);

#endif
