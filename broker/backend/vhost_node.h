/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's vhost nodes. Each open file of a node is the kernel's part of one device. */
#ifndef BROKER_BACKEND_VHOST_NODE_H
#define BROKER_BACKEND_VHOST_NODE_H

#include <stdint.h>

/* Open a node again, as each worker needs it: the state is in the open file. Returns the fd, which
 * the caller closes, with the features that the kernel offers (VHOST_GET_FEATURES) in
 * *ret_features; or -errno. */
int vhost_node_open(const char *path, uint64_t *ret_features);

#endif
