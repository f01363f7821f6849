/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>

#define SECTOR 512u

/* One turn of one workload. */
struct turn {
    const struct bench *bench;
    const struct block_workload *workload;
    struct samples *latency;
    uint64_t random, position;
    uint64_t submitted, done, failed;
    bool last; /* no more are submitted */
};

static uint64_t next_offset(struct turn *turn)
{
    uint64_t blocks = turn->bench->image_size / turn->workload->size;
    if (turn->workload->sequential)
        return turn->position++ % blocks * turn->workload->size;
    turn->random = turn->random * 6364136223846793005ull + 1442695040888963407ull;
    return (turn->random >> 33) % blocks * turn->workload->size;
}

static void submit(struct guest_block *block, struct guest_block_request *request)
{
    struct turn *turn = block->context;
    if (guest_block_submit(block, request, VIRTIO_BLK_T_IN, next_offset(turn) / SECTOR,
                           turn->workload->size) < 0)
        turn->failed++;
    else
        turn->submitted++;
}

static void request_done(struct guest_block *block, struct guest_block_request *request)
{
    struct turn *turn = block->context;
    samples_add(turn->latency, bench_now_ns() - request->submitted_ns);
    turn->done++;
    if (*request->status != VIRTIO_BLK_S_OK)
        turn->failed++;
    if (!turn->last)
        submit(block, request);
}

/* Keep `depth` requests in flight for that time. Returns requests per second, or < 0. */
static double guest_turn(struct guest_block *block, struct turn *turn, uint64_t duration_ns)
{
    uint64_t start = bench_now_ns();
    block->context = turn;
    for (unsigned int i = 0; i < block->depth; i++)
        submit(block, &block->requests[i]);
    guest_queue_kick(&block->queue);
    while (turn->done < turn->submitted) {
        turn->last = bench_now_ns() - start >= duration_ns;
        int completed = guest_block_interrupt(block);
        if (completed < 0)
            return completed;
        if (!turn->last)
            guest_queue_kick(&block->queue);
    }
    return turn->failed > 0 ? -EIO : (double)turn->done * 1e9 / (double)(bench_now_ns() - start);
}

/* The smallest effort with which a program can read the same data. */
static double bare_turn(struct turn *turn, uint64_t duration_ns, void *buffer)
{
    uint64_t start = bench_now_ns(), before = start;
    do {
        struct iovec iov = {.iov_base = buffer, .iov_len = turn->workload->size};
        if (preadv(turn->bench->image, &iov, 1, (off_t)next_offset(turn)) !=
            (ssize_t)turn->workload->size)
            return -EIO;
        uint64_t now = bench_now_ns();
        samples_add(turn->latency, now - before);
        before = now;
        turn->done++;
    } while (before - start < duration_ns);
    return (double)turn->done * 1e9 / (double)(before - start);
}

/* Counting slows down the worker and nothing else, so it has its own turn. */
static int count_calls(const struct bench *bench, const struct block_workload *workload,
                       struct guest_block *block, struct block_result *result)
{
    struct samples unused = {0};
    struct turn turn = {.bench = bench, .workload = workload, .latency = &unused, .random = 1};
    struct counted counted;
    counted_begin(&counted, bench->model.worker, bench->slice_ns * 2);
    double rate = guest_turn(block, &turn, bench->slice_ns);
    counted_end(&counted);
    samples_free(&unused);
    result->method = counted.syscalls < 0 ? SYSCALLS_NONE : counted.method;
    result->syscalls = (double)counted.syscalls / (double)turn.done;
    return rate < 0 ? -EIO : 0;
}

static int run_turns(struct bench *bench, const struct block_workload *workload,
                     struct guest_block *block, struct block_result *result)
{
    if (count_calls(bench, workload, block, result) < 0)
        return -EIO;
    struct guest before = block->guest;
    uint64_t cpu = 0, broker_cpu = 0, requests = 0;
    void *buffer = aligned_alloc(4096, workload->size);
    int r = buffer ? 0 : -ENOMEM;
    for (unsigned int round = 0; round < bench->rounds && r == 0; round++) {
        struct turn turn = {
            .bench = bench, .workload = workload, .latency = &result->latency, .random = round + 1};
        uint64_t cpu_before = cpu_time_ns(bench->model.worker);
        uint64_t broker_before = cpu_time_ns(bench->model.broker);
        result->rate[round] = guest_turn(block, &turn, bench->slice_ns);
        cpu += cpu_time_ns(bench->model.worker) - cpu_before;
        broker_cpu += cpu_time_ns(bench->model.broker) - broker_before;
        requests += turn.done;

        turn = (struct turn){.bench = bench,
                             .workload = workload,
                             .latency = &result->bare_latency,
                             .random = round + 1};
        result->bare_rate[round] = bare_turn(&turn, bench->slice_ns, buffer);
        if (result->rate[round] < 0 || result->bare_rate[round] < 0)
            r = -EIO;
    }
    free(buffer);
    if (r < 0)
        return r;
    const double n = (double)requests;
    result->interrupts = (double)(block->guest.interrupts - before.interrupts) / n;
    result->kicks = (double)(block->guest.kicks - before.kicks) / n;
    result->register_accesses =
        (double)(block->guest.register_accesses - before.register_accesses) / n -
        result->kicks; /* kicks never reach the device model as accesses */
    result->worker_cpu_ns = (double)cpu / n;
    result->broker_cpu_ns = (double)broker_cpu / n;
    return 0;
}

int block_run(struct bench *bench, const struct block_workload *workload,
              struct block_result *result)
{
    struct guest_block block = {0};
    guest_init(&block.guest, bench->model.standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = guest_block_start(&block, GUEST_BLOCK_FEATURES | workload->format, workload->depth,
                              workload->size);
    block.done = request_done;
    if (r == 0)
        r = run_turns(bench, workload, &block, result);
    guest_block_free(&block);
    return r;
}
