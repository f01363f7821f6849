/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "tests/bench/bench.h"

#define SECTOR 512u
#define TURN_PART 2u /* there are many workloads, so their turns are shorter */

/* One turn of one workload, on one image. */
struct turn {
    const struct block_workload *workload;
    struct image *image;
    struct samples *latency;
    uint64_t random, position;
    uint64_t submitted, done, failed;
    bool last; /* no more are submitted */
};

static uint64_t any_offset(struct turn *turn)
{
    uint64_t blocks = turn->image->size / turn->workload->size;
    if (turn->workload->sequential)
        return turn->position++ % blocks * turn->workload->size;
    turn->random = turn->random * 6364136223846793005ull + 1442695040888963407ull;
    return (turn->random >> 33) % blocks * turn->workload->size;
}

/* The order of two writes to the same place is nobody's business, so there is only one at a time.
 */
static uint64_t next_offset(struct turn *turn)
{
    uint64_t offset = any_offset(turn);
    while (turn->workload->write && turn->image->busy[offset / IMAGE_PAGE])
        offset = any_offset(turn);
    return offset;
}

static void submit(struct guest_block *block, struct guest_block_request *request)
{
    struct turn *turn = block->context;
    const uint32_t size = turn->workload->size;
    const uint64_t offset = next_offset(turn);
    if (turn->workload->write) {
        image_stamp(turn->image, request->data, size);
        turn->image->busy[offset / IMAGE_PAGE] = true;
    }
    if (guest_block_submit(block, request,
                           turn->workload->write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
                           offset / SECTOR, size) < 0)
        turn->failed++;
    else
        turn->submitted++;
}

static void request_done(struct guest_block *block, struct guest_block_request *request)
{
    struct turn *turn = block->context;
    const uint32_t size = turn->workload->size;
    const uint64_t offset = request->header->sector * SECTOR;
    samples_add(turn->latency, bench_now_ns() - request->submitted_ns);
    turn->done++;
    if (*request->status != VIRTIO_BLK_S_OK)
        turn->failed++;
    else if (turn->workload->write)
        image_written(turn->image, offset, request->data, size);
    else if (!image_holds(turn->image, offset, request->data, size))
        turn->failed++;
    if (turn->workload->write)
        turn->image->busy[offset / IMAGE_PAGE] = false;
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
    const double rate = (double)turn->done * 1e9 / (double)(bench_now_ns() - start);
    if (turn->failed > 0)
        return -EIO;
    return turn->workload->write && image_check(turn->image) < 0 ? -EILSEQ : rate;
}

static bool bare_once(struct turn *turn, uint8_t *buffer)
{
    const uint32_t size = turn->workload->size;
    const uint64_t offset = next_offset(turn);
    const struct iovec iov = {buffer, size};
    if (!turn->workload->write)
        return preadv(turn->image->fd, &iov, 1, (off_t)offset) == (ssize_t)size &&
               image_holds(turn->image, offset, buffer, size);
    image_stamp(turn->image, buffer, size);
    image_written(turn->image, offset, buffer, size);
    return pwritev(turn->image->fd, &iov, 1, (off_t)offset) == (ssize_t)size;
}

/* The smallest effort with which a program can move the same data. */
static double bare_turn(struct turn *turn, uint64_t duration_ns, uint8_t *buffer)
{
    uint64_t start = bench_now_ns(), before = start;
    do {
        if (!bare_once(turn, buffer))
            return -EIO;
        uint64_t now = bench_now_ns();
        samples_add(turn->latency, now - before);
        before = now;
        turn->done++;
    } while (before - start < duration_ns);
    return (double)turn->done * 1e9 / (double)(before - start);
}

/* ---- One side ---- */

/* What is measured of a side, until it is divided by the number of requests. */
struct measured {
    struct side *side;
    struct guest_block block;
    struct samples latency;
    uint64_t requests;
    struct use data, rest;
};

static struct turn turn_of(const struct block_workload *workload, struct side *side,
                           struct samples *latency, unsigned int round)
{
    return (struct turn){
        .workload = workload, .image = &side->image, .latency = latency, .random = round + 1};
}

/* Counting slows down what is counted and nothing else, so it has its own turn. */
static int count_calls(const struct block_workload *workload, struct measured *measured,
                       uint64_t duration_ns, struct block_served *served)
{
    struct samples unused = {0};
    struct turn turn = turn_of(workload, measured->side, &unused, 0);
    struct counted data, rest;
    counted_begin(&data, &measured->side->data, duration_ns * 2);
    if (data.method == SYSCALLS_TRACEPOINT)
        counted_begin(&rest, &measured->side->rest, duration_ns * 2);
    else
        rest = (struct counted){.method = SYSCALLS_NONE, .syscalls = -1};
    double rate = guest_turn(&measured->block, &turn, duration_ns);
    counted_end(&rest);
    counted_end(&data);
    samples_free(&unused);
    served->method = data.syscalls < 0 ? SYSCALLS_NONE : data.method;
    served->data.syscalls = (double)data.syscalls / (double)turn.done;
    served->rest.syscalls = (double)rest.syscalls / (double)turn.done;
    return rate < 0 ? (int)rate : 0;
}

static int measure_turn(const struct block_workload *workload, struct measured *measured,
                        uint64_t duration_ns, unsigned int round, struct block_served *served)
{
    struct side *side = measured->side;
    struct turn turn = turn_of(workload, side, &measured->latency, round);
    const struct use data = use_of(&side->data), rest = use_of(&side->rest);
    served->rate[round] = guest_turn(&measured->block, &turn, duration_ns);
    use_add(&measured->data, data, &side->data);
    use_add(&measured->rest, rest, &side->rest);
    measured->requests += turn.done;
    return served->rate[round] < 0 ? (int)served->rate[round] : 0;
}

static void conclude(struct measured *measured, const struct guest *before,
                     struct block_served *served)
{
    const double n = (double)measured->requests;
    const struct guest *guest = &measured->block.guest;
    served->interrupts = (double)(guest->interrupts - before->interrupts) / n;
    served->kicks = (double)(guest->kicks - before->kicks) / n;
    served->register_accesses = (double)(guest->register_accesses - before->register_accesses) / n -
                                served->kicks; /* kicks never reach the device model as accesses */
    served->p50_us = samples_us(&measured->latency, 50);
    served->p99_us = samples_us(&measured->latency, 99);
    use_divide(&measured->data, n, &served->data);
    use_divide(&measured->rest, n, &served->rest);
}

/* Without indirect descriptors, a request takes three places of the ring. */
static bool fits(const struct guest_block *block)
{
    return block->queue.indirect || 3 * block->depth <= block->queue.size;
}

/* Returns 0 or -errno; -ENOTSUP if it lacks the ring's format, or a ring of that size. */
static int begin(const struct block_workload *workload, struct side *side,
                 struct measured *measured)
{
    const uint64_t wanted = GUEST_BLOCK_FEATURES | workload->format;
    *measured = (struct measured){.side = side};
    side_guest(side, &measured->block.guest);
    int r = guest_block_start(&measured->block, wanted, workload->depth, workload->size);
    measured->block.done = request_done;
    if (r == 0 && ((measured->block.guest.features & workload->format) != workload->format ||
                   !fits(&measured->block)))
        r = -ENOTSUP;
    return r;
}

/* ---- All sides, by turns ---- */

/* What ours can't do ends the bench. Another is left out of this workload, and unless it only lacks
 * such a ring, that is said. Returns 0, or `result` of ours. */
static int look_at(enum side_id id, struct block_served *served, int result)
{
    if (id == SIDE_OURS || result == 0)
        return result;
    served->measured = false;
    if (result != -ENOTSUP)
        fprintf(stderr, "bench: %s fails, and is left out here: %s\n", side_names[id],
                result == -EILSEQ ? "a write is not in the image" : strerror(-result));
    return 0;
}

static int run_rounds(const struct bench *bench, const struct block_workload *workload,
                      struct image *image, struct measured *measured, struct block_result *result)
{
    const uint64_t duration_ns = bench->slice_ns / TURN_PART;
    struct samples bare = {0};
    uint8_t *buffer = aligned_alloc(IMAGE_PAGE, workload->size);
    int r = buffer ? 0 : -ENOMEM;
    if (buffer)
        memset(buffer, 0, workload->size);
    for (unsigned int round = 0; round < bench->rounds && r == 0; round++) {
        for (unsigned int i = 0; i < SIDES && r == 0; i++) {
            const unsigned int s = (round + i) % SIDES; /* each is the first of a round */
            struct block_served *served = &result->served[s];
            if (served->measured)
                r = look_at(s, served,
                            measure_turn(workload, &measured[s], duration_ns, round, served));
        }
        struct turn turn = {
            .workload = workload, .image = image, .latency = &bare, .random = round + 1};
        result->bare_rate[round] = r < 0 ? 0 : bare_turn(&turn, duration_ns, buffer);
        if (result->bare_rate[round] < 0)
            r = -EIO;
    }
    result->bare_p50_us = samples_us(&bare, 50);
    result->bare_p99_us = samples_us(&bare, 99);
    samples_free(&bare);
    free(buffer);
    return r;
}

int block_run(const struct bench *bench, const struct block_workload *workload, struct side *sides,
              struct image *image, struct block_result *result)
{
    struct measured measured[SIDES] = {0};
    struct guest before[SIDES];
    int r = 0;
    *result = (struct block_result){0};
    for (unsigned int s = 0; s < SIDES && r == 0; s++) {
        if (!sides[s].up)
            continue;
        struct block_served *served = &result->served[s];
        served->measured = true;
        r = begin(workload, &sides[s], &measured[s]);
        if (r == 0)
            r = count_calls(workload, &measured[s], bench->slice_ns / TURN_PART, served);
        r = look_at(s, served, r);
        before[s] = measured[s].block.guest;
    }
    if (r == 0)
        r = run_rounds(bench, workload, image, measured, result);
    for (unsigned int s = 0; s < SIDES; s++) {
        if (r == 0 && result->served[s].measured)
            conclude(&measured[s], &before[s], &result->served[s]);
        guest_block_free(&measured[s].block);
        samples_free(&measured[s].latency);
    }
    return r;
}
