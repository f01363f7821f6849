/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define PATH_SIZE 192

/* The promise at depth 32. */
#define SYSCALLS_MAX 1.3
#define MERGED_SYSCALLS_MAX 0.4 /* of sequential requests */
#define INTERRUPTS_MAX 0.2
#define RATIO_WANTED 0.6
#define CONFINEMENT_WANTED 3.0 /* percent of processor time */

#define K4 .size = 4096
#define PACKED .format = GUEST_PACKED
static const struct block_workload workloads[] = {
    {"4 KiB random read, 1", .depth = 1, K4, .checked = true},
    {"4 KiB random read, 8", .depth = 8, K4},
    {"4 KiB random read, 32", .depth = 32, K4, .checked = true},
    {"4 KiB random read, 128", .depth = 128, K4},
    {"4 KiB random write, 1", .depth = 1, K4, .write = true},
    {"4 KiB random write, 8", .depth = 8, K4, .write = true},
    {"4 KiB random write, 32", .depth = 32, K4, .write = true, .checked = true},
    {"4 KiB random write, 128", .depth = 128, K4, .write = true},
    {"packed, random read, 1", .depth = 1, K4, PACKED},
    {"packed, random read, 8", .depth = 8, K4, PACKED},
    {"packed, random read, 32", .depth = 32, K4, PACKED, .checked = true},
    {"packed, random read, 128", .depth = 128, K4, PACKED},
    {"packed, random write, 1", .depth = 1, K4, PACKED, .write = true},
    {"packed, random write, 8", .depth = 8, K4, PACKED, .write = true},
    {"packed, random write, 32", .depth = 32, K4, PACKED, .write = true},
    {"packed, random write, 128", .depth = 128, K4, PACKED, .write = true},
    {"4 KiB sequential read, 32", .depth = 32, K4, .sequential = true, .checked = true},
    {"4 KiB sequential write, 32", .depth = 32, K4, .sequential = true, .write = true},
    {"128 KiB sequential read, 8", .depth = 8, .size = 131072, .sequential = true, .checked = true},
    {"128 KiB sequential write, 8", .depth = 8, .size = 131072, .sequential = true, .write = true},
};
#define WORKLOADS (sizeof(workloads) / sizeof(workloads[0]))
#define PROMISED 2 /* the workload of the promise; the check compares all sides by it */
#define MERGED 16  /* the workload with neighbours */

static struct block_result results[WORKLOADS];
static bool placed; /* as struct model says */

static const char *const methods[] = {
    [SYSCALLS_TRACEPOINT] = "tracepoint raw_syscalls:sys_enter, in a turn of its own",
    [SYSCALLS_PTRACE] = "ptrace, in a turn of its own that it slows down",
    [SYSCALLS_NONE] = "not counted: neither tracepoint nor ptrace can be used",
};

static bool is_measured(const struct bench *bench, size_t workload)
{
    return !bench->check || workloads[workload].checked;
}

static double cpu_ns(const struct block_served *served)
{
    return served->data.cpu_ns + served->rest.cpu_ns;
}

/* Not every device model can be used again after the driver's reset, so a peer starts anew. */
static void restart_peer(const struct bench *bench, struct side *peer, int log)
{
    if (!peer->foreign)
        return;
    (void)side_stop(peer, 0);
    int r = side_start(bench, SIDE_PEER, log, peer);
    if (r < 0)
        fprintf(stderr, "bench: the peer does not come up: %s\n", strerror(-r));
}

static int run_workloads(const struct bench *bench, struct side *sides, struct image *image,
                         int log)
{
    for (size_t i = 0; i < WORKLOADS; i++) {
        struct side only[SIDES] = {[SIDE_OURS] = sides[SIDE_OURS]};
        if (!is_measured(bench, i))
            continue;
        restart_peer(bench, &sides[SIDE_PEER], log);
        progress(workloads[i].name);
        int r = block_run(bench, &workloads[i], bench->check && i != PROMISED ? only : sides, image,
                          &results[i]);
        if (r < 0) {
            fprintf(stderr, "bench: %s: %s\n", workloads[i].name,
                    r == -EILSEQ ? "a write is not in the image" : strerror(-r));
            return r;
        }
    }
    return 0;
}

int blocks_run(const struct bench *bench, const char *dir, int log)
{
    struct side sides[SIDES] = {0};
    char path[PATH_SIZE];
    struct image image;
    snprintf(path, sizeof(path), "%s/bare", dir);
    int r = image_make(path, IMAGE_SIZE, &image);
    for (enum side_id id = SIDE_OURS; r == 0 && id < SIDES; id++) {
        if (!side_exists(bench, id))
            continue;
        r = side_make(id, dir, &sides[id]);
        if (r == 0)
            r = side_start(bench, id, log, &sides[id]);
        if (r < 0)
            fprintf(stderr, "bench: %s does not come up: %s\n", side_names[id], strerror(-r));
    }
    placed = sides[SIDE_OURS].model.placed;
    if (r == 0)
        r = run_workloads(bench, sides, &image, log);
    if (r == 0)
        r = register_run(bench, sides[SIDE_OURS].model.standin);
    for (enum side_id id = SIDE_OURS; id < SIDES; id++) {
        const int before = r;
        r = side_stop(&sides[id], r);
        if (before == 0 && r < 0)
            fprintf(stderr, "bench: the end of %s: %s\n", side_names[id], strerror(-r));
        side_free(&sides[id]);
    }
    image_free(&image);
    unlink(path);
    return r;
}

/* ---- The tables ---- */

static void print_ours(const struct bench *bench)
{
    printf("%-28s %10s %10s %11s %9s %9s %9s %9s %7s %7s %7s\n", "block", "requests/s", "bare/s",
           RATIO_TITLE, "p50 us", "p99 us", "bare p50", "bare p99", "irqs", "kicks", "regs");
    for (size_t i = 0; i < WORKLOADS; i++) {
        const struct block_result *result = &results[i];
        const struct block_served *ours = &result->served[SIDE_OURS];
        if (!is_measured(bench, i))
            continue;
        printf("%-28s %10.0f %10.0f %11s %9.1f %9.1f %9.1f %9.1f %7.3f %7.3f %7.3f\n",
               workloads[i].name, median(ours->rate, bench->rounds),
               median(result->bare_rate, bench->rounds),
               ratio_words(ours->rate, result->bare_rate, bench->rounds).text, ours->p50_us,
               ours->p99_us, result->bare_p50_us, result->bare_p99_us, ours->interrupts,
               ours->kicks, ours->register_accesses);
    }
}

static void print_processes(const struct bench *bench)
{
    use_print_title("block, a request", NAME_WIDTH);
    for (size_t i = 0; i < WORKLOADS; i++) {
        const struct block_served *ours = &results[i].served[SIDE_OURS];
        if (is_measured(bench, i))
            use_print(workloads[i].name, NAME_WIDTH, &ours->data, &ours->rest);
    }
}

static void print_beside(const struct bench *bench, enum side_id side)
{
    printf("\nof %-25s %10s %11s %9s %9s %9s %6s %7s %7s %7s %7s %7s\n", side_names[side],
           "requests/s", RATIO_TITLE, "p50 us", "p99 us", "cpu us", "ratio", "calls", "switch",
           "irqs", "kicks", "regs");
    for (size_t i = 0; i < WORKLOADS; i++) {
        const struct block_served *ours = &results[i].served[SIDE_OURS],
                                  *its = &results[i].served[side];
        if (!its->measured)
            continue;
        const struct request_use *data = &its->data, *rest = &its->rest;
        printf("%-28s %10.0f %11s %9.1f %9.1f %9.2f %6.2f %7.3f %7.3f %7.3f %7.3f %7.3f\n",
               workloads[i].name, median(its->rate, bench->rounds),
               ratio_words(ours->rate, its->rate, bench->rounds).text, its->p50_us, its->p99_us,
               cpu_ns(its) / 1e3, cpu_ns(its) > 0 ? cpu_ns(ours) / cpu_ns(its) : 0,
               data->syscalls < 0 || rest->syscalls < 0 ? -1 : data->syscalls + rest->syscalls,
               data->voluntary + data->involuntary + rest->voluntary + rest->involuntary,
               its->interrupts, its->kicks, its->register_accesses);
    }
}

/* What confinement costs, in percent: the median over the workloads. */
static void confinement(const struct bench *bench, double *ret_cpu, double *ret_rate)
{
    double cpu[WORKLOADS], rate[WORKLOADS];
    unsigned int count = 0;
    for (size_t i = 0; i < WORKLOADS; i++) {
        const struct block_served *ours = &results[i].served[SIDE_OURS],
                                  *its = &results[i].served[SIDE_UNCONFINED];
        if (!its->measured || its->data.cpu_ns <= 0)
            continue;
        cpu[count] = (ours->data.cpu_ns / its->data.cpu_ns - 1) * 100;
        rate[count++] = (1 - median_ratio(ours->rate, its->rate, bench->rounds)) * 100;
    }
    *ret_cpu = count > 0 ? median(cpu, count) : 0;
    *ret_rate = count > 0 ? median(rate, count) : 0;
}

static const char *placement(const struct bench *bench)
{
    return bench->shared          ? "Guest, broker and worker share one processor."
           : !placed              ? "The scheduler places guest, broker and worker."
           : bench->one_processor ? "The device model has one processor, the guest has the others."
                                  : "The worker has one processor, guest and broker have the "
                                    "others.";
}

void blocks_print(const struct bench *bench)
{
    double cpu, rate;
    print_ours(bench);
    print_processes(bench);
    printf(
        "+-: the spread of the ratios of all turns, half of the distance between their quartiles.\n"
        "irqs: how often the interrupt was raised; the other completions had none of their own.\n"
        "regs: register accesses. They, kicks and the\n"
        "processes' columns: a request. voluntary, involuntary: context switches. bare: preadv\n"
        "or pwritev of such a file, by turns. System calls by\n%s.\n%s\n",
        methods[results[PROMISED].served[SIDE_OURS].method], placement(bench));
    for (enum side_id side = SIDE_OURS + 1; side < SIDES; side++) {
        if (results[PROMISED].served[side].measured)
            print_beside(bench, side);
        else
            printf("\nof %s: %s\n", side_names[side],
                   side == SIDE_PEER ? "none was given (--peer)" : "not installed");
    }
    confinement(bench, &cpu, &rate);
    printf("ratio: ours to its. unconfined: a worker built for this bench alone, without filter,\n"
           "Landlock, user and root of its own. Confinement takes %.1f %% of the worker's\n"
           "processor time and %.1f %% of the rate (medians; below %.0f %% wanted).\n"
           "qemu-storage-daemon: over vhost-user; its guest's registers are in the bench, so no\n"
           "access to them is a trap.\n\n",
           cpu, rate, CONFINEMENT_WANTED);
}

/* ---- JSON ---- */

static void print_served_json(FILE *file, const struct bench *bench,
                              const struct block_result *result, enum side_id side)
{
    const struct block_served *served = &result->served[side];
    fprintf(file,
            "%s\n      \"%s\": {\"requests_per_s\": %.0f, \"ratio_of_ours\": %.3f, "
            "\"ratio_spread\": %.3f, "
            "\"p50_us\": %.2f, \"p99_us\": %.2f, \"interrupts\": %.4f, \"kicks\": %.4f, "
            "\"register_accesses\": %.4f",
            side == SIDE_OURS ? "" : ",", side_names[side], median(served->rate, bench->rounds),
            median_ratio(result->served[SIDE_OURS].rate, served->rate, bench->rounds),
            ratio_spread(result->served[SIDE_OURS].rate, served->rate, bench->rounds),
            served->p50_us, served->p99_us, served->interrupts, served->kicks,
            served->register_accesses);
    use_print_json(file, served->rest.cpu_ns > 0 ? "worker" : "all", &served->data);
    if (served->rest.cpu_ns > 0)
        use_print_json(file, "broker", &served->rest);
    fprintf(file, "}");
}

void blocks_print_json(FILE *file, const struct bench *bench)
{
    const char *separator = "";
    double cpu, rate;
    confinement(bench, &cpu, &rate);
    fprintf(file,
            "  \"image_bytes\": %llu,\n  \"placed\": %s,\n  \"syscalls_by\": \"%s\",\n"
            "  \"confinement_cpu_percent\": %.2f,\n  \"confinement_rate_percent\": %.2f,\n"
            "  \"block\": [",
            IMAGE_SIZE, placed ? "true" : "false",
            methods[results[PROMISED].served[SIDE_OURS].method], cpu, rate);
    for (size_t i = 0; i < WORKLOADS; i++) {
        const struct block_result *result = &results[i];
        if (!is_measured(bench, i))
            continue;
        fprintf(file,
                "%s\n    {\"name\": \"%s\", \"bare_per_s\": %.0f, \"bare_p50_us\": %.2f, "
                "\"bare_p99_us\": %.2f, \"ratio\": %.3f, \"ratio_spread\": %.3f, "
                "\"served_by\": {",
                separator, workloads[i].name, median(result->bare_rate, bench->rounds),
                result->bare_p50_us, result->bare_p99_us,
                median_ratio(result->served[SIDE_OURS].rate, result->bare_rate, bench->rounds),
                ratio_spread(result->served[SIDE_OURS].rate, result->bare_rate, bench->rounds));
        for (enum side_id side = SIDE_OURS; side < SIDES; side++) {
            if (result->served[side].measured)
                print_served_json(file, bench, result, side);
        }
        fprintf(file, "}}");
        separator = ",";
    }
    fprintf(file, "\n  ],\n");
}

/* ---- The check ---- */

struct promise {
    const char *what;
    double is, limit;
};

void blocks_check(const struct bench *bench, unsigned int *count, unsigned int *failed)
{
    const struct block_served *ours = &results[PROMISED].served[SIDE_OURS],
                              *merged = &results[MERGED].served[SIDE_OURS],
                              *peer = &results[PROMISED].served[SIDE_PEER];
    const struct promise promises[] = {
        {"system calls a request at depth 32", ours->data.syscalls, SYSCALLS_MAX},
        {"system calls a sequential request at depth 32", merged->data.syscalls,
         MERGED_SYSCALLS_MAX},
        {"interrupts a request at depth 32", ours->interrupts, INTERRUPTS_MAX},
        {"interrupts a request of a second device model, as a peer",
         peer->measured ? peer->interrupts : -1, INTERRUPTS_MAX},
    };
    /* Another program's counts are no promise of ours. */
    const unsigned int made = sizeof(promises) / sizeof(promises[0]) - !bench->peer_is_ours;
    for (unsigned int i = 0; i < made; i++) {
        const bool kept = promises[i].is >= 0 && promises[i].is <= promises[i].limit;
        printf("%s: %s: %.3f, at most %.1f\n", kept ? "ok" : "MISSED", promises[i].what,
               promises[i].is, promises[i].limit);
        *count += 1;
        *failed += !kept;
    }
    double is = median_ratio(ours->rate, results[PROMISED].bare_rate, bench->rounds);
    printf("%s: %.2f of the bare loop's requests/s at depth 32, %.1f wanted\n",
           is >= RATIO_WANTED ? "reached" : "not reached (reported only)", is, RATIO_WANTED);
}
