/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock device served by the kernel's vhost. Its state is in the vhost file. Therefore that file
 * is opened again for each worker, and the broker keeps no copy of it: with a copy, the CID would
 * stay taken after the worker's death.
 */
#include <errno.h>
#include <linux/vhost.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "broker/backend/backend.h"
#include "broker/backend/vhost_node.h"

#define NODE "/dev/vhost-vsock"
#define NODE_IN_ROOT "/vhost-vsock"

/* After a worker was killed, the kernel takes some time to release its CID. */
#define CID_RETRIES 20
#define CID_RETRY_MS 25

static int open_with_cid(const char *node, uint32_t guest_cid, uint64_t *ret_features)
{
    int fd = vhost_node_open(node, ret_features);
    if (fd < 0)
        return fd;
    uint64_t cid = guest_cid;
    if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int vsock_open(struct backend *backend, enum config_key *ret_key, struct failure *failure)
{
    const struct device_config *config = backend->config;
    const struct timespec pause = {.tv_nsec = CID_RETRY_MS * 1000000L};
    uint64_t features;
    int fd = -EADDRINUSE;

    *ret_key = CONFIG_KEY_DATA_PLANE;
    if (access(NODE, F_OK) < 0)
        return failure_set(failure, -errno, "%s: %s: load the module with \"modprobe vhost_vsock\"",
                           NODE, strerror(errno));
    for (int i = 0; fd == -EADDRINUSE && i < CID_RETRIES; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        fd = open_with_cid(NODE, config->guest_cid, &features);
    }
    if (fd == -EADDRINUSE) {
        *ret_key = CONFIG_KEY_GUEST_CID;
        return failure_set(failure, fd,
                           "guest_cid %u is in use by another virtual machine: choose another, or "
                           "end that one",
                           config->guest_cid);
    }
    if (fd == -ENOENT || fd == -ENODEV)
        return failure_set(failure, fd, "%s: %s: load the module with \"modprobe vhost_vsock\"",
                           NODE, strerror(-fd));
    if (fd < 0)
        return failure_set(failure, fd, "%s: %s", NODE, strerror(-fd));
    close(fd);
    return 0;
}

static int vsock_give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    uint64_t features;
    int vhost = open_with_cid(NODE_IN_ROOT, backend->config->guest_cid, &features);
    if (vhost < 0)
        return vhost;
    int ring_error = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ring_error < 0) {
        int error = errno;
        close(vhost);
        return -error;
    }
    start->of_kind.vsock = (struct start_vsock){
        .guest_cid = backend->config->guest_cid,
        .vhost_features = features,
    };
    *ret = (struct backend_fds){.fds = {vhost, ring_error}, .count = 2, .owned = true};
    return 0;
}

const struct backend_ops backend_vsock_vhost = {
    .node = NODE,
    .node_in_root = NODE_IN_ROOT,
    .calls_without_worker = true,
    .open = vsock_open,
    .give = vsock_give,
};
