/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections for a worker that can make none itself: accepted from clients on this machine, or
 * made because its guest asks for one. The broker only hands them over; it never reads or writes.
 */
#ifndef BROKER_CONNECTIONS_H
#define BROKER_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/device.h"

/* Watch the device's listeners, edge-triggered, as `source`. Before lock-down. 0 or -errno. */
int connections_watch(const struct device *device, int epoll, uint32_t source);

/*
 * Hand over what there is: answers of the connector, and clients that wait; a bounded number, at a
 * bounded rate, and no more files than the worker may leave unread. While its worker is READY.
 * Returns NULL, or what is wrong with the worker; if *ret_again (ms) is lower than it was, there is
 * more to do then.
 */
const char *connections_serve(struct device *device, int64_t now_ms, int64_t *ret_again);

/* A new worker is READY: it gets the client that its predecessor had, if the backend keeps him. */
void connections_resume(struct device *device);

/* The worker asks for a connection. The answer comes by connections_serve, unless it can be given
 * at once. Returns NULL, or what is wrong with the worker. */
const char *connections_make(struct device *device, const struct message_connect *wanted);

#endif
