/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: one line on stderr a call, in one write, so that
 * lines of the two processes never mix within a line. No allocation, no stdio: works after
 * lock-down. Any thread.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>

enum log_level {
    LOG_LEVEL_WARNING, /* what is wrong, or may be */
    LOG_LEVEL_INFO,    /* what happens as well */
    LOG_LEVELS,
};

/* LOG_LEVEL_INFO at first. Any thread. */
enum log_level log_level(void);
void log_set_level(enum log_level level);

/* "bao-virtio-dm: text", or "bao-virtio-dm: DEVICE: text" when device is not NULL. Cut to 512
 * bytes; control characters (a file name may hold some) are replaced. */
void log_line(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, for what is not wrong: not at LOG_LEVEL_WARNING. */
void log_info(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
