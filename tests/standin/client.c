/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that can answer the dispatcher: `standin-client SCENARIO`. Scenario `serve` is the
 * floor that the benchmark measures relayed accesses against; the others try the stand-in's
 * imitation of the driver, and end with status 1 and a line on stderr where it is not as it
 * should be.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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

static struct bao_dm_info get_info(uint32_t id)
{
    int node = open(BAO_DISPATCHER_NODE, O_RDWR | O_CLOEXEC);
    CHECK(node >= 0);
    struct bao_dm_info info = {.id = id, .fd = -1};
    CHECK(ioctl(node, BAO_IOCTL_DM_GET_INFO, &info) == 1);
    CHECK(info.fd >= 0);
    close(node);
    return info;
}

/* Registers that keep what is written to them. */
static void serve(int dm)
{
    static uint64_t registers[REGISTERS];
    for (;;) {
        struct bao_io_request request = {0};
        if (ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request) < 0) {
            CHECK(errno == EFAULT);
            continue;
        }
        uint64_t *value = &registers[request.addr / 8 % REGISTERS];
        if (request.op == BAO_IO_WRITE)
            *value = request.value;
        request.value = *value;
        CHECK(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &request) == 0);
    }
}

static void scenario_info(void)
{
    int node = open(BAO_DISPATCHER_NODE, O_RDWR | O_CLOEXEC);
    CHECK(node >= 0);
    struct bao_dm_info info = {.id = 5};
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, &info), EINVAL);
    info.id = UINT32_MAX;
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, &info), EINVAL);
    CHECK_ERROR(ioctl(node, BAO_IOCTL_DM_GET_INFO, NULL), EFAULT);
    CHECK_ERROR(ioctl(node, BAO_IOCTL_IRQFD, &info), ENOTTY);
    CHECK_ERROR(ioctl(node, _IO(0xA6, 77), 0), ENOTTY);

    info = get_info(0);
    struct bao_dm_info again = get_info(0);
    CHECK(info.shmem_addr == 0x50000000 && info.shmem_size == 0x100000);
    CHECK(info.fd != again.fd);
    CHECK(fcntl(info.fd, F_GETFD) == FD_CLOEXEC);
    /* another open file: it has an offset of its own */
    CHECK(lseek(info.fd, 4096, SEEK_SET) == 4096 && lseek(again.fd, 0, SEEK_CUR) == 0);
    char *one = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, info.fd, 0);
    char *two = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again.fd, 0);
    CHECK(one != MAP_FAILED && two != MAP_FAILED);
    strcpy(one, "the same memory");
    CHECK(strcmp(two, "the same memory") == 0);

    /* the dispatcher's type byte on a file that is not the dispatcher's */
    int other = eventfd(0, 0);
    struct bao_io_request request = {0};
    CHECK_ERROR(ioctl(other, BAO_IOCTL_IO_CLIENT_ATTACH, &request), ENOTTY);
    close(other);
    CHECK_ERROR(ioctl(other, BAO_IOCTL_IO_CLIENT_ATTACH, &request), EBADF);
    /* a copy of the DM file, as another process gets it */
    serve(dup(again.fd));
}

static void scenario_complete(void)
{
    int dm = get_info(0).fd;
    get_info(1);
    struct bao_io_request request = {0};
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, NULL), EFAULT);
    CHECK(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request) == 0);
    struct bao_io_request wrong = request;
    wrong.request_id++;
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &wrong), EPERM);
    wrong.request_id = 1000;
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &wrong), EPERM);
    wrong = request;
    wrong.dm_id = 99;
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &wrong), ESRCH);
    wrong = request;
    wrong.op = 4;
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &wrong), ESRCH);
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, NULL), EFAULT);
    CHECK(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &request) == 0);
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &request), EPERM);
    serve(dm);
}

/* Device 0's request is answered through device 1's file. */
static void scenario_foreign(void)
{
    int dm = get_info(0).fd;
    int other = get_info(1).fd;
    struct bao_io_request request = {0};
    CHECK(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request) == 0);
    request.value = 77;
    CHECK(ioctl(other, BAO_IOCTL_IO_REQUEST_COMPLETE, &request) == 0);
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
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request), EFAULT);
    CHECK(signals == 1);
    CHECK(memcmp(&request, &before, sizeof(request)) == 0);
}

/* The test stops and continues this process once the third ATTACH waits. */
static void scenario_signal(void)
{
    int dm = get_info(0).fd;
    attach_until_signal(dm, 0);
    attach_until_signal(dm, SA_RESTART);
    struct bao_io_request request;
    CHECK_ERROR(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request), EFAULT);
    serve(dm);
}

static void *attach_too(void *dm)
{
    struct bao_io_request request;
    usleep(50000);
    CHECK_ERROR(ioctl(*(int *)dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request), EFAULT);
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
    return ioctl(dm, BAO_IOCTL_IOEVENTFD, &config);
}

static int register_irqfd(int dm, int fd, uint32_t flags)
{
    struct bao_irqfd config = {.fd = fd, .flags = flags};
    return ioctl(dm, BAO_IOCTL_IRQFD, &config);
}

/* What a signalled kick does: the counters of three eventfds, read through register 0, 8, 16. */
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
    /* de-assigning assigns again; but for length 0, when it fails and stays de-assigned */
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
        CHECK(ioctl(dm, BAO_IOCTL_IO_CLIENT_ATTACH, &request) == 0);
        if (request.op == BAO_IO_WRITE)
            eventfd_write(irq, request.value);
        else if (eventfd_read(fd[(request.addr - BASE) / 8 % 3], &request.value) < 0)
            request.value = 0;
        CHECK(ioctl(dm, BAO_IOCTL_IO_REQUEST_COMPLETE, &request) == 0);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {
        {"info", scenario_info},
        {"complete", scenario_complete},
        {"foreign", scenario_foreign},
        {"signal", scenario_signal},
        {"two-attachers", scenario_two_attachers},
        {"last-close", scenario_last_close},
        {"eventfd", scenario_eventfd},
    };
    const char *wanted = argc == 2 ? argv[1] : "";
    if (strcmp(wanted, "serve") == 0)
        serve(get_info(0).fd);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(wanted, scenarios[i].name) == 0)
            scenarios[i].run();
    }
    fprintf(stderr, "usage: standin-client SCENARIO\n");
    return 2;
}
