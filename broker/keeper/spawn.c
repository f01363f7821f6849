/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASIDE_FD 16 /* fds from here on do not collide with a child's numbers */
#define EXIT_NOT_STARTED 127

/* --- What is executed --------------------------------------------------------------------- */

static int open_beside(const char *directory, const char *name)
{
    static const char *const places[] = {"", "../libexec/bao-virtio-dm/", NULL};
    for (const char *const *place = places; *place; place++) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof(path), "%s%s%s", directory, *place, name) >= (int)sizeof(path))
            return -ENAMETOOLONG;
        int fd = open(path, O_PATH | O_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (errno != ENOENT)
            return -errno;
    }
    return -ENOENT;
}

int executables_open(struct executables *ret, const char **ret_missing)
{
    struct executables found = {.null = -1};
    *ret_missing = "/dev/null";
    while (found.null < SPAWN_CLAIMS_FD) {
        found.null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (found.null < 0)
            return -errno;
    }

    char directory[PATH_MAX];
    *ret_missing = "/proc/self/exe";
    ssize_t length = readlink("/proc/self/exe", directory, sizeof(directory) - 1);
    if (length < 0)
        return -errno;
    directory[length] = '\0';
    char *slash = strrchr(directory, '/');
    if (!slash)
        return -ENOENT;
    slash[1] = '\0';

    *ret_missing = "bao-virtio-broker";
    found.broker = open_beside(directory, "bao-virtio-broker");
    if (found.broker < 0)
        return found.broker;
    *ret_missing = "bao-virtio-worker";
    found.worker = open_beside(directory, "bao-virtio-worker");
    if (found.worker < 0)
        return found.worker;
    *ret = found;
    return 0;
}

/* --- In the child ------------------------------------------------------------------------- */

/* No environment reaches a child. Only the sanitizers are configured by it. */
static char *const *child_environment(void)
{
#ifdef BVDM_SANITIZE
    return environ;
#else
    static char *const nothing[] = {NULL};
    return nothing;
#endif
}

static int execute(int executable, char *const argv[])
{
    syscall(SYS_execveat, executable, "", argv, child_environment(), AT_EMPTY_PATH);
    return -errno;
}

struct plan {
    int executable, null, socket;
    int text;   /* or a directory; -1: none */
    int claims; /* -1: none */
    const int *taps;
    unsigned int tap_count;
    char *const *argv;
    uint64_t namespaces; /* CLONE_NEW* */
    bool keeps_stderr;
    bool own_session;
    bool in_cgroup; /* its directory is `cgroup`: */
    int cgroup;
};

/* Copy a file that the child will get under a fixed number to a number out of the way. */
static int put_aside(int fd)
{
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, ASIDE_FD);
}

static bool put(int fd, int number)
{
    return dup2(fd, number) == number;
}

/* Runs between clone3 and execveat. It never returns: the child must not go on with the keeper's
 * memory. */
static _Noreturn void run_child(const struct plan *plan)
{
    sigset_t none;
    sigemptyset(&none);
    /* A file may have a number that another one needs, or the number that it needs itself. */
    int executable = put_aside(plan->executable), socket = put_aside(plan->socket);
    int text = put_aside(plan->text), claims = put_aside(plan->claims), taps[SPAWN_TAPS_MAX];
    for (unsigned int i = 0; i < plan->tap_count; i++)
        taps[i] = put_aside(plan->taps[i]);
    if ((plan->own_session && setsid() < 0) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        _exit(EXIT_NOT_STARTED);
    if (!put(plan->null, STDIN_FILENO) || !put(plan->null, STDOUT_FILENO) ||
        (!plan->keeps_stderr && !put(plan->null, STDERR_FILENO)) || !put(socket, SPAWN_SOCKET_FD))
        _exit(EXIT_NOT_STARTED);
    /* They are closed by the exec, not now: the executable is one of them. */
    if (close_range(SPAWN_SOCKET_FD + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC) < 0 ||
        (plan->text >= 0 && !put(text, SPAWN_TEXT_FD)) ||
        (plan->claims >= 0 && !put(claims, SPAWN_CLAIMS_FD)))
        _exit(EXIT_NOT_STARTED);
    for (unsigned int i = 0; i < plan->tap_count; i++) {
        if (!put(taps[i], SPAWN_TAPS_FD + (int)i))
            _exit(EXIT_NOT_STARTED);
    }
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
        _exit(EXIT_NOT_STARTED);
    execute(executable, plan->argv);
    _exit(EXIT_NOT_STARTED);
}

static int spawn(const struct plan *plan, struct child *ret)
{
    int pidfd = -1;
    struct clone_args args = {
        .flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | plan->namespaces,
        .pidfd = (uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
    };
    if (plan->in_cgroup) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned int)plan->cgroup;
    }
    /* This calls the system call itself, since no C library offers namespaces and a pidfd in one
     * step. The child is a copy of this single-threaded process, so it may use whatever it
     * needs. */
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid < 0)
        return -errno;
    if (pid == 0)
        run_child(plan);
    *ret = (struct child){.pid = (pid_t)pid, .pidfd = pidfd};
    return 0;
}

/* --- In the keeper ------------------------------------------------------------------------ */

int become_broker(const struct executables *executables, char *const argv[])
{
    return execute(executables->broker, argv);
}

/* The plan for a child that gets only these files; -1: none. */
static struct plan plan_of(const struct executables *executables, int executable, int socket,
                           int text, char *const argv[])
{
    return (struct plan){
        .executable = executable,
        .null = executables->null,
        .socket = socket,
        .text = text,
        .claims = -1,
        .argv = argv,
#ifdef BVDM_SANITIZE
        .keeps_stderr = true, /* for the sanitizers' reports */
#endif
    };
}

int spawn_broker(const struct executables *executables, int socket, int text, int claims,
                 char *const argv[], struct child *ret)
{
    struct plan plan = plan_of(executables, executables->broker, socket, text, argv);
    plan.claims = claims;
    plan.keeps_stderr = true;
    return spawn(&plan, ret);
}

int spawn_opener(const struct executables *executables, int socket, int text, char *path,
                 const struct message_open *message, const int *taps, unsigned int tap_count,
                 struct child *ret)
{
    static char name[] = "bao-virtio-broker", first[] = "--open", later[] = "--open-again";
    char id[16], tap[16], files[16];
    char *const argv[] = {name, message->again ? later : first, id, path, tap, files, NULL};
    snprintf(id, sizeof(id), "%u", message->header.device);
    snprintf(tap, sizeof(tap), "%u", message->tap_index);
    snprintf(files, sizeof(files), "%u", tap_count);
    struct plan plan = plan_of(executables, executables->broker, socket, text, argv);
    plan.taps = taps;
    plan.tap_count = tap_count;
    return spawn(&plan, ret);
}

int spawn_connector(const struct executables *executables, int socket, int directory,
                    struct child *ret)
{
    static char name[] = "bao-virtio-broker", connect[] = "--connect";
    static char *const argv[] = {name, connect, NULL};
    const struct plan plan = plan_of(executables, executables->broker, socket, directory, argv);
    return spawn(&plan, ret);
}

int spawn_worker(const struct executables *executables, int socket, int cgroup, struct child *ret)
{
    static char name[] = "bao-virtio-worker";
    static char *const argv[] = {name, NULL};
    struct plan plan = plan_of(executables, executables->worker, socket, -1, argv);
    plan.namespaces =
        CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    plan.own_session = true;
    plan.in_cgroup = cgroup >= 0;
    plan.cgroup = cgroup;
    return spawn(&plan, ret);
}

void child_kill(const struct child *child)
{
    if (child->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, child->pidfd, SIGKILL, NULL, 0);
}

bool child_reap(struct child *child, int *ret_code, int *ret_status)
{
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return false;
    close(child->pidfd);
    *child = NO_CHILD;
    *ret_code = info.si_code;
    *ret_status = info.si_status;
    return true;
}
