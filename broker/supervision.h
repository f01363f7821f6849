/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's parts: worker_start.c starts and ends workers, worker_messages.c takes what they
 * say, supervisor.c waits for everything and decides.
 */
#ifndef BROKER_SUPERVISION_H
#define BROKER_SUPERVISION_H

#include "broker/log.h"
#include "broker/supervisor.h"

/* What an event is about: the data of its epoll entry. Device d is EVENT_WORKER_FIRST + d, and so
 * on. */
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

/* Of a line about the device's worker. */
struct log_source supervision_source(const struct device *device);

/* For what a worker or a guest can cause. */
void supervision_log(struct device *device, enum log_level level, const char *text);

/* worker_start.c */

/* Due, and nothing in its way: a process, or the next time when it is due. */
void supervision_start_worker(struct supervisor *supervisor, struct device *device);

/* Returns false if the device has to wait: it is DUE again as the backend says. */
bool supervision_prepare_backend(struct supervisor *supervisor, struct device *device);

/* Let the backend write what its worker is to know. Returns true if that is new. */
bool supervision_look_at_backend(struct device *device);

/* The keeper answers with DIED once it is reaped; harmless if it is dead already. */
void supervision_end_worker(struct supervisor *supervisor, struct device *device);
void supervision_end_because(struct supervisor *supervisor, struct device *device, const char *why);

void supervision_close_socket(struct worker *worker);

/* It is reaped, or there never was one: make the next one DUE. */
void supervision_schedule(struct device *device, const char *what_happened);

/* worker_messages.c */

/* What a worker has sent; what it must not send is the end of it. */
void supervision_receive(struct supervisor *supervisor, struct device *device);

/* Read on where it was left off, since a millisecond had its share; else *ret_next is when. */
void supervision_listen(const struct supervisor *supervisor, struct device *device, int64_t now,
                        int64_t *ret_next);

#endif
