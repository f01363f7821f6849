/* SPDX-License-Identifier: Apache-2.0 */
/* bao-seccomp and bao-policy, run as their user runs them. */
#ifndef TESTS_UNIT_TOOL_H
#define TESTS_UNIT_TOOL_H

#include <stdbool.h>

extern char tool_answer[1 << 22]; /* what it wrote, including errors */

/* Runs the tool with arguments for the shell. Returns its exit status, or -1 if it died. */
int tool_run(const char *arguments);
int tool_run_policy(const char *arguments);

bool tool_says(const char *text);

#endif
