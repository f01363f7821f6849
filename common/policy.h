/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp programs that the build compiled from policy/ for this architecture. The table is
 * generated (build/policy/). A program links only the rows that it loads.
 */
#ifndef COMMON_POLICY_H
#define COMMON_POLICY_H

#include <linux/filter.h>

struct policy_program {
    const char *name; /* "block/virtio": policy/block/virtio.policy */
    const struct sock_filter *filter;
    unsigned short length; /* instructions */
    unsigned short calls;  /* number of different system calls that it can allow */
    const char *hash;      /* SHA-256 of the instructions, hexadecimal */
};

/* The last row has the name NULL. The program that is linked decides which rows there are. */
extern const struct policy_program policy_programs[];

/* NULL if there is no such row. */
const struct policy_program *policy_find(const char *name);

/* Load it for the calling thread, or for all threads of the process. Needs no_new_privs or
 * CAP_SYS_ADMIN. Returns 0 or -errno. */
int policy_load(const struct policy_program *program, int all_threads);

#endif
