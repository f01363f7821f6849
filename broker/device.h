/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device, as the broker holds it: what was registered with the dispatcher and outlives
 * workers and brokers, its backend, its relay, its worker.
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
    uint32_t index;              /* in the configuration, and in messages */
    const struct device_config *config;
    const struct device_kind_info *info;
    uint64_t shmem_addr, shmem_size;

    int dm;
    enum bao_generation generation; /* of the driver behind it */
    int state_fd;                   /* this broker's own file on the state page: device_claim */
    int claim_fd;                   /* what device_claim has yet to lock; -1: nothing */
    int state_stored_fd;            /* what is stored of it */
    int journal_fd;
    int request, reply; /* eventfds, of the mailbox */
    int call, irq;      /* eventfds, of the interrupt: before the gate, and behind it */
    int kicks[STATE_QUEUES_MAX];
    uint32_t queue_count;
    uint32_t backend_fd_count; /* of its present worker */
    bool gone_said;            /* that its driver has given it up */
    bool claim_said;           /* that its first worker waits for device_claim */
    bool restored;             /* from a predecessor */
    bool unsaved;              /* what outlives a broker is yet to be handed to the keeper */
    struct state_page *state;
    struct journal *journal;

    struct backend backend;
    struct opening opening; /* of the backend */
    int64_t connector_at;   /* ms: when one may be started again */
    int backend_watched;    /* what the backend waits for before the next worker; -1: nothing */
    struct gate_line interrupt;
    struct relay relay;
    struct worker worker;
};

/* Of a device whose index is set: name, kind, and no fds. */
void device_init(struct device *device, const struct device_config *config);

/* The one with that id of the dispatcher's; NULL: there is none. */
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
 * broker; registers nothing yet, so that an error found afterwards leaves the dispatcher as it was.
 * Returns 0 or -errno, with *failure filled in.
 */
int device_create(struct device *device, const struct dispatcher *dispatcher,
                  struct failure *failure);

/* 0 if device_restore can take this; -EINVAL, with *failure filled in, if it is not this device as
 * configured now. Of the device, only what device_init has set counts. */
int device_refuses(const struct device *device, const struct message_store *stored, size_t fd_count,
                   struct failure *failure);

/*
 * Take over what a predecessor stored: `fds`, owned by the device on success. -EINVAL if it is
 * not this device as configured now. A state page that another version wrote is not read: the
 * device then starts from "needs reset" on another one.
 *
 * The predecessor may be one that an earlier keeper made and no one has reaped, with relay threads
 * in ATTACH. Two attachers crash the kernel. So each broker locks the journal (shared_page_claim),
 * in a file that it maps it by: whoever gets the lock knows that of the earlier ones no thread runs
 * any more, since a process gives up its memory after its last thread has left the kernel for good.
 * -EWOULDBLOCK if they do not go away within some seconds.
 */
int device_restore(struct device *device, const struct message_store *stored, const int *fds,
                   size_t fd_count, struct failure *failure);

/*
 * Is the last worker gone as well? It may be killed and yet stay for long, in the midst of a call
 * to its disk; and two workers on one page corrupt the guest. So broker and workers map the state
 * page by a file that is locked likewise. Never waits: 0, and the lock is this broker's from then
 * on; -EWOULDBLOCK: not yet; -errno. Before the first worker.
 */
int device_claim(struct device *device);

/* Hand copies to the keeper, and wait until it has them; then register the eventfds with the
 * dispatcher, as far as a predecessor has not. In this order: the registrations can't be taken
 * back, so someone must hold what is registered. */
int device_register(struct device *device, int keeper, struct failure *failure);

/* Set up the relay and the line of the gate, without starting them. `report`: see relay.h. */
void device_prepare_relay(struct device *device, int report);

/*
 * Between two workers: has the driver set DRIVER_OK? Only then may it be interrupted (VirtIO 1.2
 * §3.1.1). The answer is the last worker's word; all that a false one can do is what that worker
 * could do itself: interrupt its driver too often, or not at all.
 */
bool device_driver_ok(const struct device *device);

/*
 * Between two workers: the last one was ended on somebody's wish, or with its broker. Whatever it
 * was serving is not what it died of, and is not held against the driver
 * (worker/virtqueue/poison.h).
 */
void device_excuse_death(struct device *device);

/*
 * Between two workers: if the device was given up at some access, its driver was told values
 * that the state page does not hold. Make it a device that needs a reset (VirtIO 1.2 §2.1.2);
 * the interrupt of device_refresh_eventfds, which has to follow, tells the driver.
 */
void device_settle_given_up(struct device *device);

/*
 * Between two workers. The last one, or its daemon, may have filled a counter on purpose, and a
 * full counter is never signalled again (eventfd_renew); so REPLY and CALL are emptied. REQUEST and
 * the kicks are emptied and signalled once: a kick that waited there is the driver's, and one that
 * was taken may not have been served, so the successor looks at each queue. With `interrupt`
 * (device_driver_ok before device_settle_given_up) an interrupt is asked for, since nobody knows
 * whether the last worker came to ask for its own.
 */
void device_refresh_eventfds(struct device *device, bool interrupt);

#endif
