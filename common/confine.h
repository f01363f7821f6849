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

/*
 * A Landlock ruleset that denies every right that this kernel's version of Landlock knows. Returns
 * its fd, owned by the caller. *ret_node_rights gets those of the rights that a process needs to
 * open, read, write and control a device node (LANDLOCK_ACCESS_FS_*). -EOPNOTSUPP if the kernel has
 * no Landlock; -errno.
 */
int confine_landlock_ruleset(uint64_t *ret_node_rights);

/* Enter a ruleset for good. Needs no_new_privs. Returns 0 or -errno. */
int confine_landlock_enter(int ruleset);

#endif
