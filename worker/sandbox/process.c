/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process may do to itself, and the filters: dumpable, no_new_privs, MDWE, Landlock,
 * resource limits, seccomp.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "worker/sandbox/step.h"

/* The headers of some build systems do not have these yet, although the kernels do. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#define PR_GET_MDWE 66
#endif

int step_enter_not_dumpable(const struct sandbox *sandbox)
{
    (void)sandbox;
    return step_prctl(PR_SET_DUMPABLE, 0) < 0 ? -errno : 1;
}

int step_check_not_dumpable(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    return step_prctl(PR_GET_DUMPABLE, 0) == 0 ? 0 : -ENOTRECOVERABLE;
}

int step_enter_no_new_privs(const struct sandbox *sandbox)
{
    (void)sandbox;
    return step_prctl(PR_SET_NO_NEW_PRIVS, 1) < 0 ? -errno : 1;
}

int step_check_no_new_privs(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    return step_prctl(PR_GET_NO_NEW_PRIVS, 0) == 1 ? 0 : -ENOTRECOVERABLE;
}

int step_enter_mdwe(const struct sandbox *sandbox)
{
    (void)sandbox;
    if (step_prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN) == 0)
        return 1;
    return errno == EINVAL ? 0 : -errno; /* EINVAL: Linux before 6.3 */
}

int step_check_mdwe(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    int mdwe = step_prctl(PR_GET_MDWE, 0);
    return mdwe == (int)PR_MDWE_REFUSE_EXEC_GAIN ? 0 : -ENOTRECOVERABLE;
}

int step_enter_landlock(const struct sandbox *sandbox)
{
    struct landlock landlock;
    (void)sandbox;
    int result = confine_landlock_begin(&landlock);
    if (result < 0)
        return result == -EOPNOTSUPP ? 0 : result;
    result = confine_landlock_enter(&landlock); /* no rule allows anything */
    return result < 0 ? result : 1;
}

/*
 * These limits are set to 0. What is already there may stay. Memory beyond RLIMIT_AS remains
 * mapped, and the stack keeps the 128 KiB with which every process is started, but neither can
 * grow. The fds stay open, but no more can be opened, or only as many as the broker may hand over.
 */
static const int floored[] = {
    RLIMIT_AS,      RLIMIT_DATA,     RLIMIT_STACK,      RLIMIT_CORE, RLIMIT_LOCKS,
    RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_SIGPENDING, RLIMIT_NICE, RLIMIT_RTPRIO,
};
#define FLOORED_COUNT (sizeof(floored) / sizeof(floored[0]))

/* RLIMIT_NPROC. The kernel's threads for a ring count as processes of this user. No policy allows
 * a call that makes a process or a thread. */
static rlim_t processes_max(const struct sandbox *sandbox)
{
    return sandbox->threads > 0 ? sandbox->threads + 1 : 0; /* and this process */
}

int step_enter_rlimits(const struct sandbox *sandbox)
{
    for (size_t i = 0; i < FLOORED_COUNT; i++) {
        const struct rlimit zero = {0, 0};
        if (setrlimit(floored[i], &zero) < 0)
            return -errno;
    }
    const struct rlimit processes = {processes_max(sandbox), processes_max(sandbox)};
    if (setrlimit(RLIMIT_NPROC, &processes) < 0)
        return -errno;
    const struct rlimit fds = {sandbox->fd_limit, sandbox->fd_limit};
    if (setrlimit(RLIMIT_NOFILE, &fds) < 0)
        return -errno;
    const struct rlimit file_size = {sandbox->file_size_max, sandbox->file_size_max};
    return setrlimit(RLIMIT_FSIZE, &file_size) < 0 ? -errno : 1;
}

static bool is_limited(int resource, uint64_t value)
{
    struct rlimit limit = {~value, ~value}; /* the kernel fills this in */
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur == value && limit.rlim_max == value;
}

int step_check_rlimits(const struct sandbox *sandbox, uint32_t layers)
{
    (void)layers;
    for (size_t i = 0; i < FLOORED_COUNT; i++) {
        if (!is_limited(floored[i], 0))
            return -ENOTRECOVERABLE;
    }
    return is_limited(RLIMIT_NPROC, processes_max(sandbox)) &&
                   is_limited(RLIMIT_NOFILE, sandbox->fd_limit) &&
                   is_limited(RLIMIT_FSIZE, sandbox->file_size_max)
               ? 0
               : -ENOTRECOVERABLE;
}

/*
 * Once the filter is loaded, it forbids the calls that could ask for it. So the kernel is asked
 * before: whether it knows the filter's default action, and whether it looks at a filter at all (it
 * must fail on an invalid address). After that its answer to loading the program is trusted.
 *
 * The filter is loaded for all threads, though the worker has only one. Since Linux 6.4 vhost's
 * thread is a kernel thread in this process, and an audit shall not find it as an exception.
 */
int step_enter_seccomp(const struct sandbox *sandbox)
{
    const uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (!sandbox->policy)
        return -ENOENT;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
        return -errno;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == 0 || errno != EFAULT)
        return -ENOTRECOVERABLE;
    int error = policy_load(sandbox->policy, 1);
    return error < 0 ? error : 1;
}
