/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"

#define STARTS_A_ROUND 2u
#define WANTED_MS 10.0

static struct samples starts[SIDES];
static struct samples least; /* a client that answers at once */

/* The stand-in's own part: a client of one small file and one process. */
static int start_client(void)
{
    const char *argv[] = {STANDIN_CLIENT, "serve", NULL};
    struct standin_options options = {
        .devices = {{.present = true, .shmem_addr = BENCH_SHMEM, .shmem_size = BENCH_SHMEM_SIZE}},
        .argv = argv,
        .stdin_fd = -1,
        .stdout_fd = -1,
        .stderr_fd = -1,
    };
    struct standin *standin;
    uint64_t value;
    const uint64_t before = bench_now_ns();
    int r = standin_start(&options, &standin);
    if (r < 0)
        return r;
    r = standin_read(standin, 0, BENCH_BASE, 4, &value, -1);
    samples_add(&least, bench_now_ns() - before);
    const int status = standin_stop(standin);
    return r == 0 && status < 0 ? status : r;
}

static int start(const struct bench *bench, enum side_id id, int log, struct side *side)
{
    int r = side_start(bench, id, log, side);
    if (r == 0)
        samples_add(&starts[id], side->model.start_ns);
    return side_stop(side, r);
}

static bool is_measured(const struct bench *bench, enum side_id id)
{
    return (id == SIDE_OURS || id == SIDE_PEER) && side_exists(bench, id);
}

int startup_run(const struct bench *bench, const char *dir, int log)
{
    struct side sides[SIDES] = {0};
    int r = 0;
    progress("starts");
    for (enum side_id id = SIDE_OURS; id < SIDES && r == 0; id++) {
        if (is_measured(bench, id))
            r = side_make(id, dir, &sides[id]);
    }
    for (unsigned int round = 0; round < STARTS_A_ROUND * bench->rounds && r == 0; round++) {
        r = start_client();
        for (enum side_id id = SIDE_OURS; id < SIDES && r == 0; id++) {
            if (is_measured(bench, id))
                r = start(bench, id, log, &sides[id]);
        }
    }
    for (enum side_id id = SIDE_OURS; id < SIDES; id++)
        side_free(&sides[id]);
    return r;
}

static void print_row(const char *name, struct samples *samples)
{
    if (samples->count > 0)
        printf("%-28s %9.1f %9.1f\n", name, samples_us(samples, 50) / 1e3,
               samples_us(samples, 100) / 1e3);
}

void startup_print(void)
{
    printf("\n%-28s %9s %9s\n", "start", "p50 ms", "max ms");
    print_row("the stand-in's floor", &least);
    for (enum side_id id = SIDE_OURS; id < SIDES; id++)
        print_row(side_names[id], &starts[id]);
    printf("From the start of the program until its block device has answered. Wanted: p50 below\n"
           "%.0f ms.\n",
           WANTED_MS);
}

void startup_print_json(FILE *file)
{
    fprintf(file, "  \"startup\": {\"floor_p50_ms\": %.2f", samples_us(&least, 50) / 1e3);
    for (enum side_id id = SIDE_OURS; id < SIDES; id++) {
        if (starts[id].count > 0)
            fprintf(file, ", \"%s_p50_ms\": %.2f, \"%s_max_ms\": %.2f", side_names[id],
                    samples_us(&starts[id], 50) / 1e3, side_names[id],
                    samples_us(&starts[id], 100) / 1e3);
    }
    fprintf(file, "},\n");
}
