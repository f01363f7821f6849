/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The classic BPF of seccomp filters: a second check of what libseccomp emits. This is our own code
 * on purpose: it shares nothing with the generator that it checks.
 */
#ifndef POLICY_BPF_H
#define POLICY_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether a program uses only the subset that our filters need: aligned loads from seccomp_data,
 * AND with a constant, forward jumps inside the program, and the return of SECCOMP_RET_ALLOW or
 * SECCOMP_RET_KILL_PROCESS. Every path must end in a return. Returns NULL, or what is wrong, and in
 * *ret_index with which instruction.
 */
const char *bpf_validate(const struct sock_filter *filter, size_t length, size_t *ret_index);

/* What a validated program returns for a system call. */
uint32_t bpf_run(const struct sock_filter *filter, const struct seccomp_data *data);

#endif
