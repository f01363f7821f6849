/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock-down: what makes of a process that root started one that can do nothing but serve its
 * device. The steps and the reasons for their order are the table in sandbox.c.
 *
 * The caller
 *   - is the first process of a pid namespace, in a net namespace that is not the one in which
 *     its control socket was made (both are the keeper's to make, by clone3); the mount, ipc,
 *     uts, cgroup and user namespaces are made here;
 *   - is single-threaded, and sees the proc file system on /proc;
 *   - is root with CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID and CAP_SETPCAP; on an initramfs
 *     with CAP_SYS_CHROOT as well.
 *
 * Afterwards it may call what its policy allows, and use the memory and the fds that it has.
 */
#ifndef WORKER_SANDBOX_H
#define WORKER_SANDBOX_H

#include <stdint.h>

#include "common/message.h"
#include "common/policy.h"
#include "common/sandbox_layer.h"

#define SANDBOX_FDS_MAX (WORKER_FD_CONNECTION)

enum fd_kind {
    FD_NULL,    /* /dev/null */
    FD_SOCKET,  /* an AF_UNIX SOCK_SEQPACKET socket */
    FD_EPOLL,   /* an epoll instance */
    FD_EVENT,   /* an eventfd */
    FD_BACKEND, /* any file that is no directory and no mere path: neither leads to other files */
};

struct sandbox {
    uint32_t uid;           /* to become, as user and as group; not 0 */
    uint64_t file_size_max; /* bytes: no file can be made longer, none be written beyond */
    unsigned int fd_count;  /* the process holds fds 0 to fd_count - 1, and no other */
    unsigned int
        fd_limit; /* those that it is given later have lower numbers; 0: it is given none */
    enum fd_kind fds[SANDBOX_FDS_MAX]; /* what each of them is */
    const struct policy_program *policy;
    /*
     * Called when all is in force but the resource limits and the filter: for what has to be
     * done as the confined process, by calls that no filter should know. Returns 0 or -errno,
     * which is then STEP_DEVICE's. NULL: nothing.
     */
    int (*confined)(void);
};

/*
 * What the run-time of the sanitizers cannot live with: it maps memory, makes system calls that
 * no policy knows, and its reports go to stderr. Decided when the build is configured; a
 * release has no switch.
 */
#ifdef BVDM_SANITIZE
#define SANDBOX_LEFT_OUT (1u << LAYER_MDWE | 1u << LAYER_RLIMITS | 1u << LAYER_SECCOMP)
#define SANDBOX_STDERR FD_BACKEND
#else
#define SANDBOX_LEFT_OUT 0u
#define SANDBOX_STDERR FD_NULL
#endif

/*
 * Enter every layer, check each, check all again, and load the filter last.
 * Returns 0 and in *ret_layers (1 << enum sandbox_layer) what is in force: every core layer,
 * and of the others those that this kernel has. Returns -errno with the step in *ret_step if
 * one failed, -ENOTRECOVERABLE if the kernel said yes and it is not so: the process is then
 * half locked up, and its only use is to say so and exit.
 */
int sandbox_enter(const struct sandbox *sandbox, uint32_t *ret_layers, enum worker_step *ret_step);

#endif
