/* SPDX-License-Identifier: Apache-2.0 */
/* Each layer of the sandbox alone: a child enters it, tries what it forbids, and ends in exactly
 * the expected way. */
#include "sandbox_child.h"
#include "tests/cunit_main.h"

#include <arpa/inet.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static int child(child_act *act, const void *argument)
{
    return run_child(&(struct child_plan){.act = act, .argument = argument});
}

static void take_what_is_lacking(const struct sandbox *sandbox, const void *argument)
{
    const enum worker_step *step = argument;
    CHILD_EXPECT(take(*step, sandbox) == 0);
}

/* A layer that a kernel may lack. Where it does, its step says so and is no failure. */
static void test_optional(enum sandbox_layer layer, enum worker_step step, child_act *act)
{
    const bool has_it = (kernel_layers() & 1u << layer) != 0;
    CU_ASSERT(exited(has_it ? child(act, NULL) : child(take_what_is_lacking, &step), 0));
}

/* ---- fds ---- */

static void fds_exact(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_FDS, sandbox) == 1);
    /* The check finds an fd that a later step might leave open, without /proc. */
    CHILD_EXPECT(dup(0) >= 0);
    CHILD_EXPECT(step_check_fds(sandbox, 0) == -ENOTRECOVERABLE);
}

static void fds_one_more(const struct sandbox *sandbox, const void *argument)
{
    CHILD_EXPECT(dup2(0, *(const int *)argument) >= 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == -EMFILE);
}

static void fds_one_less(const struct sandbox *sandbox, const void *argument)
{
    CHILD_EXPECT(close(*(const int *)argument) == 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == -EBADF);
}

struct fd_swap {
    int fd;
    const char *path; /* the file that replaces it; NULL: a copy of `other` */
    int flags, other;
};

static void fds_another_kind(const struct sandbox *sandbox, const void *argument)
{
    const struct fd_swap *swap = argument;
    int other = swap->path ? open(swap->path, swap->flags) : dup(swap->other);
    CHILD_EXPECT(other >= 0 && dup2(other, swap->fd) == swap->fd && close(other) == 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == -EBADFD);
}

static void fds_no_proc(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(unshare(CLONE_NEWNS) == 0);
    CHILD_EXPECT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHILD_EXPECT(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == -ENOENT);
    /* A forged /proc does not count as proof either. */
    CHILD_EXPECT(mkdir("/proc/self", 0755) == 0 && mkdir("/proc/self/fd", 0755) == 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == -ENOTRECOVERABLE);
}

/* Another kind of socket than the broker's. */
static void fds_another_socket(const struct sandbox *sandbox, const void *argument)
{
    const int *kind = argument;
    int other = socket(kind[0], kind[1], 0);
    CHILD_EXPECT(other >= 0 && dup2(other, WORKER_FD_CONTROL) == WORKER_FD_CONTROL);
    CHILD_EXPECT(close(other) == 0 && take(STEP_FDS, sandbox) == -EBADFD);
}

/* Its status flags are all 0. */
static void fds_a_pipe(const struct sandbox *sandbox, const void *argument)
{
    int ends[2];
    (void)argument;
    CHILD_EXPECT(pipe(ends) == 0 && dup2(ends[0], WORKER_FD_BACKEND) == WORKER_FD_BACKEND);
    CHILD_EXPECT(close(ends[0]) == 0 && close(ends[1]) == 0);
    CHILD_EXPECT(fcntl(WORKER_FD_BACKEND, F_GETFL) == 0);
    CHILD_EXPECT(take(STEP_FDS, sandbox) == 1);
}

static void test_fds(void)
{
    CU_ASSERT(exited(child(fds_exact, NULL), 0));
    CU_ASSERT(exited(child(fds_a_pipe, NULL), 0));
    static const int sockets[][2] = {
        {AF_UNIX, SOCK_STREAM}, {AF_UNIX, SOCK_DGRAM}, {AF_INET, SOCK_STREAM}};
    for (size_t i = 0; i < 3; i++)
        CU_ASSERT(exited(child(fds_another_socket, sockets[i]), 0));
    CU_ASSERT(exited(child(fds_no_proc, NULL), 0));
    for (int fd = 10; fd < 1000; fd += 330)
        CU_ASSERT(exited(child(fds_one_more, &fd), 0));
    for (int fd = 0; fd < 10; fd++)
        CU_ASSERT(exited(child(fds_one_less, &fd), 0));

    static const struct fd_swap swaps[] = {
        {WORKER_FD_NULL_IN, "/dev/zero", O_RDWR, 0},
        {WORKER_FD_NULL_ERR, "/proc/self/status", O_RDONLY, 0},
        {WORKER_FD_CONTROL, NULL, 0, WORKER_FD_NULL_IN},
        {WORKER_FD_CONTROL, NULL, 0, WORKER_FD_REPLY},
        {WORKER_FD_EPOLL, NULL, 0, WORKER_FD_CALL},
        {WORKER_FD_REQUEST, NULL, 0, WORKER_FD_EPOLL},
        {WORKER_FD_REPLY, "/dev/null", O_RDWR, 0},
        {WORKER_FD_CALL, NULL, 0, WORKER_FD_BACKEND},
        {WORKER_FD_BACKEND, "/", O_RDONLY | O_DIRECTORY, 0},
        {WORKER_FD_BACKEND, "/", O_PATH, 0},
        {WORKER_FD_BACKEND, "/dev/null", O_PATH, 0},
        {WORKER_FD_BACKEND + 1, NULL, 0, WORKER_FD_CONTROL},
    };
    for (size_t i = 0; i < sizeof(swaps) / sizeof(swaps[0]); i++)
        CU_ASSERT(exited(child(fds_another_kind, &swaps[i]), 0));
}

/* ---- namespaces ---- */

static const char *const namespace_paths[] = {
    "/proc/self/ns/mnt",    "/proc/self/ns/ipc", "/proc/self/ns/uts",
    "/proc/self/ns/cgroup", "/proc/self/ns/net", "/proc/self/ns/pid",
};
#define NAMESPACES (sizeof(namespace_paths) / sizeof(namespace_paths[0]))

static uint64_t namespace_id(size_t which)
{
    struct stat file;
    return stat(namespace_paths[which], &file) < 0 ? 0 : file.st_ino;
}

static void namespaces_new(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == 1);
    for (size_t i = 0; i < NAMESPACES; i++)
        report->values[i] = namespace_id(i);
    CHILD_EXPECT(sethostname("elsewhere", 9) == 0);
    CHILD_EXPECT(kill(-1, 0) == -1 && errno == ESRCH);
    CHILD_EXPECT(kill((pid_t) * (const pid_t *)argument, 0) == -1 && errno == ESRCH);
    CHILD_EXPECT(socket(AF_INET, SOCK_DGRAM, 0) >= 0);
    const struct sockaddr_in loopback = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHILD_EXPECT(connect(10, (const struct sockaddr *)&loopback, sizeof(loopback)) == -1 &&
                 errno == ENETUNREACH);
}

static void namespaces_shared(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == -EXDEV);
}

static void test_namespaces(void)
{
    struct utsname before, after;
    pid_t parent = getpid();
    CU_ASSERT(uname(&before) == 0);
    CU_ASSERT(exited(child(namespaces_new, &parent), 0));
    CU_ASSERT(uname(&after) == 0);
    CU_ASSERT(strcmp(before.nodename, after.nodename) == 0);
    for (size_t i = 0; i < NAMESPACES; i++) {
        CU_ASSERT(report->values[i] != 0);
        CU_ASSERT(report->values[i] != namespace_id(i));
    }
    static const uint64_t shared[] = {CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWPID | CLONE_NEWNET};
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        const struct child_plan plan = {.act = namespaces_shared, .no_namespaces = shared[i]};
        CU_ASSERT(exited(run_child(&plan), 0));
    }
}

/* ---- empty root ---- */

static void root_empty(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == 1);
    CHILD_EXPECT(take(STEP_EMPTY_ROOT, sandbox) == 1);
    CHILD_EXPECT(open("/etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("../../../../etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("/proc/self/status", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("/dev/null", O_RDWR) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("/file", O_RDWR | O_CREAT, 0600) == -1 && errno == EROFS);
    CHILD_EXPECT(mkdir("/directory", 0700) == -1 && errno == EROFS);
    CHILD_EXPECT(mknod("/null", S_IFCHR | 0600, 0x103) == -1 && errno == EROFS);
    CHILD_EXPECT(execl("/bin/true", "true", (char *)NULL) == -1 && errno == ENOENT);
    /* Even if it were writable it could hold no file: the root is its only inode. */
    CHILD_EXPECT(mount(NULL, "/", NULL, MS_REMOUNT, "size=4k,nr_inodes=1") == 0);
    CHILD_EXPECT(step_check_empty_root(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(open("/file", O_RDWR | O_CREAT, 0600) == -1 && errno == ENOSPC);
}

static uint64_t mounts(void)
{
    uint64_t hash = 5381;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    for (int c; (c = fgetc(file)) != EOF;)
        hash = hash * 33 + (unsigned char)c;
    fclose(file);
    return hash;
}

static void test_empty_root(void)
{
    uint64_t before = mounts();
    CU_ASSERT(exited(child(root_empty, NULL), 0));
    CU_ASSERT(mounts() == before);
}

/* ---- uid ---- */

static void uid_own(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(setgroups(2, (const gid_t[]){4, 20}) == 0);
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(getuid() == CHILD_UID && geteuid() == CHILD_UID);
    CHILD_EXPECT(getgid() == CHILD_UID && getegid() == CHILD_UID);
    CHILD_EXPECT(getgroups(0, NULL) == 0);
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(setuid(0) == -1 && errno == EPERM);
    CHILD_EXPECT(setgid(0) == -1 && errno == EPERM);
    CHILD_EXPECT(setgroups(1, (const gid_t[]){0}) == -1 && errno == EPERM);
    CHILD_EXPECT(open("/etc/shadow", O_RDONLY) == -1 && errno == EACCES);
    CHILD_EXPECT(step_check_uid(sandbox, 0) == 0);
}

static void test_uid(void)
{
    CU_ASSERT(exited(child(uid_own, NULL), 0));
}

/* ---- keyring ---- */

static long session_keyring(void)
{
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0, 0, 0);
}

static void keyring_own(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    long before = session_keyring();
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(take(STEP_KEYRING, sandbox) == 1);
    CHILD_EXPECT(session_keyring() > 0 && session_keyring() != before);
    int32_t keys[4];
    CHILD_EXPECT(
        syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_SESSION_KEYRING, keys, sizeof(keys), 0) == 0);
}

static void test_keyring(void)
{
    test_optional(LAYER_KEYRING, STEP_KEYRING, keyring_own);
}

/* ---- user namespace ---- */

static void user_namespace_own(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == 1);
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(take(STEP_USER_NAMESPACE, sandbox) == 1);
    CHILD_EXPECT(step_check_uid(sandbox, 1u << LAYER_USER_NAMESPACE) == 0);
    CHILD_EXPECT(step_check_uid(sandbox, 0) == -ENOTRECOVERABLE);
    /* The process has every capability, but only in its own namespace: all other namespaces belong
     * outside. */
    CHILD_EXPECT(sethostname("elsewhere", 9) == -1 && errno == EPERM);
    CHILD_EXPECT(mount("none", "/tmp", "tmpfs", 0, NULL) == -1 && errno == EPERM);
    CHILD_EXPECT(setuid(0) == -1 && errno == EINVAL);
    /* This step would undo an earlier lock-down of capabilities. */
    CHILD_EXPECT(step_check_capabilities(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == 1);
}

static void test_user_namespace(void)
{
    test_optional(LAYER_USER_NAMESPACE, STEP_USER_NAMESPACE, user_namespace_own);
}

/* ---- session ---- */

static void session_own(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_SESSION, sandbox) == 1);
    CHILD_EXPECT(getsid(0) == 1 && getpgrp() == 1);
    CHILD_EXPECT(take(STEP_SESSION, sandbox) == 1); /* it already is the session's leader */
    /* A change of user undoes this step: hence the order of the steps. */
    CHILD_EXPECT(setresuid(CHILD_UID, CHILD_UID, CHILD_UID) == 0);
    CHILD_EXPECT(step_check_session(sandbox, 0) == -ENOTRECOVERABLE);
}

static void wait_for_death(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    CHILD_EXPECT(take(STEP_SESSION, sandbox) == 1);
    report->values[0] = 1;
    for (;;)
        pause();
}

/* When a parent dies, its child dies. We inherit the child, and see how it died. */
static void test_death_with_parent(void)
{
    int status = 0;
    CU_ASSERT(exited(child(session_own, NULL), 0)); /* the report is shared from now on */
    CU_ASSERT(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    report->values[0] = 0;
    pid_t parent = fork();
    if (parent == 0) {
        pid_t pid = start_child(&(struct child_plan){.act = wait_for_death});
        report->values[1] = (uint64_t)pid;
        for (;;)
            pause();
    }
    for (int i = 0; i < 500 && (report->values[0] == 0 || report->values[1] == 0); i++)
        usleep(10000);
    pid_t orphan = (pid_t)report->values[1];
    CU_ASSERT_FATAL(report->values[0] == 1 && orphan > 0);
    CU_ASSERT(kill(parent, SIGKILL) == 0 && waitpid(parent, NULL, 0) == parent);
    CU_ASSERT(waitpid(orphan, &status, 0) == orphan);
    CU_ASSERT(killed(status, SIGKILL));
}

static void test_session(void)
{
    CU_ASSERT(exited(child(session_own, NULL), 0));
}

/* ---- capabilities ---- */

static void capabilities_none(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == 1);
    /* As libcap-ng sees it, including the bounding and the ambient set. */
    CHILD_EXPECT(capng_get_caps_process() == 0);
    CHILD_EXPECT(capng_have_capabilities(CAPNG_SELECT_ALL) == CAPNG_NONE);
    CHILD_EXPECT(capng_have_permitted_capabilities() == CAPNG_NONE);
    CHILD_EXPECT(unshare(CLONE_NEWNS) == -1 && errno == EPERM);
    CHILD_EXPECT(setuid(1) == -1 && errno == EPERM);
    CHILD_EXPECT(chroot("/tmp") == -1 && errno == EPERM);
    CHILD_EXPECT(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == -1 && errno == EPERM);
    CHILD_EXPECT(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == -1 && errno == EPERM);
}

/* The process has uid 0, but exec gives no capabilities back. */
static void capabilities_exec(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(getuid() == 0 && take(STEP_CAPABILITIES, sandbox) == 1);
    execl("/bin/grep", "grep", "-qE", "^CapEff:.0+$", "/proc/thread-self/status", (char *)NULL);
    _exit(EXIT_EXPECTATION);
}

static void test_capabilities(void)
{
    /* It stays in our pid namespace: libcap-ng looks its process up in /proc, which is ours. */
    const struct child_plan plan = {.act = capabilities_none, .no_namespaces = CLONE_NEWPID};
    CU_ASSERT(exited(run_child(&plan), 0));
    CU_ASSERT(exited(child(capabilities_exec, NULL), 0));
}

/* ---- not dumpable, no_new_privs ---- */

static void not_dumpable(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1 && take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    CHILD_EXPECT(step_check_not_dumpable(sandbox, 0) == -ENOTRECOVERABLE);
    int memory = open("/proc/self/mem", O_RDONLY);
    CHILD_EXPECT(memory >= 0);
    CHILD_EXPECT(take(STEP_NOT_DUMPABLE, sandbox) == 1);
    CHILD_EXPECT(open("/proc/self/mem", O_RDONLY) == -1 && errno == EACCES);
}

static void no_new_privs(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(step_check_no_new_privs(sandbox, 0) == -ENOTRECOVERABLE);
    CHILD_EXPECT(take(STEP_NO_NEW_PRIVS, sandbox) == 1);
    CHILD_EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 && errno == EINVAL);
    CHILD_EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

static void test_not_dumpable(void)
{
    CU_ASSERT(exited(child(not_dumpable, NULL), 0));
}

static void test_no_new_privs(void)
{
    CU_ASSERT(exited(child(no_new_privs, NULL), 0));
}

/* ---- MDWE ---- */

static void mdwe(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    CHILD_EXPECT(take(STEP_MDWE, sandbox) == 1);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, -1, 0);
    CHILD_EXPECT(page != MAP_FAILED);
    CHILD_EXPECT(mprotect(page, 4096, PROT_READ | PROT_EXEC) == -1 && errno == EACCES);
    CHILD_EXPECT(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, flags, -1, 0) == MAP_FAILED &&
                 errno == EACCES);
}

static void test_mdwe(void)
{
    test_optional(LAYER_MDWE, STEP_MDWE, mdwe);
}

/* ---- Landlock ---- */

/* A file that nobody misses if a worker can remove it after all. */
static char own_file[] = "/tmp/landlock-XXXXXX";

static void landlock(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_NO_NEW_PRIVS, sandbox) == 1);
    CHILD_EXPECT(take(STEP_LANDLOCK, sandbox) == 1);
    CHILD_EXPECT(open("/", O_RDONLY | O_DIRECTORY) == -1 && errno == EACCES);
    CHILD_EXPECT(open("/etc/passwd", O_RDONLY) == -1 && errno == EACCES);
    CHILD_EXPECT(open("/dev/null", O_WRONLY) == -1 && errno == EACCES);
    CHILD_EXPECT(open("/tmp/file-of-a-worker", O_CREAT | O_WRONLY, 0600) == -1 && errno == EACCES);
    CHILD_EXPECT(mkdir("/tmp/directory-of-a-worker", 0700) == -1 && errno == EACCES);
    CHILD_EXPECT(symlink("/", "/tmp/link-of-a-worker") == -1 && errno == EACCES);
    CHILD_EXPECT(unlink(own_file) == -1 && errno == EACCES);
    CHILD_EXPECT(execl("/bin/true", "true", (char *)NULL) == -1 && errno == EACCES);
    CHILD_EXPECT(mount("none", "/tmp", "tmpfs", 0, NULL) == -1 && errno == EPERM);
    /* Files that were open before still work. */
    CHILD_EXPECT(ftruncate(WORKER_FD_BACKEND, 512) == 0);
    CHILD_EXPECT(pwrite(WORKER_FD_BACKEND, "x", 1, 0) == 1);
}

static void test_landlock(void)
{
    int fd = mkstemp(own_file);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
    test_optional(LAYER_LANDLOCK, STEP_LANDLOCK, landlock);
    CU_ASSERT_EQUAL(unlink(own_file), 0);
}

/* ---- resource limits ---- */

static void rlimits(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    static char byte;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1 && take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(ftruncate(WORKER_FD_BACKEND, CHILD_FILE_SIZE_MAX) == 0);
    CHILD_EXPECT(take(STEP_RLIMITS, sandbox) == 1);
    CHILD_EXPECT(open("/dev/null", O_RDONLY) == -1 && errno == EMFILE);
    CHILD_EXPECT(dup(0) == -1 && errno == EMFILE);
    CHILD_EXPECT(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == -1 && errno == EAGAIN);
    CHILD_EXPECT(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
                 errno == ENOMEM);
    CHILD_EXPECT(mlock(&byte, 1) == -1 && errno == EPERM);
    CHILD_EXPECT(setrlimit(RLIMIT_NOFILE, &(struct rlimit){9, 9}) == -1 && errno == EPERM);
    /* The image can be written to its end, and no further. Such a write also sends SIGXFSZ, which
     * does nothing to the first process of a pid namespace. */
    CHILD_EXPECT(pwrite(WORKER_FD_BACKEND, "x", 1, CHILD_FILE_SIZE_MAX - 1) == 1);
    CHILD_EXPECT(pwrite(WORKER_FD_BACKEND, "x", 1, CHILD_FILE_SIZE_MAX) == -1 && errno == EFBIG);
    CHILD_EXPECT(ftruncate(WORKER_FD_BACKEND, CHILD_FILE_SIZE_MAX + 1) == -1 && errno == EFBIG);
}

/* Every process starts with 128 KiB of stack. Beyond them the stack would have to grow. */
static __attribute__((noinline)) unsigned int use_stack(unsigned int pages)
{
    volatile unsigned char frame[4096];
    frame[0] = (unsigned char)pages;
    return pages == 0 ? frame[0] : use_stack(pages - 1) + frame[0];
}

static void grow_stack(const struct sandbox *sandbox, const void *argument)
{
    CHILD_EXPECT(take(STEP_RLIMITS, sandbox) == 1);
    report->values[0] = use_stack(*(const unsigned int *)argument);
}

static void test_rlimits(void)
{
    const unsigned int shallow = 4, deep = 512;
    CU_ASSERT(exited(child(rlimits, NULL), 0));
    CU_ASSERT(exited(child(grow_stack, &shallow), 0));
    CU_ASSERT(killed(child(grow_stack, &deep), SIGSEGV));
}

/* ---- seccomp ---- */

static void no_policy(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    struct sandbox without = *sandbox;
    without.policy = NULL;
    CHILD_EXPECT(take(STEP_SECCOMP, &without) == -ENOENT);
}

static void unprivileged_filter(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1 && take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(take(STEP_SECCOMP, sandbox) == -EACCES); /* without no_new_privs it is refused */
    CHILD_EXPECT(take(STEP_NO_NEW_PRIVS, sandbox) == 1);
    CHILD_EXPECT(take(STEP_SECCOMP, sandbox) == 1);
    syscall(SYS_getppid);
}

/* A thread that the process has already is confined as well. */
static void *call_later(void *unused)
{
    while (report->values[0] == 0)
        ;
    syscall(SYS_getppid);
    report->values[1] = 1;
    for (;;)
        ;
    return unused;
}

static void another_thread(const struct sandbox *sandbox, const void *argument)
{
    pthread_t thread;
    (void)argument;
    report->values[0] = report->values[1] = 0;
    CHILD_EXPECT(pthread_create(&thread, NULL, call_later, NULL) == 0);
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1 && take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(take(STEP_NO_NEW_PRIVS, sandbox) == 1);
    CHILD_EXPECT(take(STEP_SECCOMP, sandbox) == 1);
    report->values[0] = 1;
    while (report->values[1] == 0)
        ;
}

static void test_seccomp(void)
{
    CU_ASSERT(killed(child(another_thread, NULL), SIGSYS));
    CU_ASSERT(exited(child(no_policy, NULL), 0));
    CU_ASSERT(killed(child(unprivileged_filter, NULL), SIGSYS));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"fds: exactly the expected ones, each of its kind", test_fds},
        {"namespaces: new ones, or none at all", test_namespaces},
        {"empty root", test_empty_root},
        {"uid: no way back", test_uid},
        {"keyring of its own", test_keyring},
        {"user namespace: all capabilities, in nothing", test_user_namespace},
        {"session of its own", test_session},
        {"dies with its parent", test_death_with_parent},
        {"capabilities: none, for good", test_capabilities},
        {"not dumpable", test_not_dumpable},
        {"no_new_privs", test_no_new_privs},
        {"MDWE: no new executable memory", test_mdwe},
        {"Landlock: no file", test_landlock},
        {"resource limits at the floor", test_rlimits},
        {"seccomp needs a policy and no_new_privs", test_seccomp},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "each layer alone", tests);
}
