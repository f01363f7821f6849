/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections for a worker that can't make any itself. They are accepted from clients on this
 * machine, or made because the worker's guest asks for one. The broker only hands them over; it
 * never reads from them or writes to them.
 */
#ifndef BROKER_CONNECTIONS_H
#define BROKER_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/device.h"

/* Watch the device's listeners, edge-triggered, as `source`. Call it before lock-down. Returns 0 or
 * -errno. */
int connections_watch(const struct device *device, int epoll, uint32_t source);

/*
 * Hand over what has come: answers of the connector, and clients that wait. The number and the rate
 * are bounded, and no more files are sent than the worker may leave unread. Call it while the
 * worker is READY. Returns NULL, or what is wrong with the worker. *ret_again (ms) is lowered if
 * there is more to do at that time.
 */
const char *connections_serve(struct device *device, int64_t now_ms, int64_t *ret_again);

/* A new worker is READY: it gets the client of its predecessor, if the backend keeps it. */
void connections_resume(struct device *device);

/* The worker asks for a connection. connections_serve sends the answer, unless it can be given at
 * once. Returns NULL, or what is wrong with the worker. */
const char *connections_make(struct device *device, const struct message_connect *wanted);

#endif
