/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of the sandbox: whatever undoes a step, or does half of it, its check finds. Each
 * child still has the privileges that the deed needs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "sandbox_child.h"
#include "tests/cunit_main.h"

static int child(child_act *act, const void *argument)
{
    return run_child(&(struct child_plan){.act = act, .argument = argument});
}

/* ---- fds ---- */

static void fds(const struct sandbox *sandbox, const void *argument)
{
    int lost = *(const int *)argument;
    CHILD_EXPECT(step_check_fds(sandbox, 0) == 0);
    CHILD_EXPECT(close(lost) == 0);
    CHILD_EXPECT(step_check_fds(sandbox, 0) == -ENOTRECOVERABLE);
}

static void test_fds(void)
{
    for (int fd = 0; fd < 10; fd++)
        CU_ASSERT(exited(child(fds, &fd), 0));
}

/* ---- namespaces ---- */

static void namespaces(const struct sandbox *sandbox, const void *argument)
{
    CHILD_EXPECT(step_check_namespaces(sandbox, 0) == *(const int *)argument);
}

static void test_namespaces(void)
{
    const int good = 0, bad = -ENOTRECOVERABLE;
    CU_ASSERT(exited(child(namespaces, &good), 0));
    const struct child_plan outside = {
        .act = namespaces, .argument = &bad, .no_namespaces = CLONE_NEWPID};
    CU_ASSERT(exited(run_child(&outside), 0));
}

/* A kernel that makes some of the namespaces, and claims to have made all. */
static int not_made; /* CLONE_NEW* */

int __real_unshare(int flags);
int __wrap_unshare(int flags);
int __wrap_unshare(int flags)
{
    return __real_unshare(flags & ~not_made);
}

static void one_namespace_less(const struct sandbox *sandbox, const void *argument)
{
    not_made = *(const int *)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == -ENOTRECOVERABLE);
}

static void test_one_namespace_less(void)
{
    static const int one[] = {CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
    for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++)
        CU_ASSERT(exited(child(one_namespace_less, &one[i]), 0));
}

/* What a step opens for a moment may get the number 0, and is closed again. */
static void with_number_0(const struct sandbox *sandbox, const void *argument)
{
    static const enum worker_step steps[] = {STEP_NAMESPACES, STEP_EMPTY_ROOT, STEP_NO_NEW_PRIVS,
                                             STEP_LANDLOCK};
    (void)argument;
    CHILD_EXPECT(close(0) == 0);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        errno = EIO;
        CHILD_EXPECT(take(steps[i], sandbox) >= 0);
        CHILD_EXPECT(fcntl(0, F_GETFD) < 0);
    }
}

static void test_number_0(void)
{
    CU_ASSERT(exited(child(with_number_0, NULL), 0));
}

/* ---- empty root ---- */

#define ROOT_FLAGS (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* The flags of the mount, since the file system can't become read-only with `elsewhere` in use. */
static int remount(unsigned long flags)
{
    return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | flags, NULL);
}

/* A root like the step's own, but with room for more. Its directory `elsewhere` has no name any
 * more, so that it is in no listing. */
static void empty_root(const struct sandbox *sandbox, const void *argument)
{
    static const unsigned long flags[] = {MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC};
    (void)argument;
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(unshare(CLONE_NEWNS) == 0);
    CHILD_EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHILD_EXPECT(mount("none", "/tmp", "tmpfs", 0, "mode=0555") == 0);
    CHILD_EXPECT(chdir("/tmp") == 0 && mkdir("elsewhere", 0700) == 0);
    int elsewhere = open("elsewhere", O_RDONLY | O_DIRECTORY);
    CHILD_EXPECT(elsewhere >= 0 && rmdir("elsewhere") == 0);
    CHILD_EXPECT(chroot(".") == 0 && remount(ROOT_FLAGS) == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == 0);

    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        CHILD_EXPECT(remount(ROOT_FLAGS & ~flags[i]) == 0);
        CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
    }
    CHILD_EXPECT(fchdir(elsewhere) == 0 && remount(ROOT_FLAGS) == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(chdir("/") == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == 0);

    CHILD_EXPECT(remount(0) == 0 && mknod("/proc", S_IFREG | 0600, 0) == 0);
    CHILD_EXPECT(remount(ROOT_FLAGS) == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(remount(0) == 0 && unlink("/proc") == 0 && mkdir("/directory", 0700) == 0);
    CHILD_EXPECT(remount(ROOT_FLAGS) == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
}

static void test_empty_root(void)
{
    CU_ASSERT(exited(child(empty_root, NULL), 0));
}

/* A root that is not empty: the kernel has made a larger file system, and somebody a file in it. */
static bool with_file;

int __real_mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const void *data);
int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const void *data);
int __wrap_mount(const char *source, const char *target, const char *type, unsigned long flags,
                 const void *data)
{
    if (!with_file || !type)
        return __real_mount(source, target, type, flags, data);
    if (__real_mount(source, target, type, 0, "mode=0555") < 0 || chdir(target) < 0)
        return -1;
    return mknod("file", S_IFREG | 0600, 0);
}

/* The system calls that the steps make by number. */
static int listing_error;
static const struct __user_cap_data_struct *capset_to; /* instead of what is asked for */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long values[6];
    va_list arguments;
    va_start(arguments, number);
    for (unsigned int i = 0; i < 6; i++)
        values[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_getdents64 && listing_error != 0) {
        errno = listing_error;
        return -1;
    }
    if (number == SYS_capset && capset_to)
        values[1] = (long)(uintptr_t)capset_to;
    return __real_syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

static int root_error; /* of opening it */

int __real_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...)
{
    if (root_error == 0 || strcmp(path, "/") != 0)
        return __real_openat(directory, path, flags);
    errno = root_error;
    return -1;
}

static void root_with_file(const struct sandbox *sandbox, const void *argument)
{
    const int error = *(const int *)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == 1);
    with_file = error == ENOTRECOVERABLE;
    listing_error = error == EIO ? error : 0;
    root_error = error == EMFILE ? error : 0;
    CHILD_EXPECT(step_enter_empty_root(sandbox) == -error);
}

static void test_root_with_file(void)
{
    static const int errors[] = {ENOTRECOVERABLE, EIO, EMFILE};
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT(exited(child(root_with_file, &errors[i]), 0));
}

/* ---- uid ---- */

/* One id of one kind: real, effective, saved, of the file system. */
struct other_id {
    bool group;
    unsigned int which;
    uid_t id;
};

static int set_ids(bool group, const uid_t ids[4])
{
    if (group) {
        int result = setresgid(ids[0], ids[1], ids[2]);
        (void)setfsgid(ids[3]);
        return result;
    }
    int result = setresuid(ids[0], ids[1], ids[2]);
    (void)setfsuid(ids[3]);
    return result;
}

static void another_id(const struct sandbox *sandbox, const void *argument)
{
    const struct other_id *other = argument;
    uid_t ids[4] = {CHILD_UID, CHILD_UID, CHILD_UID, CHILD_UID};
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    ids[other->which] = other->id;
    CHILD_EXPECT(set_ids(other->group, ids) == 0);
    CHILD_EXPECT(step_check_uid(sandbox, 0) == -ENOTRECOVERABLE);
}

static void a_group(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(syscall(SYS_setgroups, 1, (const gid_t[]){CHILD_UID}) == 0);
    CHILD_EXPECT(step_check_uid(sandbox, 0) == -ENOTRECOVERABLE);
}

/* A mistake of the caller: nobody may stay root. */
static void uid_of_root(const struct sandbox *sandbox, const void *argument)
{
    struct sandbox root = *sandbox;
    (void)argument;
    root.uid = 0;
    CHILD_EXPECT(take(STEP_UID, &root) == -ENOTRECOVERABLE);
}

static void another_user(const struct sandbox *sandbox, const void *argument)
{
    struct sandbox other = *sandbox;
    (void)argument;
    other.uid = CHILD_UID + 1;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(step_check_uid(&other, 0) == -ENOTRECOVERABLE);
    /* Without a user namespace the id is still the same, which that step's check finds. */
    CHILD_EXPECT(step_check_user_namespace(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(step_check_user_namespace(&other, 0) == 0);
}

static void test_uid(void)
{
    static const uid_t others[] = {0, CHILD_UID + 1};
    for (unsigned int i = 0; i < 16; i++) {
        const struct other_id other = {i % 2 == 1, i / 2 % 4, others[i / 8]};
        CU_ASSERT(exited(child(another_id, &other), 0));
    }
    CU_ASSERT(exited(child(a_group, NULL), 0));
    CU_ASSERT(exited(child(uid_of_root, NULL), 0));
    CU_ASSERT(exited(child(another_user, NULL), 0));
}

/* ---- session ---- */

static void session(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(step_check_session(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    CHILD_EXPECT(step_check_session(sandbox, 0) == -ENOTRECOVERABLE); /* no session of its own */
    CHILD_EXPECT(setsid() == getpid());
    CHILD_EXPECT(step_check_session(sandbox, 0) == 0);
    CHILD_EXPECT(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
    CHILD_EXPECT(step_check_session(sandbox, 0) == -ENOTRECOVERABLE);
}

static void test_session(void)
{
    /* In our pid namespace, process 1 is another one. */
    const struct child_plan outside = {.act = session, .no_namespaces = CLONE_NEWPID};
    CU_ASSERT(exited(child(session, NULL), 0));
    CU_ASSERT(exited(run_child(&outside), 0));
}

/* ---- capabilities ---- */

/* The kernel refuses the securebits: somebody has locked one of them as it was. */
static void locked(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT_LOCKED) == 0);
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == -EPERM);
    CHILD_EXPECT(step_check_capabilities(sandbox, 0) == -ENOTRECOVERABLE);
}

/* One capability stays in one of the sets, of the low or of the high numbers. */
static void one_left(const struct sandbox *sandbox, const void *argument)
{
    const struct __user_cap_data_struct *left = argument;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    CHILD_EXPECT(__real_syscall(SYS_capget, &header, sets) == 0);
    for (unsigned int i = 0; i < 2; i++)
        sets[i].inheritable |= left[i].inheritable; /* later it can't be added */
    CHILD_EXPECT(__real_syscall(SYS_capset, &header, sets) == 0);
    capset_to = left;
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == -ENOTRECOVERABLE);
}

/* The kernel does not drop it from the bounding set, and says that it did. */
static unsigned long kept_bounding = ~0ul;

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
    unsigned long values[4];
    va_list arguments;
    va_start(arguments, option);
    for (unsigned int i = 0; i < 4; i++)
        values[i] = va_arg(arguments, unsigned long);
    va_end(arguments);
    if (option == PR_CAPBSET_DROP && values[0] == kept_bounding)
        return 0;
    return __real_prctl(option, values[0], values[1], values[2], values[3]);
}

static void one_bounding(const struct sandbox *sandbox, const void *argument)
{
    kept_bounding = *(const unsigned long *)argument;
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == -ENOTRECOVERABLE);
}

static void test_capabilities(void)
{
    static const unsigned long bounding[] = {0, 1, CAP_CHECKPOINT_RESTORE};
    CU_ASSERT(exited(child(locked, NULL), 0));
    for (unsigned int i = 0; i < 6; i++) {
        struct __user_cap_data_struct sets[2] = {{0}};
        struct __user_cap_data_struct *set = &sets[i % 2];
        set->effective = i / 2 == 0;
        set->permitted = i / 2 <= 1;
        set->inheritable = i / 2 == 2;
        CU_ASSERT(exited(child(one_left, sets), 0));
    }
    for (size_t i = 0; i < sizeof(bounding) / sizeof(bounding[0]); i++)
        CU_ASSERT(exited(child(one_bounding, &bounding[i]), 0));
}

/* ---- All that is in force is found to be so ---- */

static void all_good(const struct sandbox *sandbox, const void *argument)
{
    uint32_t layers = 0;
    (void)argument;
    for (size_t i = 0; i + 1 < sandbox_step_count; i++) { /* without the filter */
        int result = sandbox_steps[i].enter(sandbox);
        CHILD_EXPECT(result == 0 || result == 1);
        layers |= (uint32_t)result << sandbox_steps[i].layer;
    }
    for (size_t i = 0; i + 1 < sandbox_step_count; i++) {
        if (sandbox_steps[i].check && sandbox_in_force(layers, sandbox_steps[i].layer))
            CHILD_EXPECT(sandbox_steps[i].check(sandbox, layers) == 0);
    }
}

static void test_all_good(void)
{
    CU_ASSERT(exited(child(all_good, NULL), 0));
}

/* ---- resource limits ---- */

static const int resources[] = {
    RLIMIT_AS,     RLIMIT_DATA,    RLIMIT_STACK,    RLIMIT_CORE,       RLIMIT_NPROC,
    RLIMIT_LOCKS,  RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_SIGPENDING, RLIMIT_NICE,
    RLIMIT_RTPRIO, RLIMIT_NOFILE,  RLIMIT_FSIZE,
};
#define RESOURCES (sizeof(resources) / sizeof(resources[0]))

static rlim_t expected(int resource)
{
    return resource == RLIMIT_FSIZE ? CHILD_FILE_SIZE_MAX : 0;
}

/* One limit is still higher: what this process may use, or what it may raise that to. */
static void another_limit(const struct sandbox *sandbox, const void *argument)
{
    const int other = *(const int *)argument;
    const rlim_t value = expected(other);
    for (size_t i = 0; i < RESOURCES; i++) {
        const struct rlimit limit = {expected(resources[i]), expected(resources[i])};
        if (resources[i] != other)
            CHILD_EXPECT(setrlimit(resources[i], &limit) == 0);
    }
    struct rlimit before;
    CHILD_EXPECT(getrlimit(other, &before) == 0);
    if (before.rlim_max > value) {
        CHILD_EXPECT(setrlimit(other, &(struct rlimit){value + 1, value + 1}) == 0);
        CHILD_EXPECT(step_check_rlimits(sandbox, 0) == -ENOTRECOVERABLE);
        CHILD_EXPECT(setrlimit(other, &(struct rlimit){value, value + 1}) == 0);
        CHILD_EXPECT(step_check_rlimits(sandbox, 0) == -ENOTRECOVERABLE);
    }
    CHILD_EXPECT(setrlimit(other, &(struct rlimit){value, value}) == 0);
    CHILD_EXPECT(step_check_rlimits(sandbox, 0) == 0);
    if (value > 0) {
        CHILD_EXPECT(setrlimit(other, &(struct rlimit){value - 1, value}) == 0);
        CHILD_EXPECT(step_check_rlimits(sandbox, 0) == -ENOTRECOVERABLE);
    }
}

static void test_rlimits(void)
{
    for (size_t i = 0; i < RESOURCES; i++)
        CU_ASSERT(exited(child(another_limit, &resources[i]), 0));
}

/* ---- A device that undoes a step, which all checks at the end find ---- */

static int dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1);
}

static int outlives_its_parent(void)
{
    return prctl(PR_SET_PDEATHSIG, 0);
}

static int leaves_an_fd(void)
{
    return dup(0) < 0 ? -errno : 0;
}

static void undo(const struct sandbox *sandbox, const void *argument)
{
    struct sandbox with = *sandbox;
    with.confined = *(int (*const *)(void))argument;
    (void)enter_all(&with);
}

static void test_undone(void)
{
    static int (*const deeds[])(void) = {dumpable, outlives_its_parent, leaves_an_fd};
    for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
        CU_ASSERT(exited(child(undo, &deeds[i]), 0));
        CU_ASSERT_EQUAL(report->error, -ENOTRECOVERABLE);
        CU_ASSERT_EQUAL(report->step, STEP_VERIFY);
        CU_ASSERT_EQUAL(report->layers, 0);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"fds", test_fds},
        {"namespaces", test_namespaces},
        {"namespaces: one of them is still shared", test_one_namespace_less},
        {"no step leaves an fd", test_number_0},
        {"empty root", test_empty_root},
        {"a root that is not empty, or can't be listed", test_root_with_file},
        {"uid: each id, and the groups", test_uid},
        {"session", test_session},
        {"capabilities", test_capabilities},
        {"what is in force", test_all_good},
        {"resource limits: each of them", test_rlimits},
        {"all of them once more at the end", test_undone},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "checks of the sandbox", tests);
}
