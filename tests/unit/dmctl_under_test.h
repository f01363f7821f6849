/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_dmctl.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_DMCTL_UNDER_TEST_H
#define TESTS_UNIT_DMCTL_UNDER_TEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
#include "tests/unit/said.h"

int dmctl_main(int argc, char **argv); /* broker/dmctl/main.c */

static char folder[] = "/tmp/dmctl-XXXXXX";
static struct said out, err;

/* ---- The machine ---- */

static bool silent;               /* nobody answers */
static bool folder_missing;       /* there is no /run/bao-virtio-dm */
static int connect_error;         /* of each connection */
static int refused;               /* the socket that was refused last */
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
    CU_ASSERT(timeout >= 1000);
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

/* The programs that were to be run, with their arguments and input. */
static char executed[8192], input[4096];
static int exec_error[2];
static unsigned int execs;

int __wrap_execv(const char *path, char *const argv[])
{
    snprintf(executed + strlen(executed), 640, "%s:", path);
    for (size_t i = 0; argv[i]; i++) {
        strcat(executed, " ");
        strcat(executed, argv[i]);
    }
    strcat(executed, "\n");
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
    errno = dup2_error;
    return dup2_error && new == STDIN_FILENO ? -1 : (int)syscall(SYS_dup3, old, new, 0);
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

static struct control_device devices[3];
static uint32_t device_count;
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
    reply.keeper = 812;
    strcpy(reply.config, "/etc/\"vm\".yaml");
    reply.device_count = device_count;
    reply.error = answer_error[request.verb];
    if (request.verb == CONTROL_STATUS && reply.error == 0) {
        if (request.index < device_count)
            reply.device = devices[request.index];
        else
            reply.error = ENODEV;
    }
    if (answers_left == 0)
        return false;
    answers_left--;
    return send(client, &reply, answer_size, MSG_NOSIGNAL) > 0;
}

#define PARTIES 32

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
    dup2_error = 0;
    executed[0] = input[0] = '\0';
    devices[0] = (struct control_device){
        .name = "rng 0", .kind = DEVICE_RNG_VIRTIO, .generation = BAO_B, .virtio_id = 4};
    devices[1] = a_vsock();
    device_count = 2;
    CU_ASSERT_EQUAL_FATAL(pipe2(stop_pipe, O_CLOEXEC), 0);
    for (unsigned int i = 0; i < PARTIES; i++)
        parties[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    parties[0].fd = stop_pipe[0];
    parties[1].fd = listen_at("vm.socket");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void second_instance(void)
{
    CU_ASSERT_EQUAL(write(stop_pipe[1], "", 1), 1);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    CU_ASSERT_EQUAL(read(stop_pipe[0], &(char){0}, 1), 1);
    parties[2].fd = listen_at("a.socket");
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)unlink(path);
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

/* Run it with these words. The result is in `out` and `err`. */
static int run(const char *line)
{
    char words[512], *argv[16] = {(char *)"bao-dmctl"};
    int argc = 1;
    snprintf(words, sizeof(words), "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    optind = 0; /* a new command line */
    said_begin(&out, STDOUT_FILENO);
    said_begin(&err, STDERR_FILENO);
    int status = dmctl_main(argc, argv);
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

/* ---- Status ---- */

#define RNG_TEXT                                                                                   \
    "rng 0 (virtio), registers at 0x0, window of 0x0 bytes at 0x0\n"                               \
    "  dispatcher  generation B of Bao's driver\n"                                                 \
    "  worker      waiting to be started; 0 restarts\n"                                            \
    "  driver      none, status 0x0, features 0x0\n"
#define VSOCK_TEXT                                                                                 \
    "vsock 3 (virtio), registers at 0xa003e00, window of 0x1000000 bytes at 0x80000000\n"          \
    "  dispatcher  generation D of Bao's driver, which has given the device up\n"                  \
    "  worker      running, pid 4711, for 1 min 1 s; 2 restarts, last death: killed by SIGSYS\n"   \
    "  trouble     no \"tap\"\n"                                                                   \
    "  confined by fds, mdwe\n"                                                                    \
    "  without     uid, capabilities, no_new_privs, empty root, seccomp, namespaces, session, "    \
    "rlimits, not dumpable, keyring, user namespace, landlock\n"                                   \
    "  limits      memory.max, cpu.weight; not available: pids.max\n"                              \
    "  cache       unsafe\n"                                                                       \
    "  driver      running, status 0xf, features 0x400000000\n"                                    \
    "  connections up to 64, memory for them 34880 KiB\n"                                          \
    "  queue 0     ready, size 256, taken 3, used 2\n"                                             \
    "  queue 1     not ready, size 128, taken 1, used 0\n"

#define RNG_JSON                                                                                   \
    "  {\"device\": \"rng 0\", \"id\": 0, \"data_plane\": \"virtio\", \"virtio_id\": 4,\n"         \
    "   \"mmio_addr\": 0, \"shmem_addr\": 0, \"shmem_size\": 0,\n"                                 \
    "   \"dispatcher\": {\"generation\": \"B\", \"gone\": false},\n"                               \
    "   \"worker\": {\"phase\": \"waiting to be started\", \"pid\": 0, \"uptime_ms\": 0, "         \
    "\"restarts\": 0, \"last_death\": \"\", \"layers\": [], \"cgroup\": false, \"limits\": []},\n" \
    "   \"trouble\": \"\",\n"                                                                      \
    "   \"driver\": {\"state\": \"none\", \"status\": 0, \"features\": 0},\n"                      \
    "   \"queues\": []}"
#define VSOCK_JSON                                                                                 \
    "  {\"device\": \"vsock 3\", \"id\": 3, \"data_plane\": \"virtio\", \"virtio_id\": 19,\n"      \
    "   \"mmio_addr\": 167788032, \"shmem_addr\": 2147483648, \"shmem_size\": 16777216,\n"         \
    "   \"dispatcher\": {\"generation\": \"D\", \"gone\": true},\n"                                \
    "   \"worker\": {\"phase\": \"running\", \"pid\": 4711, \"uptime_ms\": 61500, "                \
    "\"restarts\": 2, \"last_death\": \"killed by SIGSYS\", \"layers\": [\"fds\", \"mdwe\"], "     \
    "\"cgroup\": true, \"limits\": [\"memory.max\", \"cpu.weight\"]},\n"                           \
    "   \"trouble\": \"no \\\"tap\\\"\",\n"                                                        \
    "   \"cache\": \"unsafe\",\n"                                                                  \
    "   \"driver\": {\"state\": \"running\", \"status\": 15, \"features\": 17179869184},\n"        \
    "   \"connections\": {\"max\": 64, \"memory_kib\": 34880},\n"                                  \
    "   \"queues\": [{\"ready\": true, \"size\": 256, \"next_avail\": 3, \"next_used\": 2}, "      \
    "{\"ready\": false, \"size\": 128, \"next_avail\": 1, \"next_used\": 0}]}"

static void status_says_all_of_each_device(void)
{
    begin();
    prints("status", RNG_TEXT VSOCK_TEXT);
    prints("status 3", VSOCK_TEXT);
    prints("status 0", RNG_TEXT);
    prints("status --json", "[\n" RNG_JSON ",\n" VSOCK_JSON "\n]\n");
    prints("--control vm status --json 3", "[\n" VSOCK_JSON "\n]\n");
    CU_ASSERT_EQUAL(asked[0].version, CONTROL_VERSION);
    CU_ASSERT_EQUAL(asked[0].verb, CONTROL_STATUS);
    CU_ASSERT(asked[0].index == 0 && asked[1].index == 1 && asked[2].index == 2);
    CU_ASSERT_EQUAL(asked[0].reserved, 0);
    end();
}

static void has_line(const char *line)
{
    CU_ASSERT_EQUAL(run("status 3"), EXIT_SUCCESS);
    if (!strstr(out.text, line))
        CU_FAIL(line);
}

static void status_says_how_long_and_how_far(void)
{
    static const struct {
        uint64_t ms;
        const char *words;
    } times[] = {
        {0, " for 0.0 s;"},           {100, " for 0.1 s;"},
        {999, " for 0.9 s;"},         {59999, " for 59.9 s;"},
        {60000, " for 1 min 0 s;"},   {3599999, " for 59 min 59 s;"},
        {3600000, " for 1 h 0 min;"}, {86399999, " for 23 h 59 min;"},
        {86400000, " for 1 d 0 h;"},  {180000000, " for 2 d 2 h;"},
    };
    begin();
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        devices[1].uptime_ms = times[i].ms;
        has_line(times[i].words);
    }
    devices[1].status = 1;
    has_line("driver      starting, status 0x1,");
    devices[1].status = VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_DRIVER_OK;
    has_line("driver      failed,");
    devices[1].status |= VIRTIO_CONFIG_S_NEEDS_RESET;
    has_line("driver      needs a reset,");
    devices[1].phase = CONTROL_STARTING;
    has_line("worker      starting,");
    devices[1].phase = CONTROL_ENDING;
    has_line("worker      ending,");
    devices[1].phase = CONTROL_ENDING + 1;
    has_line("worker      unknown,");
    strcpy(devices[1].trouble, "x");
    has_line("  trouble     x\n");
    devices[1].connections = 1;
    has_line("  connections up to 1, memory for them 545 KiB\n");
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"connections\": {\"max\": 1, \"memory_kib\": 545}"));
    devices[1].restarts = 1;
    has_line("; 1 restart, last death");
    devices[1].features = 0;
    has_line("taken 32771, used 32770"); /* of a split ring */
    devices[1].cgroup = 0;
    has_line("limits      none: it has no cgroup of its own\n");
    devices[1].cgroup = CGROUP_OWN;
    has_line("limits      none; not available: memory.max, pids.max, cpu.weight\n");
    devices[1].cgroup = CGROUP_OWN | 7;
    has_line("limits      memory.max, pids.max, cpu.weight\n");
    devices[1].layers = (1u << LAYER_COUNT) - 1;
    has_line("mdwe\n  limits"); /* nothing is missing */
    devices[1].queue_count = 1000;
    has_line("queue 15 ");
    CU_ASSERT_PTR_NULL(strstr(out.text, "queue 16 "));
    devices[1].kind = DEVICE_KINDS;
    devices[1].generation = BAO_GENERATIONS;
    has_line("vsock 3 (unknown),");
    has_line("generation unknown of");
    end();
}

/* The state page is a worker's, and the broker's texts may hold names of files. */
static void json_text_is_escaped(void)
{
    begin();
    strcpy(devices[1].trouble, "a\"b\\c\n\x7f\x7e\x20\xc3");
    CU_ASSERT_EQUAL(run("status 3 --json"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(out.text, "\"trouble\": \"a\\\"b\\\\c\\u000a\\u007f~ \\u00c3\",\n"));
    end();
}

static void texts_without_an_end_are_cut(void)
{
    begin();
    memset(devices[1].name, 'n', sizeof(devices[1].name));
    memset(devices[1].last_death, 'd', sizeof(devices[1].last_death));
    memset(devices[1].trouble, 't', sizeof(devices[1].trouble));
    memset(devices[1].cache, 'c', sizeof(devices[1].cache));
    CU_ASSERT_EQUAL(run("status 3"), EXIT_SUCCESS);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock") ? NULL : "n");
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "nnn (virtio), registers"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "ddd\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "ttt\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "  cache       ccccccccccccccc\n"));
    end();
}

#endif
