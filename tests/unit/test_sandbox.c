/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox as a whole: what is in force; what a confined process may do, and what kills it. A
 * step that fails, or only seems to succeed, is fatal. */
#include "sandbox_child.h"
#include "tests/cunit_main.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif

static uint32_t optional; /* optional layers that this kernel has */

static int child(child_act *act, const void *argument)
{
    return run_child(&(struct child_plan){.act = act, .argument = argument});
}

/* ---- what is in force ---- */

static uint32_t core_layers(void)
{
    uint32_t core = 0;
#define X(constant, name, is_core) core |= (uint32_t)(is_core) << LAYER_##constant;
    SANDBOX_LAYERS(X)
#undef X
    return core;
}

static void enter(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    if (enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
}

static void test_layers(void)
{
    for (int kind = 0; kind < DEVICE_KINDS; kind++) {
        const struct child_plan plan = {.act = enter, .kind = (enum device_kind)kind};
        CU_ASSERT(exited(run_child(&plan), 0));
        CU_ASSERT_EQUAL(report->error, 0);
        CU_ASSERT_EQUAL(report->layers, core_layers() | optional);
    }
}

/* ---- what may be done: what the policy allows, with the fds and flags that it names ---- */

static void allowed_block(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    const uint64_t one = 1;
    char byte = 'x';
    const struct iovec data = {&byte, 1};
    struct epoll_event event;
    const struct timespec at_once = {0};
    const struct message_ready ready = {{.type = MSG_READY, .version = MESSAGE_VERSION}, 0, 0};

    CHILD_EXPECT(ftruncate(WORKER_FD_BACKEND, 512) == 0);
    CHILD_EXPECT(enter_all(sandbox) == 0);
    CHILD_EXPECT(write(WORKER_FD_REPLY, &one, sizeof(one)) == sizeof(one));
    CHILD_EXPECT(write(WORKER_FD_CALL, &one, sizeof(one)) == sizeof(one));
    CHILD_EXPECT(syscall(SYS_epoll_pwait2, WORKER_FD_EPOLL, &event, 1, &at_once, NULL, 8) == 0);
    CHILD_EXPECT(pwritev2(WORKER_FD_BACKEND, &data, 1, 0, RWF_DSYNC) == 1);
    byte = 0;
    CHILD_EXPECT(preadv2(WORKER_FD_BACKEND, &data, 1, 0, 0) == 1 && byte == 'x');
    CHILD_EXPECT(fdatasync(WORKER_FD_BACKEND) == 0);
    /* The broker's end is closed, but send raises no signal. */
    CHILD_EXPECT(send(WORKER_FD_CONTROL, &ready, sizeof(ready), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                     -1 &&
                 errno == EPIPE);
    _exit(17);
}

static void test_allowed(void)
{
    CU_ASSERT(exited(child(allowed_block, NULL), 17));
}

/* ---- what a device still has to do itself ---- */

static int seen_confined(void)
{
    struct rlimit limit = {0, 0};
    bool whole = getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_max > 0;
    bool confined = getuid() != 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
                    prctl(PR_CAPBSET_READ, CAP_SETPCAP, 0, 0, 0) == 0 &&
                    access("/proc", F_OK) == -1;
    report->values[0]++;
    return whole && confined ? 0 : -EDOM;
}

static int refuse(void)
{
    return -EDOM;
}

static void enter_with_device(const struct sandbox *sandbox, const void *argument)
{
    struct sandbox with = *sandbox;
    with.confined = *(int (*const *)(void))argument;
    (void)enter_all(&with);
}

static void test_device(void)
{
    int (*const good)(void) = seen_confined, (*const bad)(void) = refuse;
    CU_ASSERT(exited(child(enter_with_device, &good), 0));
    CU_ASSERT(report->error == 0 && report->values[0] == 1);
    CU_ASSERT_EQUAL(report->layers, core_layers() | optional);
    CU_ASSERT(exited(child(enter_with_device, &bad), 0));
    CU_ASSERT(report->error == -EDOM && report->step == STEP_DEVICE && report->layers == 0);
}

/* ---- what is fatal ---- */

struct call {
    const char *name;
    long number;
    long arguments[6];
};

static char scratch[4096];
static char *const no_strings[] = {NULL};

#define AT (long)(uintptr_t)
#define CALL(name, ...)                                                                            \
    {                                                                                              \
#name, SYS_##name,                                                                         \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* Calls that somebody who has taken over a worker would like to make, on any device. */
static const struct call forbidden[] = {
    CALL(openat, AT_FDCWD, AT "/", O_RDONLY),
    CALL(openat, WORKER_FD_BACKEND, AT "..", O_RDONLY),
    CALL(socket, AF_UNIX, SOCK_STREAM, 0),
    CALL(socketpair, AF_UNIX, SOCK_STREAM, 0, AT scratch),
    CALL(connect, WORKER_FD_CONTROL, AT scratch, 16),
    CALL(sendmsg, WORKER_FD_CONTROL, AT scratch, MSG_DONTWAIT | MSG_NOSIGNAL),
    CALL(recvmsg, WORKER_FD_CONTROL, AT scratch, MSG_DONTWAIT),
    CALL(sendto, WORKER_FD_CONTROL, AT scratch, 1, 0, 0, 0),
    CALL(sendto, WORKER_FD_CONTROL, AT scratch, 1, MSG_DONTWAIT | MSG_NOSIGNAL, AT scratch, 16),
    CALL(clone, SIGCHLD, 0, 0, 0, 0),
    CALL(clone, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0),
    CALL(clone3, AT scratch, 88),
    CALL(execve, AT "/bin/sh", AT no_strings, AT no_strings),
    CALL(execveat, WORKER_FD_BACKEND, AT "", AT no_strings, AT no_strings, AT_EMPTY_PATH),
    CALL(mount, AT "none", AT "/", AT "tmpfs", 0, 0),
    CALL(umount2, AT "/", MNT_DETACH),
    CALL(pivot_root, AT ".", AT "."),
    CALL(chroot, AT "/"),
    CALL(chdir, AT "/"),
    CALL(unshare, CLONE_NEWUSER),
    CALL(setns, WORKER_FD_BACKEND, 0),
    CALL(setuid, 0),
    CALL(setresuid, 0, 0, 0),
    CALL(setgroups, 0, 0),
    CALL(capset, AT scratch, AT scratch),
    CALL(ptrace, PTRACE_TRACEME, 0, 0, 0),
    CALL(process_vm_readv, 1, 0, 0, 0, 0, 0),
    CALL(process_vm_writev, 1, 0, 0, 0, 0, 0),
    CALL(kill, -1, SIGKILL),
    CALL(tgkill, 1, 1, SIGABRT),
    CALL(rt_sigaction, SIGSYS, 0, AT scratch, 8),
    CALL(rt_sigprocmask, SIG_BLOCK, 0, AT scratch, 8),
    CALL(mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
    CALL(mmap, 0, 4096, PROT_READ, MAP_SHARED, WORKER_FD_BACKEND, 0),
    CALL(mprotect, AT scratch, 4096, PROT_READ | PROT_EXEC),
    CALL(munmap, 0, 4096),
    CALL(mremap, 0, 4096, 8192, 1),
    CALL(brk, 0),
    CALL(memfd_create, AT "", 0),
    CALL(dup, WORKER_FD_BACKEND),
    CALL(dup3, WORKER_FD_BACKEND, WORKER_FD_REPLY, 0),
    CALL(fcntl, WORKER_FD_BACKEND, F_GETFD),
    CALL(close, WORKER_FD_BACKEND),
    CALL(ftruncate, WORKER_FD_BACKEND, 0),
    CALL(ioctl, WORKER_FD_REPLY, 0, 0),
    CALL(read, WORKER_FD_CONTROL, AT scratch, 1),
    CALL(write, WORKER_FD_CONTROL, AT scratch, 1),
    CALL(write, WORKER_FD_BACKEND, AT scratch, 1),
    CALL(write, WORKER_FD_NULL_ERR, AT scratch, 1),
    CALL(write, 1 << 10 | WORKER_FD_REPLY, AT scratch, 8),
    CALL(preadv2, WORKER_FD_CONTROL, AT scratch, 0, 0, 0, 0),
    CALL(epoll_ctl, WORKER_FD_EPOLL, EPOLL_CTL_DEL, WORKER_FD_CONTROL, 0),
    CALL(epoll_pwait2, WORKER_FD_CONTROL, AT scratch, 1, 0, 0, 8),
    CALL(epoll_pwait, WORKER_FD_EPOLL, AT scratch, 1, 0, 0, 8),
    CALL(io_uring_setup, 1, AT scratch),
    CALL(bpf, 0, AT scratch, 64),
    CALL(perf_event_open, AT scratch, 0, -1, -1, 0),
    CALL(userfaultfd, 0),
    CALL(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0),
    CALL(add_key, AT "user", AT "name", AT "x", 1, KEY_SPEC_SESSION_KEYRING),
    CALL(pidfd_open, 1, 0),
    CALL(pidfd_getfd, WORKER_FD_BACKEND, 0, 0),
    CALL(pidfd_send_signal, WORKER_FD_BACKEND, 0, 0, 0),
    CALL(seccomp, SECCOMP_GET_ACTION_AVAIL, 0, AT scratch),
    CALL(prctl, PR_GET_SECCOMP, 0, 0, 0, 0),
    CALL(prctl, PR_SET_DUMPABLE, 1, 0, 0, 0),
    CALL(prlimit64, 0, RLIMIT_NOFILE, 0, AT scratch),
    CALL(sched_setaffinity, 0, 8, AT scratch),
    CALL(setpriority, 0, 0, -20),
    CALL(shmget, 1, 4096, 0),
    CALL(mq_open, AT "/q", 0, 0, 0),
    CALL(timer_create, 0, 0, AT scratch),
    CALL(landlock_create_ruleset, 0, 0, LANDLOCK_CREATE_RULESET_VERSION),
    CALL(init_module, AT scratch, 1, AT ""),
    CALL(reboot, 0, 0, 0, 0),
    CALL(getpid),
    CALL(gettid),
    {"beyond the last", 2000, {0}},
};
#define FORBIDDEN (sizeof(forbidden) / sizeof(forbidden[0]))

static void make_call(const struct sandbox *sandbox, const void *argument)
{
    const struct call *call = argument;
    const long *a = call->arguments;
    if (enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
    syscall(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* An input device sets its lights with write on its one file. No other kind writes to that file in
 * this way. */
static bool is_of_kind(const struct call *call, int kind)
{
    return call->number == SYS_write && call->arguments[0] == WORKER_FD_BACKEND &&
           kind == DEVICE_INPUT_VIRTIO;
}

static void test_forbidden(void)
{
    for (int kind = 0; kind < DEVICE_KINDS; kind++) {
        for (size_t i = 0; i < FORBIDDEN; i++) {
            if (is_of_kind(&forbidden[i], kind))
                continue;
            const struct child_plan plan = {make_call, &forbidden[i], (enum device_kind)kind, 0};
            int status = run_child(&plan);
            if (!killed(status, SIGSYS))
                printf("\n    %s, %s: status %#x", device_kinds[kind].policy, forbidden[i].name,
                       (unsigned int)status);
            CU_ASSERT(killed(status, SIGSYS));
        }
    }
}

#ifdef __x86_64__
#define X32_BIT 0x40000000L

static void legacy_getpid(const struct sandbox *sandbox, const void *argument)
{
    long result;
    if (*(const bool *)argument && enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory");
}

/* The other entries of the kernel: x32 numbers, and the 32-bit entry if the kernel has it. */
static void test_other_entries(void)
{
    static const struct call x32[] = {{"x32 write", X32_BIT | SYS_write, {WORKER_FD_REPLY, 0, 0}},
                                      {"x32 exit_group", X32_BIT | SYS_exit_group, {0}}};
    for (size_t i = 0; i < 2; i++)
        CU_ASSERT(killed(child(make_call, &x32[i]), SIGSYS));
    const bool confined = true, free = false;
    bool has_gate = exited(child(legacy_getpid, &free), 0);
    CU_ASSERT(killed(child(legacy_getpid, &confined), has_gate ? SIGSYS : SIGSEGV));
}
#endif

/* ---- ways to the end ---- */

static void call_abort(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    if (enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
    abort();
}

static void null_access(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    volatile int *volatile nowhere = NULL;
    if (enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
    *nowhere = 1;
}

static void trap(const struct sandbox *sandbox, const void *argument)
{
    (void)argument;
    if (enter_all(sandbox) < 0)
        _exit(EXIT_EXPECTATION);
    __builtin_trap();
}

/* None of these spins, though the first process of a pid namespace ignores its own signals. */
static void test_ends(void)
{
    CU_ASSERT(killed(child(call_abort, NULL), SIGSYS));
    CU_ASSERT(killed(child(null_access, NULL), SIGSEGV));
#ifdef __x86_64__
    CU_ASSERT(killed(child(trap, NULL), SIGILL));
#else
    CU_ASSERT(killed(child(trap, NULL), SIGTRAP));
#endif
}

/* ---- steps that fail ---- */

/*
 * The kernel answers a system call with `error` and does not carry it out. Error 0 stands for a
 * kernel that reports success and does nothing.
 */
struct fault {
    const char *name;
    long number;
    int argument; /* the argument that must have the value; -1: none */
    uint32_t value;
    enum worker_step step; /* the step that must fail */
};

#define NAMESPACES_HERE (CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#define FAULT(call, step)                                                                          \
    {                                                                                              \
#call, SYS_##call, -1, 0, STEP_##step                                                      \
    }
#define FAULT_IF(call, argument, value, step)                                                      \
    {                                                                                              \
#call " " #value, SYS_##call, argument, value, STEP_##step                                 \
    }

/* Each of these is fatal with an error, and with false success. */
static const struct fault faults[] = {
    FAULT(getdents64, FDS),
    FAULT_IF(unshare, 0, NAMESPACES_HERE, NAMESPACES),
    FAULT_IF(mount, 3, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, EMPTY_ROOT),
    FAULT(pivot_root, EMPTY_ROOT),
    FAULT(umount2, EMPTY_ROOT),
    FAULT(setgroups, UID),
    FAULT(setresgid, UID),
    FAULT(setresuid, UID),
    FAULT(keyctl, KEYRING),
    FAULT_IF(unshare, 0, CLONE_NEWUSER, USER_NAMESPACE),
    FAULT_IF(prctl, 0, PR_SET_PDEATHSIG, SESSION),
    FAULT(setsid, SESSION),
    FAULT_IF(prctl, 0, PR_CAPBSET_DROP, CAPABILITIES),
    FAULT(capset, CAPABILITIES),
    FAULT(capget, CAPABILITIES),
    FAULT_IF(prctl, 0, PR_SET_NO_NEW_PRIVS, NO_NEW_PRIVS),
    FAULT_IF(prctl, 0, PR_SET_MDWE, MDWE),
    FAULT(landlock_restrict_self, LANDLOCK),
    FAULT(prlimit64, RLIMITS),
    FAULT_IF(prlimit64, 1, RLIMIT_NPROC, RLIMITS),
    FAULT_IF(prlimit64, 1, RLIMIT_NOFILE, RLIMITS),
    FAULT_IF(prlimit64, 1, RLIMIT_FSIZE, RLIMITS),
    FAULT(seccomp, SECCOMP),
};

/* Only the error is noticed. If there is nothing to do, doing nothing is correct. */
static const struct fault errors[] = {
    FAULT(openat, FDS),
    FAULT(fstatfs, FDS),
    FAULT(statfs, EMPTY_ROOT),
    FAULT_IF(mount, 3, MS_REC | MS_PRIVATE, EMPTY_ROOT),
    FAULT(chdir, EMPTY_ROOT),
    FAULT_IF(prctl, 0, PR_SET_SECUREBITS, UID),
    FAULT_IF(prctl, 0, PR_SET_DUMPABLE, NOT_DUMPABLE),
    FAULT_IF(prctl, 0, PR_CAP_AMBIENT, CAPABILITIES),
    FAULT(landlock_create_ruleset, LANDLOCK),
};

struct injection {
    const struct fault *fault;
    uint16_t error;
};

static void inject(const struct injection *injection)
{
    const struct fault *fault = injection->fault;
    uint32_t any = fault->argument < 0; /* then an argument is compared with nothing */
    unsigned int argument = any ? 0 : (unsigned int)fault->argument;
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)fault->number, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (uint32_t)offsetof(struct seccomp_data, args) + 8 * argument),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, any ? 0 : fault->value, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, any ? UINT32_MAX : fault->value, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | injection->error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]),
                                       (struct sock_filter *)filter};
    CHILD_EXPECT(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

/* Everything that a step has to change is present, so that a step without effect is noticed. */
static void enter_with_fault(const struct sandbox *sandbox, const void *argument)
{
    CHILD_EXPECT(setgroups(2, (const gid_t[]){4, 20}) == 0);
    inject(argument);
    (void)enter_all(sandbox);
}

static void expect_failure(const struct fault *fault, uint16_t error, int expected)
{
    const struct injection injection = {fault, error};
    int status = child(enter_with_fault, &injection);
    if (!exited(status, 0) || report->step != (int)fault->step || report->error != expected)
        printf("\n    %s answered %u: status %#x, step %d, error %d", fault->name, error,
               (unsigned int)status, report->step, report->error);
    CU_ASSERT(exited(status, 0));
    CU_ASSERT_EQUAL(report->step, (int)fault->step);
    CU_ASSERT_EQUAL(report->error, expected);
    CU_ASSERT_EQUAL(report->layers, 0);
}

static bool is_missing_here(const struct fault *fault)
{
    switch (fault->step) {
    case STEP_KEYRING:
        return (optional & 1u << LAYER_KEYRING) == 0;
    case STEP_USER_NAMESPACE:
        return (optional & 1u << LAYER_USER_NAMESPACE) == 0;
    case STEP_MDWE:
        return (optional & 1u << LAYER_MDWE) == 0;
    case STEP_LANDLOCK:
        return (optional & 1u << LAYER_LANDLOCK) == 0;
    default:
        return false;
    }
}

static void test_errors(void)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        expect_failure(&faults[i], EIO, -EIO);
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        expect_failure(&errors[i], EIO, -EIO);
    /* The trial with an invalid address must fail in no other way. */
    static const struct fault trial = FAULT_IF(seccomp, 0, SECCOMP_SET_MODE_FILTER, SECCOMP);
    expect_failure(&trial, EINVAL, -ENOTRECOVERABLE);
}

static void test_lies(void)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        if (is_missing_here(&faults[i]))
            continue;
        /* An empty listing means that no fd is open. Every other false success is recognised as
         * untrue. */
        bool listing = faults[i].number == SYS_getdents64;
        expect_failure(&faults[i], 0, listing ? -EBADF : -ENOTRECOVERABLE);
    }
    static const struct fault securebits = FAULT_IF(prctl, 0, PR_SET_SECUREBITS, CAPABILITIES);
    expect_failure(&securebits, 0, -ENOTRECOVERABLE);
}

/* ---- layers that a kernel may not have, and an initramfs ---- */

static void expect_without(const struct fault *fault, uint16_t error, uint32_t missing)
{
    const struct injection injection = {fault, error};
    CU_ASSERT(exited(child(enter_with_fault, &injection), 0));
    CU_ASSERT_EQUAL(report->error, 0);
    CU_ASSERT_EQUAL(report->layers, (core_layers() | optional) & ~missing);
}

static void test_older_kernels(void)
{
    static const struct fault keyring = FAULT(keyctl, KEYRING);
    static const struct fault user = FAULT_IF(unshare, 0, CLONE_NEWUSER, USER_NAMESPACE);
    static const struct fault landlock = FAULT(landlock_create_ruleset, LANDLOCK);
    static const struct fault mdwe = FAULT_IF(prctl, 0, PR_SET_MDWE, MDWE);
    expect_without(&keyring, ENOSYS, 1u << LAYER_KEYRING);
    expect_without(&user, EINVAL, 1u << LAYER_USER_NAMESPACE);
    expect_without(&user, EPERM, 1u << LAYER_USER_NAMESPACE);
    expect_without(&user, ENOSPC, 1u << LAYER_USER_NAMESPACE);
    expect_without(&landlock, ENOSYS, 1u << LAYER_LANDLOCK);
    expect_without(&landlock, EOPNOTSUPP, 1u << LAYER_LANDLOCK);
    expect_without(&mdwe, EINVAL, 1u << LAYER_MDWE);
}

/* The root of an initramfs can't be exchanged: pivot_root returns EINVAL. */
static void covered_root(const struct sandbox *sandbox, const void *argument)
{
    inject(argument);
    CHILD_EXPECT(take(STEP_NAMESPACES, sandbox) == 1);
    CHILD_EXPECT(take(STEP_EMPTY_ROOT, sandbox) == 1);
    CHILD_EXPECT(open("/etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("../../etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(open("/proc/1/root/etc/passwd", O_RDONLY) == -1 && errno == ENOENT);
    CHILD_EXPECT(take(STEP_UID, sandbox) == 1);
    if ((optional & 1u << LAYER_USER_NAMESPACE) != 0)
        CHILD_EXPECT(take(STEP_USER_NAMESPACE, sandbox) == 1); /* refused after a mere chroot */
    CHILD_EXPECT(take(STEP_CAPABILITIES, sandbox) == 1);
    CHILD_EXPECT(chroot("/") == -1 && errno == EPERM);
}

static void test_initramfs(void)
{
    static const struct fault pivot = FAULT(pivot_root, EMPTY_ROOT);
    const struct injection injection = {&pivot, EINVAL};
    CU_ASSERT(exited(child(covered_root, &injection), 0));
    CU_ASSERT(exited(child(enter_with_fault, &injection), 0));
    CU_ASSERT_EQUAL(report->error, 0);
    CU_ASSERT_EQUAL(report->layers, core_layers() | optional);
}

int main(int argc, char **argv)
{
    optional = kernel_layers();
    CU_TestInfo tests[] = {
        {"every core layer, and those that the kernel has", test_layers},
        {"what the policy allows works", test_allowed},
        {"what a device does is done confined", test_device},
        {"everything else is SIGSYS", test_forbidden},
#ifdef __x86_64__
        {"so are x32 and 32-bit calls", test_other_entries},
#endif
        {"abort, trap and SIGSEGV end it", test_ends},
        {"a step that fails is fatal, and named", test_errors},
        {"so is one that only seems to succeed", test_lies},
        {"layers that a kernel lacks", test_older_kernels},
        {"root of an initramfs", test_initramfs},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "the sandbox as a whole", tests);
}
