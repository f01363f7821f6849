/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock-perf measures speed and checks the data. It streams pseudo-random bytes over AF_VSOCK in
 * both directions. Each end computes its own sum of what it sent or received. It also measures
 * round trips of one byte.
 *
 * A connection carries one job. The client sends a struct job; then
 *   SEND:    the client streams `amount` bytes, the server answers with its sum;
 *   RECEIVE: the server streams `amount` bytes and then its sum;
 *   ECHO:    the server returns every byte until end of file.
 */
#include <sys/socket.h> /* before linux/vm_sockets.h, which in Linux 6.1 does not include it */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/vm/send_all.h"

#define PORT_DEFAULT 5201u
#define CHUNK ((size_t)256 << 10)
#define WORDS (CHUNK / sizeof(uint64_t))
#define MIB ((uint64_t)1 << 20)
#define PINGS_MAX 100000u
#define STALL_S 300 /* for what never comes, however slow a machine is */

enum job_kind { JOB_SEND = 1, JOB_RECEIVE = 2, JOB_ECHO = 3 };

struct job {
    uint32_t kind;
    uint32_t reserved;
    uint64_t amount; /* bytes, a multiple of CHUNK */
    uint64_t seed;   /* of the pseudo-random stream */
};

struct settings {
    unsigned int port;
    unsigned int cid;
    const char *path; /* not NULL: the Unix socket of a device, which leads to its frontend */
    char peer[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 4]; /* for people */
    uint64_t bytes;
    unsigned int pings;
    bool quiet;
};

static uint64_t chunk[WORDS];

static void say(const char *what)
{
    (void)fprintf(stderr, "vsock-perf: %s: %s\n", what, strerror(errno));
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64: a lost, doubled or swapped piece of this stream is found. */
static void fill_chunk(uint64_t *state)
{
    uint64_t x = *state;
    for (size_t i = 0; i < WORDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        chunk[i] = x;
    }
    *state = x;
}

/* The sum depends on the order and the value of every word. */
static uint64_t sum_chunk(uint64_t sum)
{
    for (size_t i = 0; i < WORDS; i++)
        sum = (sum ^ chunk[i]) * 0x9e3779b97f4a7c15u + (sum >> 29);
    return sum;
}

static bool receive_all(int fd, void *data, size_t size)
{
    uint8_t *next = data;
    while (size > 0) {
        ssize_t n = recv(fd, next, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ECONNRESET;
        if (n <= 0)
            return false;
        next += n;
        size -= (size_t)n;
    }
    return true;
}

static void show_progress(const char *what, uint64_t done, uint64_t amount, bool quiet)
{
    static uint64_t shown;
    if (quiet || !isatty(STDOUT_FILENO))
        return;
    if (done < amount && now_ns() - shown < 200000000u)
        return;
    shown = now_ns();
    printf("\r   | %s: %" PRIu64 " of %" PRIu64 " MiB%s", what, done / MIB, amount / MIB,
           done == amount ? "\r\033[K" : "");
    (void)fflush(stdout);
}

/* Stream out or in. *ret_sum is the sum of what passed. */
static bool stream(int fd, const struct job *job, bool out, const char *label, uint64_t *ret_sum)
{
    uint64_t state = job->seed;
    uint64_t sum = 0;
    for (uint64_t done = 0; done < job->amount; done += CHUNK) {
        if (out)
            fill_chunk(&state);
        if (out ? !send_all(fd, chunk, CHUNK) : !receive_all(fd, chunk, CHUNK))
            return false;
        sum = sum_chunk(sum);
        if (label)
            show_progress(label, done + CHUNK, job->amount, false);
    }
    *ret_sum = sum;
    return true;
}

static bool set_timeouts(int fd)
{
    struct timeval limit = {.tv_sec = STALL_S};
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == 0;
}

static bool serve_echo(int fd)
{
    uint8_t byte;
    ssize_t n;
    while ((n = recv(fd, &byte, 1, 0)) == 1) {
        if (!send_all(fd, &byte, 1))
            return false;
    }
    return n == 0;
}

static bool serve_job(int fd)
{
    struct job job;
    if (!set_timeouts(fd) || !receive_all(fd, &job, sizeof(job)))
        return false;
    uint64_t sum;
    switch (job.kind) {
    case JOB_SEND:
        return stream(fd, &job, false, NULL, &sum) && send_all(fd, &sum, sizeof(sum));
    case JOB_RECEIVE:
        return stream(fd, &job, true, NULL, &sum) && send_all(fd, &sum, sizeof(sum));
    case JOB_ECHO:
        return serve_echo(fd);
    default:
        return false;
    }
}

static int serve(const struct settings *settings)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = settings->port};
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 8) < 0) {
        say("cannot listen");
        return 1;
    }
    (void)signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED)
                continue;
            say("accept");
            return 1;
        }
        pid_t child = fork();
        if (child == 0)
            _exit(serve_job(fd) ? 0 : 1);
        close(fd);
    }
}

static bool connect_by_cid(int fd, const struct settings *settings)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_cid = settings->cid, .svm_port = settings->port};
    struct timeval limit = {.tv_sec = STALL_S};
    return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &limit, sizeof(limit)) == 0 &&
           connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* The device is asked for the port by a line, and answers by one. */
static bool connect_by_path(int fd, const struct settings *settings)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char line[32];
    int length = snprintf(line, sizeof(line), "CONNECT %u\n", settings->port);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", settings->path);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        !send_all(fd, line, (size_t)length))
        return false;
    char byte, first = '\0';
    do {
        if (!receive_all(fd, &byte, 1))
            return false;
        if (first == '\0')
            first = byte;
    } while (byte != '\n');
    if (first != 'O')
        errno = ECONNREFUSED;
    return first == 'O';
}

static int start_job(const struct settings *settings, const struct job *job)
{
    int fd = socket(settings->path ? AF_UNIX : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || !set_timeouts(fd) ||
        !(settings->path ? connect_by_path(fd, settings) : connect_by_cid(fd, settings)) ||
        !send_all(fd, job, sizeof(*job))) {
        say("cannot connect");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static bool measure_stream(const struct settings *settings, bool out)
{
    struct job job = {
        .kind = out ? JOB_SEND : JOB_RECEIVE,
        .amount = settings->bytes,
        .seed = now_ns() | 1,
    };
    const char *label = out ? "sending" : "receiving";
    int fd = start_job(settings, &job);
    if (fd < 0)
        return false;
    uint64_t begin = now_ns();
    uint64_t ours;
    uint64_t theirs;
    bool ok = stream(fd, &job, out, settings->quiet ? NULL : label, &ours) &&
              receive_all(fd, &theirs, sizeof(theirs));
    uint64_t took = now_ns() - begin;
    if (!ok)
        say(label);
    close(fd);
    if (!ok)
        return false;
    printf("   | %s %s: %" PRIu64 " MiB in %.2f s, %.1f MiB/s, checksum %016" PRIx64 " %s\n",
           out ? "sent to      " : "received from", settings->peer, job.amount / MIB,
           (double)took / 1e9, (double)job.amount / (double)MIB / ((double)took / 1e9), ours,
           ours == theirs ? "right at both ends" : "DIFFERS at the other end");
    return ours == theirs;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool measure_round_trips(const struct settings *settings)
{
    static uint64_t times[PINGS_MAX];
    struct job job = {.kind = JOB_ECHO};
    int fd = start_job(settings, &job);
    if (fd < 0)
        return false;
    for (unsigned int i = 0; i < settings->pings; i++) {
        uint8_t sent = (uint8_t)i;
        uint8_t back = (uint8_t)~sent;
        uint64_t begin = now_ns();
        if (!send_all(fd, &sent, 1) || !receive_all(fd, &back, 1) || back != sent) {
            say("round trip");
            close(fd);
            return false;
        }
        times[i] = now_ns() - begin;
    }
    close(fd);
    qsort(times, settings->pings, sizeof(times[0]), compare);
    const unsigned int middle = settings->pings / 2;
    const unsigned int last_hundredth = (unsigned int)((uint64_t)settings->pings * 99 / 100);
    printf("   | round trip to %s: median %.0f us, 99%% below %.0f us, best %.0f us (%u tries)\n",
           settings->peer, (double)times[middle] / 1e3, (double)times[last_hundredth] / 1e3,
           (double)times[0] / 1e3, settings->pings);
    return true;
}

static int run(const struct settings *settings)
{
    bool ok = true;
    if (settings->bytes > 0)
        ok = measure_stream(settings, true) && measure_stream(settings, false);
    if (ok && settings->pings > 0)
        ok = measure_round_trips(settings);
    return ok ? 0 : 1;
}

static int usage(FILE *to, int status)
{
    (void)fputs(
        "usage: vsock-perf serve [--port PORT]\n"
        "       vsock-perf run CID|SOCKET [--port PORT] [--mib N] [--pings N] [--quiet]\n"
        "Streams N MiB to the server on a CID and back with checksums (64), and times N\n"
        "round trips of a byte (500); 0 leaves one out. SOCKET is the Unix socket of a\n"
        "vsock/virtio device: the server is in its frontend. Exit status 0: all was right.\n",
        to);
    return status;
}

static bool parse_number(const char *text, unsigned long max, unsigned long *ret)
{
    char *end;
    errno = 0;
    *ret = strtoul(text, &end, 10);
    return end != text && *end == '\0' && errno == 0 && *ret <= max;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},  {"mib", required_argument, NULL, 'm'},
        {"pings", required_argument, NULL, 'n'}, {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    struct settings settings = {.port = PORT_DEFAULT, .bytes = 64 * MIB, .pings = 500};
    unsigned long number;
    int code;
    while ((code = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (code == 'q')
            settings.quiet = true;
        else if (code == 'h')
            return usage(stdout, 0);
        else if (code == 'p' && parse_number(optarg, UINT32_MAX, &number))
            settings.port = (unsigned int)number;
        else if (code == 'm' && parse_number(optarg, 1u << 20, &number))
            settings.bytes = number * MIB;
        else if (code == 'n' && parse_number(optarg, PINGS_MAX, &number))
            settings.pings = (unsigned int)number;
        else
            return usage(stderr, 2);
    }
    if (optind + 1 == argc && strcmp(argv[optind], "serve") == 0)
        return serve(&settings);
    if (optind + 2 == argc && strcmp(argv[optind], "run") == 0) {
        if (argv[optind + 1][0] == '/')
            settings.path = argv[optind + 1];
        else if (!parse_number(argv[optind + 1], UINT32_MAX, &number))
            return usage(stderr, 2);
        else
            settings.cid = (unsigned int)number;
        (void)snprintf(settings.peer, sizeof(settings.peer), "%s%s", settings.path ? "" : "CID ",
                       argv[optind + 1]);
        return run(&settings);
    }
    return usage(stderr, 2);
}
