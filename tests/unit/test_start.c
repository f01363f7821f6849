/* SPDX-License-Identifier: Apache-2.0 */
/* The real worker, started as the keeper starts it, with a broker that makes mistakes. Each mistake
 * leads to the message that names the step, and to exit status 1. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/box.h"
#include "common/device_kind.h"
#include "common/message.h"
#include "common/sandbox_layer.h"
#include "common/state.h"
#include "tests/cunit_main.h"

#define WINDOW_SIZE 0x100000u
#define IMAGE_SIZE 65536u
#define BLOCK_FDS (WORKER_FD_BACKEND + 2u) /* image and one kick eventfd */
#define WAIT_MS 20000

enum { FD_STATE = 5, FD_DM, FD_COUNT }; /* in the order of the message, from REQUEST on */

struct start {
    union message message;
    int fds[FD_COUNT];
    size_t fd_count;
    /* How the keeper starts it. */
    uint64_t namespaces;
    int extra_fd;    /* -1: none; else a number that is open at exec */
    long fault_call; /* -1: none; else a system call that is answered with */
    uint16_t fault_error;
};

static int sealed(size_t size, int seals)
{
    int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    CU_ASSERT_FATAL(fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static int memory(size_t size)
{
    return sealed(size, 0);
}

static struct start good_start(void)
{
    struct start start = {
        .message.start =
            {
                .header = {.type = MSG_START, .device = 3},
                .name = "block 3",
                .kind = DEVICE_BLOCK_VIRTIO,
                .uid = 54321,
                .queue_size_max = 256,
                .queue_count = device_kinds[DEVICE_BLOCK_VIRTIO].queue_count,
                .backend_fd_count = device_kinds[DEVICE_BLOCK_VIRTIO].backend_fd_count,
                .shmem_addr = 0x50000000,
                .shmem_size = WINDOW_SIZE,
                .of_kind.block = {.capacity = IMAGE_SIZE / 512, .blk_size = 512},
            },
        .fd_count = FD_COUNT,
        .namespaces = CLONE_NEWPID | CLONE_NEWNET,
        .extra_fd = -1,
        .fault_call = -1,
    };
    for (size_t i = 0; i < FD_STATE; i++)
        start.fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    close(start.fds[WORKER_FD_BACKEND - WORKER_FD_REQUEST]);
    start.fds[WORKER_FD_BACKEND - WORKER_FD_REQUEST] = memory(IMAGE_SIZE);
    start.fds[FD_STATE] = sealed(STATE_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    start.fds[FD_DM] = memory(WINDOW_SIZE);
    return start;
}

static void replace_fd(struct start *start, size_t which, int fd)
{
    close(start->fds[which]);
    start->fds[which] = fd;
}

static void load_fault(const struct start *start)
{
    const struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)start->fault_call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | start->fault_error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]),
                                       (struct sock_filter *)filter};
    if (start->fault_call >= 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        _exit(126);
}

static _Noreturn void execute(const struct start *start, int control)
{
    static char *const arguments[] = {"bao-virtio-worker", NULL}, *const environment[] = {NULL};
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    dup2(control, WORKER_FD_CONTROL);
    close_range(WORKER_FD_CONTROL + 1, ~0u, 0);
    if (start->extra_fd >= 0)
        dup2(0, start->extra_fd);
    load_fault(start);
    execve(WORKER, arguments, environment);
    _exit(127);
}

/* Returns its pid, and the broker's end of the socket. */
static pid_t start_worker(const struct start *start, int *ret_broker)
{
    int sockets[2];
    CU_ASSERT_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) == 0);
    struct clone_args args = {.flags = start->namespaces, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0)
        execute(start, sockets[1]);
    close(sockets[1]);
    *ret_broker = sockets[0];
    return pid;
}

static void send_start(struct start *start, int broker)
{
    CU_ASSERT_EQUAL(message_send(broker, &start->message, start->fds, start->fd_count), 0);
}

/* Returns 1 with a message of the worker, or 0 at the end. */
static int answer(int broker, union message *ret)
{
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
    struct pollfd event = {.fd = broker, .events = POLLIN};
    CU_ASSERT_EQUAL(poll(&event, 1, WAIT_MS), 1);
    return message_receive(broker, ROLE_WORKER, ret, fds, &fd_count);
}

static bool exits_with(pid_t pid, int expected)
{
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == expected;
}

static void finish(struct start *start, int broker)
{
    for (size_t i = 0; i < FD_COUNT; i++)
        close(start->fds[i]);
    close(broker);
}

static void expect_failed(struct start start, const char *what, uint32_t step, int error)
{
    union message message = {0};
    int broker;
    pid_t pid = start_worker(&start, &broker);
    send_start(&start, broker);
    CU_ASSERT_EQUAL(answer(broker, &message), 1);
    bool right = message.header.type == MSG_FAILED && message.failed.step == step &&
                 message.failed.error == error;
    if (!right)
        printf("\n    %s: message %u, step %u, error %d", what, message.header.type,
               message.failed.step, message.failed.error);
    CU_ASSERT(right);
    CU_ASSERT(exits_with(pid, 1));
    finish(&start, broker);
}

static uint32_t core_layers(void)
{
    uint32_t core = 0;
#define X(constant, name, is_core) core |= (uint32_t)(is_core) << LAYER_##constant;
    SANDBOX_LAYERS(X)
#undef X
    return core;
}

static void test_ready(void)
{
    struct start start = good_start();
    union message message = {0};
    int broker;
    pid_t pid = start_worker(&start, &broker);
    usleep(50000); /* the worker waits for START, though the socket is non-blocking */
    send_start(&start, broker);
    CU_ASSERT_EQUAL(answer(broker, &message), 1);
    CU_ASSERT_EQUAL(message.header.type, MSG_READY);
    CU_ASSERT_EQUAL(message.header.device, 3);
    CU_ASSERT_EQUAL(message.ready.layers & core_layers(), core_layers());
    CU_ASSERT_EQUAL(message.ready.fd_count, BLOCK_FDS);
    finish(&start, broker);
    CU_ASSERT(exits_with(pid, 0)); /* because the broker has gone */
}

/* The worker is ready; returns its pid. */
static pid_t ready(struct start *start, int *ret_broker)
{
    union message message = {0};
    pid_t pid = start_worker(start, ret_broker);
    send_start(start, *ret_broker);
    CU_ASSERT_EQUAL(answer(*ret_broker, &message), 1);
    CU_ASSERT_EQUAL(message.header.type, MSG_READY);
    return pid;
}

/* The rest of the line of /proc/PID/NAME that begins with `begin`. */
static void look_up(pid_t pid, const char *name, const char *begin, char *ret, size_t size)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    FILE *file = fopen(path, "re");
    *ret = 0;
    while (file && *ret == 0 && fgets(line, sizeof(line), file)) {
        if (strncmp(line, begin, strlen(begin)) == 0)
            snprintf(ret, size, "%.*s", (int)strcspn(line + strlen(begin), "\n"),
                     line + strlen(begin));
    }
    if (file)
        fclose(file);
}

static unsigned long long limit_of(pid_t pid, const char *name)
{
    char text[256];
    unsigned long long soft = 0, hard = 1;
    look_up(pid, "limits", name, text, sizeof(text));
    CU_ASSERT_EQUAL(sscanf(text, "%llu %llu", &soft, &hard), 2);
    CU_ASSERT_EQUAL(soft, hard);
    return soft;
}

/* What others see of it: its name, and how far it can write. */
static void test_seen(void)
{
    char name[64];
    int broker;
    struct start start = good_start();
    pid_t pid = ready(&start, &broker);
    look_up(pid, "comm", "", name, sizeof(name));
    CU_ASSERT_STRING_EQUAL(name, "block 3");
    CU_ASSERT_EQUAL(limit_of(pid, "Max file size"), IMAGE_SIZE);
    CU_ASSERT_EQUAL(limit_of(pid, "Max open files"), 0);
    finish(&start, broker);
    CU_ASSERT(exits_with(pid, 0));
}

/* Instead of the image: a second kick eventfd. */
static void make_console(struct start *start, uint32_t ports)
{
    start->message.start.kind = DEVICE_CONSOLE_SOCKET;
    start->message.start.queue_count = 2;
    start->message.start.backend_fd_count = 0;
    start->message.start.of_kind.console = (struct start_console){.ports = ports};
    replace_fd(start, WORKER_FD_BACKEND - WORKER_FD_REQUEST,
               eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* A device with later connections: every lower number is taken, by /dev/null. */
static void test_connections(void)
{
    char path[64], target[64];
    int broker;
    struct start start = good_start();
    make_console(&start, 1);
    pid_t pid = ready(&start, &broker);
    for (int fd = 0; fd < WORKER_FD_CONNECTION; fd++) {
        bool filled = fd <= WORKER_FD_NULL_ERR || fd >= WORKER_FD_BACKEND + 2;
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        CU_ASSERT_FATAL(length > 0);
        target[length] = 0;
        CU_ASSERT_EQUAL(strcmp(target, "/dev/null") == 0 || strcmp(target, "/null") == 0, filled);
    }
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, WORKER_FD_CONNECTION);
    CU_ASSERT(readlink(path, target, sizeof(target)) < 0);
    CU_ASSERT_EQUAL(limit_of(pid, "Max open files"), WORKER_FD_CONNECTION + CONNECTION_FDS_MIN);
    CU_ASSERT_EQUAL(limit_of(pid, "Max file size"), 0);
    finish(&start, broker);
    CU_ASSERT(exits_with(pid, 0));
}

/* The broker has gone before the worker was ready: that is a failure. */
static void test_broker_gone(void)
{
    int broker;
    struct start start = good_start();
    pid_t pid = start_worker(&start, &broker);
    send_start(&start, broker);
    finish(&start, broker);
    CU_ASSERT(exits_with(pid, 1));
}

/* The processors that the user wants, and no call if nothing is wanted. */
static void test_schedule(void)
{
    static const long calls[] = {SYS_sched_setaffinity, SYS_sched_setscheduler};
    int broker;
    cpu_set_t mine, seen;
    CU_ASSERT_FATAL(sched_getaffinity(0, sizeof(mine), &mine) == 0);
    for (size_t n = 0; n < 64; n++) {
        if (!CPU_ISSET(n, &mine))
            continue;
        struct start start = good_start();
        start.message.start.processors = 1ull << n;
        pid_t pid = ready(&start, &broker);
        CU_ASSERT(sched_getaffinity(pid, sizeof(seen), &seen) == 0);
        CU_ASSERT(CPU_COUNT(&seen) == 1 && CPU_ISSET(n, &seen));
        finish(&start, broker);
        CU_ASSERT(exits_with(pid, 0));
    }
    for (size_t i = 0; i <= sizeof(calls) / sizeof(calls[0]); i++) {
        struct start start = good_start();
        bool wanted = i == sizeof(calls) / sizeof(calls[0]); /* the kernel grants it */
        start.message.start.sched_priority = wanted ? 1 : 0;
        start.fault_call = wanted ? SYS_sched_setscheduler : calls[i];
        start.fault_error = wanted ? 0 : EIO;
        pid_t pid = ready(&start, &broker);
        CU_ASSERT(sched_getaffinity(pid, sizeof(seen), &seen) == 0);
        CU_ASSERT(CPU_EQUAL(&seen, &mine));
        finish(&start, broker);
        CU_ASSERT(exits_with(pid, 0));
    }
}

/* The image comes in a box. The worker gets the file that is in the box. Nobody else can see that
 * it was in a box. */
static void test_box(void)
{
    struct start start = good_start();
    union message message = {0};
    int broker, *image = &start.fds[WORKER_FD_BACKEND - WORKER_FD_REQUEST];
    const int box = box_make(*image);
    CU_ASSERT_FATAL(box >= 0);
    replace_fd(&start, WORKER_FD_BACKEND - WORKER_FD_REQUEST, box);
    start.message.start.boxed = 1;
    for (int i = 0; i < 2; i++) { /* the successor gets the same box */
        char path[64], target[64] = "";
        pid_t pid = start_worker(&start, &broker);
        send_start(&start, broker);
        CU_ASSERT_EQUAL(answer(broker, &message), 1);
        CU_ASSERT_EQUAL(message.header.type, MSG_READY);
        CU_ASSERT_EQUAL(message.ready.fd_count, BLOCK_FDS);
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, WORKER_FD_BACKEND);
        CU_ASSERT(readlink(path, target, sizeof(target) - 1) > 0);
        CU_ASSERT_PTR_NOT_NULL(strstr(target, "memfd:"));
        close(broker);
        CU_ASSERT(exits_with(pid, 0));
    }
    for (size_t i = 0; i < FD_COUNT; i++)
        close(start.fds[i]);
}

static void test_no_start(void)
{
    struct start start = good_start();
    int broker;
    pid_t pid = start_worker(&start, &broker);
    finish(&start, broker);
    CU_ASSERT(exits_with(pid, 1));
}

#define WITH(change, what, step, error)                                                            \
    do {                                                                                           \
        struct start start = good_start();                                                         \
        change;                                                                                    \
        expect_failed(start, what, STEP_##step, error);                                            \
    } while (0)
#define FIELD(field, value) WITH(start.message.start.field = value, #field, START_MESSAGE, EINVAL)

static void test_fields(void)
{
    FIELD(kind, DEVICE_KINDS);
    FIELD(kind, UINT32_MAX);
    FIELD(name[0], 0);
    WITH(memset(start.message.start.name, 'x', DEVICE_NAME_SIZE), "name", START_MESSAGE, EINVAL);
    FIELD(uid, 0);
    FIELD(uid, 999);
    FIELD(uid, UINT32_MAX);
    FIELD(queue_size_max, 0);
    FIELD(queue_size_max, 3);
    FIELD(queue_size_max, 65536);
    FIELD(queue_count, 0);
    FIELD(queue_count, device_kinds[DEVICE_BLOCK_VIRTIO].queues_max + 1);
    FIELD(sched_priority, 100);
    FIELD(backend_fd_count, device_kinds[DEVICE_BLOCK_VIRTIO].backend_fds_max + 1);
    FIELD(boxed, 1u << 1); /* there is no such file */
    FIELD(shmem_size, 0);
    FIELD(shmem_size, WINDOW_SIZE - 1);
    FIELD(shmem_size, UINT64_MAX & ~0xfffull);
    FIELD(shmem_addr, 0x50000001);
    FIELD(shmem_addr, UINT64_MAX & ~0xfffull);
    FIELD(of_kind.block.capacity, UINT64_MAX);
    FIELD(of_kind.block.capacity, 1ull << 55);
    FIELD(of_kind.block.blk_size, 0);
    FIELD(of_kind.block.blk_size, 511);
}

static void test_message(void)
{
    WITH((start.message = (union message){.header = {.type = MSG_SPAWN}}, start.fd_count = 1),
         "SPAWN", START_MESSAGE, EPROTO);
    WITH(start.fd_count--, "one fd less", START_MESSAGE, EPROTO);
    WITH((start.message.start.kind = DEVICE_VSOCK_VHOST, start.message.start.queue_count = 3),
         "more queues than kicks", START_MESSAGE, EPROTO);
}

static void test_mappings(void)
{
    WITH(replace_fd(&start, FD_STATE, memory(STATE_SIZE)), "no seals", MAP_STATE, EPERM);
    WITH(replace_fd(&start, FD_STATE, sealed(STATE_SIZE, F_SEAL_GROW)), "no SHRINK", MAP_STATE,
         EPERM);
    WITH(replace_fd(&start, FD_STATE, sealed(512, F_SEAL_SHRINK | F_SEAL_GROW)), "short state",
         MAP_STATE, EINVAL);
    WITH(replace_fd(&start, FD_STATE, eventfd(0, 0)), "no state page", MAP_STATE, EINVAL);
    WITH(replace_fd(&start, FD_DM, memory(WINDOW_SIZE - 4096)), "short window", MAP_WINDOW, ENXIO);
    WITH(replace_fd(&start, FD_DM, eventfd(0, 0)), "no window", MAP_WINDOW, ENODEV);
}

static void test_fds(void)
{
    /* fd 5 is the first of the message, so from there on each number would be one too high. */
    WITH(start.extra_fd = WORKER_FD_REQUEST, "fd 5 taken", START_MESSAGE, EPROTO);
    WITH(start.extra_fd = 40, "fd 40 open", FDS, EMFILE);
    WITH(replace_fd(&start, 1, memory(1)), "REPLY is a file", FDS, EBADFD);
    WITH(replace_fd(&start, 3, open("/", O_RDONLY | O_DIRECTORY)), "image is a directory", FDS,
         EBADFD);
    WITH(start.message.start.boxed = 1, "image is no box", FDS, EPROTO);
}

static void test_no_schedule(void)
{
    WITH((start.message.start.processors = 1, start.fault_call = SYS_sched_setaffinity,
          start.fault_error = EINVAL),
         "no such processor", SCHEDULING, EINVAL);
    WITH((start.message.start.sched_priority = 1, start.fault_call = SYS_sched_setscheduler,
          start.fault_error = EPERM),
         "the lowest priority", SCHEDULING, EPERM);
    WITH((start.message.start.sched_priority = 99, start.fault_call = SYS_sched_setscheduler,
          start.fault_error = EIO),
         "the highest priority", SCHEDULING, EIO);
}

static void test_surroundings(void)
{
    WITH(make_console(&start, 2), "ports without queues", DEVICE, EINVAL);
    WITH((start.fault_call = SYS_epoll_ctl, start.fault_error = EIO), "epoll_ctl", EVENTS, EIO);
    WITH(start.namespaces = CLONE_NEWNET, "our pid namespace", NAMESPACES, EXDEV);
    WITH(start.namespaces = CLONE_NEWPID, "our net namespace", NAMESPACES, EXDEV);
    WITH((start.fault_call = SYS_setresuid, start.fault_error = EIO), "setresuid", UID, EIO);
    WITH((start.fault_call = SYS_setresuid, start.fault_error = 0), "setresuid lies", UID,
         ENOTRECOVERABLE);
    WITH((start.fault_call = SYS_capset, start.fault_error = 0), "capset lies", CAPABILITIES,
         ENOTRECOVERABLE);
}

/* A user starts it by hand in a shell. */
static void test_by_hand(void)
{
    char text[256] = "";
    int pipes[2];
    CU_ASSERT_FATAL(pipe2(pipes, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], STDERR_FILENO);
        execl(WORKER, WORKER, (char *)NULL);
        _exit(127);
    }
    close(pipes[1]);
    ssize_t length = read(pipes[0], text, sizeof(text) - 1);
    CU_ASSERT_FATAL(length > 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "start bao-virtio-dm"));
    CU_ASSERT_PTR_EQUAL(strchr(text, '\n'), text + length - 1); /* one whole line */
    CU_ASSERT_EQUAL(strlen(text), (size_t)length);
    CU_ASSERT(exits_with(pid, 1));
    close(pipes[0]);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"says READY, and ends with its broker", test_ready},
        {"what others see of it", test_seen},
        {"connections have numbers of their own", test_connections},
        {"its broker has gone before it was ready", test_broker_gone},
        {"processors", test_schedule},
        {"an image in a box", test_box},
        {"no START message", test_no_start},
        {"fields out of range", test_fields},
        {"another message, other fds", test_message},
        {"state page and window that cannot be used", test_mappings},
        {"fds that should not be there", test_fds},
        {"processors and priorities that it does not get", test_no_schedule},
        {"namespaces forgotten, a kernel that refuses or lies", test_surroundings},
        {"started by hand", test_by_hand},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "start of a worker", tests);
}
