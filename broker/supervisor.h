/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's main thread, once everything is open and locked down. It starts a worker for each
 * device. It replaces the worker when it dies, misses a deadline or sends a forbidden message. It
 * prints what workers report. A message of a worker can at worst end that worker.
 */
#ifndef BROKER_SUPERVISOR_H
#define BROKER_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/control.h"
#include "broker/device.h"
#include "broker/entropy.h"

struct supervisor {
    int epoll;
    int keeper; /* socket */
    int report; /* eventfd: a relay, or the thread that waits for entropy, has something to say */
    struct gate gate;
    struct gate_line *lines[BAO_DEVICES_MAX]; /* one for each device, for the gate */
    struct control control;
    int64_t control_at; /* ms: when its clients are accepted again; 0: they are accepted now */
    int kernel_log;     /* broker/kernel_log.h; -1: none */
    struct entropy entropy;
    struct opening_context opening;
    struct device *devices;
    size_t device_count;
    int64_t look_at; /* ms: when backends are looked at again */
    bool abandoned;  /* end, and leave unfinished requests to a successor */
};

/* Make the epoll instance and watch keeper and relays. Before lock-down. Returns 0 or -errno. */
int supervisor_init(struct supervisor *supervisor);

/* Replace a device's worker because a user asks for it. There is no pause because of past deaths.
 * Returns 0; EAGAIN if it is being replaced already. */
int supervisor_restart(struct supervisor *supervisor, struct device *device);

/* Run until the keeper says STOP, or is gone. Returns the exit status. */
int supervisor_run(struct supervisor *supervisor);

#endif
