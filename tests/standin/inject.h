/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger's hand inside a live process: makes it carry out system calls as if somebody had
 * taken it over. Needs CAP_SYS_PTRACE. Not thread-safe: the thread that attached does the rest.
 */
#ifndef TESTS_STANDIN_INJECT_H
#define TESTS_STANDIN_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Stop it in a system call that it waits in, within 5 s. 0 or -errno. */
int inject_attach(pid_t pid);

/*
 * Have it make the call, by the very instruction by which it made its own last one; it is stopped
 * again afterwards. Returns 1 with *ret_result as from the kernel (-errno for an error); 0 if it
 * died of it, with the wait status in *ret_result; -errno.
 */
int inject_call(pid_t pid, long number, const long arguments[6], long *ret_result);

/* Bytes that the process does not need, below its stack: `size` of them up to 1024, written.
 * Returns their address, 0 if that failed. */
unsigned long inject_data(pid_t pid, const void *data, size_t size);

/*
 * Have it make the call without end, as fast as it can, by code that is written over its own; it is
 * let go, and needs no detaching. 0 or -errno.
 */
int inject_endless(pid_t pid, long number, const long arguments[6]);

/* The program of the index-th seccomp filter, the oldest being 0. Its length in instructions, or
 * -errno; -ENOENT if there are fewer. `filter` has room for BPF_MAXINSNS instructions. */
struct sock_filter;
int inject_get_filter(pid_t pid, unsigned int index, struct sock_filter *filter);

/* Let it go on where it was. 0 or -errno. */
int inject_detach(pid_t pid);

#endif
