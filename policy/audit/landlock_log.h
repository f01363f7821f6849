/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock in the kernel's log. No kernel shows from outside which processes Landlock confines. But
 * from Linux 6.15 on it logs what a domain refuses, if auditing is on (audit=1), and who has made
 * the domain. Each confined process tries at its start what must be refused (common/confine.h).
 */
#ifndef POLICY_AUDIT_LANDLOCK_LOG_H
#define POLICY_AUDIT_LANDLOCK_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Does this record of /dev/kmsg say that a domain which `pid` has made at `since` or later has
 * refused something? `since`: microseconds since the machine was started. *ret: the domain's
 * number. */
bool landlock_log_tells(const char *record, pid_t pid, long long since, uint64_t *ret);

/*
 * Looks through the kernel's log for such a record of a process. False if there is none: it may be
 * overwritten, dropped (kernel.printk_ratelimit), or be with auditd instead; or if the log can't be
 * read, or has other pids than this process sees.
 */
bool landlock_log_find(pid_t pid, uint64_t *ret);

#endif
