/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A debugger that works inside a live process: it makes the process do system calls, as if somebody
 * had taken it over. Needs CAP_SYS_PTRACE. Not thread-safe: the thread that attached must make the
 * other calls.
 */
#ifndef TESTS_STANDIN_INJECT_H
#define TESTS_STANDIN_INJECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Stop the process in a system call in which it waits, within 5 s. Returns 0 or -errno. */
int inject_attach(pid_t pid);

/*
 * Have the process make the call, with the same instruction that it used for its own last call.
 * Afterwards it is stopped again. Returns 1 with *ret_result as from the kernel (-errno for an
 * error); 0 if it died of the call, with the wait status in *ret_result; -errno.
 */
int inject_call(pid_t pid, long number, const long arguments[6], long *ret_result);

/* Write `size` bytes, up to 1024, below the stack of the process, where it does not need the
 * memory. Returns their address, 0 if that failed. */
unsigned long inject_data(pid_t pid, const void *data, size_t size);

/*
 * Have the process make the call without end, as fast as it can, with code that is written over its
 * own. Then the process runs free; inject_detach is not needed. Returns 0 or -errno.
 */
int inject_endless(pid_t pid, long number, const long arguments[6]);

/* Get the program of the index-th seccomp filter; the oldest is 0. Returns its length in
 * instructions, or -errno; -ENOENT if there are fewer. `filter` has room for BPF_MAXINSNS
 * instructions. */
struct sock_filter;
int inject_get_filter(pid_t pid, unsigned int index, struct sock_filter *filter);

/* Let the process go on where it was. Returns 0 or -errno. */
int inject_detach(pid_t pid);

#endif
