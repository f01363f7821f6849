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

int register_run(struct bench *bench, struct register_result *result)
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
        r = run_turn(bench->model.standin, VIRTIO_MMIO_STATUS, &result->relayed);
        if (r == 0)
            r = run_turn(bench->model.standin, VIRTIO_MMIO_INTERRUPT_STATUS, &result->interrupt);
        if (r == 0)
            r = run_turn(floor, VIRTIO_MMIO_STATUS, &result->floor);
    }
    int status = standin_stop(floor);
    return r == 0 && status < 0 ? status : r;
}
