/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/ring.h"

#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

#define OUT_OF_THE_WAY 100 /* above all fd numbers of a worker */

struct child_report *report;

static void must(bool condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static int high(int fd)
{
    int moved = fcntl(fd, F_DUPFD, OUT_OF_THE_WAY);
    must(moved >= 0, "fcntl");
    close(fd);
    return moved;
}

static int make_fd(enum fd_kind kind)
{
    switch (kind) {
    case FD_NULL:
        return open("/dev/null", O_RDWR);
    case FD_EPOLL:
        return epoll_create1(0);
    case FD_EVENT:
        return eventfd(0, EFD_NONBLOCK);
    case FD_RING: {
        struct io_uring_params params = {0};
        return (int)syscall(SYS_io_uring_setup, 1, &params);
    }
    case FD_BACKEND:
        return memfd_create("image", 0);
    case FD_SOCKET:
        break;
    }
    return -1;
}

/* The kinds are fixed by common/worker_fds.h. */
static enum fd_kind kind_of(unsigned int fd, const struct device_kind_info *info)
{
    if (fd <= WORKER_FD_NULL_ERR)
        return FD_NULL;
    if (fd == WORKER_FD_CONTROL)
        return FD_SOCKET;
    if (fd == WORKER_FD_EPOLL)
        return FD_EPOLL;
    if (info->ring && fd == WORKER_FD_RING)
        return FD_RING;
    if (fd >= WORKER_FD_BACKEND + info->backend_fd_count + info->queue_count)
        return FD_NULL; /* occupies the number of a connection, or one below the ring's */
    bool backend = fd >= WORKER_FD_BACKEND && fd < WORKER_FD_BACKEND + info->backend_fd_count;
    return backend ? FD_BACKEND : FD_EVENT;
}

static void describe(enum device_kind kind, struct sandbox *sandbox)
{
    const struct device_kind_info *info = &device_kinds[kind];
    *sandbox = (struct sandbox){
        .uid = CHILD_UID,
        .file_size_max = CHILD_FILE_SIZE_MAX,
        .fd_count = device_kind_fds(info, info->backend_fd_count, info->queue_count),
        .fd_limit = info->connections ? connections_fd_limit(0) : 0,
        .threads = info->ring ? RING_THREADS : 0,
        .policy = policy_find(info->policy),
    };
    for (unsigned int fd = 0; fd < sandbox->fd_count; fd++)
        sandbox->fds[fd] = kind_of(fd, info);
}

/* `control` was made by the parent, in another net namespace. */
static void place_fds(const struct sandbox *sandbox, int control)
{
    int made[SANDBOX_FDS_MAX];
    for (unsigned int fd = 0; fd < sandbox->fd_count; fd++)
        made[fd] = high(sandbox->fds[fd] == FD_SOCKET ? control : make_fd(sandbox->fds[fd]));
    for (unsigned int fd = 0; fd < sandbox->fd_count; fd++)
        must(dup2(made[fd], (int)fd) == (int)fd, "dup2");
    must(close_range(sandbox->fd_count, ~0u, 0) == 0, "close_range");
}

pid_t start_child(const struct child_plan *plan)
{
    if (!report) {
        report =
            mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        must(report != MAP_FAILED, "mmap");
    }
    *report = (struct child_report){.step = -1};

    int control[2];
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control) == 0, "socketpair");
    close(control[1]); /* before the child can send */
    fflush(NULL);
    struct clone_args args = {
        .flags = (CLONE_NEWPID | CLONE_NEWNET) & ~plan->no_namespaces,
        .exit_signal = SIGCHLD,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    must(pid >= 0, "clone3: these tests need root");
    if (pid == 0) {
        struct sandbox sandbox;
        describe(plan->kind, &sandbox);
        place_fds(&sandbox, control[0]);
        plan->act(&sandbox, plan->argument);
        _exit(0);
    }
    close(control[0]);
    return pid;
}

int run_child(const struct child_plan *plan)
{
    int status = -1;
    pid_t pid = start_child(plan);
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    if (exited(status, EXIT_EXPECTATION))
        printf("\n    expectation in line %d did not hold\n", report->line);
    return status;
}

static const struct sandbox_step *find_step(enum worker_step step)
{
    for (size_t i = 0; i < sandbox_step_count; i++) {
        if (sandbox_steps[i].step == step)
            return &sandbox_steps[i];
    }
    return NULL;
}

int take(enum worker_step step, const struct sandbox *sandbox)
{
    const struct sandbox_step *row = find_step(step);
    int result = row->enter(sandbox);
    if (result == 1 && row->check) {
        int error = row->check(sandbox, 1u << row->layer);
        return error < 0 ? error : 1;
    }
    return result;
}

int enter_all(const struct sandbox *sandbox)
{
    uint32_t layers = 0;
    enum worker_step step;
    int error = sandbox_enter(sandbox, &layers, &step);
    report->error = error;
    report->step = (int)step;
    report->layers = layers;
    return error;
}

void enter_all_but(enum worker_step left_out, const struct sandbox *sandbox)
{
    for (size_t i = 0; i < sandbox_step_count; i++) {
        if (sandbox_steps[i].step != left_out)
            CHILD_EXPECT(sandbox_steps[i].enter(sandbox) >= 0);
    }
}

bool exited(int status, int code)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

bool killed(int status, int signal)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

static void try_user_namespace(const struct sandbox *sandbox, const void *argument)
{
    (void)sandbox;
    (void)argument;
    _exit(unshare(CLONE_NEWUSER) == 0 ? 0 : 1);
}

uint32_t kernel_layers(void)
{
    uint32_t layers = 0;
    const struct child_plan plan = {.act = try_user_namespace};
    if (exited(run_child(&plan), 0))
        layers |= 1u << LAYER_USER_NAMESPACE;
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0)
        layers |= 1u << LAYER_LANDLOCK;
    if (prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0)
        layers |= 1u << LAYER_MDWE;
    if (access("/proc/keys", F_OK) == 0)
        layers |= 1u << LAYER_KEYRING;
    return layers;
}
