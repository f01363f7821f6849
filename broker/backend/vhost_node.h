/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's vhost nodes, of which each open file is a device's part in the kernel. */
#ifndef BROKER_BACKEND_VHOST_NODE_H
#define BROKER_BACKEND_VHOST_NODE_H

#include <stdint.h>

/* Open one anew, as each worker needs it: the state is in the file. Returns the fd, to be closed by
 * the caller, with what the kernel offers (VHOST_GET_FEATURES) in *ret_features; or -errno. */
int vhost_node_open(const char *path, uint64_t *ret_features);

#endif
