/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroups the keeper makes, and what it says if it makes none. A folder stands for the
 * hierarchy: a cgroup in it has the files that the kernel would make. At the end all is as it was,
 * and nothing is open.
 */
#include "broker/keeper/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/cgroup_limit.h"
#include "common/ring.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define HIERARCHY "/sys/fs/cgroup"

static char folder[] = "/tmp/cgroups-XXXXXX"; /* stands for HIERARCHY */
static struct cgroups cgroups;
static unsigned int fds;

static const char *own;         /* the text of /proc/self/cgroup; NULL: there is none */
static const char *mounted_at;  /* where cgroup2 is; NULL: nowhere */
static const char *refused;     /* a write of "FILE TEXT" that fails, without the base */
static const char *cut;         /* one of which the kernel takes nothing */
static const char *not_made;    /* a cgroup that can't be made, without the base */
static const char *not_opened;  /* a file that can't be opened, without the base */
static const char *opened_as_0; /* one that gets the number 0 */
static char written[4096];      /* "FILE TEXT\n" of each write, without the base */
static int scheduler, fifo_error, polls;
static unsigned int opened, removals;
static int bad_read; /* which read fails, counted from 1 */

/* ---- The kernel ---- */

static const char *real_path(const char *path, char ret[512])
{
    const size_t length = mounted_at ? strlen(mounted_at) : 0;
    bool is_there = length > 0 && strncmp(path, mounted_at, length) == 0;
    snprintf(ret, 512, "%s%s", is_there ? folder : "", is_there ? path + length : path);
    return ret;
}

/* What comes after "BASE/". */
static const char *in_base(const char *path)
{
    const char *at = strstr(path, "/svc");
    return at && strlen(at) > 5 ? at + 5 : "";
}

static void put(const char *cgroup, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", cgroup, name);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs(text, file);
    fclose(file);
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap___open_2(const char *path, int flags);
int __wrap___open64_2(const char *path, int flags);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_unlinkat(int at, const char *path, int flags);
int __wrap_statfs(const char *path, struct statfs *ret);
int __wrap_statfs64(const char *path, void *ret);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout);
int __wrap_sched_getscheduler(pid_t pid);
int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *parameters);
ssize_t __wrap_read(int fd, void *ret, size_t size);
ssize_t __wrap___read_chk(int fd, void *ret, size_t size, size_t room);
long __wrap_sysconf(int name);
long __real_sysconf(int name);

int __wrap_open(const char *path, int flags, ...)
{
    char real[512];
    CU_ASSERT_NOT_EQUAL(flags & O_CLOEXEC, 0);
    if (strcmp(path, "/proc/self/cgroup") == 0) {
        snprintf(real, sizeof(real), "%s/own", folder);
        if (!own)
            errno = ENOENT;
        return own ? (int)syscall(SYS_openat, AT_FDCWD, real, flags, 0) : -1;
    }
    CU_ASSERT_NOT_EQUAL(flags & O_NOFOLLOW, 0);
    CU_ASSERT((flags & O_DIRECTORY) != 0 || strcmp(path, HIERARCHY "/svc") != 0);
    opened++;
    errno = EMFILE;
    if (not_opened && strcmp(in_base(path), not_opened) == 0)
        return -1;
    if (opened_as_0 && strcmp(in_base(path), opened_as_0) == 0) {
        opened_as_0 = NULL;
        free_0();
    }
    int fd = (int)syscall(SYS_openat, AT_FDCWD, real_path(path, real), flags, 0);
    errno = fd < 0 ? errno : EIO; /* nobody may look at it after a success */
    return fd;
}

/* What is not read is no end of a text. */
ssize_t __wrap_read(int fd, void *ret, size_t size)
{
    CU_ASSERT_EQUAL(size, 4095); /* there is room for one more */
    memset(ret, 'x', size + 1);
    errno = EIO;
    return --bad_read == 0 ? -1 : syscall(SYS_read, fd, ret, size);
}

ssize_t __wrap___read_chk(int fd, void *ret, size_t size, size_t room)
{
    (void)room;
    return __wrap_read(fd, ret, size);
}

int __wrap_open64(const char *path, int flags, ...)
{
    return __wrap_open(path, flags);
}

int __wrap___open_2(const char *path, int flags)
{
    return __wrap_open(path, flags);
}

int __wrap___open64_2(const char *path, int flags)
{
    return __wrap_open(path, flags);
}

static const char *const files[] = {"cgroup.procs", "cgroup.subtree_control", "memory.max",
                                    "pids.max", "cpu.weight"};

int __wrap_mkdir(const char *path, mode_t mode)
{
    char real[512];
    CU_ASSERT_EQUAL(mode, 0755);
    errno = EDQUOT;
    if (not_made && strcmp(in_base(path), not_made) == 0)
        return -1;
    if (syscall(SYS_mkdirat, AT_FDCWD, real_path(path, real), mode) < 0)
        return -1;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        put(real, files[i], "");
    return 0;
}

int __wrap_unlinkat(int at, const char *path, int flags)
{
    char real[512], name[600];
    CU_ASSERT(at == AT_FDCWD && flags == AT_REMOVEDIR);
    CU_ASSERT_STRING_NOT_EQUAL(in_base(path), "workers/16");
    removals++;
    (void)real_path(path, real);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(name, sizeof(name), "%s/%s", real, files[i]);
        (void)unlink(name);
    }
    return rmdir(real);
}

int __wrap_statfs(const char *path, struct statfs *ret)
{
    memset(ret, 0, sizeof(*ret));
    errno = ENOENT;
    bool is_there = strcmp(path, HIERARCHY) == 0 || (mounted_at && strcmp(path, mounted_at) == 0);
    ret->f_type = mounted_at && strcmp(path, mounted_at) == 0 ? CGROUP2_SUPER_MAGIC : TMPFS_MAGIC;
    return is_there ? 0 : -1;
}

int __wrap_statfs64(const char *path, void *ret)
{
    return __wrap_statfs(path, ret);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    char link[64], path[512], line[600];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    if (!strstr(path, folder))
        return syscall(SYS_write, fd, bytes, size);
    snprintf(line, sizeof(line), "%s %.*s", in_base(path), (int)size, (const char *)bytes);
    errno = EBUSY;
    if (refused && strcmp(line, refused) == 0)
        return -1;
    if (cut && strcmp(line, cut) == 0)
        return 0;
    strcat(strcat(written, line), "\n");
    return (ssize_t)size;
}

int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout)
{
    CU_ASSERT(!poll_fds && count == 0 && timeout > 0);
    polls++;
    return 0;
}

int __wrap_sched_getscheduler(pid_t pid)
{
    CU_ASSERT_EQUAL(pid, 0);
    return scheduler;
}

/* Real-time ends when the cpu controller is there. */
int __wrap_sched_setscheduler(pid_t pid, int policy, const struct sched_param *parameters)
{
    CU_ASSERT_EQUAL(pid, 0);
    CU_ASSERT_EQUAL(parameters->sched_priority, policy == SCHED_FIFO ? 1 : 0);
    bool has_cpu = strstr(written, "workers/cgroup.subtree_control +cpu") != NULL;
    errno = EPERM;
    if (policy == SCHED_FIFO && (fifo_error == 1 || (fifo_error == 2 && has_cpu)))
        return -1;
    scheduler = policy;
    return 0;
}

long __wrap_sysconf(int name)
{
    if (name == _SC_PHYS_PAGES)
        return 4000;
    return name == _SC_PAGESIZE ? 4096 : __real_sysconf(name);
}

/* ---- A cgroup of ours ---- */

static char base[256];

static void remove_all(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s/*", folder);
    if (system(command) != 0)
        perror(command);
}

/* The keeper is in `name`, which has these controllers and processes; "%d": itself. */
static void is_in(const char *name, const char *controllers, const char *procs)
{
    char text[128], path[256];
    static char line[128];
    remove_all();
    mounted_at = HIERARCHY;
    snprintf(base, sizeof(base), "%s/svc", folder);
    CU_ASSERT_EQUAL(syscall(SYS_mkdirat, AT_FDCWD, base, 0755), 0);
    snprintf(text, sizeof(text), procs, (int)getpid());
    put(base, "cgroup.procs", text);
    put(base, "cgroup.type", "domain\n");
    put(base, "cgroup.controllers", controllers);
    put(base, "cgroup.subtree_control", "");
    snprintf(line, sizeof(line), "1:name=systemd:/x\n0::%s\n", name);
    snprintf(path, sizeof(path), "%s", folder);
    put(path, "own", line);
    own = line;
    refused = cut = not_made = not_opened = NULL;
    written[0] = '\0';
    scheduler = SCHED_OTHER;
    fifo_error = polls = bad_read = 0;
    fds = fd_count();
}

static bool exists(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", base, name);
    return access(path, F_OK) == 0;
}

static void leaves(void)
{
    cgroups_leave(&cgroups);
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        CU_ASSERT_EQUAL(cgroups.workers[i], -1);
    CU_ASSERT_FALSE(exists("workers"));
    CU_ASSERT_STRING_EQUAL(cgroups.base, "");
    CU_ASSERT(cgroups.base_procs == -1 && cgroups.base_subtree == -1 && cgroups.base_lock == -1);
    CU_ASSERT_EQUAL(fd_count(), fds);
}

#define ALL "cpuset cpu io memory hugetlb pids\n"

static void each_worker_has_one_with_its_limits(void)
{
    is_in("/svc", ALL, "%d\n");
    cgroups_enter(&cgroups);
    CU_ASSERT_STRING_EQUAL(cgroups.words, "each worker has a cgroup of its own, with: memory.max, "
                                          "pids.max, cpu.weight");
    CU_ASSERT_TRUE(cgroups.entered);
    CU_ASSERT(strstr(written, "keeper/cgroup.procs 0\n") == written); /* before all else */
    static const char *const lines[] = {"\ncgroup.subtree_control +memory\n",
                                        "\ncgroup.subtree_control +pids\n",
                                        "\ncgroup.subtree_control +cpu\n",
                                        "\nworkers/cgroup.subtree_control +memory\n",
                                        "\nworkers/cgroup.subtree_control +pids\n",
                                        "\nworkers/cgroup.subtree_control +cpu\n",
                                        "\nworkers/memory.max 12288000\n",
                                        "\nworkers/0/memory.max 8192000\n",
                                        "\nworkers/0/pids.max 8\n",
                                        "\nworkers/0/cpu.weight 100\n",
                                        "\nworkers/15/memory.max 8192000\n",
                                        "\nworkers/15/cpu.weight 100\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (!strstr(written, lines[i]))
            CU_FAIL(lines[i]);
    }
    CU_ASSERT_PTR_NULL(strstr(written, "subtree_control -"));
    CU_ASSERT_PTR_NULL(strstr(written, "workers/16"));
    for (uint32_t i = 0; i < BAO_DEVICES_MAX; i++) {
        CU_ASSERT_NOT_EQUAL(fcntl(cgroups.workers[i], F_GETFL) & O_PATH, 0);
        CU_ASSERT_EQUAL(cgroups_of_worker(&cgroups, i),
                        CGROUP_OWN | 1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
    }
    CU_ASSERT_TRUE(exists("keeper") && exists("workers/15"));
    CU_ASSERT_EQUAL(scheduler, SCHED_OTHER);
    CU_ASSERT_EQUAL(fd_count(), fds + BAO_DEVICES_MAX + 3);
    close(cgroups.workers[4]);
    cgroups.workers[4] = -1;
    CU_ASSERT_EQUAL(cgroups_of_worker(&cgroups, 4), 0);
    written[0] = '\0';
    leaves();
    CU_ASSERT_STRING_EQUAL(written, "cgroup.subtree_control -memory\ncgroup.subtree_control -pids\n"
                                    "cgroup.subtree_control -cpu\ncgroup.procs 0\n");
    CU_ASSERT_FALSE(exists("keeper"));
    removals = 0;
    cgroups_leave(&cgroups); /* there is nothing to leave */
    CU_ASSERT_EQUAL(removals, 0);
}

static void one_at_a_time_has_a_cgroup(void)
{
    is_in("/svc", ALL, "%d\n");
    cgroups_enter(&cgroups);
    int other = (int)syscall(SYS_openat, AT_FDCWD, base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CU_ASSERT_EQUAL(flock(other, LOCK_EX | LOCK_NB), -1);
    fds++;
    leaves();
    CU_ASSERT_EQUAL(flock(other, LOCK_EX | LOCK_NB), 0); /* it is the next one's */
    cgroups_enter(&cgroups);
    CU_ASSERT_STRING_EQUAL(cgroups.words,
                           "no worker has a cgroup of its own: another bao-virtio-dm "
                           "has made those of its own for its workers");
    CU_ASSERT_EQUAL(polls, 20); /* it may just be ending */
    CU_ASSERT_EQUAL(fd_count(), fds);
    CU_ASSERT_FALSE(exists("workers"));
    close(other);
}

static void one_that_is_in_its_leaf_stays_there(void)
{
    is_in("/svc/keeper", ALL, "");
    cgroups_enter(&cgroups);
    CU_ASSERT_PTR_NOT_NULL(strstr(cgroups.words, "with: memory.max"));
    CU_ASSERT_FALSE(cgroups.entered);
    CU_ASSERT_PTR_NULL(strstr(written, "procs"));
    written[0] = '\0';
    leaves();
    CU_ASSERT_PTR_NULL(strstr(written, "procs"));
}

static void there_are_none(const char *why)
{
    char words[256];
    fds = fd_count();
    cgroups_enter(&cgroups);
    snprintf(words, sizeof(words), "no worker has a cgroup of its own: %s", why);
    CU_ASSERT_STRING_EQUAL(cgroups.words, words);
    CU_ASSERT_STRING_EQUAL(cgroups.base, "");
    CU_ASSERT_EQUAL(fd_count(), fds);
    CU_ASSERT_FALSE(exists("workers"));
    CU_ASSERT(cgroups.base_procs == -1 && cgroups.base_subtree == -1 && cgroups.base_lock == -1);
    for (uint32_t i = 0; i < BAO_DEVICES_MAX; i++) {
        CU_ASSERT_EQUAL(cgroups.workers[i], -1);
        CU_ASSERT_EQUAL(cgroups_of_worker(&cgroups, i), 0);
    }
    written[0] = '\0';
    cgroups_leave(&cgroups);
    CU_ASSERT_STRING_EQUAL(written, "");
}

static void why_there_are_none_is_told(void)
{
    is_in("/svc", ALL, "%d\n");
    mounted_at = NULL;
    there_are_none("there is no cgroup of version 2");
    mounted_at = HIERARCHY;
    own = NULL;
    there_are_none("there is no cgroup of version 2");
    is_in("/svc", ALL, "%d\n");
    put(folder, "own", "1:memory:/x\n12:cpu:/y\n");
    there_are_none("there is no cgroup of version 2");
    is_in("/svc", ALL, "%d\n");
    put(folder, "own", "0::svc\n");
    there_are_none("there is no cgroup of version 2");
    is_in("/svc", ALL, "%d\n");
    bad_read = 1;
    there_are_none("there is no cgroup of version 2");
    is_in("/svc", ALL, "%d\n");
    bad_read = 2;
    there_are_none("its own is the root, or is threaded");
    is_in("/svc", ALL, "%d\n");
    bad_read = 3;
    there_are_none("its own has other processes in it (Delegate= of the service manager)");
    is_in("/svc", ALL, "%d\n");
    not_opened = ""; /* BASE itself: it can't be locked */
    there_are_none("another bao-virtio-dm has made those of its own for its workers");
    CU_ASSERT_EQUAL(polls, 0);
    is_in("/svc", ALL, "%d\n");
    put(base, "cgroup.type", "threaded\n");
    there_are_none("its own is the root, or is threaded");
    is_in("/", ALL, "%d\n");
    there_are_none("its own is the root, or is threaded");
    is_in("/svc", ALL, "%d\n1\n");
    there_are_none("its own has other processes in it (Delegate= of the service manager)");
    is_in("/svc/keeper", ALL, "1\n");
    there_are_none("its own has other processes in it (Delegate= of the service manager)");
    is_in("/svc", ALL, "");
    there_are_none("its own has other processes in it (Delegate= of the service manager)");
}

/* The keeper is in a cgroup whose path has so many bytes. */
static void its_path_is_long(size_t length)
{
    static char line[PATH_MAX + 16];
    is_in("/svc", ALL, "%d\n");
    memset(line, 'a', sizeof(line));
    memcpy(line, "0::/", 4);
    strcpy(line + 3 + length - strlen(HIERARCHY), "\n");
    put(folder, "own", line);
    opened = 0;
}

static void a_name_that_is_too_long(void)
{
    its_path_is_long(PATH_MAX);
    there_are_none("the name of its own is too long");
    its_path_is_long(PATH_MAX - 1);
    there_are_none("its own is the root, or is threaded");
    CU_ASSERT_EQUAL(opened, 0); /* there is no room for the name of a file in it */
    its_path_is_long(PATH_MAX - strlen("/cgroup.type"));
    there_are_none("its own is the root, or is threaded");
    CU_ASSERT_EQUAL(opened, 0);
    its_path_is_long(PATH_MAX - strlen("/cgroup.type") - 1);
    there_are_none("its own is the root, or is threaded");
    CU_ASSERT_EQUAL(opened, 1); /* that name can be */
}

static void a_step_that_fails_is_undone(void)
{
    is_in("/svc", ALL, "%d\n");
    not_made = "keeper";
    there_are_none("it can't be made: Disk quota exceeded");
    is_in("/svc", ALL, "%d\n");
    refused = "keeper/cgroup.procs 0";
    there_are_none("it can't be entered: Device or resource busy");
    is_in("/svc", ALL, "%d\n");
    cut = "keeper/cgroup.procs 0";
    there_are_none("it can't be entered: Input/output error");
    is_in("/svc", ALL, "%d\n");
    not_made = "workers";
    there_are_none("it can't be made for the workers: Disk quota exceeded");
    CU_ASSERT_FALSE(exists("keeper")); /* it has left it again */
    is_in("/svc", ALL, "%d\n");
    not_made = "workers/7";
    there_are_none("it can't be made for the workers: Disk quota exceeded");
    is_in("/svc", ALL, "%d\n");
    not_opened = "workers/7";
    there_are_none("it can't be made for the workers: Too many open files");
}

static void has(const char *words, uint32_t limits)
{
    char expected[256];
    cgroups_enter(&cgroups);
    snprintf(expected, sizeof(expected), "each worker has a cgroup of its own, with: %s", words);
    CU_ASSERT_STRING_EQUAL(cgroups.words, expected);
    CU_ASSERT_EQUAL(cgroups_of_worker(&cgroups, 0), CGROUP_OWN | limits);
    leaves();
}

static void a_controller_that_is_not_there_is_left_out(void)
{
    is_in("/svc", "cpuset pids io\n", "%d\n"); /* a word that only begins like one is another */
    has("pids.max; not available: memory.max, cpu.weight", 1u << CGROUP_PIDS);
    is_in("/svc", "memory\n", "%d\n");
    has("memory.max; not available: pids.max, cpu.weight", 1u << CGROUP_MEMORY);
    is_in("/svc", "xmemory memoryx\n", "%d\n");
    has("no limit; not available: memory.max, pids.max, cpu.weight", 0);
    is_in("/svc", ALL, "%d\n");
    refused = "cgroup.subtree_control +memory";
    has("pids.max, cpu.weight; not available: memory.max", 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
    is_in("/svc", ALL, "%d\n");
    refused = "workers/cgroup.subtree_control +pids";
    has("memory.max, cpu.weight; not available: pids.max", 1u << CGROUP_MEMORY | 1u << CGROUP_CPU);
    is_in("/svc", ALL, "%d\n");
    refused = "workers/3/cpu.weight 100";
    has("memory.max, pids.max; not available: cpu.weight", 1u << CGROUP_MEMORY | 1u << CGROUP_PIDS);
    is_in("/svc", ALL, "%d\n");
    bad_read = 4; /* which ones there are */
    has("no limit; not available: memory.max, pids.max, cpu.weight", 0);
    /* The same hierarchy at the other place. */
    is_in("/svc", "memory\n", "%d\n");
    mounted_at = HIERARCHY "/unified";
    has("memory.max; not available: pids.max, cpu.weight", 1u << CGROUP_MEMORY);
}

/* A kernel whose cgroups have no real-time: the key `sched` counts more than the weight. */
static void real_time_is_not_lost(void)
{
    is_in("/svc", ALL, "%d\n");
    fifo_error = 2;
    has("memory.max, pids.max; not available: cpu.weight", 1u << CGROUP_MEMORY | 1u << CGROUP_PIDS);
    CU_ASSERT_PTR_NOT_NULL(strstr(written, "\nworkers/cgroup.subtree_control -cpu\n"
                                           "cgroup.subtree_control -cpu\n"));
    is_in("/svc", ALL, "%d\n");
    fifo_error = 1; /* it never was there */
    has("memory.max, pids.max, cpu.weight",
        1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
    is_in("/svc", ALL, "%d\n");
    scheduler = SCHED_RR; /* this process's own stays as it is */
    has("memory.max, pids.max, cpu.weight",
        1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
    CU_ASSERT_EQUAL(scheduler, SCHED_RR);
}

static void those_of_an_earlier_keeper_are_used(void)
{
    is_in("/svc", ALL, "%d\n");
    CU_ASSERT_EQUAL(mkdir(HIERARCHY "/svc/keeper", 0755), 0);
    CU_ASSERT_EQUAL(mkdir(HIERARCHY "/svc/workers", 0755), 0);
    CU_ASSERT_EQUAL(mkdir(HIERARCHY "/svc/workers/9", 0755), 0);
    has("memory.max, pids.max, cpu.weight",
        1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
}

static void a_worker_with_a_ring_has_more_threads(void)
{
    char line[64];
    is_in("/svc", ALL, "%d\n");
    cgroups.rings = true;
    cgroups_enter(&cgroups);
    snprintf(line, sizeof(line), "\nworkers/15/pids.max %u\n", CGROUP_WORKER_PIDS + RING_THREADS);
    CU_ASSERT_PTR_NOT_NULL(strstr(written, line));
    leaves();
    cgroups.rings = false;
}

static void a_file_may_have_the_number_0(void)
{
    static const char *const names[] = {"cgroup.type", "",           "keeper/cgroup.procs",
                                        "workers/0",   "workers/15", "workers/0/pids.max"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        is_in("/svc", ALL, "%d\n");
        opened_as_0 = names[i];
        has("memory.max, pids.max, cpu.weight",
            1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
        CU_ASSERT_PTR_NULL(opened_as_0);
        take_0_back();
    }
    is_in("/svc", ALL, "%d\n"); /* and the first one of all */
    free_0();
    has("memory.max, pids.max, cpu.weight",
        1u << CGROUP_MEMORY | 1u << CGROUP_PIDS | 1u << CGROUP_CPU);
    take_0_back();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"each worker has one with its limits", each_worker_has_one_with_its_limits},
        {"one at a time has a cgroup", one_at_a_time_has_a_cgroup},
        {"one that is in its leaf stays there", one_that_is_in_its_leaf_stays_there},
        {"why there are none is told", why_there_are_none_is_told},
        {"a name that is too long", a_name_that_is_too_long},
        {"a step that fails is undone", a_step_that_fails_is_undone},
        {"a controller that is not there", a_controller_that_is_not_there_is_left_out},
        {"real-time is not lost", real_time_is_not_lost},
        {"those of an earlier keeper are used", those_of_an_earlier_keeper_are_used},
        {"a worker with a ring has more threads", a_worker_with_a_ring_has_more_threads},
        {"a file may have the number 0", a_file_may_have_the_number_0},
        CU_TEST_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    int status = run_tests(argc, argv, "cgroups", tests);
    remove_all();
    rmdir(folder);
    return status;
}
