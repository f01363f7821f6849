/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker says after lock-down: numbered messages to the broker, rate-limited.
 *
 * There is no clock behind the filter, so the limit counts messages. Of each code the first
 * LOG_BURST messages are sent, then those whose number is a power of two, until a second has passed
 * in which nothing happened at all.
 */
#ifndef WORKER_LOG_H
#define WORKER_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/log_code.h"

#define LOG_BURST 8u
#define LOG_QUIET_MS 1000

/* Set the device's index, for the messages' header. Call it before anything is logged. */
void log_init(uint32_t device);

/*
 * Send a message, if the limit allows. A message that the broker is too slow to take is dropped and
 * counted as suppressed.
 *
 * System calls: sendto on WORKER_FD_CONTROL, MSG_DONTWAIT | MSG_NOSIGNAL.
 */
void log_send(enum log_code code, const uint64_t args[4]);

#define log_event(code, ...) log_send((code), (const uint64_t[4]){__VA_ARGS__})

/* Does the limit still remember something, so that a quiet second matters? */
bool log_limited(void);

/* A quiet second has passed. */
void log_quiet(void);

#endif
