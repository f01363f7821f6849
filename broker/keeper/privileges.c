/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "common/kept_capabilities.h"
#include "common/policy.h"

/* 16 devices with 7 + 16 stored fds each, their pidfds, and the fds of one message in transit. */
#define FD_LIMIT 1024
/* The kernel uses the same limit for all files in transit, in all messages of root's processes
 * together (unix(7), ETOOMANYREFS), ours or not. The start of a worker must not depend on messages
 * that other processes leave unread. */
#define FD_LIMIT_WANTED 8192

static const unsigned int kept[] = {
#define X(capability, reason) (capability),
    KEPT_CAPABILITIES(X)
#undef X
};

int privileges_raise_fd_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    struct rlimit wanted = {FD_LIMIT_WANTED, FD_LIMIT_WANTED};
    if (limit.rlim_max > wanted.rlim_max)
        wanted.rlim_max = limit.rlim_max;
    if (limit.rlim_cur >= FD_LIMIT_WANTED || setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return 0;
    /* Without CAP_SYS_RESOURCE the hard limit is the maximum. */
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < FD_LIMIT)
        return -EPERM;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static int keep_capabilities(void)
{
    capng_clear(CAPNG_SELECT_ALL);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        int result = capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
                                  kept[i]);
        if (result != 0)
            return -EINVAL;
    }
    return capng_apply(CAPNG_SELECT_ALL) != 0 ? -EPERM : 0;
}

static bool names_ring(int fd)
{
    static const char word[] = "io_uring";
    struct stat file;
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return true;
    char *text = malloc(CONFIG_FILE_SIZE_MAX);
    ssize_t size = text ? pread(fd, text, CONFIG_FILE_SIZE_MAX, 0) : -1;
    bool found = size < 0 || memmem(text, (size_t)size, word, strlen(word));
    free(text);
    return found;
}

bool privileges_ring_wanted(const char *path, int before)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    bool wanted = fd >= 0 && names_ring(fd);
    if (fd >= 0)
        close(fd);
    return wanted || (before >= 0 && names_ring(before));
}

static int load_filter(bool ring)
{
#ifdef BVDM_SANITIZE
    (void)ring;
    return 0; /* the sanitizers' run-time makes system calls of its own */
#else
    const struct policy_program *program = policy_find(ring ? "keeper_uring" : "keeper");
    return program ? policy_load(program, 0) : -ENOENT;
#endif
}

int privileges_reduce(bool ring, const char **ret_step)
{
    /* When a child executes a program as root, it keeps what the keeper has, and never gains more:
     * the kernel guarantees that with no_new_privs. */
    *ret_step = "set no_new_privs";
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    *ret_step = "reduce its capabilities";
    int result = keep_capabilities();
    if (result < 0)
        return result;
    *ret_step = "load its seccomp filter";
    return load_filter(ring);
}
