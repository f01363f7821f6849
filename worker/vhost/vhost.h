/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is common to devices whose queues the kernel's vhost serves. WORKER_FD_BACKEND is the vhost
 * file, and its queues are the first ones of the device.
 *
 * What needs no guest is done before lock-down (vhost_claim). After it, system calls on
 * WORKER_FD_BACKEND: ioctl with VHOST_SET_FEATURES, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
 * VHOST_SET_VRING_ADDR, and the requests that start and stop the kind; and write on the kick
 * eventfds. All of these except VHOST_SET_VRING_BASE and VHOST_SET_VRING_ADDR take their values
 * from the page of worker/vhost/values.h, which a kind maps in device_ops.init.
 */
#ifndef WORKER_VHOST_H
#define WORKER_VHOST_H

#include <linux/vhost.h>
#include <stdint.h>

#include "worker/device.h"
#include "worker/vhost/values.h"

/* One ioctl on the vhost file. Returns 0 or -errno. */
int vhost_call(unsigned long request, const void *argument);

/*
 * Become the owner, and hand over the window and the eventfds of the first `queues` queues. Errors
 * of these queues are reported on backend file `error_file`. Call it in device_ops.confined: since
 * Linux 6.4 the kernel's part of the device runs in a thread of the owner's process, with the user,
 * capabilities and root that the process has at that time. Two threads would also keep the process
 * out of a user namespace of its own. Returns 0 or -errno.
 */
int vhost_claim(const struct device *dev, unsigned int queues, unsigned int error_file);

/* Set *ret_fault to "vhost call failed", and return -EBADMSG for the caller to return. */
int vhost_fault(unsigned long request, int error, struct guest_fault *ret_fault);

/* Tell vhost which of `features` the driver has accepted, and where the rings of its queues are.
 * The page of values was made for `features`, and the rings have been checked. Returns 0; -EBADMSG
 * with *ret_fault. */
int vhost_program(const struct device *dev, unsigned int queues,
                  const struct vhost_features *features, struct guest_fault *ret_fault);

/*
 * Where the kernel, or a daemon, goes on in a ring: at the used index. It is 0 in a new ring. In a
 * ring that a predecessor served it is the first chain that is not completed. That is right for a
 * side that completes in order, as the kernel does, and leaves nothing half-done when it is
 * stopped. A daemon that does not work so keeps a buffer for requests in flight, and that buffer
 * counts then. The guest could write any used index. Kernel and daemon can handle that, but the
 * driver's mistake shall be reported. Returns 0; -EBADMSG with *ret_fault.
 */
int vhost_ring_base(const struct device *dev, unsigned int queue, uint16_t *ret_base,
                    struct guest_fault *ret_fault);

/* Kick the queues when the kernel has started: chains that were made available before had their
 * kick when nobody listened. */
void vhost_kick(const struct device *dev, unsigned int queues);

#endif
