/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's end of the control socket: which file it makes and replaces, who is accepted, what
 * is answered, and what only root may ask for.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/log.h"
#include "broker/supervisor.h"
#include "broker/unix_socket.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define DEVICES 2u
#define FAR_MS 600000 /* no rate grows in this time */

static char folder[] = "/tmp/test_control_socket-XXXXXX", path[64];
static struct device devices[DEVICES];
static struct device_config configs[DEVICES];
static struct state_page pages[DEVICES];
static struct journal journals[DEVICES];
static struct supervisor supervisor;
static struct failure failure;
static const struct device *restarted;

/* Stands for the supervisor's. */
int supervisor_restart(struct supervisor *of, struct device *device)
{
    CU_ASSERT_PTR_EQUAL(of, &supervisor);
    restarted = device;
    return EAGAIN;
}

/* ---- The machine: time passes only while somebody waits ---- */

static int64_t now_ms = 1000;
static unsigned int waits;
static int wait_result;
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    CU_ASSERT_EQUAL(clock, CLOCK_MONOTONIC);
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    CU_ASSERT(!fds && count == 0 && timeout == 10);
    now_ms += timeout;
    waits++;
    errno = EINTR;
    return wait_result;
}

static const char *only_free; /* of all names, this one; NULL: as the kernel says */
static int listen_error;      /* of a name that is free */
static unsigned int listens;
int __wrap_unix_listen(const char *name, int type, uint32_t mode, int backlog);
int __real_unix_listen(const char *name, int type, uint32_t mode, int backlog);

int __wrap_unix_listen(const char *name, int type, uint32_t mode, int backlog)
{
    CU_ASSERT(type == SOCK_SEQPACKET && backlog == CONTROL_CLIENTS_MAX);
    if (!only_free)
        return __real_unix_listen(name, type, mode, backlog);
    CU_ASSERT_EQUAL(mode, 0640);
    listens++;
    if (strcmp(name, only_free) != 0)
        return -EADDRINUSE;
    return listen_error ? listen_error : open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static uid_t peer_uid;
static int peer_error;
int __wrap_getsockopt(int fd, int level, int option, void *ret, socklen_t *size);

int __wrap_getsockopt(int fd, int level, int option, void *ret, socklen_t *size)
{
    CU_ASSERT(fd >= 0 && level == SOL_SOCKET && option == SO_PEERCRED);
    CU_ASSERT_EQUAL(*size, sizeof(struct ucred));
    *(struct ucred *)ret = (struct ucred){.pid = 1, .uid = peer_uid};
    errno = peer_error;
    return peer_error ? -1 : 0;
}

static int prepare(void)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/socket", folder);
    for (unsigned int i = 0; i < DEVICES; i++) {
        configs[i] = (struct device_config){
            .id = 7 + i, .kind = DEVICE_BLOCK_VIRTIO, .cache = CONFIG_CACHE_WRITETHROUGH};
        devices[i] = (struct device){
            .config = &configs[i],
            .info = &device_kinds[DEVICE_BLOCK_VIRTIO],
            .queue_count = i + 1,
            .state = &pages[i],
            .journal = &journals[i],
            .generation = BAO_B,
            .shmem_addr = 0x1000u * (i + 1),
        };
        snprintf(devices[i].name, sizeof(devices[i].name), "block %u", 7 + i);
    }
    supervisor.devices = devices;
    supervisor.device_count = DEVICES;
    supervisor.control.keeper = 4711;
    strcpy(supervisor.control.config, "/etc/board.yaml");
    return 0;
}

static int tidy(void)
{
    unlink(path);
    return rmdir(folder);
}

static void close_all(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (control_client(control, i) >= 0)
            control_drop(control, i);
    }
    if (control->listener >= 0)
        close(control->listener);
}

static int client(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* ---- The file ---- */

static void test_default_path(void)
{
    char got[CONTROL_PATH_SIZE], name[300];
    control_default_path("/etc/bao/board.yaml", 1, got);
    CU_ASSERT_STRING_EQUAL(got, CONTROL_DIRECTORY "/board.socket");
    control_default_path("board.yml", 2, got);
    CU_ASSERT_STRING_EQUAL(got, CONTROL_DIRECTORY "/board-2.socket");
    control_default_path("a/board", 3, got);
    CU_ASSERT_STRING_EQUAL(got, CONTROL_DIRECTORY "/board-3.socket");
    control_default_path(".yaml", 1, got); /* a name, and no suffix */
    CU_ASSERT_STRING_EQUAL(got, CONTROL_DIRECTORY "/.yaml.socket");
    control_default_path("b.yaml.yaml", 1, got);
    CU_ASSERT_STRING_EQUAL(got, CONTROL_DIRECTORY "/b.yaml.socket");
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    control_default_path(name, 20, got);
    CU_ASSERT_EQUAL(strlen(got), strlen(CONTROL_DIRECTORY "/-20.socket") + 64);
    CU_ASSERT_STRING_EQUAL(got + strlen(got) - 10, "-20.socket");
    name[64] = '\0';
    control_default_path(name, 1, got);
    CU_ASSERT_EQUAL(strlen(got), strlen(CONTROL_DIRECTORY "/.socket") + 64);
}

static void test_socket_file(void)
{
    struct control control, other;
    struct stat file;
    bool roots[CONTROL_CLIENTS_MAX];
    memset(control.is_root, true, sizeof(control.is_root));
    memcpy(roots, control.is_root, sizeof(roots));
    CU_ASSERT_EQUAL(control_open(&control, path, 0640, false, &failure), 0);
    CU_ASSERT_EQUAL(memcmp(control.is_root, roots, sizeof(roots)), 0); /* known with the clients */
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_mode & 07777, 0640);
    CU_ASSERT_EQUAL(umask(022), 022); /* as before */
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        CU_ASSERT_EQUAL(control_client(&control, i), -1);
    CU_ASSERT_NOT_EQUAL(fcntl(control.listener, F_GETFL) & O_NONBLOCK, 0);
    /* Somebody serves it. At the first start that is told at once; later, after a while. */
    for (int again = 0; again < 2; again++) {
        waits = 0;
        CU_ASSERT_EQUAL(control_open(&other, path, 0600, again == 1, &failure), -EADDRINUSE);
        CU_ASSERT_EQUAL(other.listener, -1);
        CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "another bao-virtio-dm serves it"));
        CU_ASSERT_EQUAL(waits, again == 1 ? CONTROL_WAIT_MS / 10 : 0);
    }
    waits = 0;
    wait_result = -1; /* a signal ends the wait */
    CU_ASSERT_EQUAL(control_open(&other, path, 0600, true, &failure), -EADDRINUSE);
    CU_ASSERT_EQUAL(waits, 1);
    wait_result = 0;
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_mode & 07777, 0640);
    /* A file that a dead one left is replaced. */
    close(control.listener);
    CU_ASSERT_EQUAL(control_open(&control, path, 0666, false, &failure), 0);
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    CU_ASSERT_EQUAL(file.st_mode & 07777, 0666);
    close_all(&control);
    /* Another file is left alone. */
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(control_open(&control, path, 0600, false, &failure), -EEXIST);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "another file has that name"));
    CU_ASSERT_EQUAL(stat(path, &file), 0);
    unlink(path);
}

static int open_by_name(bool again, const char *name)
{
    struct control control;
    char got[CONTROL_PATH_SIZE];
    only_free = name;
    waits = listens = 0;
    int result = control_open_default(&control, "/etc/board.yaml", 0640, again, got, &failure);
    if (result == 0)
        CU_ASSERT_STRING_EQUAL(got, name);
    CU_ASSERT_EQUAL(control.listener >= 0, result == 0);
    if (control.listener >= 0)
        close(control.listener);
    only_free = NULL;
    return result;
}

/* Only the first name is waited for: it may be the predecessor's. */
static void test_first_free_name(void)
{
    CU_ASSERT_EQUAL(open_by_name(false, CONTROL_DIRECTORY "/board.socket"), 0);
    CU_ASSERT(listens == 1 && waits == 0);
    CU_ASSERT_EQUAL(open_by_name(false, CONTROL_DIRECTORY "/board-3.socket"), 0);
    CU_ASSERT(listens == 3 && waits == 0);
    CU_ASSERT_EQUAL(open_by_name(true, CONTROL_DIRECTORY "/board-3.socket"), 0);
    CU_ASSERT(listens == 3 + 20 && waits == 20);
    CU_ASSERT_EQUAL(open_by_name(true, CONTROL_DIRECTORY "/board-2.socket"), 0);
    CU_ASSERT(listens == 2 + 20 && waits == 20);
    CU_ASSERT_EQUAL(open_by_name(false, CONTROL_DIRECTORY "/board-16.socket"), 0);
    CU_ASSERT_EQUAL(listens, CONTROL_NUMBER_MAX);
    CU_ASSERT_EQUAL(open_by_name(false, CONTROL_DIRECTORY "/board-17.socket"), -EADDRINUSE);
    CU_ASSERT_EQUAL(listens, CONTROL_NUMBER_MAX);
    listen_error = -EACCES; /* no other name would help */
    CU_ASSERT_EQUAL(open_by_name(false, CONTROL_DIRECTORY "/board-2.socket"), -EACCES);
    CU_ASSERT_EQUAL(listens, 2);
    CU_ASSERT_STRING_EQUAL(failure.text, "control socket \"" CONTROL_DIRECTORY
                                         "/board-2.socket\": Permission denied");
    listen_error = 0;
}

static void test_bad_paths(void)
{
    struct control control;
    struct sockaddr_un address;
    char name[sizeof(address.sun_path) + 1], below[128];
    memset(name, 'x', sizeof(name));
    name[sizeof(address.sun_path)] = '\0';
    CU_ASSERT_EQUAL(control_open(&control, name, 0600, false, &failure), -ENAMETOOLONG);
    CU_ASSERT_EQUAL(control.listener, -1);
    snprintf(below, sizeof(below), "%s/none/socket", folder);
    CU_ASSERT_EQUAL(control_open(&control, below, 0600, false, &failure), -ENOENT);
    CU_ASSERT_EQUAL(control.listener, -1);
}

/* ---- Clients ---- */

static void test_clients(void)
{
    struct control control;
    int fds[CONTROL_CLIENTS_MAX + 1];
    CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
    CU_ASSERT_EQUAL(control_accept(&control), -EAGAIN);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fds[i] = client();
        CU_ASSERT_EQUAL(control_accept(&control), i);
        CU_ASSERT_EQUAL(control.is_root[i], true);
        int flags = fcntl(control_client(&control, (size_t)i), F_GETFL);
        CU_ASSERT_NOT_EQUAL(flags & O_NONBLOCK, 0);
    }
    /* One too many is closed at once. The others stay. */
    int more = client();
    char byte;
    CU_ASSERT_EQUAL(control_accept(&control), -EMFILE);
    CU_ASSERT_EQUAL(recv(more, &byte, 1, 0), 0);
    CU_ASSERT_EQUAL(recv(fds[0], &byte, 1, 0), -1);
    close(more);
    /* One who leaves makes a place. */
    control_drop(&control, 3);
    CU_ASSERT_EQUAL(control_client(&control, 3), -1);
    CU_ASSERT_EQUAL(recv(fds[3], &byte, 1, 0), 0);
    more = client();
    CU_ASSERT_EQUAL(control_accept(&control), 3);
    close(more);
    close_all(&control);
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
}

static void test_who_is_root(void)
{
    static const struct {
        uid_t uid;
        int error;
        bool is_root;
    } peers[] = {{0, 0, true}, {1, 0, false}, {1000, 0, false}, {0, EIO, false}};
    struct control control;
    CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
    for (int i = 0; i < 4; i++) {
        int fd = client();
        peer_uid = peers[i].uid;
        peer_error = peers[i].error;
        control.is_root[i] = !peers[i].is_root;
        CU_ASSERT_EQUAL(control_accept(&control), i);
        CU_ASSERT_EQUAL(control.is_root[i], peers[i].is_root);
        close(fd);
    }
    peer_uid = 0;
    peer_error = 0;
    close_all(&control);
}

/* Somebody who connects again and again is refused for a while. */
static void test_rate(void)
{
    struct control control = {.rate = {.spent = 256, .refilled_at = clock_ms() + FAR_MS}};
    CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
    CU_ASSERT_EQUAL(control_accept(&control), -EAGAIN); /* a new beginning */
    control.rate = (struct rate_limit){.refilled_at = clock_ms() + FAR_MS};
    for (int i = 0; i < 256; i++)
        CU_ASSERT_EQUAL(control_accept(&control), -EAGAIN);
    CU_ASSERT_EQUAL(control_accept(&control), -EBUSY);
    control.rate.refilled_at = clock_ms() - 4;
    CU_ASSERT_EQUAL(control_accept(&control), -EBUSY);
    control.rate.refilled_at = clock_ms() - 5; /* one every 5 ms */
    CU_ASSERT_EQUAL(control_accept(&control), -EAGAIN);
    CU_ASSERT_EQUAL(control_accept(&control), -EBUSY);
    close_all(&control);
}

/* ---- Requests ---- */

static struct control_reply reply;

static int answer(uint32_t verb, uint32_t index, bool is_root)
{
    const struct control_request request = {CONTROL_VERSION, verb, index, 0};
    memset(&reply, 0xee, sizeof(reply));
    control_answer(&request, sizeof(request), is_root, &supervisor, &reply);
    CU_ASSERT_EQUAL(reply.version, CONTROL_VERSION);
    CU_ASSERT_EQUAL(reply.device_count, DEVICES);
    CU_ASSERT_EQUAL(reply.keeper, 4711);
    CU_ASSERT_STRING_EQUAL(reply.config, "/etc/board.yaml");
    return reply.error;
}

static void test_status(void)
{
    static const uint32_t phases[][2] = {{WORKER_DUE, CONTROL_WAITING},
                                         {WORKER_STARTING, CONTROL_STARTING},
                                         {WORKER_READY, CONTROL_RUNNING},
                                         {WORKER_ENDING, CONTROL_ENDING}};
    struct worker *worker = &devices[1].worker;
    pages[1].transport.status = 15;
    pages[1].transport.driver_features = 1ull << 34;
    pages[1].queues[0].size = 256;
    journals[1].interrupt = 77 << INTERRUPT_COUNT_SHIFT | INTERRUPT_STATUS | INTERRUPT_RAISED;
    pages[1].counters.requests = 99;
    pages[1].queues[1] =
        (struct state_queue){.size = 64, .ready = 1, .next_avail = 5, .next_used = 4};
    pages[1].queues[2].size = 32; /* a queue that the device has not */
    strcpy(worker->last_death, "signal 9");
    worker->layers = 5;
    worker->cgroup = 3;
    worker->started_at = clock_ms() - 1000;
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        worker->phase = phases[i][0];
        worker->pid = i % 2 == 1 ? 1 : 0;
        CU_ASSERT_EQUAL(answer(CONTROL_STATUS, 1, false), 0);
        CU_ASSERT_EQUAL(reply.device.phase, phases[i][1]);
        CU_ASSERT_EQUAL(reply.device.layers, phases[i][0] == WORKER_READY ? 5 : 0);
        CU_ASSERT_EQUAL(reply.device.pid, worker->pid);
        CU_ASSERT_EQUAL(reply.device.cgroup, worker->pid != 0 ? 3 : 0);
        CU_ASSERT_EQUAL(reply.device.uptime_ms, worker->pid != 0 ? 1000 : 0);
    }
    CU_ASSERT_STRING_EQUAL(reply.device.name, "block 8");
    CU_ASSERT_EQUAL(reply.device.id, 8);
    CU_ASSERT_EQUAL(reply.device.virtio_id, 2);
    CU_ASSERT_EQUAL(reply.device.generation, BAO_B);
    CU_ASSERT_EQUAL(reply.device.shmem_addr, 0x2000);
    CU_ASSERT_EQUAL(reply.device.status, 15);
    CU_ASSERT_EQUAL(reply.device.counters.requests, 99);
    CU_ASSERT_EQUAL(reply.device.features, 1ull << 34);
    CU_ASSERT_EQUAL(reply.device.interrupts_raised, 77);
    CU_ASSERT_EQUAL(reply.device.broker_level, log_level());
    CU_ASSERT_EQUAL(reply.device.queue_count, 2);
    CU_ASSERT_EQUAL(reply.device.queues[0].size, 256);
    CU_ASSERT_EQUAL(reply.device.queues[1].size, 64);
    CU_ASSERT_EQUAL(reply.device.queues[1].ready, 1);
    CU_ASSERT_EQUAL(reply.device.queues[1].next_avail, 5);
    CU_ASSERT_EQUAL(reply.device.queues[1].next_used, 4);
    CU_ASSERT_EQUAL(reply.device.queues[2].size, 0);
    CU_ASSERT_STRING_EQUAL(reply.device.last_death, "signal 9");
    CU_ASSERT_STRING_EQUAL(reply.device.cache, "writethrough");
    configs[1].kind = DEVICE_RNG_VIRTIO;
    CU_ASSERT_EQUAL(answer(CONTROL_STATUS, 1, false), 0);
    CU_ASSERT_STRING_EQUAL(reply.device.cache, "");
    configs[1].kind = DEVICE_BLOCK_VIRTIO;
    CU_ASSERT_EQUAL(answer(CONTROL_STATUS, DEVICES, true), ENODEV);
    CU_ASSERT_EQUAL(reply.device.id, 0);
}

/* What is told of the backend: why it can't be opened, and then why it can't work. */
static void test_trouble(void)
{
    strcpy(devices[0].opening.said.text, "no such file");
    strcpy(devices[0].backend.trouble.text, "it is down");
    devices[0].opening.phase = OPENING_DONE;
    CU_ASSERT_EQUAL(answer(CONTROL_STATUS, 0, false), 0);
    CU_ASSERT_STRING_EQUAL(reply.device.trouble, "it is down");
    devices[0].opening.phase = OPENING_DUE;
    CU_ASSERT_EQUAL(answer(CONTROL_STATUS, 0, false), 0);
    CU_ASSERT_STRING_EQUAL(reply.device.trouble, "no such file");
}

/* Only root changes anything, and only what there is. */
static void test_root_only(void)
{
    static struct said said;
    enum log_level before = log_level();
    restarted = NULL;
    CU_ASSERT_EQUAL(answer(CONTROL_RESTART, 8, false), EPERM);
    CU_ASSERT_EQUAL(answer(CONTROL_LOG_LEVEL, 0, false), EPERM);
    CU_ASSERT_EQUAL(answer(CONTROL_RESTART, 9, true), ENODEV);
    CU_ASSERT_PTR_NULL(restarted);
    CU_ASSERT_EQUAL(log_level(), before);
    CU_ASSERT_EQUAL(answer(CONTROL_RESTART, 8, true), EAGAIN); /* as the supervisor says */
    CU_ASSERT_PTR_EQUAL(restarted, &devices[1]);
    CU_ASSERT_EQUAL(answer(CONTROL_LOG_LEVEL, LOG_LEVELS, true), EINVAL);
    CU_ASSERT_EQUAL(log_level(), before);
    said_begin(&said, STDERR_FILENO);
    int error = answer(CONTROL_LOG_LEVEL, LOG_LEVELS - 1, true);
    said_end(&said);
    CU_ASSERT_EQUAL(error, 0);
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: the log level is now debug\n");
    CU_ASSERT_EQUAL(log_level(), LOG_LEVELS - 1);
    log_set_level(before);
    CU_ASSERT_EQUAL(answer(0, 0, true), EINVAL);
    CU_ASSERT_EQUAL(answer(CONTROL_VERBS, 0, true), EINVAL);
}

static void test_not_a_request(void)
{
    struct control_request request = {CONTROL_VERSION, CONTROL_STATUS, 0, 0};
    control_answer(&request, sizeof(request) - 1, true, &supervisor, &reply);
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    CU_ASSERT_EQUAL(reply.version, CONTROL_VERSION);
    control_answer(&request, sizeof(request) + 1, true, &supervisor, &reply);
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    request.reserved = 1;
    control_answer(&request, sizeof(request), true, &supervisor, &reply);
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    request.reserved = 0;
    request.version++;
    control_answer(&request, sizeof(request), true, &supervisor, &reply);
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    CU_ASSERT_EQUAL(reply.device.id, 0);
}

/* ---- A whole exchange ---- */

static void test_serve(void)
{
    struct control control;
    struct control_request request[2] = {{CONTROL_VERSION, CONTROL_STATUS, 0, 0}};
    CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
    int fd = client();
    CU_ASSERT_EQUAL_FATAL(control_accept(&control), 0);
    CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor)); /* nothing has come */
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(send(fd, request, sizeof(request[0]), 0), sizeof(request[0]));
        CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor));
        CU_ASSERT_EQUAL(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
        CU_ASSERT_EQUAL(reply.error, 0);
        CU_ASSERT_EQUAL(reply.device.id, 7);
    }
    /* A packet that is too long is noticed. */
    CU_ASSERT_EQUAL(send(fd, request, sizeof(request), 0), sizeof(request));
    CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor));
    CU_ASSERT_EQUAL(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    CU_ASSERT_EQUAL(send(fd, request, 1, 0), 1); /* and so is one that is too short */
    CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor));
    CU_ASSERT_EQUAL(recv(fd, &reply, sizeof(reply), 0), sizeof(reply));
    CU_ASSERT_EQUAL(reply.error, EPROTO);
    /* One who asks and never reads is dropped, and so is one who has left. Neither is waited for,
     * even if the socket would wait. */
    CU_ASSERT_EQUAL(fcntl(control_client(&control, 0), F_SETFL, 0), 0);
    bool stays = true;
    for (int i = 0; i < 10000 && stays; i++) {
        CU_ASSERT_EQUAL(send(fd, request, sizeof(request[0]), 0), sizeof(request[0]));
        stays = control_serve(&control, 0, &supervisor);
    }
    CU_ASSERT_FALSE(stays);
    CU_ASSERT_EQUAL(control_client(&control, 0), -1);
    close(fd);
    fd = client();
    CU_ASSERT_EQUAL_FATAL(control_accept(&control), 0);
    close(fd);
    errno = EAGAIN; /* of an earlier call */
    CU_ASSERT_FALSE(control_serve(&control, 0, &supervisor));
    CU_ASSERT_EQUAL(control_client(&control, 0), -1);
    close_all(&control);
}

/* Each of them leaves in another way. No one makes the broker wait, or ends it by a signal. */
static void test_clients_who_leave(void)
{
    struct control control;
    struct control_request request = {CONTROL_VERSION, CONTROL_STATUS, 0, 0};
    const unsigned int before = fd_count();
    CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
    for (int i = 0; i < 3; i++) {
        int fd = client();
        CU_ASSERT_EQUAL_FATAL(control_accept(&control), 0);
        CU_ASSERT_EQUAL(fcntl(control_client(&control, 0), F_SETFL, 0), 0);
        CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor)); /* nothing has come */
        CU_ASSERT_EQUAL(send(fd, &request, i == 0 ? 0 : sizeof(request), 0),
                        i == 0 ? 0 : (ssize_t)sizeof(request));
        if (i == 1) /* without having read the answer */
            CU_ASSERT_TRUE(control_serve(&control, 0, &supervisor));
        if (i > 0)
            close(fd);
        CU_ASSERT_FALSE(control_serve(&control, 0, &supervisor));
        CU_ASSERT_EQUAL(control_client(&control, 0), -1);
        if (i == 0)
            close(fd);
    }
    close_all(&control);
    CU_ASSERT_EQUAL(fd_count(), before);
}

/* Requests of others than root are bounded by the rate; root's are not. */
static void test_rate_of_requests(void)
{
    struct control control;
    struct control_request request = {CONTROL_VERSION, CONTROL_STATUS, 0, 0};
    for (int root = 0; root < 2; root++) {
        CU_ASSERT_EQUAL_FATAL(control_open(&control, path, 0600, false, &failure), 0);
        int fd = client();
        CU_ASSERT_EQUAL_FATAL(control_accept(&control), 0);
        control.is_root[0] = root == 1;
        control.rate = (struct rate_limit){.refilled_at = clock_ms() + FAR_MS, .spent = 255};
        for (int i = 0; i < 3; i++) {
            bool served = root == 1 || i == 0;
            CU_ASSERT_EQUAL(send(fd, &request, sizeof(request), MSG_NOSIGNAL) > 0,
                            root == 1 || i < 2);
            if (control_client(&control, 0) >= 0)
                CU_ASSERT_EQUAL(control_serve(&control, 0, &supervisor), served);
            CU_ASSERT_EQUAL(recv(fd, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply), served);
        }
        CU_ASSERT_EQUAL(control_client(&control, 0) >= 0, root == 1);
        close(fd);
        close_all(&control);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"default path", test_default_path},
        {"the file", test_socket_file},
        {"the first free name", test_first_free_name},
        {"paths that can't be", test_bad_paths},
        {"clients", test_clients},
        {"who is root", test_who_is_root},
        {"the rate of clients", test_rate},
        {"status", test_status},
        {"trouble", test_trouble},
        {"what only root may do", test_root_only},
        {"no request", test_not_a_request},
        {"an exchange", test_serve},
        {"clients who leave", test_clients_who_leave},
        {"the rate of requests", test_rate_of_requests},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {{"control socket", prepare, tidy, NULL, NULL, tests},
                             CU_SUITE_INFO_NULL};
    umask(022);
    return run_suites(argc, argv, suites);
}
