/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's main thread, once everything is open and locked: starts a worker for each device,
 * replaces it when it dies, misses a deadline or says what it must not, and prints what workers
 * report. No message of a worker can do more than end that worker.
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
    int report; /* eventfd: a relay, or who waits for entropy, has something to say */
    struct gate gate;
    struct gate_line *lines[BAO_DEVICES_MAX]; /* of the devices, for the gate */
    struct control control;
    int64_t control_at; /* ms: when clients of it are accepted again; 0: they are */
    int kernel_log;     /* broker/kernel_log.h; -1: none */
    struct entropy entropy;
    struct opening_context opening;
    struct device *devices;
    size_t device_count;
    int64_t look_at; /* ms: when backends are looked at again */
    bool abandoned;  /* end, and leave what is in hand to a successor */
};

/* Make the epoll instance and watch keeper and relays. Before lock-down. Returns 0 or -errno. */
int supervisor_init(struct supervisor *supervisor);

/* Replace a device's worker because somebody wants it, with no pause for past deaths. Returns 0;
 * EAGAIN if it is being replaced already. */
int supervisor_restart(struct supervisor *supervisor, struct device *device);

/* Run until the keeper says STOP, or is gone. Returns the exit status. */
int supervisor_run(struct supervisor *supervisor);

#endif
