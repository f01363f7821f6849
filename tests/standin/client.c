/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest program that can answer the dispatcher: `standin-client SCENARIO`. Scenario `serve`
 * is the floor that the benchmark measures relayed accesses against; the others test the stand-in's
 * imitation of the driver, in the generation whose node exists. If something is wrong, they end
 * with status 1 and a line on stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bao_abi.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "client: line %d: %s (errno: %s)\n", __LINE__, #condition,             \
                    strerror(errno));                                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* result -1 with that errno */
#define CHECK_ERROR(call, number) CHECK((call) == -1 && errno == (number))

#define REGISTERS 64
#define BASE 0xa003e00u
#define NOTIFY (BASE + 0x50)

#define WINDOW(id) (0x50000000 + (id)*0x100000ul)
#define WINDOW_SIZE 0x100000u
#define IRQ(id) (52u + (id))

static enum bao_generation
    generation; /* A stands for B as well, until we have asked for a device */

static bool is_d(void)
{
    return generation == BAO_D;
}

#define ATTACH (is_d() ? BAO_D_IOCTL_IO_CLIENT_ATTACH : BAO_IOCTL_IO_CLIENT_ATTACH)
#define COMPLETE (is_d() ? BAO_D_IOCTL_IO_REQUEST_COMPLETE : BAO_IOCTL_IO_REQUEST_COMPLETE)
#define IOEVENTFD (is_d() ? BAO_D_IOCTL_IOEVENTFD : BAO_IOCTL_IOEVENTFD)
#define IRQFD (is_d() ? BAO_D_IOCTL_IRQFD : BAO_IOCTL_IRQFD)

static int create(int node, uint32_t id)
{
    const struct bao_d_dm_info info = {WINDOW(id), WINDOW_SIZE, id, IRQ(id)};
    return ioctl(node, BAO_D_IOCTL_CREATE_DM, &info);
}

static struct bao_dm_info get_info(uint32_t id)
{
    struct bao_dm_info info = {
        .id = id, .fd = -1, .shmem_addr = WINDOW(id), .shmem_size = WINDOW_SIZE};
    char path[32] = BAO_DISPATCHER_NODE;
    if (generation == BAO_C)
        snprintf(path, sizeof(path), BAO_DM_NODE "%u", id);
    int node = open(is_d() ? BAO_NODE : path, O_RDWR | O_CLOEXEC);
    CHECK(node >= 0);
    if (is_d()) {
        info.fd = create(node, id);
    } else {
        int result = ioctl(node, BAO_IOCTL_DM_GET_INFO, &info);
        CHECK(result == 0 || (result == 1 && generation == BAO_A));
        if (result == 0 && generation == BAO_A)
            generation = BAO_B;
        if (generation == BAO_C)
            info.fd = node;
    }
    CHECK(info.fd >= 0);
    if (generation != BAO_C)
        close(node);
    return info;
}

/* Generation D: another thread may have taken the request already (EAGAIN). */
static int attach(int dm, struct bao_io_request *request)
{
    int result;
    do
        result = ioctl(dm, ATTACH, request);
    while (result < 0 && errno == EAGAIN && is_d());
    return result;
}

/* Serve registers that keep what is written to them. */
static void serve(int dm)
{
    static uint64_t registers[REGISTERS];
    for (;;) {
        struct bao_io_request request = {0};
        if (attach(dm, &request) < 0) {
            CHECK(errno == (is_d() ? EINTR : EFAULT));
            continue;
        }
        uint64_t *value = &registers[request.addr / 8 % REGISTERS];
        if (request.op == BAO_IO_WRITE)
            *value = request.value;
        request.value = *value;
        CHECK(ioctl(dm, COMPLETE, &request) == 0);
    }
}

static void scenario_info(void)
{
    int node = open(BAO_DISPATCHER_NODE, O_RDWR | O_CLOEXEC);
    CHECK(node >= 0);
    struct bao_dm_info info = get_info(0); /* its result tells A and B apart */
    const int unknown = generation == BAO_B ? ENOENT : EINVAL;
    info.id = 5;
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, &info), unknown);
    info.id = UINT32_MAX;
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, &info), unknown);
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, NULL), EFAULT);
    CHECK_ERROR(ioctl(node, IRQFD, &info), ENOTTY);
    CHECK_ERROR(ioctl(node, _IO(0xA6, 77), 0), ENOTTY);

    info = get_info(0);
    struct bao_dm_info again = get_info(0);
    CHECK(info.shmem_addr == 0x50000000 && info.shmem_size == 0x100000);
    CHECK(info.fd != again.fd);
    CHECK(fcntl(info.fd, F_GETFD) == FD_CLOEXEC);
    /* another open file: it has its own offset */
    CHECK(lseek(info.fd, 4096, SEEK_SET) == 4096 && lseek(again.fd, 0, SEEK_CUR) == 0);
    char *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd, 0);
    char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again.fd, 0);
    CHECK(one != MAP_FAILED && two != MAP_FAILED);
    strcpy(one, "the same memory");
    CHECK(strcmp(two, "the same memory") == 0);

    /* the dispatcher's type byte, on a file that does not belong to the dispatcher */
    int other = eventfd(0, 0);
    struct bao_io_request request = {0};
    CHECK_ERROR(ioctl(other, ATTACH, &request), ENOTTY);
    close(other);
    CHECK_ERROR(ioctl(other, ATTACH, &request), EBADF);
    /* a copy of the DM file, as another process would get it */
    serve(dup(again.fd));
}

/* Generation B and later: mmap allows no more than the window, and only from its start. */
static void scenario_mmap(void)
{
    int dm = get_info(0).fd;
    CHECK(mmap(NULL, WINDOW_SIZE, PROT_READ, MAP_SHARED, dm, 0) != MAP_FAILED);
    CHECK(mmap(NULL, WINDOW_SIZE + 4096, PROT_READ, MAP_SHARED, dm, 0) == MAP_FAILED);
    CHECK(errno == EINVAL);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, dm, 4096) == MAP_FAILED && errno == EINVAL);
    serve(dm);
}

/* Generation C: there is a node for each device, and the node is the device. */
static void scenario_own_node(void)
{
    struct bao_dm_info info = get_info(1);
    CHECK(info.id == 1 && info.irq == IRQ(1) && info.fd >= 0);
    CHECK(info.shmem_addr == WINDOW(1) && info.shmem_size == WINDOW_SIZE);
    CHECK(open(BAO_DM_NODE "5", O_RDWR) == -1 && errno == ENOENT);
    char *window = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd, 0);
    CHECK(window != MAP_FAILED);
    strcpy(window, "the device's memory");
    serve(info.fd);
}

/* Generation D: a device can be created once. After its last close it can be created again. */
static void scenario_create(void)
{
    int node = open(BAO_NODE, O_RDWR | O_CLOEXEC);
    CHECK(node >= 0);
    CHECK_ERROR(ioctl(node, BAO_D_IOCTL_CREATE_DM, NULL), EFAULT);
    CHECK_ERROR(create(node, 5), EINVAL);
    CHECK_ERROR(ioctl(node, BAO_D_IOCTL_GET_INFO, NULL), ENOTTY);
    struct bao_dm_info old = {.id = 0};
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, &old), ENOTTY);
    int dm = create(node, 0);
    CHECK(dm >= 0);
    CHECK_ERROR(create(node, 0), EEXIST);
    close(node);
    struct bao_d_dm_info info = {0};
    CHECK(ioctl(dm, BAO_D_IOCTL_GET_INFO, &info) == 0);
    CHECK(info.id == 0 && info.irq == IRQ(0));
    CHECK(info.shmem_addr == WINDOW(0) && info.shmem_size == WINDOW_SIZE);
    serve(dm);
}

static void scenario_complete(void)
{
    int dm = get_info(0).fd;
    get_info(1);
    struct bao_io_request request = {0};
    CHECK_ERROR(ioctl(dm, ATTACH, NULL), EFAULT);
    CHECK(attach(dm, &request) == 0);
    struct bao_io_request wrong = request;
    wrong.request_id++;
    CHECK_ERROR(ioctl(dm, COMPLETE, &wrong), EPERM);
    wrong.request_id = 1000;
    CHECK_ERROR(ioctl(dm, COMPLETE, &wrong), EPERM);
    wrong = request;
    wrong.dm_id = 99;
    CHECK_ERROR(ioctl(dm, COMPLETE, &wrong), ESRCH);
    wrong = request;
    wrong.op = 4;
    CHECK_ERROR(ioctl(dm, COMPLETE, &wrong), ESRCH);
    CHECK_ERROR(ioctl(dm, COMPLETE, NULL), EFAULT);
    CHECK(ioctl(dm, COMPLETE, &request) == 0);
    CHECK_ERROR(ioctl(dm, COMPLETE, &request), EPERM);
    serve(dm);
}

/* Device 0's request is answered through device 1's file. */
static void scenario_foreign(void)
{
    int dm = get_info(0).fd;
    int other = get_info(1).fd;
    struct bao_io_request request = {0};
    CHECK(ioctl(dm, ATTACH, &request) == 0);
    request.value = 77;
    CHECK(ioctl(other, COMPLETE, &request) == 0);
    serve(dm);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    (void)number;
    signals = signals + 1;
}

static void attach_until_signal(int dm, int flags)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    struct itimerval timer = {.it_value = {.tv_usec = 20000}};
    struct bao_io_request request, before;
    memset(&request, 0x5a, sizeof(request));
    before = request;
    signals = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    CHECK_ERROR(ioctl(dm, ATTACH, &request), is_d() ? EINTR : EFAULT);
    CHECK(signals == 1);
    CHECK(memcmp(&request, &before, sizeof(request)) == 0);
}

/* Generation D: if a signal's handler has SA_RESTART, the signal does not end ATTACH at all.
 * SIGSTOP and SIGCONT do not end it either. */
static void attach_restarted(int dm)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    struct itimerval timer = {.it_value = {.tv_usec = 20000}};
    struct bao_io_request request;
    signals = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    CHECK(ioctl(dm, ATTACH, &request) == 0);
    CHECK(signals == 1);
    request.value = 55;
    CHECK(ioctl(dm, COMPLETE, &request) == 0);
}

/* The test stops this process when the third ATTACH waits, and continues it. */
static void scenario_signal(void)
{
    int dm = get_info(0).fd;
    attach_until_signal(dm, 0);
    if (is_d())
        attach_restarted(dm);
    else
        attach_until_signal(dm, SA_RESTART);
    struct bao_io_request request;
    if (!is_d())
        CHECK_ERROR(ioctl(dm, ATTACH, &request), EFAULT);
    serve(dm);
}

static void *attach_too(void *dm)
{
    struct bao_io_request request;
    usleep(50000);
    CHECK_ERROR(ioctl(*(int *)dm, ATTACH, &request), is_d() ? EAGAIN : EFAULT);
    return NULL;
}

static void scenario_two_attachers(void)
{
    int dm = get_info(0).fd;
    pthread_t second;
    CHECK(pthread_create(&second, NULL, attach_too, &dm) == 0);
    serve(dm);
}

static void scenario_last_close(void)
{
    struct bao_dm_info info = get_info(0);
    void *mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED, info.fd, 0);
    CHECK(mapping != MAP_FAILED);
    int copy = dup(info.fd);
    close(info.fd);
    usleep(50000);
    close(copy); /* a mapping holds the file */
    usleep(50000);
    munmap(mapping, 4096);
    usleep(50000);
    if (is_d())
        get_info(0); /* the device can be created again */
    serve(get_info(1).fd);
}

static int register_ioeventfd(int dm, int fd, uint32_t flags, uint64_t data, uint32_t len)
{
    struct bao_ioeventfd config = {
        .fd = (uint32_t)fd,
        .flags = flags,
        .addr = NOTIFY,
        .len = len,
        .data = data,
    };
    return ioctl(dm, IOEVENTFD, &config);
}

static int register_irqfd(int dm, int fd, uint32_t flags)
{
    struct bao_irqfd config = {.fd = fd, .flags = flags};
    return ioctl(dm, IRQFD, &config);
}

/* What a signalled kick does: registers 0, 8 and 16 read as the counters of three eventfds. */
static void scenario_eventfd(void)
{
    int dm = get_info(0).fd;
    int fd[3];
    for (int i = 0; i < 3; i++)
        fd[i] = eventfd(0, EFD_NONBLOCK);
    CHECK_ERROR(register_ioeventfd(dm, -1, BAO_IOEVENTFD_DATAMATCH, 0, 4), EBADF);
    CHECK_ERROR(register_ioeventfd(dm, dm, BAO_IOEVENTFD_DATAMATCH, 0, 4), EINVAL);
    CHECK_ERROR(register_ioeventfd(dm, fd[0], BAO_IOEVENTFD_DATAMATCH, 0, 3), EINVAL);
    CHECK(register_ioeventfd(dm, fd[0], BAO_IOEVENTFD_DATAMATCH, 0, 4) == 0);
    CHECK_ERROR(register_ioeventfd(dm, fd[0], BAO_IOEVENTFD_DATAMATCH, 0, 4), EEXIST);
    CHECK_ERROR(register_ioeventfd(dm, dup(fd[0]), BAO_IOEVENTFD_DATAMATCH, 0, 4), EEXIST);
    CHECK_ERROR(register_ioeventfd(dm, fd[0], 0, 0, 4), EEXIST);
    CHECK(register_ioeventfd(dm, fd[1], BAO_IOEVENTFD_DATAMATCH, 0, 4) == 0); /* never fires */
    CHECK(register_ioeventfd(dm, fd[2], BAO_IOEVENTFD_DATAMATCH, 1, 4) == 0);
    /* de-assigning assigns again, except with length 0: then the call fails, and the eventfd stays
     * de-assigned */
    CHECK(register_ioeventfd(dm, fd[2], BAO_IOEVENTFD_DEASSIGN | BAO_IOEVENTFD_DATAMATCH, 1, 4) ==
          0);
    CHECK_ERROR(register_ioeventfd(dm, fd[2], BAO_IOEVENTFD_DATAMATCH, 1, 4), EEXIST);
    CHECK_ERROR(register_ioeventfd(dm, fd[2], BAO_IOEVENTFD_DEASSIGN, 1, 0), EINVAL);
    CHECK(register_ioeventfd(dm, fd[2], BAO_IOEVENTFD_DATAMATCH, 1, 4) == 0);

    CHECK_ERROR(register_irqfd(dm, -1, 0), EBADF);
    CHECK_ERROR(register_irqfd(dm, dm, 0), EINVAL);
    int irq = eventfd(0, EFD_NONBLOCK);
    CHECK(register_irqfd(dm, irq, 0) == 0);
    CHECK_ERROR(register_irqfd(dm, irq, 0), EBUSY);
    CHECK(register_irqfd(dm, irq, BAO_IRQFD_DEASSIGN) == 0);
    CHECK(register_irqfd(dm, irq, BAO_IRQFD_DEASSIGN) == 0);
    CHECK(register_irqfd(dm, irq, 0) == 0);
    for (;;) {
        struct bao_io_request request = {0};
        CHECK(attach(dm, &request) == 0);
        if (request.op == BAO_IO_WRITE)
            eventfd_write(irq, request.value);
        else if (eventfd_read(fd[(request.addr - BASE) / 8 % 3], &request.value) < 0)
            request.value = 0;
        CHECK(ioctl(dm, COMPLETE, &request) == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"info", scenario_info},
        {"own-node", scenario_own_node},
        {"create", scenario_create},
        {"mmap", scenario_mmap},
        {"complete", scenario_complete},
        {"foreign", scenario_foreign},
        {"signal", scenario_signal},
        {"two-attachers", scenario_two_attachers},
        {"last-close", scenario_last_close},
        {"eventfd", scenario_eventfd},
    };
    const char *wanted = argc == 2 ? argv[1] : "";
    if (access(BAO_NODE, F_OK) == 0)
        generation = BAO_D;
    else if (access(BAO_DISPATCHER_NODE, F_OK) < 0)
        generation = BAO_C;
    if (strcmp(wanted, "serve") == 0)
        serve(get_info(0).fd);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(wanted, scenarios[i].name) == 0)
            scenarios[i].run();
    }
    fprintf(stderr, "usage: standin-client SCENARIO\n");
    return 2;
}
