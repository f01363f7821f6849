/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel driver, and how it must be used, in each of its generations (generations.h). Where
 * they differ, this text is true of the worst one:
 *
 * - A: each DM_GET_INFO makes a DM file, and the last close of any of them frees the device inside
 *   the kernel. A frontend's next access then crashes the kernel. D: the last close destroys the
 *   device, and its frontend's accesses are completed with 0 from then on. So a device is asked for
 *   once in the life of the device model, and its file stays open in the keeper.
 * - A: two threads in ATTACH on one device corrupt the driver's list. So there is one relay thread
 *   for each device, and a new broker starts only after the old one was reaped.
 * - ATTACH is not pollable. How it ends without a request depends on the generation: see
 *   dispatcher_attach.
 * - COMPLETE believes the dm_id and op of the structure, and does not check them against the file.
 *   So no value from a worker or a guest ever gets into these fields.
 * - De-assigning an ioeventfd assigns it again, and a second eventfd on an address never fires. So
 *   each eventfd is made and registered once, and outlives workers and brokers.
 * - When the last copy of an irqfd's eventfd is closed, the driver cleans up some time later in a
 *   kernel worker. That worker uses the device, even if the last close of the DM file has freed it
 *   in the meantime. So at the end irqfds are taken back while the DM file is open; then the driver
 *   cleans up at once. ioeventfds need not be taken back.
 * - D: a process that has the node open can get any physical memory as a window. So only the broker
 *   opens the node, and only while it asks for devices. By then it has seen no byte of a guest.
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
    enum bao_generation generation; /* A may turn out to be B when the first device is asked for */
    int node;                       /* -1: not open, or generation C, which has no common node */
};

struct dispatcher_device {
    uint32_t id;         /* in */
    uint64_t shmem_addr; /* in if the driver has to be told it, else out; the same for the next two
                            fields */
    uint64_t shmem_size;
    uint32_t irq;
    enum bao_generation generation; /* out */
    int dm;                         /* out: the DM file, owned by the caller */
};

/*
 * Find which generation of the driver is there. Opens nothing. *ret->node is -1. Returns -ENOENT:
 * none; -EEXIST: there are nodes of two drivers; *failure says what to do.
 */
int dispatcher_find(struct dispatcher *ret, struct failure *failure);

/* Open the node, if there is one for all devices, and check that Bao's driver serves it. Returns
 * -ENOTTY if another driver does; -errno. *failure is filled in. Does not change the driver's
 * state. */
int dispatcher_open(struct dispatcher *dispatcher, struct failure *failure);
void dispatcher_close(struct dispatcher *dispatcher);

/* Ask for a device; only once (see above). Returns -errno with *failure filled in. */
int dispatcher_get_device(const struct dispatcher *dispatcher, struct dispatcher_device *device,
                          struct failure *failure);

/* After this, each write of `queue`'s index to QueueNotify signals the eventfd instead of becoming
 * a request. */
int dispatcher_add_kick(enum bao_generation generation, int dm, int eventfd, uint64_t mmio_addr,
                        uint32_t queue);

/* After this, each signal of the eventfd raises the frontend's interrupt. The driver never resets
 * the eventfd's counter. */
int dispatcher_add_irq(enum bao_generation generation, int dm, int eventfd);

/* Undo dispatcher_add_irq, before the DM file or the eventfd is closed for the last time. Allowed
 * even if it was never added. */
int dispatcher_remove_irq(enum bao_generation generation, int dm, int eventfd);

/*
 * Wait for the next request and take it. The kernel writes it into `slot` on success; on failure
 * `slot` is unchanged:
 *   -ETIME   the driver had no request until a signal came
 *   -EINTR   a signal came before the driver was asked
 *   -EAGAIN  another thread took the request: ask again
 *   -ENODEV  the device is gone for good: its driver was unloaded or its last file closed
 *   another  the driver can't be asked
 */
int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot);

/* Complete the request, so that the vCPU goes on. -EPERM: no request with that id is waiting. */
int dispatcher_complete(enum bao_generation generation, int dm,
                        const struct bao_io_request *request);

/* Does the driver return that for a device that is gone? Pure. */
bool dispatcher_is_gone(int result);

#endif
