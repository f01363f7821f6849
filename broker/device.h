/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device, as the broker holds it: what was registered with the dispatcher and outlives workers
 * and brokers; its backend, its relay and its worker.
 */
#ifndef BROKER_DEVICE_H
#define BROKER_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backend/backend.h"
#include "broker/dispatcher.h"
#include "broker/failure.h"
#include "broker/opening.h"
#include "broker/relay.h"
#include "broker/worker.h"
#include "common/message.h"
#include "common/state.h"

struct device {
    char name[DEVICE_NAME_SIZE]; /* "vsock 0" */
    uint32_t index;              /* among the devices that the broker serves, and in messages */
    const struct device_config *config;
    const struct device_kind_info *info;
    uint64_t shmem_addr, shmem_size;

    int dm;
    enum bao_generation generation; /* of the driver that serves it */
    int state_fd;        /* this broker's own open file on the state page: device_claim */
    int claim_fd;        /* what device_claim still has to lock; -1: nothing */
    int state_stored_fd; /* the file on the state page that the keeper stores */
    int journal_fd;
    int request, reply; /* eventfds, of the mailbox */
    int call, irq;      /* eventfds of the interrupt: before and behind the gate */
    int kicks[STATE_QUEUES_MAX];
    uint32_t queue_count;
    uint32_t backend_fd_count; /* number of backend files that its present worker got */
    bool gone_said;            /* the log says that its driver has given it up */
    bool claim_said;           /* the log says that its first worker waits for device_claim */
    bool restored;             /* it was taken over from a predecessor */
    bool unsaved;              /* what outlives a broker still has to be handed to the keeper */
    struct state_page *state;
    struct journal *journal;

    struct backend backend;
    struct opening opening; /* how the backend is opened */
    int64_t connector_at;   /* ms: from this time on a connector may be started */
    int backend_watched;    /* fd that the backend waits for before the next worker; -1: none */
    struct gate_line interrupt;
    struct relay relay;
    struct worker worker;
};

/* Set up a device whose index is set: its name and kind, and no fds. */
void device_init(struct device *device, const struct device_config *config);

/* The device with that id of the dispatcher; NULL: there is none. */
static inline struct device *device_of_id(struct device *devices, size_t count, uint32_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (devices[i].config->id == id)
            return &devices[i];
    }
    return NULL;
}

/*
 * Ask the dispatcher for the device, if its DM file is not there yet, and make all that outlives a
 * broker. Registers nothing yet, so that an error that is found afterwards leaves the dispatcher as
 * it was. Returns 0 or -errno, with *failure filled in.
 */
int device_create(struct device *device, const struct dispatcher *dispatcher,
                  struct failure *failure);

/* Returns 0 if device_restore can take this; -EINVAL, with *failure filled in, if it is not this
 * device as it is configured now. Reads only those fields of the device that device_init has set.
 */
int device_refuses(const struct device *device, const struct message_store *stored, size_t fd_count,
                   struct failure *failure);

/*
 * Take over what a predecessor stored. `fds` are owned by the device on success. Returns -EINVAL if
 * this is not the device as it is configured now. A state page that another version wrote is not
 * read: the device then gets a new page and starts from "needs reset".
 *
 * The predecessor may be a broker of an earlier keeper that no one has reaped, and its relay
 * threads may be in ATTACH. Two threads in ATTACH crash the kernel. So each broker locks the
 * journal (shared_page_claim), by the open file that it maps the journal with. A broker that gets
 * the lock knows that no thread of the earlier brokers runs any more: a process gives up its memory
 * only after its last thread has left the kernel for good. Returns -EWOULDBLOCK if the earlier
 * brokers do not end within some seconds.
 */
int device_restore(struct device *device, const struct message_store *stored, const int *fds,
                   size_t fd_count, struct failure *failure);

/*
 * Is the last worker gone as well? A worker that was killed may still stay for long, in the middle
 * of a call to its disk; and two workers on one page corrupt the guest. So the broker and its
 * workers map the state page by an open file that is locked in the same way. Never waits. Returns
 * 0: the lock is this broker's from then on; -EWOULDBLOCK: the last worker is not gone yet; -errno.
 * Call it before the first worker.
 */
int device_claim(struct device *device);

/* Hand copies to the keeper, and wait until it has them. Then register the eventfds with the
 * dispatcher, unless a predecessor has done so. The order matters: the registrations can't be taken
 * back, so someone must hold what is registered. */
int device_register(struct device *device, int keeper, struct failure *failure);

/* Set up the relay and the gate's line, without starting them. `report`: see relay.h. */
void device_prepare_relay(struct device *device, int report);

/*
 * Between two workers: has the driver set DRIVER_OK? Only then may it be interrupted (VirtIO 1.2
 * §3.1.1). The last worker wrote this answer. A false answer can do only what that worker could do
 * itself: interrupt its driver too often, or not at all.
 */
bool device_driver_ok(const struct device *device);

/*
 * Between two workers: the last worker was ended because somebody asked for it, or ended with its
 * broker. What it was serving did not cause its death, and is not held against the driver
 * (worker/virtqueue/poison.h).
 */
void device_excuse_death(struct device *device);

/*
 * Between two workers: if the device was given up at some access, its driver was told values that
 * the state page does not hold. Make it a device that needs a reset (VirtIO 1.2 §2.1.2).
 * device_refresh_eventfds has to follow; its interrupt tells the driver.
 */
void device_settle_given_up(struct device *device);

/*
 * Between two workers. The last worker, or its daemon, may have filled a counter on purpose, and a
 * full counter is never signalled again (eventfd_renew). So REPLY and CALL are emptied. REQUEST and
 * the kicks are emptied and signalled once: a kick that waited there is the driver's, and a kick
 * that was taken may not have been served, so the successor looks at each queue. With `interrupt`
 * (the result of device_driver_ok before device_settle_given_up) an interrupt is raised, since
 * nobody knows whether the last worker had time to ask for its own.
 */
void device_refresh_eventfds(struct device *device, bool interrupt);

#endif
