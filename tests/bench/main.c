/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMAGE_SIZE (128ull << 20)
#define PATH_SIZE 128

/* The promise at depth 32. */
#define SYSCALLS_MAX 1.3
#define MERGED_SYSCALLS_MAX 0.4 /* of sequential requests */
#define INTERRUPTS_MAX 0.2
#define RATIO_WANTED 0.6
/* Sockets. One readv for each of the guest's buffers of 4 KiB would be 0.25 a KiB. A round trip has
 * one packet each way, and each may interrupt. */
#define VSOCK_CALLS_MAX 0.1
#define VSOCK_INTERRUPTS_MAX 2.0
/* The promise for every kind of device. */
#define WORKER_KIB_MAX 1024.0
#define BROKER_KIB_MAX 3072.0

static const struct block_workload workloads[] = {
    {.name = "4 KiB random, depth 1", .depth = 1, .size = 4096},
    {.name = "4 KiB random, depth 32", .depth = 32, .size = 4096},
    {.name = "4 KiB sequential, depth 32", .depth = 32, .size = 4096, .sequential = true},
    {.name = "4 KiB random, 32, packed", .depth = 32, .size = 4096, .format = GUEST_PACKED},
    {.name = "128 KiB sequential, depth 8", .depth = 8, .size = 131072, .sequential = true},
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))
#define PROMISED 1 /* the workload of the promise */
#define MERGED 2   /* the workload with neighbours */

static struct load_set *const sets[] = {&net_set, &console_set, &rng_set};
#define SETS (sizeof(sets) / sizeof(sets[0]))

static const char *const methods[] = {
    [SYSCALLS_TRACEPOINT] = "tracepoint raw_syscalls:sys_enter, in a turn of its own",
    [SYSCALLS_PTRACE] = "ptrace, in a turn of its own that it slows down",
    [SYSCALLS_NONE] = "not counted: neither tracepoint nor ptrace can be used",
};

static double ratio(const struct block_result *result, unsigned int rounds)
{
    return median_ratio(result->rate, result->bare_rate, rounds);
}

static int make_image(const char *path, struct bench *bench)
{
    static char chunk[1 << 20];
    bench->image_size = IMAGE_SIZE;
    bench->image = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (bench->image < 0)
        return -errno;
    for (uint64_t at = 0; at < IMAGE_SIZE; at += sizeof(chunk)) {
        memset(chunk, (int)(at >> 20), sizeof(chunk));
        if (write(bench->image, chunk, sizeof(chunk)) != (ssize_t)sizeof(chunk))
            return errno ? -errno : -ENOSPC;
    }
    return 0;
}

static void print_table(const struct bench *bench, struct block_result *results,
                        struct register_result *registers)
{
    printf("%-28s %10s %10s %6s %9s %9s %9s %9s %8s %8s %8s %8s\n", "block read", "requests/s",
           "bare/s", "ratio", "p50 us", "p99 us", "bare p50", "bare p99", "calls", "irqs", "kicks",
           "cpu us");
    for (size_t i = 0; i < WORKLOADS; i++) {
        struct block_result *result = &results[i];
        printf("%-28s %10.0f %10.0f %6.2f %9.1f %9.1f %9.1f %9.1f %8.3f %8.3f %8.3f %8.2f\n",
               workloads[i].name, median(result->rate, bench->rounds),
               median(result->bare_rate, bench->rounds), ratio(result, bench->rounds),
               samples_us(&result->latency, 50), samples_us(&result->latency, 99),
               samples_us(&result->bare_latency, 50), samples_us(&result->bare_latency, 99),
               result->syscalls, result->interrupts, result->kicks, result->worker_cpu_ns / 1e3);
    }
    printf("calls, irqs, kicks, cpu (the worker's): a request. bare: preadv of the same file,\n"
           "by turns. System calls by %s.\n%s\n\n",
           methods[results[PROMISED].method],
           !bench->model.placed ? "One processor: guest, broker and worker take turns."
           : bench->one_processor
               ? "The device model has one processor, the guest has the others."
               : "The worker has one processor, guest and broker have the others.");
    const double floor50 = samples_us(&registers->floor, 50);
    printf("%-28s %9s %9s %6s\n", "register read", "p50 us", "p99 us", "ratio");
    printf("%-28s %9.1f %9.1f %6.2f\n", "the stand-in's floor", floor50,
           samples_us(&registers->floor, 99), 1.0);
    printf("%-28s %9.1f %9.1f %6.2f\n", "answered by the broker",
           samples_us(&registers->interrupt, 50), samples_us(&registers->interrupt, 99),
           samples_us(&registers->interrupt, 50) / floor50);
    printf("%-28s %9.1f %9.1f %6.2f\n", "answered by the worker",
           samples_us(&registers->relayed, 50), samples_us(&registers->relayed, 99),
           samples_us(&registers->relayed, 50) / floor50);
}

static void print_json(FILE *file, const struct bench *bench, struct block_result *results,
                       struct register_result *registers, struct vsock_result *vsock,
                       struct restart_result *restarts)
{
    fprintf(file,
            "{\n  \"image_bytes\": %llu,\n  \"rounds\": %u,\n  \"slice_s\": %.3f,\n"
            "  \"placed\": %s,\n  \"device_model_has_one_processor\": %s,\n",
            (unsigned long long)bench->image_size, bench->rounds, (double)bench->slice_ns / 1e9,
            bench->model.placed ? "true" : "false", bench->one_processor ? "true" : "false");
    fprintf(file, "  \"syscalls_by\": \"%s\",\n  \"block\": [\n",
            methods[results[PROMISED].method]);
    for (size_t i = 0; i < WORKLOADS; i++) {
        struct block_result *result = &results[i];
        fprintf(file,
                "    {\"name\": \"%s\", \"requests_per_s\": %.0f, \"bare_per_s\": %.0f, "
                "\"ratio\": %.3f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"bare_p50_us\": %.2f, "
                "\"bare_p99_us\": %.2f, \"syscalls\": %.4f, \"interrupts\": %.4f, "
                "\"kicks\": %.4f, \"register_accesses\": %.4f, \"worker_cpu_us\": %.3f, "
                "\"broker_cpu_us\": %.3f}%s\n",
                workloads[i].name, median(result->rate, bench->rounds),
                median(result->bare_rate, bench->rounds), ratio(result, bench->rounds),
                samples_us(&result->latency, 50), samples_us(&result->latency, 99),
                samples_us(&result->bare_latency, 50), samples_us(&result->bare_latency, 99),
                result->syscalls, result->interrupts, result->kicks, result->register_accesses,
                result->worker_cpu_ns / 1e3, result->broker_cpu_ns / 1e3,
                i + 1 < WORKLOADS ? "," : "");
    }
    fprintf(file, "  ],\n");
    vsock_print_json(file, bench, vsock);
    for (size_t i = 0; i < SETS; i++)
        load_print_json(file, bench, sets[i]);
    restart_print_json(file, restarts);
    fprintf(file,
            "  \"register\": {\"floor_p50_us\": %.2f, \"floor_p99_us\": %.2f, "
            "\"broker_p50_us\": %.2f, \"broker_p99_us\": %.2f, \"worker_p50_us\": %.2f, "
            "\"worker_p99_us\": %.2f}\n}\n",
            samples_us(&registers->floor, 50), samples_us(&registers->floor, 99),
            samples_us(&registers->interrupt, 50), samples_us(&registers->interrupt, 99),
            samples_us(&registers->relayed, 50), samples_us(&registers->relayed, 99));
}

/* The counts depend only on the program, so they are checked. The speed also depends on the
 * machine. */
static int check(const struct bench *bench, const struct block_result *results,
                 const struct vsock_result *vsock, const struct restart_result *restarts)
{
    double worker_kib, broker_kib, vsock_calls, vsock_interrupts;
    restart_largest(restarts, &worker_kib, &broker_kib);
    vsock_largest(vsock, &vsock_calls, &vsock_interrupts);
    const struct block_result *result = &results[PROMISED], *merged = &results[MERGED];
    const struct {
        const char *what;
        bool kept;
        double is, limit;
    } promises[] = {
        {"system calls a request at depth 32",
         result->method != SYSCALLS_NONE && result->syscalls <= SYSCALLS_MAX, result->syscalls,
         SYSCALLS_MAX},
        {"system calls a sequential request at depth 32",
         merged->method != SYSCALLS_NONE && merged->syscalls <= MERGED_SYSCALLS_MAX,
         merged->syscalls, MERGED_SYSCALLS_MAX},
        {"interrupts a request at depth 32", result->interrupts <= INTERRUPTS_MAX,
         result->interrupts, INTERRUPTS_MAX},
        {"system calls a KiB over sockets in bulk",
         vsock_calls >= 0 && vsock_calls <= VSOCK_CALLS_MAX, vsock_calls, VSOCK_CALLS_MAX},
        {"interrupts a round trip over a socket", vsock_interrupts <= VSOCK_INTERRUPTS_MAX,
         vsock_interrupts, VSOCK_INTERRUPTS_MAX},
        {"KiB of private memory of a worker", worker_kib <= WORKER_KIB_MAX, worker_kib,
         WORKER_KIB_MAX},
        {"KiB of private memory of the broker", broker_kib <= BROKER_KIB_MAX, broker_kib,
         BROKER_KIB_MAX},
    };
    unsigned int failed = 0, count = sizeof(promises) / sizeof(promises[0]);
    printf("\n");
    for (unsigned int i = 0; i < sizeof(promises) / sizeof(promises[0]); i++) {
        printf("%s: %s: %.3f, at most %.1f\n", promises[i].kept ? "ok" : "MISSED", promises[i].what,
               promises[i].is, promises[i].limit);
        failed += !promises[i].kept;
    }
    for (size_t i = 0; i < SETS; i++)
        load_check(sets[i], &count, &failed);
    double is = ratio(result, bench->rounds);
    printf("%s: %.2f of the bare loop's requests/s at depth 32, %.1f wanted\n",
           is >= RATIO_WANTED ? "reached" : "not reached (reported only)", is, RATIO_WANTED);
    printf("%u passed, %u failed\n", count - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct bench *bench, struct block_result *results, struct register_result *registers)
{
    for (size_t i = 0; i < WORKLOADS; i++) {
        int r = block_run(bench, &workloads[i], &results[i]);
        if (r < 0) {
            fprintf(stderr, "bench: %s: %s\n", workloads[i].name, strerror(-r));
            return r;
        }
    }
    int r = register_run(bench, registers);
    if (r < 0)
        fprintf(stderr, "bench: register accesses: %s\n", strerror(-r));
    return r;
}

static const char usage[] =
    "usage: tests/bench/run [--check] [--json FILE] [--rounds N] [--slice MS] [--dir DIR]\n"
    "\n"
    "Measures the device model on the dispatcher stand-in. Needs root.\n"
    "\n"
    "  --check      fail if the promised counts per request, or of memory, are missed\n"
    "  --json FILE  write the results as JSON as well (- for standard output)\n"
    "  --rounds N   turns of each measurement (10)\n"
    "  --slice MS   how long each turn lasts (200); half of it for net, console and rng\n"
    "  --dir DIR    where the image is made (/tmp)\n"
    "  --one        the device model has one processor, as in a backend with one; without it,\n"
    "               the worker has one and the broker the others\n"
    "  --no-polling the worker sleeps at once (poll_us: 0)\n"
    "  --vsock, --net, --console, --rng\n"
    "               measure only this kind; --vsock can't be checked alone\n";

struct options {
    bool check, vsock;
    struct load_set *only; /* NULL: all */
    const char *json, *dir;
};

static bool parse(int argc, char **argv, struct bench *bench, struct options *options)
{
    static const struct option longs[] = {
        {"check", no_argument, NULL, 'c'},
        {"json", required_argument, NULL, 'j'},
        {"rounds", required_argument, NULL, 'r'},
        {"slice", required_argument, NULL, 's'},
        {"dir", required_argument, NULL, 'd'},
        {"no-polling", no_argument, NULL, 'n'},
        {"vsock", no_argument, NULL, 'v'},
        {"one", no_argument, NULL, 'o'},
        {"net", no_argument, NULL, '0'},
        {"console", no_argument, NULL, '1'},
        {"rng", no_argument, NULL, '2'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            options->check = true;
            break;
        case 'j':
            options->json = optarg;
            break;
        case 'r':
            bench->rounds = (unsigned int)strtoul(optarg, NULL, 10);
            break;
        case 's':
            bench->slice_ns = strtoull(optarg, NULL, 10) * 1000000;
            break;
        case 'd':
            options->dir = optarg;
            break;
        case 'n':
            bench->no_polling = true;
            break;
        case 'o':
            bench->one_processor = true;
            break;
        case 'v':
            options->vsock = true;
            break;
        case '0':
        case '1':
        case '2':
            options->only = sets[option - '0'];
            break;
        case 'h':
            fputs(usage, stdout);
            exit(EXIT_SUCCESS);
        default:
            return false;
        }
    }
    return optind == argc && bench->rounds >= 1 && bench->rounds <= ROUNDS_MAX &&
           bench->slice_ns > 0 && !(options->vsock && options->check);
}

static void free_vsock(struct vsock_result *vsock)
{
    for (size_t i = 0; i < VSOCK_WORKLOADS; i++) {
        samples_free(&vsock[i].latency);
        samples_free(&vsock[i].bare_latency);
        samples_free(&vsock[i].echo);
    }
}

static int run_vsock(struct bench *bench, const char *dir, int log, struct vsock_result *vsock)
{
    int r = vsock_run(bench, dir, log, vsock);
    if (r < 0)
        fprintf(stderr, "bench: vsock: %s\n", strerror(-r));
    return r;
}

static int run_set(struct bench *bench, const char *dir, int log, struct load_set *set)
{
    int r = set->run(bench, dir, log, set);
    if (r < 0)
        fprintf(stderr, "bench: %s: %s\n", set->name, strerror(-r));
    return r;
}

static FILE *open_json(const struct options *options)
{
    FILE *file = strcmp(options->json, "-") == 0 ? stdout : fopen(options->json, "we");
    if (!file)
        fprintf(stderr, "bench: %s: %s\n", options->json, strerror(errno));
    return file;
}

static int close_json(FILE *file)
{
    return file == stdout || fclose(file) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool check_one(const struct load_set *set)
{
    unsigned int count = 0, failed = 0;
    printf("\n");
    load_check(set, &count, &failed);
    printf("%u passed, %u failed\n", count - failed, failed);
    return failed == 0;
}

/* Only one kind, without the rest. */
static int measure_one(struct bench *bench, const struct options *options, const char *dir, int log)
{
    static struct vsock_result vsock[VSOCK_WORKLOADS];
    struct load_set *set = options->only;
    if ((set ? run_set(bench, dir, log, set) : run_vsock(bench, dir, log, vsock)) < 0)
        return EXIT_FAILURE;
    if (set)
        load_print(bench, set);
    else
        vsock_print(bench, vsock);
    int result = EXIT_SUCCESS;
    FILE *file = options->json ? open_json(options) : NULL;
    if (file) {
        fprintf(file, "{\n");
        if (set)
            load_print_json(file, bench, set);
        else
            vsock_print_json(file, bench, vsock);
        fprintf(file, "  \"rounds\": %u\n}\n", bench->rounds);
        result = close_json(file);
    }
    if (set && options->check && !check_one(set))
        result = EXIT_FAILURE;
    if (set)
        load_free(set);
    else
        free_vsock(vsock);
    return options->json && !file ? EXIT_FAILURE : result;
}

/* The disk, and register accesses. */
static int run_block(struct bench *bench, const char *dir, int log, struct block_result *results,
                     struct register_result *registers)
{
    int r = model_start(bench, dir, log,
                        "    type: block\n    data_plane: virtio\n    file_path: @/image\n"
                        "    read_only: true\n",
                        &bench->model);
    if (r < 0)
        fprintf(stderr, "bench: the device model does not come up: %s\n", strerror(-r));
    if (r == 0)
        r = run(bench, results, registers);
    return model_stop(&bench->model, r);
}

static int measure(struct bench *bench, const struct options *options, const char *dir, int log)
{
    static struct block_result results[WORKLOADS];
    static struct register_result registers;
    static struct vsock_result vsock[VSOCK_WORKLOADS];
    static struct restart_result restarts;
    int r = run_block(bench, dir, log, results, &registers);
    if (r == 0)
        r = run_vsock(bench, dir, log, vsock);
    for (size_t i = 0; r == 0 && i < SETS; i++)
        r = run_set(bench, dir, log, sets[i]);
    if (r < 0 || restart_run(bench, dir, log, &restarts) < 0)
        return EXIT_FAILURE;
    print_table(bench, results, &registers);
    vsock_print(bench, vsock);
    for (size_t i = 0; i < SETS; i++)
        load_print(bench, sets[i]);
    restart_print(&restarts);
    if (options->json) {
        FILE *file = open_json(options);
        if (!file)
            return EXIT_FAILURE;
        print_json(file, bench, results, &registers, vsock, &restarts);
        (void)close_json(file);
    }
    int result = options->check ? check(bench, results, vsock, &restarts) : EXIT_SUCCESS;
    for (size_t i = 0; i < WORKLOADS; i++) {
        samples_free(&results[i].latency);
        samples_free(&results[i].bare_latency);
    }
    free_vsock(vsock);
    for (size_t i = 0; i < SETS; i++)
        load_free(sets[i]);
    restart_free(&restarts);
    samples_free(&registers.relayed);
    samples_free(&registers.interrupt);
    samples_free(&registers.floor);
    return result;
}

static void copy_log(int log)
{
    char text[4096];
    ssize_t length = pread(log, text, sizeof(text) - 1, 0);
    if (length > 0)
        fprintf(stderr, "bench: log of the device model:\n%.*s", (int)length, text);
}

int main(int argc, char **argv)
{
    struct bench bench = {.rounds = 10, .slice_ns = 200000000};
    struct options options = {.dir = "/tmp"};
    if (!parse(argc, argv, &bench, &options)) {
        fputs(usage, stderr);
        return 2;
    }
    if (geteuid() != 0) {
        fprintf(stderr,
                "bench: root is needed: it starts the device model, which confines itself\n");
        return EXIT_FAILURE;
    }
    char dir[PATH_SIZE], image[PATH_SIZE + 16], log_path[PATH_SIZE + 16];
    snprintf(dir, sizeof(dir), "%s/bao-bench-XXXXXX", options.dir);
    if (!mkdtemp(dir)) {
        fprintf(stderr, "bench: %s: %s\n", dir, strerror(errno));
        return EXIT_FAILURE;
    }
    snprintf(image, sizeof(image), "%s/image", dir);
    snprintf(log_path, sizeof(log_path), "%s/log", dir);
    int log = open(log_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int result = EXIT_FAILURE;
    int r = make_image(image, &bench);
    if (r < 0 || log < 0)
        fprintf(stderr, "bench: cannot make %s: %s\n", image, strerror(r < 0 ? -r : errno));
    else if (options.vsock || options.only)
        result = measure_one(&bench, &options, dir, log);
    else
        result = measure(&bench, &options, dir, log);
    if (result != EXIT_SUCCESS)
        copy_log(log);
    unlink(image);
    unlink(log_path);
    rmdir(dir);
    return result;
}
