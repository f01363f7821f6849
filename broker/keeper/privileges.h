/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper gives up before it runs anything. Its children inherit its bounding set and
 * its seccomp filter, so both must leave room for their start; they narrow their own.
 */
#ifndef BROKER_KEEPER_PRIVILEGES_H
#define BROKER_KEEPER_PRIVILEGES_H

/* Room for every device's fds. Before privileges_reduce. Returns 0 or -errno. */
int privileges_raise_fd_limit(void);

/*
 * Keep the capabilities of the table in privileges.c only, in all sets; no_new_privs; the seccomp
 * filter "keeper". Must be single-threaded. Returns 0, or -errno and in *ret_step what failed;
 * then the process must end.
 */
int privileges_reduce(const char **ret_step);

#endif
