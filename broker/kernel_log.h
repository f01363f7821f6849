/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's log. It is read for one purpose only: to find for which system call a process was
 * killed. The kernel writes this audit record to its log if it is built with audit and no audit
 * daemon takes the records.
 */
#ifndef BROKER_KERNEL_LOG_H
#define BROKER_KERNEL_LOG_H

#include <stdbool.h>
#include <sys/types.h>

/* Open the log at its end. Call it before lock-down. Returns an fd, or -1 if it can't be opened. */
int kernel_log_open(void);

#define KERNEL_LOG_CALL_SIZE 48

/*
 * The next record of a process that a filter has killed, if there is one now: its pid, and the
 * call, "openat (257)". The kernel logs some time after the death, and skips records if there are
 * many. Returns false if there is none. When more come, the fd becomes readable.
 */
bool kernel_log_next(int kernel_log, pid_t *ret_pid, char ret_call[KERNEL_LOG_CALL_SIZE]);

#endif
