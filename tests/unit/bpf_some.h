/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp programs and calls at random, and an interpreter of all that seccomp takes. It shares no
 * code with what is tested by it.
 */
#ifndef TESTS_UNIT_BPF_SOME_H
#define TESTS_UNIT_BPF_SOME_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>

#define BPF_SOME_MAX 40 /* instructions */

/* What a valid program returns for a call. */
uint32_t bpf_interpreted(const struct sock_filter *program, const struct seccomp_data *call);

/* A number below `count`, the same ones in each run. */
uint32_t bpf_pick(uint32_t count);

/* A valid program. Returns its length. */
size_t bpf_some_program(struct sock_filter ret[BPF_SOME_MAX]);

/* Its words are often ones with which such programs compare. */
struct seccomp_data bpf_some_call(void);

#endif
