/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/kill/harness.h"

#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/device_kind.h"
#include "common/eventfd.h"

#define USER 54321u
#define TICK_US 20000
#define PATIENCE_TICKS 3000 /* for what never comes, however busy the machine is */

static int memory(const char *name, size_t size, int seals)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    CU_ASSERT_FATAL(fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static void *map(int fd, size_t size)
{
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CU_ASSERT_FATAL(mapping != MAP_FAILED);
    return mapping;
}

/*
 * Tracer and worker share a processor. So a step costs two switches, and wakes no other processor.
 * A timer ends the wait for a worker that sleeps.
 */
static void tick(int signal)
{
    (void)signal;
}

static void prepare_stepping(void)
{
    const struct sigaction action = {.sa_handler = tick}; /* without SA_RESTART */
    const struct itimerval interval = {.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US};
    cpu_set_t processors, one;
    CPU_ZERO(&one);
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(processors), &processors), 0);
    for (size_t n = CPU_SETSIZE; n-- > 0 && CPU_COUNT(&one) == 0;) {
        if (CPU_ISSET(n, &processors))
            CPU_SET(n, &one);
    }
    CU_ASSERT_EQUAL_FATAL(sched_setaffinity(0, sizeof(one), &one), 0);
    CU_ASSERT_EQUAL_FATAL(sigaction(SIGALRM, &action, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(setitimer(ITIMER_REAL, &interval, NULL), 0);
}

void harness_init(struct harness *harness)
{
    *harness = (struct harness){
        .start =
            {
                .header = {.type = MSG_START},
                .name = "block 0",
                .kind = DEVICE_BLOCK_VIRTIO,
                .uid = USER,
                .virtio_id = device_kinds[DEVICE_BLOCK_VIRTIO].virtio_id,
                .queue_size_max = 256,
                .queue_count = 1,
                .backend_fd_count = 1,
                .shmem_addr = HARNESS_BASE,
                .shmem_size = HARNESS_WINDOW,
                .of_kind.block = {.capacity = HARNESS_SECTORS,
                                  .blk_size = 512,
                                  .advertise_flush = 1,
                                  .serial = "killed"},
            },
        .socket = -1,
    };
    for (int i = 0; i < HARNESS_FDS; i++)
        harness->fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    close(harness->fds[FD_IMAGE]);
    close(harness->fds[FD_STATE]);
    close(harness->fds[FD_DM]);
    harness->fds[FD_IMAGE] = memory("image", HARNESS_SECTORS * 512, 0);
    harness->fds[FD_STATE] = memory("state", STATE_SIZE, F_SEAL_SHRINK | F_SEAL_GROW);
    harness->fds[FD_DM] = memory("window", HARNESS_WINDOW, 0);
    prepare_stepping();
    harness->state = map(harness->fds[FD_STATE], STATE_SIZE);
    harness->window = map(harness->fds[FD_DM], HARNESS_WINDOW);
}

void harness_free(struct harness *harness)
{
    if (harness->worker > 0)
        harness_kill(harness);
    munmap(harness->state, STATE_SIZE);
    munmap(harness->window, HARNESS_WINDOW);
    for (int i = 0; i < HARNESS_FDS; i++)
        close(harness->fds[i]);
}

/* ---- Life ---- */

static void wait_worker(const struct harness *harness, int *ret_status)
{
    pid_t waited;
    do {
        waited = waitpid(harness->worker, ret_status, __WALL);
    } while (waited < 0 && errno == EINTR);
    CU_ASSERT_EQUAL_FATAL(waited, harness->worker);
}

/* poll on one fd; the tick interrupts it. */
static bool readable(int fd, int ticks)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    int ready;
    do {
        ready = poll(&event, 1, TICK_US / 1000);
    } while (ready != 1 && --ticks > 0);
    return ready == 1;
}

static _Noreturn void execute(int control)
{
    static char *const arguments[] = {"bao-virtio-worker", NULL}, *const environment[] = {NULL};
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    dup2(control, WORKER_FD_CONTROL);
    close_range(WORKER_FD_CONTROL + 1, ~0u, 0);
    execve(WORKER, arguments, environment);
    _exit(127);
}

static void await_ready(const struct harness *harness)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
    do { /* what it says before READY does not matter */
        CU_ASSERT_FATAL(readable(harness->socket, PATIENCE_TICKS));
        CU_ASSERT_EQUAL_FATAL(
            message_receive(harness->socket, ROLE_WORKER, &message, fds, &fd_count), 1);
        CU_ASSERT_NOT_EQUAL_FATAL(message.header.type, MSG_FAILED);
    } while (message.header.type != MSG_READY);
}

/* Whether the worker sleeps: then it waits for events, or for START. */
static bool sleeps(const struct harness *harness)
{
    char path[64], state = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", harness->worker);
    FILE *stat = fopen(path, "re");
    CU_ASSERT_FATAL(stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
    fclose(stat);
    return state == 'S';
}

/* Whether it has become the worker, and sleeps. */
static bool waits_for_start(const struct harness *harness)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", harness->worker);
    FILE *comm = fopen(path, "re");
    CU_ASSERT_FATAL(comm && fgets(name, sizeof(name), comm));
    fclose(comm);
    return strncmp(name, "bao-virtio-work", 15) == 0 && sleeps(harness);
}

static void spawn(struct harness *harness)
{
    int sockets[2];
    CU_ASSERT_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) == 0);
    struct clone_args args = {.flags = CLONE_NEWPID | CLONE_NEWNET, .exit_signal = SIGCHLD};
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0)
        execute(sockets[1]);
    close(sockets[1]);
    harness->worker = pid;
    harness->socket = sockets[0];
}

static void send_start(struct harness *harness)
{
    union message message = {.start = harness->start};
    CU_ASSERT_EQUAL_FATAL(message_send(harness->socket, &message, harness->fds, HARNESS_FDS), 0);
    harness->start.incarnation++;
}

void harness_start(struct harness *harness)
{
    spawn(harness);
    send_start(harness);
    await_ready(harness);
}

void harness_start_stopped(struct harness *harness)
{
    spawn(harness);
    while (!waits_for_start(harness))
        usleep(20);
    harness_stop(harness);
    send_start(harness);
}

void harness_kill(struct harness *harness)
{
    int status;
    kill(harness->worker, SIGKILL);
    do {
        wait_worker(harness, &status);
    } while (WIFSTOPPED(status));
    CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(harness->socket);
    harness->worker = 0;
    harness->socket = -1;
    uint64_t count; /* the broker does the same between two workers */
    (void)!read(harness->fds[FD_REPLY], &count, sizeof(count));
    if (atomic_exchange(&harness->state->interrupt.pending, 0) != 0)
        CU_ASSERT(eventfd_signal(harness->fds[FD_CALL]));
}

/* ---- The mailbox ---- */

static void post(struct harness *harness, uint32_t offset, bool is_write, uint32_t value)
{
    struct state_mailbox *mailbox = &harness->state->mailbox;
    mailbox->offset = offset;
    mailbox->is_write = is_write;
    mailbox->width = 4;
    mailbox->value = value;
    atomic_fetch_add_explicit(&mailbox->request_seq, 1, memory_order_release);
    CU_ASSERT(eventfd_signal(harness->fds[FD_REQUEST]));
}

bool harness_answered(struct harness *harness)
{
    const struct state_mailbox *mailbox = &harness->state->mailbox;
    uint64_t count;
    while (atomic_load_explicit(&mailbox->response_seq, memory_order_acquire) !=
           atomic_load_explicit(&mailbox->request_seq, memory_order_relaxed)) {
        if (!readable(harness->fds[FD_REPLY], PATIENCE_TICKS))
            return false;
        (void)!read(harness->fds[FD_REPLY], &count, sizeof(count));
        if (atomic_exchange(&harness->state->interrupt.pending, 0) != 0)
            CU_ASSERT(eventfd_signal(harness->fds[FD_CALL]));
    }
    return true;
}

void harness_post_write(struct harness *harness, uint32_t offset, uint32_t value)
{
    post(harness, offset, true, value);
}

void harness_write(struct harness *harness, uint32_t offset, uint32_t value)
{
    post(harness, offset, true, value);
    CU_ASSERT_FATAL(harness_answered(harness));
}

uint32_t harness_read(struct harness *harness, uint32_t offset)
{
    post(harness, offset, false, 0);
    CU_ASSERT_FATAL(harness_answered(harness));
    return (uint32_t)harness->state->mailbox.answer;
}

void harness_kick(struct harness *harness)
{
    CU_ASSERT(eventfd_signal(harness->fds[FD_KICK]));
}

uint64_t harness_interrupts(struct harness *harness)
{
    uint64_t count = 0;
    harness->interrupt_status |= atomic_exchange(&harness->state->interrupt.pending, 0);
    if (read(harness->fds[FD_CALL], &count, sizeof(count)) < 0)
        return 0;
    return count;
}

bool harness_await_interrupt(struct harness *harness)
{
    return readable(harness->fds[FD_CALL], PATIENCE_TICKS) && harness_interrupts(harness) > 0;
}

/* ---- Instruction by instruction ---- */

void harness_stop(struct harness *harness)
{
    int status;
    while (!sleeps(harness))
        usleep(20);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SEIZE, harness->worker, 0, 0), 0);
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_INTERRUPT, harness->worker, 0, 0), 0);
    wait_worker(harness, &status);
    CU_ASSERT_FATAL(WIFSTOPPED(status));
}

/* Whether the worker waits for events. One that waits for its disk, or for the processor, does
 * not. */
static bool waits_for_events(const struct harness *harness)
{
    char path[64];
    long call = -1;
    snprintf(path, sizeof(path), "/proc/%d/syscall", harness->worker);
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    bool in_call = fscanf(file, "%ld", &call) == 1; /* otherwise it says "running" */
    fclose(file);
    return in_call && (call == SYS_epoll_pwait2 || call == SYS_epoll_pwait) && sleeps(harness);
}

/* Go on with `request`. False: it waits for events again, and has not stopped anywhere. */
static bool go_on(const struct harness *harness, enum __ptrace_request request)
{
    int status;
    CU_ASSERT_EQUAL_FATAL(ptrace(request, harness->worker, 0, 0), 0);
    for (unsigned int waiting = 0; waiting < 3;) {
        pid_t waited = waitpid(harness->worker, &status, __WALL);
        if (waited == harness->worker) {
            CU_ASSERT_FATAL(WIFSTOPPED(status));
            return true;
        }
        CU_ASSERT_FATAL(waited < 0 && errno == EINTR);
        waiting += waits_for_events(harness);
    }
    return false;
}

static struct user_regs_struct registers(const struct harness *harness)
{
    struct user_regs_struct regs;
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_GETREGS, harness->worker, 0, &regs), 0);
    return regs;
}

static uint64_t first_byte(const struct harness *harness)
{
    char path[64], line[512];
    unsigned long start = 0;
    snprintf(path, sizeof(path), "/proc/%d/maps", harness->worker);
    FILE *maps = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(maps);
    while (start == 0 && fgets(line, sizeof(line), maps)) {
        if (strstr(line, "bao-virtio-worker"))
            CU_ASSERT_EQUAL_FATAL(sscanf(line, "%lx", &start), 1);
    }
    fclose(maps);
    CU_ASSERT_NOT_EQUAL_FATAL(start, 0);
    return start;
}

unsigned int harness_trace(struct harness *harness, uint64_t *ret_places, unsigned int max)
{
    uint64_t first = first_byte(harness);
    unsigned int count = 0;
    while (count < max && go_on(harness, PTRACE_SINGLESTEP))
        ret_places[count++] = registers(harness).rip - first;
    return count;
}

static void set_text(const struct harness *harness, uint64_t address, long word)
{
    CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_POKETEXT, harness->worker, address, word), 0);
}

bool harness_run_to(struct harness *harness, uint64_t place, unsigned int nth)
{
    uint64_t address = first_byte(harness) + place;
    errno = 0;
    long word = ptrace(PTRACE_PEEKTEXT, harness->worker, address, 0);
    CU_ASSERT_EQUAL_FATAL(errno, 0);
    long trap = (word & ~0xffl) | 0xcc; /* int3 */
    for (unsigned int times = 1;; times++) {
        set_text(harness, address, trap);
        if (!go_on(harness, PTRACE_CONT))
            return false;
        struct user_regs_struct regs = registers(harness);
        CU_ASSERT_EQUAL_FATAL(regs.rip, address + 1);
        regs.rip = address;
        CU_ASSERT_EQUAL_FATAL(ptrace(PTRACE_SETREGS, harness->worker, 0, &regs), 0);
        set_text(harness, address, word);
        if (times == nth)
            return true;
        if (!go_on(harness, PTRACE_SINGLESTEP))
            return false;
    }
}
