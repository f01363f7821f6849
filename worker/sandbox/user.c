/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of the process: user, groups, keyring, user namespace, session, capabilities.
 *
 * Capabilities are set by system calls and not by libcap-ng, which the other programs use. In a
 * static program libcap-ng adds the name service and the dynamic loader, and in a pid namespace it
 * would take the /proc/1/status of another process for its own.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/sandbox/step.h"

#define CAPS_MAX 64 /* more than any kernel has; beyond its last one it returns EINVAL */

/* No privilege comes back by exec, by a change of user or as an ambient capability. The locks keep
 * this from being changed back. */
#define SECUREBITS                                                                                 \
    (SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |                               \
     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |       \
     SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

int step_enter_uid(const struct sandbox *sandbox)
{
    /* The capabilities stay for now: USER_NAMESPACE and CAPABILITIES need them. */
    if (step_prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        return -errno;
    if (setgroups(0, NULL) < 0)
        return -errno;
    if (setresgid(sandbox->uid, sandbox->uid, sandbox->uid) < 0)
        return -errno;
    if (setresuid(sandbox->uid, sandbox->uid, sandbox->uid) < 0)
        return -errno;
    return 1;
}

/* In a user namespace that maps no user, every id reads as the same overflow id. */
static bool is_expected(const uid_t ids[4], uid_t uid, bool mapped)
{
    if (ids[0] != ids[1] || ids[0] != ids[2] || ids[0] != ids[3] || ids[0] == 0)
        return false;
    return mapped == (ids[0] == uid);
}

int step_check_uid(const struct sandbox *sandbox, uint32_t layers)
{
    bool mapped = !sandbox_in_force(layers, LAYER_USER_NAMESPACE);
    uid_t uids[4];
    gid_t gids[4];
    if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 || getresgid(&gids[0], &gids[1], &gids[2]) < 0)
        return -errno;
    /* -1 is no valid id: the call changes nothing, and returns the present id. */
    uids[3] = (uid_t)setfsuid((uid_t)-1);
    gids[3] = (gid_t)setfsgid((gid_t)-1);
    if (!is_expected(uids, sandbox->uid, mapped) || !is_expected(gids, sandbox->uid, mapped))
        return -ENOTRECOVERABLE;
    return getgroups(0, NULL) == 0 ? 0 : -ENOTRECOVERABLE;
}

int step_enter_keyring(const struct sandbox *sandbox)
{
    (void)sandbox;
    long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0);
    if (ring < 0)
        return errno == ENOSYS ? 0 : -errno;
    long joined = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
    return ring > 0 && joined == ring ? 1 : -ENOTRECOVERABLE;
}

int step_enter_user_namespace(const struct sandbox *sandbox)
{
    (void)sandbox;
    if (unshare(CLONE_NEWUSER) == 0)
        return 1;
    switch (errno) {
    case EINVAL: /* a kernel without user namespaces */
    case ENOSPC: /* switched off: user.max_user_namespaces */
    case EPERM:  /* not allowed here */
        return 0;
    default:
        return -errno;
    }
}

int step_check_user_namespace(const struct sandbox *sandbox, uint32_t layers)
{
    (void)layers;
    return getuid() != sandbox->uid ? 0 : -ENOTRECOVERABLE;
}

int step_enter_session(const struct sandbox *sandbox)
{
    (void)sandbox;
    /* The session comes first: then no terminal can send this process a signal. */
    if (getsid(0) != getpid() && setsid() < 0)
        return -errno;
    /* No worker outlives its keeper. If the keeper is dead already, the broker is about to die, and
     * the end of the control socket reports that. */
    if (step_prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return -errno;
    return 1;
}

int step_check_session(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    int death_signal = 0;
    if (step_prctl(PR_GET_PDEATHSIG, (unsigned long)(uintptr_t)&death_signal) < 0)
        return -errno;
    /* Who leads a session leads a process group as well, and can't leave it. */
    if (getsid(0) != getpid() || death_signal != SIGKILL)
        return -ENOTRECOVERABLE;
    return 0;
}

static int drop_bounding_set(void)
{
    for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
        int present = step_prctl(PR_CAPBSET_READ, cap);
        if (present < 0)
            return errno == EINVAL && cap > 0 ? 0 : -errno;
        if (present > 0 && step_prctl(PR_CAPBSET_DROP, cap) < 0)
            return -errno;
    }
    return 0;
}

int step_enter_capabilities(const struct sandbox *sandbox)
{
    (void)sandbox;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    /* The bounding set and securebits need CAP_SETPCAP, so the capability sets are cleared last. */
    int error = drop_bounding_set();
    if (error < 0)
        return error;
    if (step_prctl(PR_SET_SECUREBITS, SECUREBITS) < 0)
        return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    if (syscall(SYS_capset, &header, none) < 0)
        return -errno;
    return 1;
}

int step_check_capabilities(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    memset(sets, 0xff, sizeof(sets)); /* if the kernel does not fill this in, it is not "none" */
    if (syscall(SYS_capget, &header, sets) < 0)
        return -errno;
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (sets[i].effective != 0 || sets[i].permitted != 0 || sets[i].inheritable != 0)
            return -ENOTRECOVERABLE;
    }
    for (unsigned long cap = 0; cap < CAPS_MAX; cap++) {
        if (step_prctl(PR_CAPBSET_READ, cap) > 0 ||
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) > 0)
            return -ENOTRECOVERABLE;
    }
    return step_prctl(PR_GET_SECUREBITS, 0) == SECUREBITS ? 0 : -ENOTRECOVERABLE;
}
