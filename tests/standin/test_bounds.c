/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can one worker that was taken over, or one file system that hangs, take from all the others?
 * The tests measure the broker's time and the files in flight. A debugger makes the worker do what
 * its filter allows.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log_code.h"
#include "common/message.h"
#include "tests/cunit_main.h"
#include "tests/standin/clock.h"
#include "tests/standin/hung_files.h"
#include "tests/standin/inject.h"
#include "tests/standin/vsock_fixture.h"

#define IN_TIME_MS 9000 /* a device that is too late reads fixed values after 10 s */
#define ENDED_MS 15000
#define SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)

/* ---- A flood of messages ---- */

/* CPU time of the broker's main thread, ns. */
static unsigned long long broker_time(pid_t broker)
{
    char path[64];
    unsigned long long time = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)broker, (int)broker);
    FILE *file = fopen(path, "re");
    CU_ASSERT_EQUAL(file ? fscanf(file, "%llu", &time) : 0, 1);
    if (file)
        fclose(file);
    return time;
}

/* The worker sends that message again and again, without end. */
static void flood(pid_t worker, const union message *message, size_t size)
{
    CU_ASSERT_EQUAL_FATAL(inject_attach(worker), 0);
    unsigned long data = inject_data(worker, message, size);
    CU_ASSERT_FATAL(data != 0);
    const long arguments[6] = {WORKER_FD_CONTROL, (long)data, (long)size, SEND_FLAGS, 0, 0};
    CU_ASSERT_EQUAL_FATAL(inject_endless(worker, SYS_sendto, arguments), 0);
}

static void is_ended(const struct fixture *fixture, pid_t worker, const char *words)
{
    uint64_t begin = now_ms();
    unsigned long long before = broker_time(fixture->broker);
    fixture_wait_logged(fixture, words, ENDED_MS);
    CU_ASSERT(fixture_wait_worker(fixture, 0, worker) > 0);
    unsigned long long spent = broker_time(fixture->broker) - before;
    printf(" (after %llu ms, %.1f ms of the broker's time) ",
           (unsigned long long)(now_ms() - begin), (double)spent / 1e6);
    /* Before there was a bound, it took 350 ms of each second, without end. */
    CU_ASSERT(spent < 300 * 1000000ull);
}

static void a_flood_of_log_messages(void)
{
    struct fixture fixture;
    union message message = {.log = {.code = LOG_DRIVER_OK}};
    fixture_start_blocks(&fixture, 2);
    pid_t worker = fixture.workers[0];
    message.header = (struct message_header){MSG_LOG, MESSAGE_VERSION, 0};
    flood(worker, &message, sizeof(message.log));
    is_ended(&fixture, worker, "it sends more messages than any worker has to");
    CU_ASSERT_EQUAL(fixture_worker(&fixture, 1), fixture.workers[1]);
    CU_ASSERT_EQUAL(standin_find_process(fixture.standin, "bao-virtio-broker", 0), fixture.broker);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void a_flood_of_requests_for_connections(void)
{
    struct vsock_fixture test;
    union message message = {.connect = {.port = HOST_PORT, .type = STREAM, .request = 7}};
    vsock_start(&test);
    pid_t worker = test.fixture.workers[0];
    message.header = (struct message_header){MSG_CONNECT, MESSAGE_VERSION, 0};
    flood(worker, &message, sizeof(message.connect));
    is_ended(&test.fixture, worker, "it asks for more connections at once than it may");
    vsock_stop(&test, true);
}

/* A guest makes connections and ends them as fast as it can. All are served, and the broker has
 * time for others. */
static void a_flood_of_connections(void)
{
    struct vsock_fixture test;
    unsigned int made = 0;
    int fd;
    vsock_start(&test);
    unsigned long long before = broker_time(test.fixture.broker);
    uint64_t begin = now_ms(), end = begin + 1500;
    struct guest_socket *sockets[CONNECTIONS_AT_ONCE * 2] = {0};
    while (now_ms() < end) {
        for (unsigned int i = 0; i < CONNECTIONS_AT_ONCE * 2; i++) {
            struct guest_socket *socket = sockets[i];
            if (socket && socket->state == SOCKET_CONNECTED) {
                guest_vsock_control(&test.vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
                guest_vsock_forget(socket);
                sockets[i] = socket = NULL;
                made++;
            }
            if (!socket)
                sockets[i] = guest_vsock_connect(&test.vsock, STREAM, HOST_PORT);
        }
        while ((fd = accept4(test.server, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            close(fd);
        CU_ASSERT_FATAL(guest_vsock_poll(&test.vsock, 1) >= 0);
    }
    unsigned long long spent = broker_time(test.fixture.broker) - before;
    uint64_t took = now_ms() - begin;
    printf(" (%u connections in %llu ms, %.1f ms of the broker's time) ", made,
           (unsigned long long)took, (double)spent / 1e6);
    CU_ASSERT_EQUAL(test.vsock.resets, 0);
    CU_ASSERT(made > 0);
    if (processor_is_emulated())
        case_skipped("a processor that is not emulated, for the broker's share of it");
    else
        CU_ASSERT_TRUE(spent < took * 300000); /* in ns: 0.3 of a processor */
    CU_ASSERT_EQUAL(standin_find_process(test.fixture.standin, "bao-virtio-broker", 0),
                    test.fixture.broker);
    vsock_stop(&test, false);
}

/* ---- Files that are never taken ---- */

#define ASKS 120u
#define FILES_MAX (33u + CONNECTIONS_AT_ONCE) /* UNREAD_MAX of broker/connections.c */

/* The worker asks for connections, a few at a time, and reads none of the messages with the fds. */
static void ask_and_never_read(pid_t worker)
{
    union message message = {.connect = {.port = HOST_PORT, .type = STREAM}};
    message.header = (struct message_header){MSG_CONNECT, MESSAGE_VERSION, 0};
    CU_ASSERT_EQUAL_FATAL(inject_attach(worker), 0);
    unsigned long data = inject_data(worker, &message, sizeof(message.connect));
    const long arguments[6] = {WORKER_FD_CONTROL, (long)data, sizeof(message.connect),
                               SEND_FLAGS,        0,          0};
    for (unsigned int i = 0; i < ASKS; i++) {
        long result;
        if (inject_call(worker, SYS_sendto, arguments, &result) != 1)
            return; /* the worker was ended */
        usleep(5000);
    }
}

/* Waits for the death of a traced worker, which stays stopped. We must reap it first: otherwise the
 * keeper does not see its death. */
static bool dies(pid_t traced)
{
    int status;
    for (unsigned int i = 0; i < ENDED_MS; i++) {
        pid_t waited = waitpid(traced, &status, __WALL | WNOHANG);
        if (waited < 0 || (waited == traced && WIFSIGNALED(status)))
            return true;
        usleep(1000);
    }
    return false;
}

static unsigned int accept_all(int server)
{
    unsigned int count = 0;
    int fd;
    while ((fd = accept4(server, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
        count++;
    }
    return count;
}

static void connections_that_are_never_taken(void)
{
    struct vsock_fixture test;
    vsock_start(&test);
    pid_t worker = test.fixture.workers[0];
    ask_and_never_read(worker);
    CU_ASSERT_TRUE_FATAL(dies(worker));
    CU_ASSERT(fixture_wait_worker(&test.fixture, 0, worker) > 0);
    unsigned int made = accept_all(test.server);
    printf(" (%u of %u were made) ", made, ASKS);
    CU_ASSERT(made > CONNECTIONS_AT_ONCE && made <= FILES_MAX);
    vsock_stop(&test, true);
}

/* ---- A file system that hangs ---- */

static const char hung_socket[] =
    "devices:\n"
    "  - id: 0\n    type: block\n    data_plane: vhost_user\n    mmio_addr: 0xa003e00\n"
    "    config_size: 8\n    socket_path: \"@/hung/blk.sock\"\n"
    "  - id: 1\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa004000\n"
    "    file_path: \"@/disk1.img\"\n    read_only: false\n";

static void wait_hangs(struct hung_files *files)
{
    for (unsigned int i = 0; i < IN_TIME_MS && atomic_load(&files->hangs) == 0; i++)
        usleep(1000);
    CU_ASSERT(atomic_load(&files->hangs) > 0);
}

/* Waits until the keeper has reaped it. */
static bool wait_gone(pid_t pid)
{
    for (unsigned int i = 0; i < IN_TIME_MS && kill(pid, 0) == 0; i++)
        usleep(1000);
    return kill(pid, 0) < 0;
}

static void a_socket_on_a_file_system_that_hangs(void)
{
    struct fixture fixture;
    struct hung_files files;
    char path[80];
    uint64_t value = 0;
    fixture_init(&fixture);
    snprintf(path, sizeof(path), "%s/hung", fixture.dir);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0755), 0);
    CU_ASSERT_EQUAL_FATAL(hung_files_mount(&files, path), 0);
    fixture_make_image(&fixture, "disk1.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(&fixture, hung_socket);
    fixture_start(&fixture, 2, 0);
    wait_hangs(&files);
    /* The other device comes up, and its worker is replaced, as if nothing had happened. */
    for (unsigned int round = 0; round < 2; round++) {
        CU_ASSERT_EQUAL(standin_read(fixture.standin, 1, fixture_base(1), 4, &value, IN_TIME_MS),
                        0);
        CU_ASSERT_EQUAL(value, 0x74726976);
        pid_t worker = fixture_worker(&fixture, 1);
        CU_ASSERT_FATAL(worker > 0);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        CU_ASSERT(fixture_wait_worker(&fixture, 1, worker) > 0);
    }
    fixture_wait_logged(&fixture, "connect: the file system of its socket does not answer",
                        IN_TIME_MS);
    /* The process that hangs is not the broker. The broker can die, and the next one serves the
     * other devices. */
    pid_t broker = standin_find_process(fixture.standin, "bao-virtio-broker", 0);
    CU_ASSERT_FATAL(broker > 0);
    CU_ASSERT_EQUAL(kill(broker, SIGKILL), 0);
    CU_ASSERT(wait_gone(broker));
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 1, fixture_base(1), 4, &value, IN_TIME_MS), 0);
    CU_ASSERT_EQUAL(value, 0x74726976);
    fixture_wait_logged(&fixture, "the process that connects to its sockets has ended, or has to",
                        IN_TIME_MS);
    hung_files_end(&files);
    /* Now the file system answers, and the connector asks again. */
    fixture_wait_logged(&fixture, "connect: Transport endpoint is not connected", IN_TIME_MS);
    fixture_stop(&fixture);
    rmdir(path);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a flood of log messages", a_flood_of_log_messages},
        {"a flood of requests for connections", a_flood_of_requests_for_connections},
        {"a flood of connections", a_flood_of_connections},
        {"connections that are never taken", connections_that_are_never_taken},
        {"a socket on a file system that hangs", a_socket_on_a_file_system_that_hangs},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "what is shared is bounded", tests);
}
