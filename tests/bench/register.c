/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>

#define ACCESSES_A_TURN 2000
#define TIMEOUT_MS 10000

static int run_turn(struct standin *standin, uint64_t offset, struct samples *samples)
{
    for (unsigned int i = 0; i < ACCESSES_A_TURN; i++) {
        uint64_t value;
        uint64_t start = bench_now_ns();
        int r = standin_read(standin, 0, BENCH_BASE + offset, 4, &value, TIMEOUT_MS);
        if (r < 0)
            return r;
        samples_add(samples, bench_now_ns() - start);
    }
    return 0;
}

static struct samples relayed; /* answered by the worker */
static struct samples broker;  /* InterruptStatus: answered by the broker */
static struct samples least;   /* a client that answers at once */

int register_run(const struct bench *bench, struct standin *ours)
{
    const char *argv[] = {STANDIN_CLIENT, "serve", NULL};
    struct standin_options options = {
        .devices = {{.present = true, .shmem_addr = BENCH_SHMEM, .shmem_size = 0x100000}},
        .argv = argv,
        .stdin_fd = -1,
        .stdout_fd = -1,
        .stderr_fd = -1,
    };
    struct standin *floor;
    int r = standin_start(&options, &floor);
    if (r < 0)
        return r;
    for (unsigned int round = 0; round < bench->rounds && r == 0; round++) {
        r = run_turn(ours, VIRTIO_MMIO_STATUS, &relayed);
        if (r == 0)
            r = run_turn(ours, VIRTIO_MMIO_INTERRUPT_STATUS, &broker);
        if (r == 0)
            r = run_turn(floor, VIRTIO_MMIO_STATUS, &least);
    }
    int status = standin_stop(floor);
    return r == 0 && status < 0 ? status : r;
}

static void print_row(const char *name, struct samples *samples)
{
    const double p50 = samples_us(samples, 50), floor = samples_us(&least, 50);
    printf("%-28s %9.1f %9.1f %6.2f\n", name, p50, samples_us(samples, 99), p50 / floor);
}

void register_print(void)
{
    printf("%-28s %9s %9s %6s\n", "register read", "p50 us", "p99 us", "ratio");
    print_row("the stand-in's floor", &least);
    print_row("answered by the broker", &broker);
    print_row("answered by the worker", &relayed);
}

void register_print_json(FILE *file)
{
    fprintf(file,
            "  \"register\": {\"floor_p50_us\": %.2f, \"floor_p99_us\": %.2f, "
            "\"broker_p50_us\": %.2f, \"broker_p99_us\": %.2f, \"worker_p50_us\": %.2f, "
            "\"worker_p99_us\": %.2f},\n",
            samples_us(&least, 50), samples_us(&least, 99), samples_us(&broker, 50),
            samples_us(&broker, 99), samples_us(&relayed, 50), samples_us(&relayed, 99));
}
