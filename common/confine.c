/* SPDX-License-Identifier: Apache-2.0 */
#include "common/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of some build systems, but not than their kernels. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* ABI 3 */
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_TCP
#define LANDLOCK_ACCESS_NET_BIND_TCP (1ULL << 0) /* ABI 4 */
#define LANDLOCK_ACCESS_NET_CONNECT_TCP (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#endif
#ifndef LANDLOCK_SCOPE_SIGNAL
#define LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) /* ABI 6 */
#define LANDLOCK_SCOPE_SIGNAL (1ULL << 1)
#endif
#ifndef LANDLOCK_ACCESS_FS_RESOLVE_UNIX
#define LANDLOCK_ACCESS_FS_RESOLVE_UNIX (1ULL << 16) /* ABI 9 */
#endif
#ifndef LANDLOCK_ACCESS_NET_BIND_UDP
#define LANDLOCK_ACCESS_NET_BIND_UDP (1ULL << 2) /* ABI 10 */
#define LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP (1ULL << 3)
#endif

int confine_change_root(void)
{
    if (syscall(SYS_pivot_root, ".", ".") == 0)
        return umount2(".", MNT_DETACH) < 0 ? -errno : 0;
    if (errno != EINVAL)
        return -errno;
    if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
        return -errno;
    return 0;
}

struct landlock_rights confine_landlock_rights(unsigned int abi)
{
    struct landlock_rights all = {0};
    if (abi >= 1)
        all.files = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1;
    if (abi >= 2)
        all.files |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= 3)
        all.files |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (abi >= 4)
        all.network = LANDLOCK_ACCESS_NET_BIND_TCP | LANDLOCK_ACCESS_NET_CONNECT_TCP;
    if (abi >= 5)
        all.files |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    if (abi >= 6)
        all.scopes = LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL;
    if (abi >= 9)
        all.files |= LANDLOCK_ACCESS_FS_RESOLVE_UNIX;
    if (abi >= 10)
        all.network |= LANDLOCK_ACCESS_NET_BIND_UDP | LANDLOCK_ACCESS_NET_CONNECT_SEND_UDP;
    return all;
}

int confine_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 0)
        return errno == ENOSYS ? -EOPNOTSUPP : -errno;
    return abi < LANDLOCK_ABI_NEWEST ? (int)abi : LANDLOCK_ABI_NEWEST;
}

int confine_landlock_begin(struct landlock *ret)
{
    int abi = confine_landlock_abi();
    if (abi < 0)
        return abi;
    const struct landlock_rights all = confine_landlock_rights((unsigned int)abi);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
    if (fd < 0)
        return -errno;
    *ret = (struct landlock){.abi = (unsigned int)abi, .ruleset = fd};
    return 0;
}

static int allow(const struct landlock *landlock, const char *path, uint64_t rights)
{
    const struct landlock_rights all = confine_landlock_rights(landlock->abi);
    struct landlock_path_beneath_attr rule = {.allowed_access = rights & all.files};
    if (rule.allowed_access == 0)
        return 0; /* a kernel that does not know the right does not deny it, either */
    rule.parent_fd = openat(AT_FDCWD, path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return errno == ENOENT ? 0 : -errno;
    long result =
        syscall(SYS_landlock_add_rule, landlock->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = result < 0 ? -errno : 0;
    close(rule.parent_fd);
    return error;
}

int confine_landlock_allow_node(const struct landlock *landlock, const char *path)
{
    return allow(landlock, path,
                 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                     LANDLOCK_ACCESS_FS_IOCTL_DEV);
}

int confine_landlock_allow_sockets(const struct landlock *landlock, const char *path)
{
    return allow(landlock, path, LANDLOCK_ACCESS_FS_RESOLVE_UNIX);
}

/*
 * No flags. Those of ABI 7 change what the kernel logs: by default it logs what a process is
 * refused that has confined itself, which is what an auditor wants. Nor is
 * LANDLOCK_RESTRICT_SELF_TSYNC of ABI 8 of use: there is one thread. Nor that of ABI 11, which sets
 * no_new_privs: that is set before.
 */
static int enter(const struct landlock *landlock)
{
    if (syscall(SYS_landlock_restrict_self, landlock->ruleset, 0) < 0)
        return -errno;
    /* The root's mode allows to read it, so only Landlock can refuse. */
    int root = openat(AT_FDCWD, "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0)
        close(root);
    return root < 0 && errno == EACCES ? 0 : -ENOTRECOVERABLE;
}

int confine_landlock_enter(struct landlock *landlock)
{
    int result = enter(landlock);
    confine_landlock_drop(landlock);
    return result;
}

void confine_landlock_drop(struct landlock *landlock)
{
    close(landlock->ruleset);
    landlock->ruleset = -1;
}
