/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process may do to itself, and the filters: dumpable, no_new_privs, MDWE, Landlock,
 * resource limits, seccomp.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/sandbox_step.h"

/* Newer than the headers of some systems that this is built on, not than their kernels. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65 /* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN (1UL << 0)
#define PR_GET_MDWE 66
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP (1ULL << 0)
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define LANDLOCK_SCOPE_SIGNAL (1ULL << 1)
#endif

int enter_not_dumpable(const struct sandbox *sandbox)
{
    (void)sandbox;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 1;
}

int check_not_dumpable(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -ENOTRECOVERABLE;
}

int enter_no_new_privs(const struct sandbox *sandbox)
{
    (void)sandbox;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 1;
}

int check_no_new_privs(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : -ENOTRECOVERABLE;
}

int enter_mdwe(const struct sandbox *sandbox)
{
    (void)sandbox;
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0)
        return 1;
    return errno == EINVAL ? 0 : -errno; /* EINVAL: Linux before 6.3 */
}

int check_mdwe(const struct sandbox *sandbox, uint32_t layers)
{
    (void)sandbox;
    (void)layers;
    int mdwe = prctl(PR_GET_MDWE, 0, 0, 0, 0);
    return mdwe == (int)PR_MDWE_REFUSE_EXEC_GAIN ? 0 : -ENOTRECOVERABLE;
}

/* struct landlock_ruleset_attr as of ABI 6; an older kernel takes the rest if it is 0. */
struct ruleset {
    uint64_t handled_access_fs;
    uint64_t handled_access_net;
    uint64_t scoped;
};

/* Every right that this version of Landlock can deny. Without a rule, all are denied. */
static struct ruleset all_rights(long abi)
{
    struct ruleset all = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1};
    if (abi >= 2)
        all.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi >= 4)
        all.handled_access_net = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
    if (abi >= 5)
        all.handled_access_fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    if (abi >= 6)
        all.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
    return all;
}

static int restrict_self(const struct ruleset *all)
{
    int fd = (int)syscall(SYS_landlock_create_ruleset, all, sizeof(*all), 0);
    if (fd < 0)
        return -errno;
    int error = syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
    close(fd);
    return error;
}

int enter_landlock(const struct sandbox *sandbox)
{
    (void)sandbox;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
    struct ruleset all = all_rights(abi);
    int error = restrict_self(&all);
    if (error < 0)
        return error;
    /* The root is readable by its mode, so only Landlock can say no. */
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0)
        close(root);
    return root < 0 && errno == EACCES ? 1 : -ENOTRECOVERABLE;
}

/*
 * The floor. What is already there may stay: memory beyond RLIMIT_AS remains mapped, and the
 * stack has the 128 KiB that every process is started with, but neither grows; the fds stay
 * open, but there is no other.
 */
static const enum __rlimit_resource floored[] = {
    RLIMIT_AS,    RLIMIT_DATA,    RLIMIT_STACK,    RLIMIT_CORE,       RLIMIT_NOFILE, RLIMIT_NPROC,
    RLIMIT_LOCKS, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_SIGPENDING, RLIMIT_NICE,   RLIMIT_RTPRIO,
};
#define FLOORED_COUNT (sizeof(floored) / sizeof(floored[0]))

int enter_rlimits(const struct sandbox *sandbox)
{
    for (size_t i = 0; i < FLOORED_COUNT; i++) {
        const struct rlimit zero = {0, 0};
        if (setrlimit(floored[i], &zero) < 0)
            return -errno;
    }
    const struct rlimit file_size = {sandbox->file_size_max, sandbox->file_size_max};
    return setrlimit(RLIMIT_FSIZE, &file_size) < 0 ? -errno : 1;
}

static bool is_limited(enum __rlimit_resource resource, uint64_t value)
{
    struct rlimit limit = {~value, ~value}; /* for the kernel to fill in */
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur == value && limit.rlim_max == value;
}

int check_rlimits(const struct sandbox *sandbox, uint32_t layers)
{
    (void)layers;
    for (size_t i = 0; i < FLOORED_COUNT; i++) {
        if (!is_limited(floored[i], 0))
            return -ENOTRECOVERABLE;
    }
    return is_limited(RLIMIT_FSIZE, sandbox->file_size_max) ? 0 : -ENOTRECOVERABLE;
}

/*
 * Once the filter is loaded, asking for it is itself forbidden. So the kernel is asked before:
 * that it knows the filter's default action, and that it looks at a filter at all (it must
 * stumble over an address that is none). Then its word for the program is taken.
 *
 * For all threads, though there is one: since Linux 6.4 vhost's is the kernel's, but in this
 * process, and shall not be the exception that an audit finds.
 */
int enter_seccomp(const struct sandbox *sandbox)
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
