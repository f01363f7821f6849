/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the supervisor: worker_start.c starts and ends workers, worker_messages.c takes
 * their messages, supervisor.c waits for all events and decides.
 */
#ifndef BROKER_SUPERVISION_H
#define BROKER_SUPERVISION_H

#include "broker/log.h"
#include "broker/supervisor.h"

/* The source of an event: the data of its epoll entry. The worker of device d is EVENT_WORKER_FIRST
 * + d, and so on. */
enum event_source {
    EVENT_KEEPER,
    EVENT_REPORT,
    EVENT_KERNEL_LOG,
    EVENT_CONTROL,
    EVENT_DMCTL_FIRST, /* a client of the control socket */
    EVENT_WORKER_FIRST = EVENT_DMCTL_FIRST + CONTROL_CLIENTS_MAX,
    EVENT_CLIENT_FIRST = EVENT_WORKER_FIRST + BAO_DEVICES_MAX,
    EVENT_BACKEND_FIRST = EVENT_CLIENT_FIRST + BAO_DEVICES_MAX,
    EVENT_OPENER_FIRST = EVENT_BACKEND_FIRST + BAO_DEVICES_MAX,
    EVENT_CONNECTOR_FIRST = EVENT_OPENER_FIRST + BAO_DEVICES_MAX,
};

/* The source of a log line about the device's worker. */
struct log_source supervision_source(const struct device *device);

/* A log line for something that a worker or a guest can cause. Its rate is limited. */
void supervision_log(struct device *device, enum log_level level, const char *text);

/* worker_start.c */

/* The worker is DUE, and nothing prevents its start: start a process, or set the time of the next
 * attempt. */
void supervision_start_worker(struct supervisor *supervisor, struct device *device);

/* Returns false if the device has to wait: then it is DUE again when the backend says. */
bool supervision_prepare_backend(struct supervisor *supervisor, struct device *device);

/* Let the backend write to the state page what its worker has to know. Returns true if the worker
 * has to look. */
bool supervision_look_at_backend(struct device *device);

/* End the worker. The keeper answers DIED once it is reaped. Harmless if it is dead already. */
void supervision_end_worker(struct supervisor *supervisor, struct device *device);
void supervision_end_because(struct supervisor *supervisor, struct device *device, const char *why);

void supervision_close_socket(struct worker *worker);

/* The worker was reaped, or could not be started: make the next one DUE. */
void supervision_schedule(struct device *device, const char *what_happened);

/* worker_messages.c */

/* Receive what a worker has sent. A worker that sends something forbidden is ended. */
void supervision_receive(struct supervisor *supervisor, struct device *device);

/* Continue to read from a worker that was left unread because its share of a millisecond was used
 * up. If it is too early, *ret_next is lowered to the time to call again. */
void supervision_listen(const struct supervisor *supervisor, struct device *device, int64_t now,
                        int64_t *ret_next);

#endif
