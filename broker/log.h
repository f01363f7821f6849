/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: one line on stderr a call, in one write, so that
 * lines of the two processes never mix within a line. No allocation, no stdio: works after
 * lock-down. Any thread.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#include "common/log_level.h"

/* LOG_LEVEL_INFO at first. Any thread. */
enum log_level log_level(void);
void log_set_level(enum log_level level);
/* Is what has this level said at present? */
bool log_says(enum log_level level);
/* "error", "warning", ...; NULL if there is no such level. */
const char *log_level_name(unsigned int level);

/* "bao-virtio-dm: text", or "bao-virtio-dm: DEVICE: text" when device is not NULL, if that level is
 * said. Cut to 512 bytes; control characters (a file name may hold some) are replaced. */
void log_at(enum log_level level, const char *device, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An error. */
void log_line(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
