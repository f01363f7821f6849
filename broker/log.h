/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: one line on stderr a call, in one write, so that
 * lines of the two processes never mix within a line. No allocation, no stdio: works after
 * lock-down. Any thread.
 *
 * Logging never waits. A pipe that nobody reads, a terminal that is stopped, a journal that is
 * stuck or a full disk lose lines; how many is told as soon as there is room again.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>
#include <stdbool.h>

#include "common/log_level.h"

/*
 * Once in a program that must not wait, before its lock-down, with a /proc: stderr becomes an open
 * file description of its own that does not block, or stays what does not need that: a socket,
 * which can be asked not to wait each time, or a file. Returns 0; -errno, and stderr may block.
 */
int log_prepare(void);

#define LOG_RETRY_MS 1000

/* If lines were lost, and there is room now, say how many. Returns false if there is none: to be
 * called again after LOG_RETRY_MS, unless another line is logged before. */
bool log_tell_lost(void);

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

/* Whole lines, as they are. */
void log_text(const char *text);

#define log_warning(...) log_at(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
