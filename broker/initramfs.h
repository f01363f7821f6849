/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BROKER_INITRAMFS_H
#define BROKER_INITRAMFS_H

#include <stdbool.h>

/* Is / the kernel's own rootfs, from which pivot_root(2) can't move away? `root`: the prefix of
 * /proc; "": this machine. Call it before lock-down. */
bool root_is_initramfs(const char *root);

#endif
