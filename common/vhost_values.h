/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values that the worker of a vhost device passes to the kernel by pointer, and that matter for
 * security. A seccomp filter sees the pointer, but not the value. So a worker that was taken over
 * could write any value to its memory, and with some feature bits vhost does more than this device
 * needs (with ACCESS_PLATFORM, it allocates memory that belongs to no process). Therefore the few
 * values that are ever needed are in one page, at an address that policies can name. The worker
 * fills the page and makes it read-only before lock-down (worker/vhost/values.c), and no call that
 * it may make afterwards changes a mapping.
 *
 * The address is free in every process of the three architectures, whatever the size of pages and
 * of the address space (riscv64 with sv39 has the smallest, 2^38): static PIEs, stacks and mappings
 * are at the upper end.
 */
#ifndef COMMON_VHOST_VALUES_H
#define COMMON_VHOST_VALUES_H

#define VHOST_VALUES 0x20000000
#define VHOST_VALUES_SIZE 0x1000

/* Each table, and the bits of an address within it. A table begins at a multiple of its size. */

/* For VHOST_SET_FEATURES, uint64_t: bit n of the index chooses the n-th feature of the kind. */
#define VHOST_VALUES_FEATURES (VHOST_VALUES + 0x000)
#define VHOST_VALUES_FEATURES_BITS 0x38
#define VHOST_VALUES_CHOICES 3

/* For VHOST_SET_VRING_NUM, struct vhost_vring_state: index 16 * queue + log2 of the size. */
#define VHOST_VALUES_NUM (VHOST_VALUES + 0x100)
#define VHOST_VALUES_NUM_BITS 0xf8

/* For VHOST_NET_SET_BACKEND, struct vhost_vring_file: index 2 * queue + (1: the tap, 0: none). */
#define VHOST_VALUES_BACKEND (VHOST_VALUES + 0x200)
#define VHOST_VALUES_BACKEND_BITS 0x18

/* For VHOST_VSOCK_SET_RUNNING, int: 0 and 1. */
#define VHOST_VALUES_RUNNING (VHOST_VALUES + 0x220)
#define VHOST_VALUES_RUNNING_BITS 0x4

#define VHOST_VALUES_QUEUES 2 /* that vhost serves: rx and tx, of both kinds */

#endif
