/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel driver, as it must be treated:
 *
 * - A DM file is made at each DM_GET_INFO, and the last close of any frees the device inside the
 *   kernel, which a frontend's next access then crashes. So DM_GET_INFO is called once a device
 *   in the life of the device model, and the file stays open in the keeper.
 * - Two threads in ATTACH on one device corrupt the driver's list: one relay thread a device,
 *   and a new broker only after the old one was reaped.
 * - ATTACH is not pollable, and any signal ends it with EFAULT, the buffer unchanged.
 * - COMPLETE believes the structure's dm_id and op, not the file. So nothing that a worker or a
 *   guest supplied ever gets into them.
 * - De-assigning an ioeventfd assigns it again, and a second eventfd on an address never fires. So
 *   each eventfd is made and registered once, and outlives workers and brokers.
 * - When the last copy of an irqfd's eventfd is closed, the driver cleans up in a worker thread of
 *   the kernel's, some time later, and uses the device for it, whether or not the last close of
 *   the DM file has freed that meanwhile. So at the end irqfds are taken back while the DM file is
 *   open, which cleans up at once; ioeventfds need not be.
 *
 * Functions return 0 or -errno, do not log, and may be called by any thread.
 */
#ifndef BROKER_DISPATCHER_H
#define BROKER_DISPATCHER_H

#include <stdint.h>

#include "common/bao_abi.h"

/* Open BAO_DISPATCHER_NODE. Returns the fd or -errno. */
int dispatcher_open(void);

/* *ret_info: the window, and a new DM file, owned by the caller. -EINVAL: no such id in the
 * device tree. */
int dispatcher_get_info(int node, uint32_t id, struct bao_dm_info *ret_info);

/* Each write of `queue`'s index to QueueNotify signals the eventfd instead of becoming a request.
 */
int dispatcher_add_kick(int dm, int eventfd, uint64_t mmio_addr, uint32_t queue);

/* Each signal of the eventfd raises the frontend's interrupt. Its counter is never consumed. */
int dispatcher_add_irq(int dm, int eventfd);

/* Take that back, before the DM file or the eventfd is closed for the last time. Also if it was
 * never added. */
int dispatcher_remove_irq(int dm, int eventfd);

/*
 * Take the next request, waiting for it. The kernel writes it into `slot` on success; on failure
 * `slot` is unchanged: -EFAULT (or -EINTR) after a signal.
 */
int dispatcher_attach(int dm, struct bao_io_request *slot);

/* Let the vCPU go on. -EPERM: no request with that id is waiting. */
int dispatcher_complete(int dm, const struct bao_io_request *request);

#endif
