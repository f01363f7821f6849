/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's log, for one thing only: which system call a process was killed for. The kernel's
 * audit record says so where it is built with audit, and no audit daemon takes the records away.
 */
#ifndef BROKER_KERNEL_LOG_H
#define BROKER_KERNEL_LOG_H

#include <stdbool.h>
#include <sys/types.h>

/* Before lock-down: open it, at its end. Returns an fd, or -1 where it can't be had. */
int kernel_log_open(void);

#define KERNEL_LOG_CALL_SIZE 48

/*
 * The next record of a process that a filter has killed, if there is one now: its pid, and the
 * call, "openat (257)". The kernel logs some time after the death, and not every one where there
 * are many. Returns false if there is none; readiness of the fd tells of more.
 */
bool kernel_log_next(int kernel_log, pid_t *ret_pid, char ret_call[KERNEL_LOG_CALL_SIZE]);

#endif
