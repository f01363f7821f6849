/* SPDX-License-Identifier: Apache-2.0 */
/* Block reads by the two engines, by turns, from a slow disk and from the page cache. */
#include "tests/bench/bench.h"
#include "tests/bench/slow_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SECTOR 512u
#define SIZE 4096u
#define SLOW_BYTES (64ull << 30)
#define MEMORY_BYTES (128l << 20) /* holes, which read as fast as anything in memory */
#define DEPTH_MAX 128u

/* A device model, and the driver of its disk. */
struct engine_side {
    struct model model;
    struct guest_block block;
    struct load_turn *turn;
    uint64_t start;
    bool last; /* no more are submitted */
};

static struct {
    struct engine_side side;
    unsigned int depth;
    const struct slow_disk *slow; /* NULL: the image is in memory */
    uint64_t random;
} session;

static int submit(struct engine_side *side, struct guest_block_request *request)
{
    session.random = session.random * 6364136223846793005ull + 1442695040888963407ull;
    const uint64_t blocks = side->block.capacity / (SIZE / SECTOR);
    return guest_block_submit(&side->block, request, VIRTIO_BLK_T_IN,
                              (session.random >> 20) % blocks * (SIZE / SECTOR), SIZE);
}

static void request_done(struct guest_block *block, struct guest_block_request *request)
{
    struct engine_side *side = block->context;
    const uint64_t now = bench_now_ns();
    side->turn->ns = now - side->start;
    side->turn->count++;
    side->last = side->last || side->turn->ns >= side->turn->duration_ns;
    if (side->turn->latency)
        samples_add(side->turn->latency, now - request->submitted_ns);
    if (*request->status != VIRTIO_BLK_S_OK || (!side->last && submit(side, request) < 0))
        block->guest.error = -EIO;
}

/* Keep so many requests under way. */
static int keep_busy(struct engine_side *side, struct load_turn *turn)
{
    struct guest_block *block = &side->block;
    if (session.slow)
        slow_disk_forget(session.slow);
    side->turn = turn;
    side->last = false;
    side->start = bench_now_ns();
    int r = 0;
    for (unsigned int i = 0; r == 0 && i < session.depth; i++)
        r = submit(side, &block->requests[i]);
    guest_queue_kick(&block->queue);
    for (unsigned int busy = session.depth; r == 0 && busy > 0;) {
        int completed = guest_block_interrupt(block);
        r = completed < 0 ? completed : block->guest.error;
        if (!side->last)
            guest_queue_kick(&block->queue);
        busy = 0;
        for (unsigned int i = 0; i < session.depth; i++)
            busy += block->requests[i].busy;
    }
    return r;
}

static int turn(void *context, struct load_turn *turn)
{
    return keep_busy(context, turn);
}

static int start(const struct bench *bench, const char *dir, int log, const char *path,
                 const char *engine, struct engine_side *side)
{
    char keys[256];
    snprintf(keys, sizeof(keys),
             "    type: block\n    data_plane: virtio\n    file_path: %s\n    read_only: true\n"
             "    io_engine: %s\n",
             path, engine);
    int r = model_start(bench, dir, log, keys, &side->model);
    if (r < 0)
        return r;
    guest_init(&side->block.guest, side->model.standin, 0, BENCH_BASE, BENCH_SHMEM,
               BENCH_SHMEM_SIZE);
    r = guest_block_start(&side->block, GUEST_BLOCK_FEATURES, DEPTH_MAX, SIZE);
    side->block.done = request_done;
    side->block.context = side;
    return r;
}

#define LOAD(words)                                                                                \
    {                                                                                              \
        .name = (words), .bytes = SIZE, .timed = true, .turn = turn                                \
    }
#define LOADS(where, number) LOAD(where ", " number ", sync"), LOAD(where ", " number ", io_uring")
/* For each depth there is one load for each engine, and they follow one another. */
static const unsigned int depths[] = {1, 32, 128};
static const struct load slow_loads[] = {LOADS("slow", "1"), LOADS("slow", "32"),
                                         LOADS("slow", "128")};
static const struct load cached_loads[] = {LOADS("memory", "1"), LOADS("memory", "32"),
                                           LOADS("memory", "128")};
static const char *const engines[] = {"sync", "io_uring"};

static int run_one(const struct bench *bench, const char *dir, int log, struct load_set *set,
                   const char *path, const struct load *load, const char *engine)
{
    struct engine_side *side = &session.side;
    struct load_side ours = {side, &side->block.guest, &side->model}, none = {0};
    *side = (struct engine_side){0};
    int r = start(bench, dir, log, path, engine, side);
    if (r == 0)
        r = load_run(bench, set, load, &ours, &none);
    guest_block_free(&side->block);
    return model_stop(&side->model, r);
}

static int run_on(const struct bench *bench, const char *dir, int log, struct load_set *set,
                  const char *path, const struct load *loads)
{
    int r = 0;
    for (unsigned int i = 0; r == 0 && i < 2 * sizeof(depths) / sizeof(depths[0]); i++) {
        session.depth = depths[i / 2];
        r = run_one(bench, dir, log, set, path, &loads[i], engines[i % 2]);
    }
    return r;
}

static int run(struct bench *bench, const char *dir, int log, struct load_set *set)
{
    struct slow_disk slow;
    char image[128];
    snprintf(image, sizeof(image), "%s/memory", dir);
    int file = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = file < 0 || ftruncate(file, MEMORY_BYTES) < 0 ? -errno : 0;
    if (file >= 0)
        close(file);
    int made = slow_disk_make(&slow, dir, SLOW_BYTES);
    r = r < 0 ? r : made;
    session.slow = &slow;
    if (r == 0)
        r = run_on(bench, dir, log, set, slow.path, slow_loads);
    session.slow = NULL;
    if (r == 0)
        r = run_on(bench, dir, log, set, image, cached_loads);
    slow_disk_free(&slow);
    unlink(image);
    return r;
}

struct load_set disk_set = {
    .name = "disk",
    .title = "4 KiB random reads",
    .operation = "requests/s",
    .notes =
        "1, 32, 128: reads under way. slow: each read of the disk takes 100 us, and it serves 64\n"
        "at once. calls, kicks, irqs, cpu (the worker's): a request.\n",
    .run = run,
};
