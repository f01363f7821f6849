/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bao-dmctl prints and asks, and what it says when it gets no good answer. The broker is a
 * thread of this test, on a socket in a folder that stands for /run/bao-virtio-dm.
 */
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

/* ---- Stats ---- */

static void stats_counts_since_the_start(void)
{
    begin();
    prints("stats 3",
           "in all            requests      bytes in     bytes out         kicks        wanted    "
           "suppressed    interrupts     registers        errors       lost in      lost out\n"
           "vsock 3                100          1000          2000            30             6    "
           "         7             5             8             9            10            11\n");
    prints("stats --json",
           "{\"per_second\": false, \"devices\": [\n"
           "  {\"device\": \"rng 0\", \"id\": 0, \"requests\": 0, \"bytes_in\": 0, \"bytes_out\": "
           "0, \"kicks\": 0, \"interrupts_sent\": 0, \"interrupts_suppressed\": 0, "
           "\"interrupts_raised\": 0, \"register_accesses\": 0, \"guest_errors\": 0, "
           "\"dropped_in\": 0, \"dropped_out\": 0},\n"
           "  {\"device\": \"vsock 3\", \"id\": 3, \"requests\": 100, \"bytes_in\": 1000, "
           "\"bytes_out\": 2000, \"kicks\": 30, \"interrupts_sent\": 6, \"interrupts_suppressed\": "
           "7, \"interrupts_raised\": 5, \"register_accesses\": 8, \"guest_errors\": 9, "
           "\"dropped_in\": 10, \"dropped_out\": 11}\n]}\n");
    end();
}

static void rates_are_differences_by_time(void)
{
    struct snapshot before = {.count = 2, .at = 10.0}, now = {.count = 3, .at = 14.0};
    before.devices[0] = before.devices[1] = a_vsock();
    before.devices[0].id = 9;
    now.devices[0] = a_vsock();
    now.devices[0].counters.requests += 12;
    now.devices[0].counters.bytes_in -= 1; /* a new page */
    now.devices[1] = a_vsock();
    now.devices[1].id = 9;
    now.devices[2] = a_vsock();
    now.devices[2].id = 5; /* it was not there before */
    before.devices[2] = now.devices[2];
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, false);
    said_end(&out);
    CU_ASSERT_EQUAL(strncmp(out.text, "a second          requests      bytes in ", 41), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                  3             0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                  0             0"));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\nvsock 3                100          1000"));
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, true);
    said_end(&out);
    CU_ASSERT_EQUAL(strncmp(out.text, "{\"per_second\": true, \"devices\": [\n  {", 36), 0);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"id\": 3, \"requests\": 3, \"bytes_in\": 0,"));
    before.at = 14.0; /* no time has passed */
    said_begin(&out, STDOUT_FILENO);
    stats_print(&now, &before, true);
    said_end(&out);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"id\": 3, \"requests\": 0,"));
}

static void watching_prints_each_interval(void)
{
    begin();
    answers_left = 9; /* three snapshots of two devices and an end */
    CU_ASSERT_EQUAL(run("stats --watch 5"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(sleeps, 3);
    CU_ASSERT_EQUAL(naps, 5);
    const char *second = strstr(out.text, "a second");
    CU_ASSERT_PTR_EQUAL(second, out.text);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text + 1, "\na second"));
    CU_ASSERT_PTR_NULL(strstr(strstr(out.text + 1, "\na second") + 2, "\na second"));
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(naps, 1);
    answers_left = 3;
    CU_ASSERT_EQUAL(run("stats --watch 3600"), EXIT_FAILURE);
    CU_ASSERT_EQUAL(naps, 3600);
    complains("stats --watch 0",
              "bao-dmctl: --watch takes from 1 to 3600 seconds: see bao-dmctl --help\n");
    complains("stats --watch 3601",
              "bao-dmctl: --watch takes from 1 to 3600 seconds: see bao-dmctl --help\n");
    end();
}

static void openmetrics_has_every_counter_and_state(void)
{
    static const char *const lines[] = {
        "# TYPE bao_virtio_requests counter\n# HELP bao_virtio_requests Requests that the worker "
        "has completed.\nbao_virtio_requests_total{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_requests_total{device=\"vsock 3\",id=\"3\"} 100\n# TYPE bao_virtio_bytes_in "
        "counter\n",
        "bao_virtio_bytes_in_total{device=\"vsock 3\",id=\"3\"} 1000\n",
        "bao_virtio_interrupts_raised_total{device=\"vsock 3\",id=\"3\"} 5\n",
        "bao_virtio_dropped_out_total{device=\"vsock 3\",id=\"3\"} 11\n",
        "# TYPE bao_virtio_worker_restarts counter\n# HELP bao_virtio_worker_restarts Workers that "
        "were replaced since the broker started.\nbao_virtio_worker_restarts_total{device=\"rng "
        "0\",id=\"0\"} 0\nbao_virtio_worker_restarts_total{device=\"vsock 3\",id=\"3\"} 2\n",
        "# TYPE bao_virtio_worker_running gauge\n# HELP bao_virtio_worker_running 1 while the "
        "device has a worker at work.\nbao_virtio_worker_running{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_worker_running{device=\"vsock 3\",id=\"3\"} 1\n",
        "# TYPE bao_virtio_driver_status gauge\n# HELP bao_virtio_driver_status The device's "
        "status "
        "register, VirtIO 1.2 section 2.1.\nbao_virtio_driver_status{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_driver_status{device=\"vsock 3\",id=\"3\"} 15\n",
        "# TYPE bao_virtio_trouble gauge\n# HELP bao_virtio_trouble 1 while something that the "
        "device needs can't work: see status.\nbao_virtio_trouble{device=\"rng 0\",id=\"0\"} "
        "0\nbao_virtio_trouble{device=\"vsock 3\",id=\"3\"} 1\n# EOF\n",
    };
    begin();
    strcpy(devices[1].trouble, "x");
    CU_ASSERT_EQUAL(run("stats --openmetrics"), EXIT_SUCCESS);
    const char *at = out.text;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const char *next = at ? strstr(at, lines[i]) : NULL;
        if (!next)
            CU_FAIL(lines[i]);
        at = next;
    }
    end();
}

/* ---- Asking ---- */

static void it_asks_what_the_user_wants(void)
{
    begin();
    prints("restart 3", "");
    CU_ASSERT(asked[0].verb == CONTROL_RESTART && asked[0].index == 3);
    prints("log-level debug", "");
    CU_ASSERT(asked[1].verb == CONTROL_LOG_LEVEL && asked[1].index == LOG_LEVEL_DEBUG);
    prints("log-level error", "");
    CU_ASSERT(asked[2].verb == CONTROL_LOG_LEVEL && asked[2].index == LOG_LEVEL_ERROR);
    devices[0].broker_level = LOG_LEVEL_WARNING;
    prints("log-level", "warning\n");
    devices[0].broker_level = LOG_LEVELS;
    prints("log-level", "unknown\n");
    end();
}

static void refusals_are_told(void)
{
    begin();
    answer_error[CONTROL_RESTART] = EPERM;
    complains("restart 3", "bao-dmctl: only root may do that\n");
    answer_error[CONTROL_RESTART] = EAGAIN;
    complains("restart 3", "bao-dmctl: its worker is being replaced already\n");
    answer_error[CONTROL_RESTART] = ENODEV;
    complains("restart 8", "bao-dmctl: no device has id 8\n");
    answer_error[CONTROL_RESTART] = EINVAL;
    complains("restart 3", "bao-dmctl: refused: Invalid argument\n");
    answer_error[CONTROL_LOG_LEVEL] = EPERM;
    complains("log-level info", "bao-dmctl: only root may do that\n");
    answer_error[CONTROL_STATUS] = EINVAL;
    complains("status", "bao-dmctl: refused: Invalid argument\n");
    complains("stats", "bao-dmctl: refused: Invalid argument\n");
    complains("log-level", "bao-dmctl: refused: Invalid argument\n");
    answer_error[CONTROL_STATUS] = 0;
    complains("status 7", "bao-dmctl: no device has id 7\n");
    complains("stats 7", "bao-dmctl: no device has id 7\n");
    end();
}

static void no_good_answer_is_told(void)
{
    static const char none[] =
        "bao-dmctl: bao-virtio-dm does not answer: is it stopped, or being restarted?\n";
    static const char other[] =
        "bao-dmctl: bao-virtio-dm is of another version: use the bao-dmctl that came with it\n";
    begin();
    answer_version = CONTROL_VERSION + 1;
    complains("status", other);
    answer_version = CONTROL_VERSION;
    answer_size--;
    complains("status", other);
    answer_size++;
    answers_left = 0;
    complains("status", other); /* the end is an answer of no bytes */
    answers_left = 100;
    silent = true;
    complains("status", none);
    end();
}

static void a_connection_that_fails_is_told(void)
{
    begin();
    complains("--control nobody status",
              "bao-dmctl: /run/bao-virtio-dm/nobody.socket: no bao-virtio-dm is running there\n");
    connect_error = ECONNREFUSED;
    complains("--control /x/y status", "bao-dmctl: /x/y: no bao-virtio-dm is running there\n");
    connect_error = EACCES;
    complains("--control ./x status", "bao-dmctl: ./x: the socket's mode does not let you in: see "
                                      "--control-mode of bao-virtio-dm\n");
    connect_error = ENFILE;
    complains("--control vm restart 3",
              "bao-dmctl: /run/bao-virtio-dm/vm.socket: Too many open files in system\n");
    connect_error = 0;
    char line[200], words[300];
    memset(line, 'a', sizeof(line));
    memcpy(line, "--control /", 11);
    strcpy(line + 11 + 107, " status");
    snprintf(words, sizeof(words), "bao-dmctl: %.108s: longer than the name of a socket can be\n",
             line + 10);
    complains(line, words);
    line[11 + 106] = ' ';
    strcpy(line + 11 + 106, " status");
    snprintf(words, sizeof(words), "bao-dmctl: %.107s: no bao-virtio-dm is running there\n",
             line + 10);
    complains(line, words);
    end();
}

static void usage_is_explained(void)
{
    static const struct {
        const char *line, *words;
    } cases[] = {
        {"", "no command"},
        {"status a", "status takes one DEVICE, a number"},
        {"status 1 2", "status takes one DEVICE, a number"},
        {"status 1 2 3 4", "status takes one DEVICE, a number"},
        {"status 123456789", "status takes one DEVICE, a number"},
        {"stats 1 2", "stats takes one number"},
        {"stats x", "stats takes one number"},
        {"stats --openmetrics --json", "--openmetrics stands alone"},
        {"stats --openmetrics --watch", "--openmetrics stands alone"},
        {"restart", "restart takes a DEVICE, a number"},
        {"restart x", "restart takes a DEVICE, a number"},
        {"restart 1 2", "restart takes a DEVICE, a number"},
        {"log-level loud", "log-level takes error, warning, info or debug"},
        {"log-level info info", "log-level takes error, warning, info or debug"},
        {"status --markdown", "--markdown, --against and --output are for audit"},
        {"status --against x", "--markdown, --against and --output are for audit"},
        {"status --output x", "--markdown, --against and --output are for audit"},
        {"status --openmetrics", "--openmetrics is for stats"},
        {"status --config x", "--config is for check-board"},
        {"check-board 1 --config x", "--config is for check-board"},
        {"stats --all", "--all is for status, of all devices of all"},
        {"status 1 --all", "--all is for status, of all devices of all"},
        {"status --all --control x", "--all is for status, of all devices of all"},
        {"--config x", "--config is for check-board"},
    };
    begin();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char words[256];
        snprintf(words, sizeof(words), "bao-dmctl: %s: see bao-dmctl --help\n", cases[i].words);
        complains(cases[i].line, words);
    }
    complains("dance", "bao-dmctl: unknown command \"dance\": see bao-dmctl --help\n");
    complains("check-board 1",
              "bao-dmctl: unknown command \"check-board\": see bao-dmctl --help\n");
    CU_ASSERT_EQUAL(run("--dance status"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "Try 'bao-dmctl --help'.\n"));
    CU_ASSERT_EQUAL(asked_count, 0);
    prints("--version", "bao-dmctl " BVDM_VERSION "\n");
    CU_ASSERT_EQUAL(run("-h"), EXIT_SUCCESS);
    CU_ASSERT_EQUAL(strncmp(out.text, "Usage: bao-dmctl ", 17), 0);
    end();
}

/* ---- Which of several ---- */

static void several_have_to_be_told_apart(void)
{
    begin();
    remove_file("vm.socket");
    complains("status", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                        "/run/bao-virtio-dm; for another place use --control PATH\n");
    folder_missing = true;
    complains("status", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                        "/run/bao-virtio-dm; for another place use --control PATH\n");
    end();
    begin();
    second_instance();
    complains("status",
              "bao-dmctl: several are running: say which by --control NAME, or use status --all\n"
              "  /run/bao-virtio-dm/a.socket: process 812, /etc/\"vm\".yaml\n"
              "  /run/bao-virtio-dm/vm.socket: process 812, /etc/\"vm\".yaml\n");
    prints("--control a status 0", RNG_TEXT);
    connect_error = EACCES;
    complains("status",
              "bao-dmctl: several are running: say which by --control NAME, or use status --all\n"
              "  /run/bao-virtio-dm/a.socket: Permission denied\n"
              "  /run/bao-virtio-dm/vm.socket: Permission denied\n");
    connect_error = 0;
    end();
}

static void all_are_shown(void)
{
    begin();
    device_count = 1;
    second_instance();
    prints("status --all",
           "/etc/\"vm\".yaml: process 812, /run/bao-virtio-dm/a.socket\n" RNG_TEXT
           "\n/etc/\"vm\".yaml: process 812, /run/bao-virtio-dm/vm.socket\n" RNG_TEXT);
    prints("status --all --json",
           "[\n{\"config\": \"/etc/\\\"vm\\\".yaml\", \"pid\": 812, \"socket\": "
           "\"/run/bao-virtio-dm/a.socket\", \"devices\":\n[\n" RNG_JSON "\n]\n}\n,\n{\"config\": "
           "\"/etc/\\\"vm\\\".yaml\", \"pid\": 812, \"socket\": \"/run/bao-virtio-dm/vm.socket\", "
           "\"devices\":\n[\n" RNG_JSON "\n]\n}\n]\n");
    answers_left = 2; /* the second one does not answer */
    CU_ASSERT_EQUAL(run("status --all"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "a.socket\n" RNG_TEXT));
    end();
    begin();
    connect_error = EACCES;
    complains("status --all", "bao-dmctl: /run/bao-virtio-dm/vm.socket: the socket's mode does not "
                              "let you in: see --control-mode of bao-virtio-dm\n");
    complains("status", "bao-dmctl: /run/bao-virtio-dm/vm.socket: the socket's mode does not "
                        "let you in: see --control-mode of bao-virtio-dm\n");
    connect_error = 0;
    remove_file("vm.socket");
    complains("status --all", "bao-dmctl: no bao-virtio-dm is running: none has a socket in "
                              "/run/bao-virtio-dm\n");
    end();
}

static void only_sockets_that_answer_count(void)
{
    static struct instance instances[INSTANCES_MAX];
    char path[256], long_name[160];
    begin();
    snprintf(path, sizeof(path), "%s/dead.socket", folder);
    close(listen_at("dead.socket"));
    close(listen_at(".socket")); /* no name at all */
    int other = listen_at("other"), third = listen_at("m.socket");
    close(third);
    memset(long_name, 'l', sizeof(long_name));
    strcpy(long_name + 100, CONTROL_SUFFIX);
    char long_path[320];
    snprintf(long_path, sizeof(long_path), "%s/%s", folder, long_name);
    close(open(long_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    CU_ASSERT_EQUAL(instances_find(instances), 1);
    CU_ASSERT_STRING_EQUAL(instances[0].path, "/run/bao-virtio-dm/vm.socket");
    CU_ASSERT(instances[0].fd >= 0);
    CU_ASSERT_EQUAL(fcntl(instances[0].fd, F_GETFD), FD_CLOEXEC);
    int connected = instances[0].fd;
    instances_close(instances, 1);
    CU_ASSERT_EQUAL(instances[0].fd, -1);
    CU_ASSERT_EQUAL(send(connected, "", 1, MSG_NOSIGNAL), -1);
    close(other);
    connect_error = EACCES;
    CU_ASSERT_EQUAL(instances_find(instances), 3);
    CU_ASSERT_STRING_EQUAL(instances[0].path, "/run/bao-virtio-dm/dead.socket");
    CU_ASSERT_STRING_EQUAL(instances[1].path, "/run/bao-virtio-dm/m.socket");
    CU_ASSERT_STRING_EQUAL(instances[2].path, "/run/bao-virtio-dm/vm.socket");
    CU_ASSERT_EQUAL(instances[0].fd, -EACCES);
    CU_ASSERT_EQUAL(fcntl(refused, F_GETFD), -1); /* it is closed */
    unlink(path);
    unlink(long_path);
    remove_file(".socket");
    remove_file("other");
    remove_file("m.socket");
    end();
}

/* ---- Audit ---- */

static int audit(const char *line)
{
    int before = dup(STDIN_FILENO);
    executed[0] = input[0] = '\0';
    execs = 0;
    int status = run(line);
    (void)syscall(SYS_dup3, before, STDIN_FILENO, 0);
    close(before);
    return status;
}

static void the_auditor_gets_what_the_broker_says(void)
{
    char expected[512];
    begin();
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "/usr/sbin/bao-seccomp: bao-seccomp verify --told -\n"
                                     "/usr/sbin/../bin/bao-seccomp: bao-seccomp verify --told -\n");
    snprintf(expected, sizeof(expected),
             "broker %d broker\ndevice 0 0 0 rng/virtio rng 0\ndevice 3 4711 %x vsock/virtio vsock "
             "3\n",
             (int)getpid(), a_vsock().layers);
    CU_ASSERT_STRING_EQUAL(input, expected);
    CU_ASSERT_STRING_EQUAL(err.text, "bao-dmctl: bao-seccomp can't be run: No such file or "
                                     "directory: it belongs beside bao-dmctl, or into ../bin\n");
    devices[0].generation = BAO_D;
    devices[0].kind = DEVICE_KINDS;
    exec_error[0] = EACCES;
    CU_ASSERT_EQUAL(audit("audit --json --against old --output new"), 2);
    CU_ASSERT_STRING_EQUAL(
        executed,
        "/usr/sbin/bao-seccomp: bao-seccomp verify --told - --json --against old --output new\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "can't be run: Permission denied: "));
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker_d\ndevice 0 0 0 unknown rng 0\n"));
    CU_ASSERT_EQUAL(audit("audit --markdown"), 2);
    CU_ASSERT_STRING_EQUAL(executed,
                           "/usr/sbin/bao-seccomp: bao-seccomp verify --told - --markdown\n");
    program = "bao-dmctl"; /* without a folder */
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    program = NULL;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "bao-seccomp can't be run: Too many levels of "));
    program = "/bao-dmctl";
    dup2_error = EBUSY;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    CU_ASSERT_STRING_EQUAL(err.text,
                           "bao-dmctl: what the broker says can't be handed on: Device or "
                           "resource busy\n");
    dup2_error = 0;
    devices[0].generation = BAO_GENERATIONS;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " unknown\ndevice"));
    device_count = 1;
    devices[0].generation = BAO_D;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker_d\n"));
    device_count = 0;
    (void)audit("audit");
    CU_ASSERT_PTR_NOT_NULL(strstr(input, " broker\n"));
    end();
}

static void without_the_broker_nothing_is_audited(void)
{
    begin();
    CU_ASSERT_EQUAL(audit("audit --json --markdown"), 2);
    CU_ASSERT_EQUAL(audit("audit 3"), 2);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "bao-dmctl: audit takes --json or --markdown: see bao-dmctl --help\n");
    silent = true;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    connect_error = EACCES;
    CU_ASSERT_EQUAL(audit("audit"), 2);
    CU_ASSERT_STRING_EQUAL(executed, "");
    end();
    /* Its other end is no socket. */
    struct snapshot snapshot = {0};
    const struct audit_options options = {0};
    said_begin(&err, STDERR_FILENO);
    audit_run(STDERR_FILENO, &snapshot, false, &options);
    said_end(&err);
    CU_ASSERT_STRING_EQUAL(err.text, "bao-dmctl: what the broker says can't be handed on: Socket "
                                     "operation on non-socket\n");
    CU_ASSERT_EQUAL(execs, 0);
}

/* ---- The board ---- */

static void the_board_s_findings_are_printed(void)
{
    found = (struct board_report){.count = 3,
                                  .items = {{BOARD_OK, "kernel", "6.12", ""},
                                            {BOARD_NOTE, "mdwe", "missing", "use \"6.3\""},
                                            {BOARD_NOTE, "tun", "none", ""}}};
    prints("check-board", "ok       kernel: 6.12\n"
                          "note     mdwe: missing: use \"6.3\"\n"
                          "note     tun: none\n"
                          "1 ok, 2 to know, 0 missing\n");
    CU_ASSERT_FALSE(judged_with_config);
    prints("check-board --json",
           "{\"findings\": [\n"
           "  {\"level\": \"ok\", \"check\": \"kernel\", \"found\": \"6.12\", \"cure\": \"\"},\n"
           "  {\"level\": \"note\", \"check\": \"mdwe\", \"found\": \"missing\", \"cure\": \"use "
           "\\\"6.3\\\"\"},\n"
           "  {\"level\": \"note\", \"check\": \"tun\", \"found\": \"none\", \"cure\": \"\"}\n"
           "], \"ok\": 1, \"notes\": 2, \"missing\": 0}\n");
    found.items[2].level = BOARD_MISSING;
    CU_ASSERT_EQUAL(run("check-board --json"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "{\"level\": \"missing\", "));
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "\"ok\": 1, \"notes\": 1, \"missing\": 1}\n"));
    CU_ASSERT_EQUAL(run("check-board"), EXIT_FAILURE);
    CU_ASSERT_PTR_NOT_NULL(strstr(out.text, "MISSING  tun: none\n1 ok, 1 to know, 1 missing\n"));
}

static void the_board_is_judged_with_its_configuration(void)
{
    char line[256], path[128], words[1024];
    snprintf(path, sizeof(path), "%s/good.yaml", folder);
    FILE *file = fopen(path, "we");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    fputs("devices:\n- {id: 0, type: rng, data_plane: virtio, mmio_addr: 0}\n", file);
    fclose(file);
    found = (struct board_report){.count = 1, .items = {{BOARD_OK, "kernel", "6.12", ""}}};
    snprintf(line, sizeof(line), "check-board --config %s", path);
    snprintf(words, sizeof(words),
             "ok       kernel: 6.12\nok       configuration: %s\n2 ok, 0 to know, 0 missing\n",
             path);
    prints(line, words);
    CU_ASSERT_TRUE(judged_with_config);
    unlink(path);
    CU_ASSERT_EQUAL(run(line), EXIT_FAILURE);
    CU_ASSERT_FALSE(judged_with_config);
    snprintf(words, sizeof(words),
             "ok       kernel: 6.12\n"
             "MISSING  configuration: %s is not right: \"bao-virtio-dm --check-config --config "
             "%s\"\n1 ok, 0 to know, 1 missing\n",
             path, path);
    CU_ASSERT_STRING_EQUAL(out.text, words);
    /* It is left out if there is no room. */
    found.count = BOARD_FINDINGS_MAX;
    for (size_t i = 0; i < BOARD_FINDINGS_MAX; i++)
        found.items[i] = (struct board_finding){BOARD_OK, "x", "y", ""};
    CU_ASSERT_EQUAL(run(line), EXIT_SUCCESS);
    CU_ASSERT_PTR_NULL(strstr(out.text, "configuration"));
}

int main(int argc, char **argv)
{
    CU_TestInfo status[] = {
        {"status says all of each device", status_says_all_of_each_device},
        {"how long and how far", status_says_how_long_and_how_far},
        {"JSON text is escaped", json_text_is_escaped},
        {"texts without an end are cut", texts_without_an_end_are_cut},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo stats[] = {
        {"stats counts since the start", stats_counts_since_the_start},
        {"rates are differences by time", rates_are_differences_by_time},
        {"watching prints each interval", watching_prints_each_interval},
        {"OpenMetrics", openmetrics_has_every_counter_and_state},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo asking[] = {
        {"it asks what the user wants", it_asks_what_the_user_wants},
        {"refusals are told", refusals_are_told},
        {"no good answer is told", no_good_answer_is_told},
        {"a connection that fails is told", a_connection_that_fails_is_told},
        {"usage is explained", usage_is_explained},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo several[] = {
        {"several have to be told apart", several_have_to_be_told_apart},
        {"all are shown", all_are_shown},
        {"only sockets that answer count", only_sockets_that_answer_count},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo others[] = {
        {"the auditor gets what the broker says", the_auditor_gets_what_the_broker_says},
        {"without the broker nothing is audited", without_the_broker_nothing_is_audited},
        {"the board's findings are printed", the_board_s_findings_are_printed},
        {"the board and its configuration", the_board_is_judged_with_its_configuration},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"status", NULL, NULL, NULL, NULL, status}, {"stats", NULL, NULL, NULL, NULL, stats},
        {"asking", NULL, NULL, NULL, NULL, asking}, {"several", NULL, NULL, NULL, NULL, several},
        {"others", NULL, NULL, NULL, NULL, others}, CU_SUITE_INFO_NULL,
    };
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    int status_of_all = run_suites(argc, argv, suites);
    rmdir(folder);
    return status_of_all;
}
