/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections for a worker that can make none itself: accepted from clients on this machine, or
 * made because its guest asks for one. The broker only hands them over; it never reads or writes.
 */
#ifndef BROKER_BACKEND_CONNECTIONS_H
#define BROKER_BACKEND_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/device.h"

/* Watch the device's listeners, edge-triggered, as `source`. Before lock-down. 0 or -errno. */
int connections_watch(const struct device *device, int epoll, uint32_t source);

/* Hand over the clients that wait, for a bounded time; while its worker is READY. Returns true if
 * there may be more. */
bool connections_accept(struct device *device);

/* A new worker is READY: it gets the client that its predecessor had, if the backend keeps him. */
void connections_resume(struct device *device);

/* The worker asks for a connection: make it, and answer. Returns NULL, or what is wrong with it. */
const char *connections_make(struct device *device, const struct message_connect *wanted,
                             int64_t now_ms);

#endif
