/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper gives up before it runs anything. Its children inherit its bounding set and its
 * seccomp filter, so both must allow their start; the children narrow their own.
 */
#ifndef BROKER_KEEPER_PRIVILEGES_H
#define BROKER_KEEPER_PRIVILEGES_H

#include <stdbool.h>

/* Raise the limit of open files, for the fds of all devices. Before privileges_reduce. Returns 0 or
 * -errno. */
int privileges_raise_fd_limit(void);

/*
 * Does one of these configurations ask for io_uring? The keeper does not parse them: it looks for
 * the word. `path`: the user's file; `before`: the text of an earlier start, or -1. A file that can
 * be read only once counts as if it asked.
 */
bool privileges_ring_wanted(const char *path, int before);

/*
 * Keep only the capabilities of the table in privileges.c, in all sets; set no_new_privs; load the
 * seccomp filter "keeper", or with `ring` "keeper_uring". The process must be single-threaded.
 * Returns 0; or -errno, with the failed step in *ret_step: then the process must end.
 */
int privileges_reduce(bool ring, const char **ret_step);

#endif
