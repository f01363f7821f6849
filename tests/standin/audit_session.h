/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the audit share: asking the programs, and tampering with a process. */
#ifndef TESTS_STANDIN_AUDIT_SESSION_H
#define TESTS_STANDIN_AUDIT_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

extern char audit_answer[1 << 18]; /* of the last question, stderr included */

/* Runs a shell command; returns its exit status, or -1. */
int audit_ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* bao-seccomp, or bao-policy, with these arguments. */
int audit_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
int audit_run_policy(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether the answer has the text; says what was expected if it does not. */
bool audit_says(const char *text);

/* One more file for a process. Returns its number. */
long audit_add_fd(pid_t pid);

/* A file by its name, as the process sees it, opened for reading and writing. Returns its number.
 */
long audit_add_file(pid_t pid, const char *path);

/* Take away what one of these has added. */
void audit_remove_fd(pid_t pid, long fd);

/* One more filter, which denies nothing. */
void audit_add_filter(pid_t pid);

/* What it is permitted, it could hand on by exec as well. */
void audit_add_inheritable(pid_t pid);

#endif
