/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const struct policy_program *policy_find(const char *name)
{
    for (const struct policy_program *row = policy_programs; row->name; row++) {
        if (strcmp(row->name, name) == 0)
            return row;
    }
    return NULL;
}

int policy_load(const struct policy_program *program, int all_threads)
{
    struct sock_fprog fprog = {
        .len = program->length,
        .filter = (struct sock_filter *)program->filter, /* the kernel only reads it */
    };
    unsigned int flags = all_threads ? SECCOMP_FILTER_FLAG_TSYNC : 0;
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
    if (result < 0)
        return -errno;
    /* With TSYNC, a positive result is the id of a thread that could not be synchronised. */
    return result == 0 ? 0 : -EBUSY;
}
