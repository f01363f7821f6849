/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/standin/guest_vsock.h"

#define PORT 53
#define PING_SIZE 64u
#define WAIT_MS 5000
#define PATH_SIZE 96

/* What a connection is for: its first byte. */
enum purpose { TO_HOST = 's', TO_GUEST = 'g', PING = 'p' };

static char bytes[GUEST_TX_SIZE];

/* A program of the host's: one connection after the other, until its socket is shut down. */
static void *serve(void *argument)
{
    static char buffer[GUEST_TX_SIZE];
    int listener = *(int *)argument, client;
    while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        char purpose = 0;
        ssize_t length = recv(client, &purpose, 1, 0);
        while (length > 0 && purpose == TO_GUEST)
            length = send(client, buffer, sizeof(buffer), MSG_NOSIGNAL);
        while (length > 0 && (length = recv(client, buffer, sizeof(buffer), 0)) > 0) {
            if (purpose == PING)
                length = send(client, buffer, (size_t)length, MSG_NOSIGNAL);
        }
        close(client);
    }
    return NULL;
}

static struct guest_socket *connect_for(struct guest_vsock *vsock, enum purpose purpose)
{
    const char byte = (char)purpose;
    struct guest_socket *socket = guest_vsock_connect(vsock, VIRTIO_VSOCK_TYPE_STREAM, PORT);
    if (!socket || guest_vsock_wait(vsock, socket, WAIT_MS) != SOCKET_CONNECTED ||
        guest_vsock_send(vsock, socket, &byte, 1, 0) != 1)
        return NULL;
    return socket;
}

static bool ping(struct guest_vsock *vsock, struct guest_socket *socket)
{
    char answer[PING_SIZE];
    uint32_t got = 0;
    if (guest_vsock_send(vsock, socket, bytes, PING_SIZE, 0) != (int)PING_SIZE)
        return false;
    while (got < PING_SIZE && guest_vsock_poll(vsock, WAIT_MS) >= 0)
        got += guest_vsock_receive(vsock, socket, answer, sizeof(answer));
    return got == PING_SIZE;
}

/* Moves something; returns false if it fails. */
static bool step(struct guest_vsock *vsock, struct guest_socket *socket, enum purpose purpose,
                 struct vsock_turn *turn)
{
    if (purpose == TO_GUEST) {
        turn->bytes += guest_vsock_receive(vsock, socket, bytes, sizeof(bytes));
        return guest_vsock_poll(vsock, WAIT_MS) >= 0;
    }
    if (purpose == PING) {
        uint64_t start = bench_now_ns();
        bool done = ping(vsock, socket);
        if (turn->latency)
            samples_add(turn->latency, bench_now_ns() - start);
        return done;
    }
    int sent = guest_vsock_send(vsock, socket, bytes, sizeof(bytes), 0);
    turn->bytes += sent > 0 ? (uint64_t)sent : 0;
    return sent >= 0 && (sent > 0 || guest_vsock_poll(vsock, WAIT_MS) >= 0);
}

static int run_turn(struct guest_vsock *vsock, enum purpose purpose, uint64_t duration_ns,
                    struct vsock_turn *turn)
{
    struct guest_socket *socket = connect_for(vsock, purpose);
    if (!socket)
        return -ECONNREFUSED;
    uint64_t start = bench_now_ns(), before = vsock->packets_in + vsock->packets_out;
    do {
        if (!step(vsock, socket, purpose, turn))
            return -EIO;
        turn->ns = bench_now_ns() - start;
    } while (turn->ns < duration_ns);
    turn->packets = vsock->packets_in + vsock->packets_out - before;
    guest_vsock_control(vsock, socket, VIRTIO_VSOCK_OP_RST, 0);
    guest_vsock_forget(socket);
    return 0;
}

/* ---- System calls, in a turn of their own ---- */

struct traced {
    pid_t pid;
    uint64_t duration_ns;
    int64_t syscalls;
};

static void *trace(void *argument)
{
    struct traced *traced = argument;
    traced->syscalls = syscalls_by_ptrace(traced->pid, traced->duration_ns);
    return NULL;
}

static double count_by_ptrace(struct guest_vsock *vsock, pid_t worker, enum purpose purpose,
                              uint64_t duration_ns)
{
    struct vsock_turn turn = {0};
    struct traced traced = {.pid = worker, .duration_ns = duration_ns * 2};
    pthread_t tracer;
    if (pthread_create(&tracer, NULL, trace, &traced) != 0)
        return -1;
    int r = run_turn(vsock, purpose, duration_ns, &turn);
    pthread_join(tracer, NULL);
    return r < 0 || traced.syscalls < 0 ? -1 : (double)traced.syscalls / (double)turn.packets;
}

static double count_syscalls(struct guest_vsock *vsock, pid_t worker, enum purpose purpose,
                             uint64_t duration_ns)
{
    struct syscall_counter counter;
    struct vsock_turn turn = {0};
    enum syscall_method method = syscall_counter_open(&counter, worker);
    if (method == SYSCALLS_PTRACE)
        return count_by_ptrace(vsock, worker, purpose, duration_ns);
    int r = run_turn(vsock, purpose, duration_ns, &turn);
    uint64_t syscalls = syscall_counter_read(&counter);
    syscall_counter_close(&counter);
    return r < 0 || method == SYSCALLS_NONE ? -1 : (double)syscalls / (double)turn.packets;
}

/* ---- The whole ---- */

static int measure(struct guest_vsock *vsock, pid_t worker, const struct bench *bench,
                   struct vsock_result *result)
{
    static const enum purpose purposes[VSOCK_WORKLOADS] = {TO_HOST, TO_GUEST, PING};
    for (unsigned int i = 0; i < VSOCK_WORKLOADS; i++) {
        result->syscalls[i] = count_syscalls(vsock, worker, purposes[i], bench->slice_ns);
        for (unsigned int round = 0; round < bench->rounds; round++) {
            struct vsock_turn turn = {.latency = &result->latency};
            uint64_t cpu = cpu_time_ns(worker);
            int r = run_turn(vsock, purposes[i], bench->slice_ns, &turn);
            if (r < 0)
                return r;
            double seconds = (double)turn.ns / 1e9;
            result->bytes_per_s[i][round] = (double)turn.bytes / seconds;
            result->packets_per_s[i][round] = (double)turn.packets / seconds;
            result->worker_cpu_ns[i] +=
                (double)(cpu_time_ns(worker) - cpu) / (double)turn.packets / (double)bench->rounds;
        }
    }
    return vsock->violations == 0 && vsock->guest.error == 0 ? 0 : -EPROTO;
}

static int start(const char *dir, int log, struct standin **ret)
{
    char config[PATH_SIZE];
    snprintf(config, sizeof(config), "%s/vsock.yaml", dir);
    FILE *file = fopen(config, "we");
    if (!file)
        return -errno;
    fprintf(file,
            "devices:\n  - id: 0\n    type: vsock\n    data_plane: virtio\n"
            "    mmio_addr: 0x%llx\n    guest_cid: 3\n    socket_path: %s/v\n",
            BENCH_BASE, dir);
    if (fclose(file) < 0)
        return -errno;
    const char *argv[] = {PROGRAM_DIR "/bao-virtio-dm", "--config", config, NULL};
    struct standin_options options = {
        .devices = {{.present = true, .shmem_addr = BENCH_SHMEM, .shmem_size = BENCH_SHMEM_SIZE}},
        .argv = argv,
        .stdin_fd = -1,
        .stdout_fd = log,
        .stderr_fd = log,
    };
    uint64_t value;
    int r = standin_start(&options, ret);
    if (r == 0)
        r = standin_read(*ret, 0, BENCH_BASE, 4, &value, 10000); /* when it is up */
    unlink(config);
    return r;
}

static int run(struct bench *bench, struct standin *standin, struct vsock_result *result)
{
    static struct guest_vsock vsock;
    pid_t worker = standin_find_process(standin, "bao-virtio-worker", 0);
    if (worker < 0)
        return worker;
    (void)place_processes(worker, standin_find_process(standin, "bao-virtio-broker", 0));
    guest_init(&vsock.guest, standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = guest_vsock_start(&vsock, GUEST_VSOCK_FEATURES);
    if (r == 0)
        r = measure(&vsock, worker, bench, result);
    guest_vsock_free(&vsock);
    return r;
}

int vsock_run(struct bench *bench, const char *dir, int log, struct vsock_result *result)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/v_%u", dir, PORT);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t server;
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 16) < 0 || pthread_create(&server, NULL, serve, &listener) != 0)
        return -EIO;
    struct standin *standin = NULL;
    int r = start(dir, log, &standin);
    if (r == 0)
        r = run(bench, standin, result);
    if (standin && standin_stop(standin) < 0 && r == 0)
        r = -ECHILD;
    shutdown(listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(listener);
    unlink(address.sun_path);
    static const char *const left[] = {"v", "v_seqpacket"};
    for (unsigned int i = 0; i < 2; i++) {
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", dir, left[i]);
        unlink(address.sun_path);
    }
    return r;
}
