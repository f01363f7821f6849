/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block reads from a slow disk and from the page cache: by our two engines and by
 * qemu-storage-daemon, one after the other. Each takes turns with a bare io_uring.
 */
#include "tests/bench/bare_ring.h"
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

/* A device model or a daemon, and the driver of its disk. */
struct engine_side {
    struct model model; /* of a daemon, only its process */
    struct side daemon;
    struct bare_ring_load bare;
    struct guest_block block;
    struct load_turn *turn;
    uint64_t start;
    bool last; /* no more are submitted */
};

static struct {
    struct engine_side side;
    unsigned int depth;
    bool anywhere;
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
        /* Even after the last one: others may have been submitted right before it. */
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

/* ---- What serves the disk ---- */

struct engine {
    const char *name; /* our io_engine; NULL: qemu-storage-daemon */
    bool direct;
};
static const struct engine engines[] = {
    {"sync", false}, {"io_uring", false}, {"io_uring", true}, {NULL, false}, {NULL, true}};
#define ENGINES (sizeof(engines) / sizeof(engines[0]))
#define CACHED_ENGINES 2u /* a daemon that reads from memory is measured by blocks.c */

static int start_ours(const struct bench *bench, const char *dir, int log, const char *path,
                      const struct engine *engine, struct engine_side *side)
{
    char keys[256];
    snprintf(keys, sizeof(keys),
             "    type: block\n    data_plane: virtio\n    file_path: %s\n    read_only: true\n"
             "    io_engine: %s\n    direct: %s\n",
             path, engine->name, engine->direct ? "true" : "false");
    int r = model_start(bench, dir, log, keys, &side->model);
    if (r == 0)
        guest_init(&side->block.guest, side->model.standin, 0, BENCH_BASE, BENCH_SHMEM,
                   BENCH_SHMEM_SIZE);
    return r;
}

static int start_daemon(const struct bench *bench, const char *dir, int log, const char *path,
                        const struct engine *engine, struct engine_side *side)
{
    const struct daemon_disk disk = {
        .driver = "host_device", .path = path, .read_only = true, .direct = engine->direct};
    char socket_path[128];
    snprintf(socket_path, sizeof(socket_path), "%s/socket", dir);
    int r = side_start_daemon(bench, &disk, socket_path, log, &side->daemon);
    unlink(socket_path);
    if (r < 0)
        return r;
    side->model.workers = side->daemon.data;
    side_guest(&side->daemon, &side->block.guest);
    return 0;
}

static int start(const struct bench *bench, const char *dir, int log, const char *path,
                 const struct engine *engine, struct engine_side *side)
{
    *side = (struct engine_side){.bare = {.path = path,
                                          .direct = engine->direct,
                                          .depth = session.depth,
                                          .size = SIZE,
                                          .random = 1}};
    int r = engine->name ? start_ours(bench, dir, log, path, engine, side)
                         : start_daemon(bench, dir, log, path, engine, side);
    if (r == 0)
        r = guest_block_start(&side->block, GUEST_BLOCK_FEATURES, DEPTH_MAX, SIZE);
    side->block.done = request_done;
    side->block.context = side;
    return r;
}

/* On the worker's processor, where there is one. */
static int bare_turn(void *context, struct load_turn *turn)
{
    struct engine_side *side = context;
    if (session.slow)
        slow_disk_forget(session.slow);
    if (!session.anywhere)
        (void)place_what_starts();
    int r = bare_ring_turn(&side->bare, turn);
    if (!session.anywhere)
        (void)place_guest();
    return r;
}

/* ---- Everything together ---- */

#define LOAD(words)                                                                                \
    {                                                                                              \
        .name = (words), .bytes = SIZE, .timed = true, .turn = turn, .bare = bare_turn             \
    }
#define SLOW(depth)                                                                                \
    {                                                                                              \
        LOAD("slow, " depth ", sync"), LOAD("slow, " depth ", io_uring"),                          \
            LOAD("slow, " depth ", io_uring direct"),                                              \
            LOAD("slow, " depth ", qemu-storage-daemon"),                                          \
            LOAD("slow, " depth ", qemu-storage-daemon direct")                                    \
    }
#define CACHED(depth)                                                                              \
    {                                                                                              \
        LOAD("memory, " depth ", sync"), LOAD("memory, " depth ", io_uring")                       \
    }
/* For each depth there is one load for each engine. */
static const unsigned int depths[] = {1, 32, 128};
#define DEPTHS (sizeof(depths) / sizeof(depths[0]))
static const struct load slow_loads[DEPTHS][ENGINES] = {SLOW("1"), SLOW("32"), SLOW("128")};
static const struct load cached_loads[DEPTHS][ENGINES] = {CACHED("1"), CACHED("32"), CACHED("128")};

static int run_one(const struct bench *bench, const char *dir, int log, struct load_set *set,
                   const char *path, const struct load *load, const struct engine *engine)
{
    struct engine_side *side = &session.side;
    struct load_side it = {side, &side->block.guest, &side->model}, none = {0};
    progress(load->name);
    int r = start(bench, dir, log, path, engine, side);
    if (r == 0)
        r = load_run(bench, set, load, &it, &none);
    guest_block_free(&side->block);
    return engine->name ? model_stop(&side->model, r) : side_stop(&side->daemon, r);
}

static int run_on(const struct bench *bench, const char *dir, int log, struct load_set *set,
                  const char *path, const struct load loads[][ENGINES], unsigned int engine_count)
{
    int r = 0;
    for (unsigned int i = 0; r == 0 && i < DEPTHS * engine_count; i++) {
        const unsigned int depth = i / engine_count, e = i % engine_count;
        session.depth = depths[depth];
        if (engines[e].name || side_exists(bench, SIDE_STORAGE_DAEMON))
            r = run_one(bench, dir, log, set, path, &loads[depth][e], &engines[e]);
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
    session.anywhere = bench->anywhere;
    session.slow = &slow;
    if (r == 0)
        r = run_on(bench, dir, log, set, slow.path, slow_loads, ENGINES);
    session.slow = NULL;
    if (r == 0)
        r = run_on(bench, dir, log, set, image, cached_loads, CACHED_ENGINES);
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
        "at once. calls, kicks, irqs, cpu (the worker's, or the daemon's): a request. bare: an\n"
        "io_uring that keeps as many reads under way, by turns, on the worker's processor. "
        "direct:\n"
        "O_DIRECT, of the bare reads as well. qemu-storage-daemon: over vhost-user with\n"
        "aio=io_uring, read-only; its guest has no register accesses that a process answers.\n",
    .run = run,
};
