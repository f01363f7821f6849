/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process starts with that the keeper starts: its files, each under its number, and no
 * others; its arguments, signals, session and namespaces. This program is also what is started: by
 * another name it tells by its socket what it finds, and waits until somebody says "end".
 */
#include "broker/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"

#define FILES 64
#define ARGUMENTS 8
#define BROKER "bao-virtio-broker"
#define WORKER "bao-virtio-worker"
#define NAMESPACES 6
#define END_MS 20000

struct file {
    dev_t device;
    ino_t inode; /* 0: not open */
};

struct report {
    struct file files[FILES];
    struct file namespaces[NAMESPACES];
    char arguments[ARGUMENTS][32];
    int argument_count, variables;
    bool leads_session, blocks_signals, handles_signals;
    int dies_with_parent; /* the signal */
};

/* ---- What is started ---- */

static struct file file_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) < 0 ? (struct file){0} : (struct file){status.st_dev, status.st_ino};
}

static void find_namespaces(struct file *ret)
{
    static const char *const names[NAMESPACES] = {"pid", "mnt", "net", "ipc", "uts", "cgroup"};
    for (size_t i = 0; i < NAMESPACES; i++) {
        char path[64];
        struct stat status = {0};
        snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
        (void)!stat(path, &status);
        ret[i] = (struct file){status.st_dev, status.st_ino};
    }
}

static int started(int argc, char **argv)
{
    static struct report report;
    char word[8];
    sigset_t blocked;
    for (int i = 0; i < FILES; i++)
        report.files[i] = file_of(i);
    find_namespaces(report.namespaces);
    report.argument_count = argc;
    for (int i = 0; i < argc && i < ARGUMENTS; i++)
        snprintf(report.arguments[i], sizeof(report.arguments[i]), "%s", argv[i]);
    while (environ[report.variables])
        report.variables++;
    report.leads_session = getsid(0) == getpid();
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    report.blocks_signals = !sigisemptyset(&blocked);
    struct sigaction action;
    sigaction(SIGUSR1, NULL, &action);
    report.handles_signals = action.sa_handler != SIG_DFL;
    prctl(PR_GET_PDEATHSIG, &report.dies_with_parent);
    if (write(SPAWN_SOCKET_FD, &report, sizeof(report)) != sizeof(report))
        return 2;
    return read(SPAWN_SOCKET_FD, word, sizeof(word)) == 3 ? 42 : 3;
}

/* ---- Calls ---- */

static int wait_flags;
static struct clone_args cloned; /* the last time */

int __wrap_prctl(int option, ...);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_waitid(idtype_t type, id_t id, siginfo_t *ret, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *ret, int options);

WRAPPED(pid_t, setsid, (void), ())
WRAPPED(int, close_range, (unsigned int first, unsigned int last, int flags), (first, last, flags))
WRAPPED(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))

int __wrap_prctl(int option, ...)
{
    va_list arguments;
    va_start(arguments, option);
    unsigned long value = va_arg(arguments, unsigned long);
    va_end(arguments);
    return call_fails("prctl") ? -1 : (int)syscall(SYS_prctl, option, value, 0, 0, 0);
}

/* After clone3 it returns twice, as the kernel's does. */
long __wrap_syscall(long number, ...)
{
    va_list arguments;
    long values[5] = {0};
    const size_t count = number == SYS_clone3 ? 2 : number == SYS_pidfd_send_signal ? 4 : 5;
    va_start(arguments, number);
    for (size_t i = 0; i < count; i++)
        values[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_clone3)
        memcpy(&cloned, (const void *)values[0], sizeof(cloned));
    if (number == SYS_pidfd_send_signal) /* with no flags: older kernels have none */
        CU_ASSERT((int)values[1] == SIGKILL && values[2] == 0 && (int)values[3] == 0);
    return __real_syscall(number, values[0], values[1], values[2], values[3], values[4]);
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *ret, int options)
{
    wait_flags = options;
    return __real_waitid(type, id, ret, options);
}

/* ---- Children ---- */

static struct executables executables;
static int pair[2]; /* ours, and the child's */
static struct child child;
static struct report report;

static void begin(void)
{
    CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    executables.broker = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/exe", O_PATH | O_CLOEXEC);
    executables.worker = fcntl(executables.broker, F_DUPFD_CLOEXEC, 3);
    executables.null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
    child = (struct child){.pid = -5, .pidfd = -5};
}

static void waits_for(int fd)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};
    CU_ASSERT_EQUAL_FATAL(poll(&wanted, 1, END_MS), 1);
}

static void receives_the_report(void)
{
    struct pollfd wanted[] = {{.fd = pair[0], .events = POLLIN},
                              {.fd = child.pidfd, .events = POLLIN}};
    CU_ASSERT_FATAL(poll(wanted, 2, END_MS) > 0); /* or it has died */
    CU_ASSERT_EQUAL_FATAL(recv(pair[0], &report, sizeof(report), MSG_DONTWAIT), sizeof(report));
}

static void reports(void)
{
    CU_ASSERT(child.pid > 0 && child.pidfd >= 0);
    receives_the_report();
#ifndef BVDM_SANITIZE
    CU_ASSERT_EQUAL(report.variables, 0);
#endif
    CU_ASSERT_FALSE(report.blocks_signals || report.handles_signals);
    CU_ASSERT_EQUAL(report.dies_with_parent, SIGKILL);
}

static void has(int number, int fd)
{
    const struct file file = file_of(fd);
    CU_ASSERT(report.files[number].device == file.device &&
              report.files[number].inode == file.inode && file.inode != 0);
}

/* Files 3 to 3 + count - 1 are these; -1: it has none. stderr is `error`. No other is open. */
static void has_files(int error, const int *fds, int count)
{
    has(0, executables.null);
    has(1, executables.null);
    has(2, error);
    for (int i = 0; i < FILES - 3; i++) {
        if (i < count && fds[i] >= 0)
            has(3 + i, fds[i]);
        else
            CU_ASSERT_EQUAL(report.files[3 + i].inode, 0);
    }
}

static void has_arguments(const char *const *expected)
{
    int count = 0;
    for (; expected[count]; count++)
        CU_ASSERT_STRING_EQUAL(report.arguments[count], expected[count]);
    CU_ASSERT_EQUAL(report.argument_count, count);
}

static void reaps(int code, int status)
{
    int its_code = -1, its_status = -1;
    int pidfd = child.pidfd;
    waits_for(pidfd);
    CU_ASSERT_TRUE(child_reap(&child, &its_code, &its_status));
    CU_ASSERT(its_code == code && its_status == status);
    CU_ASSERT_EQUAL(child.pidfd, -1);
    CU_ASSERT_EQUAL(wait_flags, WEXITED | WNOHANG);
    CU_ASSERT_EQUAL(fcntl(pidfd, F_GETFD), -1);
}

static void end(void)
{
    CU_ASSERT_EQUAL(send(pair[0], "end", 3, MSG_NOSIGNAL), 3);
    reaps(CLD_EXITED, 42);
    close(pair[0]);
    close(pair[1]);
    close(executables.broker);
    close(executables.worker);
    close(executables.null);
}

static char *const arguments[] = {(char *)"bao-virtio-broker", (char *)"--config", (char *)"/c",
                                  NULL};
static const char *const expected_arguments[] = {"bao-virtio-broker", "--config", "/c", NULL};

static void a_broker_has_its_files(void)
{
    for (unsigned int which = 0; which < 4; which++) {
        begin();
        int text = (which & 1) != 0 ? dup(pair[0]) : -1;
        int claims = (which & 2) != 0 ? dup(executables.broker) : -1;
        const int files[] = {pair[1], text, claims};
        CU_ASSERT_EQUAL(spawn_broker(&executables, pair[1], text, claims, arguments, &child), 0);
        reports();
        has_files(STDERR_FILENO, files, 3);
        has_arguments(expected_arguments);
        CU_ASSERT_FALSE(report.leads_session);
        struct file mine[NAMESPACES];
        find_namespaces(mine);
        CU_ASSERT_EQUAL(memcmp(mine, report.namespaces, sizeof(mine)), 0);
        end();
        if (text >= 0)
            close(text);
        if (claims >= 0)
            close(claims);
    }
}

/* The error output of a child of the sanitizers stays. */
static int no_stderr(void)
{
#ifdef BVDM_SANITIZE
    return STDERR_FILENO;
#else
    return executables.null;
#endif
}

static void an_opener_has_its_files_and_arguments(void)
{
    static char path[] = "/etc/c.yaml";
    for (unsigned int count = 0; count <= SPAWN_TAPS_MAX; count += SPAWN_TAPS_MAX) {
        const char *const expected[] = {BROKER,
                                        count ? "--open-again" : "--open",
                                        "15",
                                        path,
                                        count ? "7" : "0",
                                        count ? "7" : "0",
                                        NULL};
        struct message_open message = {
            .header = {.device = 15}, .again = count > 0, .tap_index = count};
        int files[3 + SPAWN_TAPS_MAX] = {0};
        begin();
        files[0] = pair[1];
        files[1] = executables.worker;
        files[2] = -1;
        for (unsigned int i = 0; i < count; i++)
            files[3 + i] = memfd_create("tap", MFD_CLOEXEC);
        CU_ASSERT_EQUAL(
            spawn_opener(&executables, pair[1], files[1], path, &message, files + 3, count, &child),
            0);
        reports();
        has_files(no_stderr(), files, 3 + (int)count);
        has_arguments(expected);
        CU_ASSERT_FALSE(report.leads_session);
        end();
        for (unsigned int i = 0; i < count; i++)
            close(files[3 + i]);
    }
}

static void a_connector_has_its_directory(void)
{
    static const char *const expected[] = {BROKER, "--connect", NULL};
    begin();
    const int files[] = {pair[1], executables.broker};
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], executables.broker, &child), 0);
    reports();
    has_files(no_stderr(), files, 2);
    has_arguments(expected);
    end();
}

static void a_worker_is_apart_from_all(void)
{
    static const char *const expected[] = {WORKER, NULL};
    struct file mine[NAMESPACES];
    if (geteuid() != 0) {
        case_skipped("root, for namespaces");
        return;
    }
    begin();
    CU_ASSERT_EQUAL_FATAL(spawn_worker(&executables, pair[1], -1, &child), 0);
    reports();
    has_files(no_stderr(), &pair[1], 1);
    has_arguments(expected);
    CU_ASSERT_TRUE(report.leads_session);
    find_namespaces(mine);
    for (size_t i = 0; i < NAMESPACES; i++)
        CU_ASSERT(mine[i].inode != report.namespaces[i].inode && mine[i].inode != 0);
    end();
}

/* Its directory may have any number. These here are of no cgroup. */
static void without_its_cgroup_there_is_no_worker(void)
{
    begin();
    CU_ASSERT(spawn_worker(&executables, pair[1], executables.null, &child) < 0);
    CU_ASSERT_EQUAL(cloned.cgroup, (unsigned int)executables.null);
    CU_ASSERT_NOT_EQUAL(cloned.flags & CLONE_INTO_CGROUP, 0);
    CU_ASSERT(spawn_worker(&executables, pair[1], 0, &child) < 0);
    CU_ASSERT_EQUAL(spawn_worker(&executables, pair[1], 9999, &child), -EBADF);
    CU_ASSERT_EQUAL(child.pidfd, -5); /* it is not touched */
    CU_ASSERT_EQUAL(spawn_broker(&executables, pair[1], -1, -1, arguments, &child), 0);
    CU_ASSERT_EQUAL(cloned.flags & CLONE_INTO_CGROUP, 0);
    reports();
    end();
}

/* Each has the number that another one needs, or its own, or 0. */
static void files_may_have_any_numbers(void)
{
    static const int numbers[][3] = {{3, 4, 5}, {4, 5, 3}, {5, 3, 4}, {5, 0, 4},
                                     {4, 3, 0}, {0, 5, 3}, {6, 6, 6}, {1, 2, 0}};
    const struct report *found = &report;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        int kept[7], files[3], result;
        begin();
        /* All of ours are out of the way. */
        const int ours = fcntl(pair[0], F_DUPFD_CLOEXEC, 30);
        files[0] = fcntl(pair[1], F_DUPFD_CLOEXEC, 30);
        files[1] = fcntl(executables.worker, F_DUPFD_CLOEXEC, 30);
        files[2] = fcntl(executables.null, F_DUPFD_CLOEXEC, 30);
        struct executables moved = {fcntl(executables.broker, F_DUPFD_CLOEXEC, 30), files[1],
                                    files[2]};
        for (int fd = 0; fd < 7; fd++)
            kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 30);
        for (size_t j = 0; j < 3; j++)
            dup2(files[numbers[i][0] == 6 ? 0 : j], numbers[i][j]);
        result =
            spawn_broker(&moved, numbers[i][0], numbers[i][1], numbers[i][2], arguments, &child);
        for (int fd = 0; fd < 7; fd++) {
            if (kept[fd] >= 0)
                dup2(kept[fd], fd);
            else
                close(fd);
            close(kept[fd]);
        }
        CU_ASSERT_EQUAL_FATAL(result, 0);
        reports();
        for (size_t j = 0; j < 3; j++) {
            const struct file file = file_of(files[numbers[i][0] == 6 ? 0 : j]);
            CU_ASSERT(found->files[3 + j].inode == file.inode &&
                      found->files[3 + j].device == file.device);
        }
        end();
        close(ours);
        for (size_t j = 0; j < 3; j++)
            close(files[j]);
        close(moved.broker);
    }
}

static void a_child_is_killed_and_reaped_once(void)
{
    struct child nobody = NO_CHILD;
    int code = -1, status = -1;
    begin();
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], -1, &child), 0);
    reports();
    CU_ASSERT_FALSE(child_reap(&child, &code, &status)); /* it lives */
    CU_ASSERT(child.pidfd >= 0 && code == -1 && status == -1);
    child_kill(&nobody);
    CU_ASSERT_FALSE(child_reap(&nobody, &code, &status));
    child_kill(&child);
    reaps(CLD_KILLED, SIGKILL);
    child_kill(&child); /* there is none any more */
    free_0();           /* its file has the number 0 */
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], -1, &child), 0);
    CU_ASSERT_EQUAL(child.pidfd, 0);
    receives_the_report();
    child_kill(&child);
    reaps(CLD_KILLED, SIGKILL);
    take_0_back();
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], -1, &child), 0);
    reports();
    end();
}

static void what_can_t_be_executed_ends(void)
{
    begin();
    struct executables other = executables;
    other.broker = executables.null;
    CU_ASSERT_EQUAL(spawn_broker(&other, pair[1], -1, -1, arguments, &child), 0);
    reaps(CLD_EXITED, 127);
    CU_ASSERT_EQUAL(become_broker(&other, arguments), -EACCES);
    other.broker = -1;
    CU_ASSERT_EQUAL(become_broker(&other, arguments), -EBADF);
    /* So does one whose files are not there. */
    CU_ASSERT_EQUAL(spawn_broker(&executables, 9999, -1, -1, arguments, &child), 0);
    reaps(CLD_EXITED, 127);
    CU_ASSERT_EQUAL(spawn_broker(&executables, pair[1], 9999, -1, arguments, &child), 0);
    reaps(CLD_EXITED, 127);
    CU_ASSERT_EQUAL(spawn_broker(&executables, pair[1], -1, 9999, arguments, &child), 0);
    reaps(CLD_EXITED, 127);
    other = executables;
    other.null = 9999;
    CU_ASSERT_EQUAL(spawn_broker(&other, pair[1], -1, -1, arguments, &child), 0);
    reaps(CLD_EXITED, 127);
    static char path[] = "/c";
    const int tap = 9999;
    struct message_open message = {0};
    CU_ASSERT_EQUAL(spawn_opener(&executables, pair[1], -1, path, &message, &tap, 1, &child), 0);
    reaps(CLD_EXITED, 127);
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], -1, &child), 0);
    reports();
    end();
}

/* In the child: it must not go on with less than it should have. */
static void what_can_t_be_prepared_ends(void)
{
    static const char *const calls[] = {"prctl", "close_range", "sigprocmask", "setsid"};
    begin();
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const bool is_worker = strcmp(calls[i], "setsid") == 0;
        if (is_worker && geteuid() != 0)
            continue;
        fail_once(calls[i], EPERM, 0);
        int result = is_worker ? spawn_worker(&executables, pair[1], -1, &child)
                               : spawn_connector(&executables, pair[1], -1, &child);
        fail_once(NULL, 0, 0);
        CU_ASSERT_EQUAL_FATAL(result, 0);
        reaps(CLD_EXITED, 127);
    }
    CU_ASSERT_EQUAL(spawn_connector(&executables, pair[1], -1, &child), 0);
    reports();
    end();
}

static void ignores(int number)
{
    (void)number;
}

int main(int argc, char **argv)
{
    if (argc > 0 && (strcmp(argv[0], BROKER) == 0 || strcmp(argv[0], WORKER) == 0))
        return started(argc, argv);
    CU_TestInfo children[] = {
        {"a broker has its files", a_broker_has_its_files},
        {"an opener has its files and arguments", an_opener_has_its_files_and_arguments},
        {"a connector has its directory", a_connector_has_its_directory},
        {"a worker is apart from all", a_worker_is_apart_from_all},
        {"without its cgroup there is no worker", without_its_cgroup_there_is_no_worker},
        {"files may have any numbers", files_may_have_any_numbers},
        {"a child is killed and reaped once", a_child_is_killed_and_reaped_once},
        {"what can't be executed ends", what_can_t_be_executed_ends},
        {"what can't be prepared ends", what_can_t_be_prepared_ends},
        CU_TEST_INFO_NULL,
    };
    /* No child inherits what this process has set. */
    sigset_t some;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    if (sigprocmask(SIG_BLOCK, &some, NULL) < 0 || signal(SIGUSR1, ignores) == SIG_ERR ||
        setenv("SOME", "thing", 1) < 0)
        return EXIT_FAILURE;
    return run_tests(argc, argv, "children", children);
}
