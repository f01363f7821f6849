/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock-down: a process that root started becomes one that can do nothing but serve its device. The
 * table in sandbox.c has the steps and the reasons for their order.
 *
 * The caller
 *   - is the first process of a pid namespace, in a net namespace that is not the one in which its
 *     control socket was made (the keeper makes both, by clone3); the mount, ipc, uts, cgroup and
 *     user namespaces are made here;
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
    FD_RING,    /* an io_uring */
    FD_BACKEND, /* any file that leads to no others: not a directory, not an O_PATH fd */
};

struct sandbox {
    uint32_t uid;           /* the uid and gid to change to; not 0 */
    uint64_t file_size_max; /* bytes: no file can be made longer or be written beyond this */
    unsigned int fd_count;  /* the process holds fds 0 to fd_count - 1, and no other */
    unsigned int fd_limit;  /* fds that it is given later have lower numbers; 0: it is given none */
    unsigned int threads;   /* the kernel may make so many threads of the process, for its ring */
    enum fd_kind fds[SANDBOX_FDS_MAX]; /* what each of them is */
    const struct policy_program *policy;
    /*
     * Called when all is in force except the resource limits and the filter. It does what has to be
     * done as the confined process, but by calls that no filter should allow. Returns 0 or -errno,
     * which is then the error of STEP_DEVICE. NULL: there is nothing to do.
     */
    int (*confined)(void);
};

/*
 * The layers with which the run-time of the sanitizers cannot work: it maps memory, makes system
 * calls that no policy allows, and its reports go to stderr. This is decided when the build is
 * configured; a release has no switch for it.
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
 * Returns 0, and in *ret_layers (1 << enum sandbox_layer) what is in force: every core layer, and
 * of the other layers those that this kernel has. Returns -errno with the step in *ret_step if one
 * failed. It is -ENOTRECOVERABLE if the kernel reported success, but the layer is not in force. The
 * process is then half locked up, and can only report this and exit.
 */
int sandbox_enter(const struct sandbox *sandbox, uint32_t *ret_layers, enum worker_step *ret_step);

#endif
