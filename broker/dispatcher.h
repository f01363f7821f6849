/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel driver, as it must be treated, in whichever generation (generations.h). Where they
 * differ, what is said here is true of the worst:
 *
 * - A: a DM file is made at each DM_GET_INFO, and the last close of any frees the device inside the
 *   kernel, which a frontend's next access then crashes. D: the last close destroys the device,
 *   and its frontend's accesses are completed with 0 from then on. So a device is asked for once
 *   in the life of the device model, and the file stays open in the keeper.
 * - A: two threads in ATTACH on one device corrupt the driver's list: one relay thread a device,
 *   and a new broker only after the old one was reaped.
 * - ATTACH is not pollable. How it ends without a request depends on the generation:
 *   dispatcher_attach.
 * - COMPLETE believes the structure's dm_id and op, not the file. So nothing that a worker or a
 *   guest supplied ever gets into them.
 * - De-assigning an ioeventfd assigns it again, and a second eventfd on an address never fires. So
 *   each eventfd is made and registered once, and outlives workers and brokers.
 * - When the last copy of an irqfd's eventfd is closed, the driver cleans up in a worker thread of
 *   the kernel's, some time later, and uses the device for it, whether or not the last close of
 *   the DM file has freed that meanwhile. So at the end irqfds are taken back while the DM file is
 *   open, which cleans up at once; ioeventfds need not be.
 * - D: whoever holds the node can have any physical memory as a window. So the node is open for
 *   as long as devices are asked for, in the broker, which has seen no byte of a guest by then.
 *
 * Functions return 0 or -errno, do not log, and may be called by any thread.
 */
#ifndef BROKER_DISPATCHER_H
#define BROKER_DISPATCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/failure.h"
#include "broker/generations.h"

struct dispatcher {
    enum bao_generation generation; /* A may turn out to be B with the first device */
    int node;                       /* -1: C has none for all devices, or it is not open */
};

struct dispatcher_device {
    uint32_t id;         /* in */
    uint64_t shmem_addr; /* in if the generation is told, else out, as are the next two */
    uint64_t shmem_size;
    uint32_t irq;
    enum bao_generation generation; /* out */
    int dm;                         /* out: the DM file, owned by the caller */
};

/*
 * Which generation is there? Opens nothing. *ret->node is -1. -ENOENT: none; -EEXIST: nodes of two
 * drivers; *failure says what to do.
 */
int dispatcher_find(struct dispatcher *ret, struct failure *failure);

/* Open the node, if there is one for all devices, and see that Bao's driver answers there: -ENOTTY
 * if somebody else does; -errno. *failure is filled in. Leaves the driver as it was. */
int dispatcher_open(struct dispatcher *dispatcher, struct failure *failure);
void dispatcher_close(struct dispatcher *dispatcher);

/* Ask for a device, once (see above). -errno with *failure filled in. */
int dispatcher_get_device(const struct dispatcher *dispatcher, struct dispatcher_device *device,
                          struct failure *failure);

/* Each write of `queue`'s index to QueueNotify signals the eventfd instead of becoming a request.
 */
int dispatcher_add_kick(enum bao_generation generation, int dm, int eventfd, uint64_t mmio_addr,
                        uint32_t queue);

/* Each signal of the eventfd raises the frontend's interrupt. Its counter is never consumed. */
int dispatcher_add_irq(enum bao_generation generation, int dm, int eventfd);

/* Take that back, before the DM file or the eventfd is closed for the last time. Also if it was
 * never added. */
int dispatcher_remove_irq(enum bao_generation generation, int dm, int eventfd);

/*
 * Take the next request, waiting for it. The kernel writes it into `slot` on success; on failure
 * `slot` is unchanged:
 *   -ETIME   the driver had none, until a signal came
 *   -EINTR   a signal, before the driver was asked
 *   -EAGAIN  somebody else took it: ask again
 *   -ENODEV  the device is gone for good, its driver unloaded or its last file closed
 *   another  the driver can't be asked
 */
int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot);

/* Let the vCPU go on. -EPERM: no request with that id is waiting. */
int dispatcher_complete(enum bao_generation generation, int dm,
                        const struct bao_io_request *request);

/* Is that what the driver says of a device that is gone? Pure. */
bool dispatcher_is_gone(int result);

#endif
