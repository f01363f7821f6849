/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keeper gives up before it runs anything. Its children inherit its bounding set and its
 * seccomp filter, so both must allow their start; the children narrow their own.
 */
#ifndef BROKER_KEEPER_PRIVILEGES_H
#define BROKER_KEEPER_PRIVILEGES_H

/* Raise the limit of open files, for the fds of all devices. Before privileges_reduce. Returns 0 or
 * -errno. */
int privileges_raise_fd_limit(void);

/*
 * Keep only the capabilities of the table in privileges.c, in all sets; set no_new_privs; load the
 * seccomp filter "keeper". The process must be single-threaded. Returns 0; or -errno, with the
 * failed step in *ret_step: then the process must end.
 */
int privileges_reduce(const char **ret_step);

#endif
