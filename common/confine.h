/* SPDX-License-Identifier: Apache-2.0 */
/* What broker and worker both do to lock themselves up. Single-threaded callers only. */
#ifndef COMMON_CONFINE_H
#define COMMON_CONFINE_H

#include <stdint.h>

/*
 * Make the current directory, a mount of its own in a private mount namespace, the root. An
 * initramfs cannot be exchanged for another root, only covered by one; without CAP_SYS_ADMIN and
 * CAP_SYS_CHROOT nothing leads back under it. The caller then enters "/". Needs both
 * capabilities. Returns 0 or -errno.
 */
int confine_change_root(void);

/*
 * A Landlock ruleset that denies every right which this kernel's version of Landlock knows.
 * Returns its fd, owned by the caller, and in *ret_node_rights the rights of it that opening,
 * reading, writing and controlling a device node takes (LANDLOCK_ACCESS_FS_*);
 * -EOPNOTSUPP if the kernel has no Landlock; -errno.
 */
int confine_landlock_ruleset(uint64_t *ret_node_rights);

/* Enter a ruleset for good. Needs no_new_privs. Returns 0 or -errno. */
int confine_landlock_enter(int ruleset);

#endif
