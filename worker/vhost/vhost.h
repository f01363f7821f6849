/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What devices share whose queues the kernel's vhost serves: WORKER_FD_BACKEND is the vhost file,
 * and its queues are the device's first ones.
 *
 * What needs no guest is done before lock-down (vhost_claim). After it, system calls on
 * WORKER_FD_BACKEND: ioctl with VHOST_SET_FEATURES, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
 * VHOST_SET_VRING_ADDR, and what starts and stops the kind; and write on the kick eventfds. All but
 * the second and third of these VRING ones take their values from the page of
 * worker/vhost/values.h, which a kind maps in device_ops.init.
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
 * Become the owner, and hand over the window and the eventfds of the first `queues` queues; errors
 * of theirs are reported on backend file `error_file`. In device_ops.confined: since Linux 6.4 the
 * kernel's part of the device runs in a thread of the owner's process, with the user, capabilities
 * and root that it has then. Two threads would also keep the process out of a user namespace of
 * its own. Returns 0 or -errno.
 */
int vhost_claim(const struct device *dev, unsigned int queues, unsigned int error_file);

/* "vhost call failed", for a caller that returns -EBADMSG, which it does. */
int vhost_fault(unsigned long request, int error, struct guest_fault *ret_fault);

/* Tell vhost which of `features`, for which the page of values was made, the driver has accepted,
 * and what the rings of its queues are: they have been checked. Returns 0; -EBADMSG with
 * *ret_fault. */
int vhost_program(const struct device *dev, unsigned int queues,
                  const struct vhost_features *features, struct guest_fault *ret_fault);

/*
 * Where the kernel, or a daemon, goes on in a ring: at the used index, which is 0 in a new ring,
 * and in one that a predecessor served the first chain that is not completed. Right for whoever
 * completes in order, as the kernel does, and leaves nothing half-done when it is stopped; a daemon
 * that does not keeps a buffer for requests in flight, which then counts. The guest could write
 * anything there; they cope with that, but the driver's mistake shall be named. Returns 0; -EBADMSG
 * with *ret_fault.
 */
int vhost_ring_base(const struct device *dev, unsigned int queue, uint16_t *ret_base,
                    struct guest_fault *ret_fault);

/* Once the kernel runs: what was made available before has had its kick, which nobody heard. */
void vhost_kick(const struct device *dev, unsigned int queues);

#endif
