/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets: the device in user space, from the guest's ring to a program's Unix socket and back,
 * with one connection and with many. For comparison, a bare pair of Unix sockets with readv and
 * writev of 64 KiB: nothing can be faster.
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/standin/guest_vsock.h"

#define PORT 53
#define WAIT_MS 20000
#define CONNECTIONS_MOST 64u

/* The purpose of a connection: its first byte. */
enum purpose { TO_HOST = 's', TO_GUEST = 'g', PING = 'p' };

static const struct vsock_load {
    const char *name;
    enum vsock_unit unit;
    enum purpose purpose;
    unsigned int connections;
} loads[VSOCK_WORKLOADS] = {
    {"to host, 1 connection", VSOCK_BULK, TO_HOST, 1},
    {"to host, 8", VSOCK_BULK, TO_HOST, 8},
    {"to host, 64", VSOCK_BULK, TO_HOST, 64},
    {"to guest, 1 connection", VSOCK_BULK, TO_GUEST, 1},
    {"to guest, 8", VSOCK_BULK, TO_GUEST, 8},
    {"to guest, 64", VSOCK_BULK, TO_GUEST, 64},
    {"round trip of 1 byte", VSOCK_PING, PING, 1},
    {"round trips, 8 at once", VSOCK_PING, PING, 8},
    {"round trips, 64 at once", VSOCK_PING, PING, 64},
    {"connection and its end", VSOCK_CONNECT, PING, 1},
    {"connections, 8 at once", VSOCK_CONNECT, PING, 8},
    {"connections, 64 at once", VSOCK_CONNECT, PING, 64},
};

/* The bare pair is one connection, and stays. */
static bool has_bare(const struct vsock_load *load)
{
    return load->unit == VSOCK_BULK || (load->unit == VSOCK_PING && load->connections == 1);
}

static char bytes[GUEST_TX_SIZE];

/* ---- The programs at the other end ---- */

/* Serves what the first byte says, until the other end is closed. */
static void serve_one(int fd)
{
    char buffer[GUEST_TX_SIZE], purpose = 0;
    const struct iovec all = {buffer, sizeof(buffer)};
    ssize_t length = recv(fd, &purpose, 1, 0);
    while (length > 0 && purpose == TO_GUEST)
        length = writev(fd, &all, 1);
    while (length > 0 && (length = readv(fd, &all, 1)) > 0) {
        if (purpose == PING)
            length = send(fd, buffer, (size_t)length, MSG_NOSIGNAL);
    }
    close(fd);
}

static void *serve_client(void *argument)
{
    serve_one((int)(intptr_t)argument);
    return NULL;
}

/* The scheduler places the other end of the bare pair, like a worker. */
static void *serve_bare(void *argument)
{
    place_nowhere();
    return serve_client(argument);
}

static void *serve(void *argument)
{
    int listener = *(int *)argument, client;
    while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_client, (void *)(intptr_t)client) == 0)
            pthread_detach(thread);
        else
            close(client);
    }
    return NULL;
}

/* ---- The bare pair ---- */

static int bare_turn(const struct vsock_load *load, uint64_t duration_ns, double *ret_rate,
                     struct samples *latency)
{
    int pair[2];
    pthread_t thread;
    const char purpose = (char)load->purpose;
    const struct iovec all = {bytes, load->unit == VSOCK_PING ? 1 : sizeof(bytes)};
    uint64_t moved = 0, count = 0, start = bench_now_ns(), now = start;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
        pthread_create(&thread, NULL, serve_bare, (void *)(intptr_t)pair[1]) != 0 ||
        send(pair[0], &purpose, 1, MSG_NOSIGNAL) != 1)
        return -EIO;
    while (now - start < duration_ns) {
        ssize_t r = load->purpose == TO_GUEST ? readv(pair[0], &all, 1) : writev(pair[0], &all, 1);
        if (r > 0 && load->purpose == PING)
            r = readv(pair[0], &all, 1);
        if (r <= 0)
            return -EIO;
        uint64_t before = now;
        now = bench_now_ns();
        if (load->unit == VSOCK_PING)
            samples_add(latency, now - before);
        moved += (uint64_t)r;
        count++;
    }
    close(pair[0]);
    pthread_join(thread, NULL);
    double amount = load->unit == VSOCK_BULK ? (double)moved / 1048576 : (double)count;
    *ret_rate = amount * 1e9 / (double)(now - start);
    return 0;
}

/* ---- Two wake-ups by eventfd ---- */

struct echo {
    int to, back;
    pid_t worker; /* the thread runs where this process runs */
};

static void *serve_echo(void *argument)
{
    const struct echo *echo = argument;
    cpu_set_t processors;
    eventfd_t value;
    if (sched_getaffinity(echo->worker, sizeof(processors), &processors) == 0)
        (void)sched_setaffinity(0, sizeof(processors), &processors);
    while (eventfd_read(echo->to, &value) == 0 && value == 1)
        (void)eventfd_write(echo->back, 1);
    return NULL;
}

/* The least that a round trip through another process takes: that process is woken, and wakes. */
static int echo_turn(pid_t worker, uint64_t duration_ns, struct samples *samples)
{
    struct echo echo = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC), worker};
    pthread_t thread;
    eventfd_t value;
    if (echo.to < 0 || echo.back < 0 || pthread_create(&thread, NULL, serve_echo, &echo) != 0)
        return -EIO;
    for (uint64_t start = bench_now_ns(), now = start, before; now - start < duration_ns;) {
        before = now;
        if (eventfd_write(echo.to, 1) < 0 || eventfd_read(echo.back, &value) < 0)
            break;
        now = bench_now_ns();
        samples_add(samples, now - before);
    }
    (void)eventfd_write(echo.to, 2);
    pthread_join(thread, NULL);
    close(echo.to);
    close(echo.back);
    return 0;
}

/* ---- The guest ---- */

struct turn {
    uint64_t ns;
    double amount, kicks, interrupts;
};

static int connect_all(struct guest_vsock *vsock, const struct vsock_load *load,
                       struct guest_socket **sockets)
{
    const char byte = (char)load->purpose;
    for (unsigned int i = 0; i < load->connections; i++) {
        sockets[i] = guest_vsock_connect(vsock, VIRTIO_VSOCK_TYPE_STREAM, PORT);
        if (!sockets[i])
            return -ECONNREFUSED;
    }
    for (unsigned int i = 0; i < load->connections; i++) {
        if (guest_vsock_wait(vsock, sockets[i], WAIT_MS) != SOCKET_CONNECTED ||
            guest_vsock_send(vsock, sockets[i], &byte, 1, 0) != 1)
            return -ECONNREFUSED;
    }
    return 0;
}

static void end_all(struct guest_vsock *vsock, unsigned int count, struct guest_socket **sockets)
{
    for (unsigned int i = 0; i < count; i++) {
        guest_vsock_control(vsock, sockets[i], VIRTIO_VSOCK_OP_RST, 0);
        guest_vsock_forget(sockets[i]);
    }
}

/* Each of them moves what it can. If none moved anything, wait for the device. */
static int step_bulk(struct guest_vsock *vsock, const struct vsock_load *load,
                     struct guest_socket **sockets, struct turn *turn)
{
    uint64_t moved = 0;
    for (unsigned int i = 0; i < load->connections; i++) {
        int r = load->purpose == TO_GUEST
                    ? (int)guest_vsock_receive(vsock, sockets[i], bytes, sizeof(bytes))
                    : guest_vsock_send(vsock, sockets[i], bytes, sizeof(bytes), 0);
        if (r < 0)
            return r;
        moved += (uint64_t)r;
    }
    turn->amount += (double)moved / 1048576;
    int r = moved > 0 ? 0 : guest_vsock_poll(vsock, WAIT_MS);
    return r < 0 ? r : 0;
}

/* Each of them sends a byte, and gets it back. */
static int step_ping(struct guest_vsock *vsock, const struct vsock_load *load,
                     struct guest_socket **sockets, struct turn *turn, struct samples *latency)
{
    uint64_t starts[CONNECTIONS_MOST];
    for (unsigned int i = 0; i < load->connections; i++) {
        starts[i] = bench_now_ns();
        if (guest_vsock_send(vsock, sockets[i], bytes, 1, 0) != 1)
            return -EIO;
    }
    for (unsigned int i = 0; i < load->connections; i++) {
        while (guest_vsock_receive(vsock, sockets[i], bytes, 1) == 0) {
            int r = guest_vsock_poll(vsock, WAIT_MS);
            if (r < 0 || bench_now_ns() - starts[i] > WAIT_MS * 1000000ull)
                return r < 0 ? r : -ETIMEDOUT;
        }
        if (latency)
            samples_add(latency, bench_now_ns() - starts[i]);
    }
    turn->amount += load->connections;
    return 0;
}

static int step_connect(struct guest_vsock *vsock, const struct vsock_load *load, struct turn *turn)
{
    struct guest_socket *sockets[CONNECTIONS_MOST];
    int r = connect_all(vsock, load, sockets);
    if (r < 0)
        return r;
    end_all(vsock, load->connections, sockets);
    turn->amount += load->connections;
    return 0;
}

static int run_turn(struct guest_vsock *vsock, const struct model *model,
                    const struct vsock_load *load, uint64_t duration_ns, struct turn *turn,
                    struct samples *latency, struct counted *counted)
{
    struct guest_socket *sockets[CONNECTIONS_MOST];
    int r = load->unit == VSOCK_CONNECT ? 0 : connect_all(vsock, load, sockets);
    uint64_t start = bench_now_ns();
    uint64_t kicks = vsock->guest.kicks, interrupts = vsock->guest.interrupts;
    *turn = (struct turn){0};
    /* Bulk: the guest's bytes lie in its buffers, as those of the bare pair do. */
    vsock->no_copies = load->unit == VSOCK_BULK;
    /* Without the calls at the start and end of connections. */
    if (counted) {
        counted_begin(&counted[0], &model->workers, duration_ns);
        counted_begin(&counted[1], &model->rest, duration_ns);
    }
    while (r == 0 && turn->ns < duration_ns) {
        if (load->unit == VSOCK_BULK)
            r = step_bulk(vsock, load, sockets, turn);
        else if (load->unit == VSOCK_PING)
            r = step_ping(vsock, load, sockets, turn, latency);
        else
            r = step_connect(vsock, load, turn);
        turn->ns = bench_now_ns() - start;
    }
    if (counted) {
        counted_end(&counted[1]);
        counted_end(&counted[0]);
    }
    vsock->no_copies = false;
    turn->kicks = (double)(vsock->guest.kicks - kicks);
    turn->interrupts = (double)(vsock->guest.interrupts - interrupts);
    if (r == 0 && load->unit != VSOCK_CONNECT)
        end_all(vsock, load->connections, sockets);
    return r;
}

/* ---- Everything together ---- */

static double own_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

static int measure_bare(const struct bench *bench, pid_t worker, const struct vsock_load *load,
                        double *ret_rate, struct vsock_result *result)
{
    double cpu = own_cpu_ns();
    int r = bare_turn(load, bench->slice_ns, ret_rate, &result->bare_latency);
    double amount = *ret_rate * (double)bench->slice_ns / 1e9;
    result->bare_cpu_ns += (own_cpu_ns() - cpu) / amount / bench->rounds;
    if (r == 0 && load->unit == VSOCK_PING)
        r = echo_turn(worker, bench->slice_ns / 4, &result->echo);
    return r;
}

static double calls(const struct counted *counted, double amount)
{
    return counted->syscalls < 0 ? -1 : (double)counted->syscalls / amount;
}

/* How much one call moves depends on whether guest and worker happen to run in step, too. So the
 * turn with the fewest calls counts, of three. */
static int count_calls(struct guest_vsock *vsock, const struct model *model,
                       const struct bench *bench, const struct vsock_load *load,
                       struct vsock_result *result)
{
    const unsigned int turns = load->unit == VSOCK_BULK ? 3 : 1;
    for (unsigned int i = 0; i < turns; i++) {
        struct counted counted[2]; /* the worker, the broker */
        struct turn turn;
        int r = run_turn(vsock, model, load, bench->slice_ns, &turn, NULL, counted);
        if (r < 0)
            return r;
        const double of_worker = calls(&counted[0], turn.amount);
        if (i > 0 && of_worker >= result->worker.syscalls)
            continue;
        result->worker.syscalls = of_worker;
        result->broker.syscalls = calls(&counted[1], turn.amount);
    }
    return 0;
}

static int measure(struct guest_vsock *vsock, const struct model *model, const struct bench *bench,
                   const struct vsock_load *load, struct vsock_result *result)
{
    struct use worker = {0}, broker = {0};
    int r = count_calls(vsock, model, bench, load, result);
    for (unsigned int round = 0; r == 0 && round < bench->rounds; round++) {
        struct turn turn;
        const struct use before = use_of(&model->workers), broker_before = use_of(&model->rest);
        r = run_turn(vsock, model, load, bench->slice_ns, &turn, &result->latency, NULL);
        use_add(&worker, before, &model->workers);
        use_add(&broker, broker_before, &model->rest);
        if (r == 0 && has_bare(load))
            r = measure_bare(bench, model->worker, load, &result->bare_rate[round], result);
        result->rate[round] = turn.amount * 1e9 / (double)turn.ns;
        result->amount += turn.amount;
        result->kicks += turn.kicks;
        result->interrupts += turn.interrupts;
    }
    if (r < 0)
        return r;
    use_divide(&worker, result->amount, &result->worker);
    use_divide(&broker, result->amount, &result->broker);
    result->kicks /= result->amount;
    result->interrupts /= result->amount;
    return vsock->violations == 0 && vsock->guest.error == 0 ? 0 : -EPROTO;
}

static void print_latency(struct vsock_result *result, bool bare)
{
    printf("%-28s p50 %.1f us, p99 %.1f us", "", samples_us(&result->latency, 50),
           samples_us(&result->latency, 99));
    if (bare)
        printf("; bare p50 %.1f us, p99 %.1f us; two eventfd wake-ups p50 %.1f us, p99 %.1f us",
               samples_us(&result->bare_latency, 50), samples_us(&result->bare_latency, 99),
               samples_us(&result->echo, 50), samples_us(&result->echo, 99));
    printf("\n");
}

void vsock_print(const struct bench *bench, struct vsock_result *results)
{
    printf("\n%-28s %10s %10s %11s %8s %8s %8s\n", "vsock/virtio", "MiB/s", "bare", RATIO_TITLE,
           "kicks", "irqs", "bare us");
    for (unsigned int i = 0; i < VSOCK_WORKLOADS; i++) {
        struct vsock_result *result = &results[i];
        printf("%-28s %10.0f %10.0f %11s %8.2f %8.2f %8.1f\n", loads[i].name,
               median(result->rate, bench->rounds), median(result->bare_rate, bench->rounds),
               ratio_words(result->rate, result->bare_rate, bench->rounds).text, result->kicks,
               result->interrupts, result->bare_cpu_ns / 1e3);
        if (loads[i].unit == VSOCK_PING)
            print_latency(result, has_bare(&loads[i]));
    }
    use_print_title("vsock/virtio", NAME_WIDTH);
    for (unsigned int i = 0; i < VSOCK_WORKLOADS; i++)
        use_print(loads[i].name, NAME_WIDTH, &results[i].worker, &results[i].broker);
    printf(
        "All but the rate: a MiB; a round trip, a connection, of which the first column has the\n"
        "number a second. 1 us a MiB is 1 ms a GiB. bare: readv and writev of 64 KiB on a pair of\n"
        "Unix sockets, by turns, with the processor time of both ends. The programs at the other\n"
        "ends share their processors with the guest.\n");
}

void vsock_print_json(FILE *file, const struct bench *bench, struct vsock_result *results)
{
    fprintf(file, "  \"vsock\": [\n");
    for (unsigned int i = 0; i < VSOCK_WORKLOADS; i++) {
        struct vsock_result *result = &results[i];
        fprintf(file,
                "    {\"name\": \"%s\", \"rate\": %.1f, \"bare_rate\": %.1f, \"ratio\": %.3f, "
                "\"ratio_spread\": %.3f, \"kicks\": %.4f, \"interrupts\": %.4f, \"p50_us\": %.2f, "
                "\"p99_us\": %.2f, "
                "\"bare_p50_us\": %.2f, \"bare_p99_us\": %.2f, \"bare_cpu_us\": %.3f, "
                "\"two_wakeups_p50_us\": %.2f",
                loads[i].name, median(result->rate, bench->rounds),
                median(result->bare_rate, bench->rounds),
                median_ratio(result->rate, result->bare_rate, bench->rounds),
                ratio_spread(result->rate, result->bare_rate, bench->rounds), result->kicks,
                result->interrupts, samples_us(&result->latency, 50),
                samples_us(&result->latency, 99), samples_us(&result->bare_latency, 50),
                samples_us(&result->bare_latency, 99), result->bare_cpu_ns / 1e3,
                samples_us(&result->echo, 50));
        use_print_json(file, "worker", &result->worker);
        use_print_json(file, "broker", &result->broker);
        fprintf(file, "}%s\n", i + 1 < VSOCK_WORKLOADS ? "," : "");
    }
    fprintf(file, "  ],\n");
}

void vsock_largest(const struct vsock_result *results, double *ret_calls, double *ret_interrupts)
{
    *ret_calls = 0;
    *ret_interrupts = 0;
    for (unsigned int i = 0; i < VSOCK_WORKLOADS; i++) {
        const struct vsock_result *result = &results[i];
        const double a_kib = result->worker.syscalls / 1024;
        if (loads[i].unit == VSOCK_BULK && *ret_calls >= 0 && (a_kib < 0 || a_kib > *ret_calls))
            *ret_calls = a_kib;
        if (loads[i].unit == VSOCK_PING && loads[i].connections == 1)
            *ret_interrupts = result->interrupts;
    }
}

static int run(struct bench *bench, const struct model *model, struct vsock_result *results)
{
    static struct guest_vsock vsock;
    guest_init(&vsock.guest, model->standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = guest_vsock_start(&vsock, GUEST_VSOCK_FEATURES);
    if (r == 0)
        (void)signal(SIGPIPE, SIG_IGN); /* for writev, after the guest has read enough */
    for (unsigned int i = 0; r == 0 && i < VSOCK_WORKLOADS; i++)
        r = measure(&vsock, model, bench, &loads[i], &results[i]);
    guest_vsock_free(&vsock);
    return r;
}

int vsock_run(struct bench *bench, const char *dir, int log, struct vsock_result *results)
{
    static const char keys[] = "    type: vsock\n    data_plane: virtio\n    guest_cid: 3\n"
                               "    socket_path: @/v\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/v_%u", dir, PORT);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t server;
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 128) < 0 || pthread_create(&server, NULL, serve, &listener) != 0)
        return -EIO;
    struct model model;
    struct bench shorter = *bench;
    if (bench->check) /* there are many workloads, and only counts are looked at */
        shorter.slice_ns /= 2;
    int r = model_start(bench, dir, log, keys, &model);
    if (r == 0)
        r = run(&shorter, &model, results);
    r = model_stop(&model, r);
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

void vsock_free(struct vsock_result *results)
{
    for (size_t i = 0; i < VSOCK_WORKLOADS; i++) {
        samples_free(&results[i].latency);
        samples_free(&results[i].bare_latency);
        samples_free(&results[i].echo);
    }
}
