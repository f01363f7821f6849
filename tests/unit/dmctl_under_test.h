/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_dmctl.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_DMCTL_UNDER_TEST_H
#define TESTS_UNIT_DMCTL_UNDER_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "broker/dmctl/board.h"
#include "broker/dmctl/dmctl.h"
#include "common/cgroup_limit.h"
#include "common/device_kind.h"
#include "common/sandbox_layer.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

int dmctl_main(int argc, char **argv); /* broker/dmctl/main.c */

static char folder[] = "/tmp/dmctl-XXXXXX";
static struct said out, err;

/* ---- The machine ---- */

static bool silent;               /* nobody answers */
static bool folder_missing;       /* there is no /run/bao-virtio-dm */
static int connect_error;         /* of each connection */
static int refused, connected;    /* the socket that was so last */
static unsigned int sleeps, naps; /* how often, and the seconds of the last one */
static int64_t clock_s;

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
DIR *__wrap_opendir(const char *name);
unsigned int __wrap_sleep(unsigned int seconds);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_execv(const char *path, char *const argv[]);
void __wrap_board_facts(const char *root, struct board_facts *ret);
void __wrap_board_judge(const struct board_facts *facts, const struct config *config,
                        struct board_report *ret);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    CU_ASSERT(count == 1 && timeout >= 1000);
    const struct timespec end = {.tv_sec = 20};
    return silent ? 0 : (int)syscall(SYS_ppoll, fds, count, &end, NULL, 0);
}

static const char *real_path(const char *path, char ret[256])
{
    const size_t length = strlen(CONTROL_DIRECTORY);
    bool is_there = strncmp(path, CONTROL_DIRECTORY, length) == 0;
    snprintf(ret, 256, "%s%s", is_there ? folder : "", is_there ? path + length : path);
    return ret;
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_un there = *(const struct sockaddr_un *)(const void *)address;
    char path[256];
    CU_ASSERT_EQUAL(size, sizeof(there));
    if (connect_error != 0) {
        refused = fd;
        errno = connect_error;
        return -1;
    }
    snprintf(there.sun_path, sizeof(there.sun_path), "%.100s", real_path(there.sun_path, path));
    connected = fd;
    return (int)syscall(SYS_connect, fd, &there, sizeof(there));
}

DIR *__real_opendir(const char *name);

DIR *__wrap_opendir(const char *name)
{
    char path[256];
    if (folder_missing && strcmp(name, CONTROL_DIRECTORY) == 0)
        return NULL;
    return __real_opendir(real_path(name, path));
}

unsigned int __wrap_sleep(unsigned int seconds)
{
    sleeps++;
    naps = seconds;
    clock_s += seconds;
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    CU_ASSERT_EQUAL(clock, CLOCK_MONOTONIC);
    *ret = (struct timespec){.tv_sec = clock_s, .tv_nsec = 500000000};
    return 0;
}

/* What is written by one call. Success leaves any errno behind. */
static size_t write_most;
static unsigned int writes_before_error;
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t at);
ssize_t __real_pwrite(int fd, const void *bytes, size_t size, off_t at);

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    if (writes_before_error == 0) {
        errno = EFBIG;
        return -1;
    }
    writes_before_error--;
    ssize_t written = __real_pwrite(fd, bytes, size < write_most ? size : write_most, at);
    errno = EBUSY;
    return written;
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t at)
{
    return __wrap_pwrite(fd, bytes, size, at);
}

static int memfd_error; /* of the one for the auditor */
int __wrap_memfd_create(const char *name, unsigned int flags);
int __real_memfd_create(const char *name, unsigned int flags);

int __wrap_memfd_create(const char *name, unsigned int flags)
{
    if (strcmp(name, "told") != 0)
        return __real_memfd_create(name, flags);
    CU_ASSERT_EQUAL(flags, MFD_CLOEXEC);
    int fd = memfd_error ? -1 : __real_memfd_create(name, flags);
    errno = memfd_error ? memfd_error : EBUSY;
    return fd;
}

static bool is_there_by_default; /* the configuration that has the usual name */
int __wrap_access(const char *path, int mode);

int __wrap_access(const char *path, int mode)
{
    CU_ASSERT_STRING_EQUAL(path, BOARD_CONFIG);
    CU_ASSERT_EQUAL(mode, F_OK);
    return is_there_by_default ? 0 : -1;
}

/* The programs that were to be run, with their arguments and input. */
static char executed[8192], input[4096];
static int exec_error[2], input_flags;
static unsigned int execs;

int __wrap_execv(const char *path, char *const argv[])
{
    snprintf(executed + strlen(executed), 640, "%s:", path);
    for (size_t i = 0; argv[i]; i++) {
        strcat(executed, " ");
        strcat(executed, argv[i]);
    }
    strcat(executed, "\n");
    input_flags = fcntl(STDIN_FILENO, F_GETFD);
    ssize_t length = read(STDIN_FILENO, input, sizeof(input) - 1);
    if (length > 0)
        input[length] = '\0';
    errno = exec_error[execs++];
    return -1;
}

static const char *program; /* this program's path; NULL: it can't be read */
static int dup2_error;
ssize_t __wrap_readlink(const char *path, char *buffer, size_t size);
ssize_t __wrap___readlink_chk(const char *path, char *buffer, size_t size, size_t room);
int __wrap_dup2(int old, int new);

ssize_t __wrap_readlink(const char *path, char *buffer, size_t size)
{
    CU_ASSERT_STRING_EQUAL(path, "/proc/self/exe");
    CU_ASSERT_EQUAL(size, 511); /* the terminating 0 has room as well */
    memset(buffer, '/', size);
    if (program)
        memcpy(buffer, program, strlen(program));
    errno = ELOOP;
    return program ? (ssize_t)strlen(program) : -1;
}

ssize_t __wrap___readlink_chk(const char *path, char *buffer, size_t size, size_t room)
{
    CU_ASSERT(size < room);
    return __wrap_readlink(path, buffer, size);
}

int __wrap_dup2(int old, int new)
{
    bool fails = dup2_error && new == STDIN_FILENO;
    int result = fails ? -1 : (int)syscall(SYS_dup3, old, new, 0);
    errno = fails ? dup2_error : EBUSY; /* success says nothing about it */
    return result;
}

static struct board_report found;
static bool judged_with_config;

void __wrap_board_facts(const char *root, struct board_facts *ret)
{
    CU_ASSERT_STRING_EQUAL(root, "");
    ret->processors = 7;
}

void __wrap_board_judge(const struct board_facts *facts, const struct config *config,
                        struct board_report *ret)
{
    CU_ASSERT_EQUAL(facts->processors, 7);
    judged_with_config = config != NULL;
    *ret = found;
}

/* ---- The broker ---- */

static struct control_device devices[BAO_DEVICES_MAX + 1];
static uint32_t device_count;
static int32_t keeper;
static char config[CONTROL_CONFIG_SIZE]; /* its name */
static uint64_t growth;                  /* of each counter of requests, each time it is told */
static struct control_request asked[64];
static unsigned int asked_count;
static int answer_error[CONTROL_VERBS];
static uint32_t answer_version;
static size_t answer_size;
static unsigned int answers_left; /* then it closes the connection */

/* Returns false if the client has gone, or is left. */
static bool serve_one(int client)
{
    static struct control_reply reply;
    struct control_request request;
    if (recv(client, &request, sizeof(request), 0) != (ssize_t)sizeof(request))
        return false;
    memset(&reply, 0, sizeof(reply));
    asked[asked_count++ % 64] = request;
    reply.version = answer_version;
    reply.keeper = keeper;
    memcpy(reply.config, config, sizeof(config));
    reply.device_count = device_count;
    reply.error = answer_error[request.verb];
    if (request.verb == CONTROL_STATUS && reply.error == 0) {
        if (request.index >= device_count) {
            reply.error = ENODEV;
        } else {
            reply.device = devices[request.index];
            devices[request.index].counters.requests += growth;
        }
    }
    if (answers_left == 0)
        return false;
    answers_left--;
    return send(client, &reply, answer_size, MSG_NOSIGNAL) > 0;
}

#define PARTIES 128

/* The parties: an end, two listeners, and clients. */
static struct pollfd parties[PARTIES];
static int stop_pipe[2];
static pthread_t thread;

static void *serve(void *unused)
{
    (void)unused;
    for (;;) {
        (void)syscall(SYS_ppoll, parties, PARTIES, NULL, NULL, 0);
        if (parties[0].revents != 0)
            return NULL;
        for (unsigned int i = 1; i < PARTIES; i++) {
            int fd = parties[i].fd;
            if (parties[i].revents == 0)
                continue;
            if (i > 2 && !serve_one(fd)) {
                close(fd);
                parties[i].fd = -1;
            }
            unsigned int place = 3;
            while (i <= 2 && place < PARTIES && parties[place].fd >= 0)
                place++;
            if (i <= 2 && place < PARTIES)
                parties[place].fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        }
    }
}

static int listen_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", folder, name);
    unlink(address.sun_path);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 8), 0);
    return fd;
}

static struct control_device a_vsock(void)
{
    struct control_device device = {
        .name = "vsock 3",
        .id = 3,
        .kind = DEVICE_VSOCK_VIRTIO,
        .virtio_id = 19,
        .phase = CONTROL_RUNNING,
        .restarts = 2,
        .pid = 4711,
        .layers = 1u << LAYER_FDS | 1u << LAYER_MDWE,
        .queue_count = 2,
        .cgroup = CGROUP_OWN | 1u << CGROUP_MEMORY | 1u << CGROUP_CPU,
        .generation = BAO_D,
        .gone = 1,
        .connections = 64,
        .uptime_ms = 61500,
        .mmio_addr = 0xa003e00,
        .shmem_addr = 0x80000000,
        .shmem_size = 0x1000000,
        .last_death = "killed by SIGSYS",
        .trouble = "no \"tap\"",
        .cache = "unsafe",
        .interrupts_raised = 5,
        .status = VIRTIO_CONFIG_S_DRIVER_OK | 11,
        .broker_level = LOG_LEVEL_DEBUG,
        .features = 1ull << VIRTIO_F_RING_PACKED,
        .queues = {{256, 1, 0x8003, 0x8002}, {128, 0, 1, 0}},
        .counters = {.requests = 100,
                     .bytes_in = 1000,
                     .bytes_out = 2000,
                     .kicks = 30,
                     .interrupts_sent = 6,
                     .interrupts_suppressed = 7,
                     .register_accesses = 8,
                     .guest_errors = 9,
                     .dropped_in = 10,
                     .dropped_out = 11},
    };
    return device;
}

static void begin(void)
{
    silent = folder_missing = false;
    connect_error = 0;
    sleeps = naps = 0;
    clock_s = 1000;
    asked_count = 0;
    memset(answer_error, 0, sizeof(answer_error));
    answer_version = CONTROL_VERSION;
    answer_size = sizeof(struct control_reply);
    answers_left = 1000;
    execs = 0;
    exec_error[0] = exec_error[1] = ENOENT;
    program = "/usr/sbin/bao-dmctl";
    dup2_error = memfd_error = 0;
    write_most = SIZE_MAX;
    writes_before_error = UINT_MAX;
    is_there_by_default = false;
    executed[0] = input[0] = '\0';
    devices[0] = (struct control_device){
        .name = "rng 0", .kind = DEVICE_RNG_VIRTIO, .generation = BAO_B, .virtio_id = 4};
    devices[1] = a_vsock();
    device_count = 2;
    keeper = 812;
    growth = 0;
    strcpy(config, "/etc/\"vm\".yaml");
    CU_ASSERT_EQUAL_FATAL(pipe2(stop_pipe, O_CLOEXEC), 0);
    for (unsigned int i = 0; i < PARTIES; i++)
        parties[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    parties[0].fd = stop_pipe[0];
    parties[1].fd = listen_at("vm.socket");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
}

/* From now on the thread closes no file. */
static void stop_serving(void)
{
    CU_ASSERT_EQUAL(write(stop_pipe[1], "", 1), 1);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(read(stop_pipe[0], &(char){0}, 1), 1);
}

static void go_on_serving(void)
{
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void second_instance(void)
{
    stop_serving();
    parties[2].fd = listen_at("a.socket");
    go_on_serving();
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)unlink(path);
}

static void put_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    CU_ASSERT_FATAL(fd >= 0);
    close(fd);
}

static void end(void)
{
    CU_ASSERT_EQUAL(write(stop_pipe[1], "", 1), 1);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    close(stop_pipe[1]);
    for (unsigned int i = 0; i < PARTIES; i++) {
        if (parties[i].fd >= 0)
            close(parties[i].fd);
    }
    remove_file("vm.socket");
    remove_file("a.socket");
}

/* Run it with these words; '' is an empty one. What is printed is the caller's affair. */
static int run_bare(const char *line)
{
    char words[512], *argv[16] = {(char *)"bao-dmctl"};
    int argc = 1;
    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    optind = 0; /* a new command line */
    return dmctl_main(argc, argv);
}

/* The result is in `out` and `err`. */
static int run(const char *line)
{
    said_begin(&out, STDOUT_FILENO);
    said_begin(&err, STDERR_FILENO);
    int status = run_bare(line);
    said_end(&err);
    said_end(&out);
    return status;
}

static void prints(const char *line, const char *expected)
{
    CU_ASSERT_EQUAL(run(line), EXIT_SUCCESS);
    CU_ASSERT_STRING_EQUAL(out.text, expected);
    CU_ASSERT_STRING_EQUAL(err.text, "");
}

static void complains(const char *line, const char *expected)
{
    CU_ASSERT_EQUAL(run(line), EXIT_FAILURE);
    CU_ASSERT_STRING_EQUAL(out.text, "");
    CU_ASSERT_STRING_EQUAL(err.text, expected);
}

#endif
