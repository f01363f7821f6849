/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and broker say to the user: one line on stderr a call, in one write, so that
 * lines of the two processes never mix within a line. No allocation, no stdio: works after
 * lock-down. Any thread.
 */
#ifndef BROKER_LOG_H
#define BROKER_LOG_H

#include <stdarg.h>

/* "bao-virtio-dm: text", or "bao-virtio-dm: DEVICE: text" when device is not NULL. Cut to 512
 * bytes; control characters (a file name may hold some) are replaced. */
void log_line(const char *device, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
