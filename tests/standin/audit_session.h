/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the audit share: running the programs, and changing a process. */
#ifndef TESTS_STANDIN_AUDIT_SESSION_H
#define TESTS_STANDIN_AUDIT_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

extern char audit_answer[1 << 18]; /* the output of the last command, with stderr */

/* Runs a shell command; returns its exit status, or -1. */
int audit_ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Run bao-seccomp, or bao-policy, with these arguments. */
int audit_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
int audit_run_policy(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether the answer contains the text. If not, prints what was expected. */
bool audit_says(const char *text);

/* Give a process one more fd. Returns its number. */
long audit_add_fd(pid_t pid);

/* Make the process open a file for reading and writing, by a path as the process sees it. Returns
 * the fd number. */
long audit_add_file(pid_t pid, const char *path);

/* Close an fd that one of these functions has added. */
void audit_remove_fd(pid_t pid, long fd);

/* Give the process one more filter, which denies nothing. */
void audit_add_filter(pid_t pid);

/* Make the process's permitted capabilities inheritable, so that it could also hand them on by
 * exec. */
void audit_add_inheritable(pid_t pid);

#endif
