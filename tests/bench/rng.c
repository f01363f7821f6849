/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes, one request under way, as Linux's driver asks for them. Bare: getrandom. */
#include "tests/bench/bench.h"

#include <errno.h>
#include <sys/random.h>

#define RNG_DEVICE_ID 4
#define FEATURES                                                                                   \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define LARGEST 4096u

struct session {
    uint32_t size; /* of a request */
    struct guest guest;
    struct guest_queue queue;
    uint64_t addr;
    uint8_t *data;
};

static int request(void *context)
{
    struct session *session = context;
    const struct guest_segment segment = {session->addr, session->size, true};
    uint32_t length;
    int r = guest_queue_add(&session->queue, &segment, 1, session->data);
    guest_queue_kick(&session->queue);
    while (r == 0 && session->guest.error == 0 && !guest_queue_get(&session->queue, &length))
        r = load_wait(&session->queue);
    return r < 0 ? r : session->guest.error;
}

static int turn(void *context, struct load_turn *turn)
{
    return load_repeat(turn, request, context);
}

static int get_random(void *context)
{
    const struct session *session = context;
    uint8_t bytes[LARGEST];
    return getrandom(bytes, session->size, 0) == (ssize_t)session->size ? 0 : -EIO;
}

static int bare(void *context, struct load_turn *turn)
{
    return load_repeat(turn, get_random, context);
}

/* getrandom, the call of the interrupt, and one for events; and one more now and then. */
static const struct load loads[] = {
    {.name = "64 bytes",
     .bytes = 64,
     .timed = true,
     .turn = turn,
     .bare = bare,
     .syscalls_max = 3.5,
     .interrupts_max = 1.1},
    {.name = "4096 bytes",
     .bytes = LARGEST,
     .timed = true,
     .turn = turn,
     .bare = bare,
     .syscalls_max = 3.5,
     .interrupts_max = 1.1},
};

static int start(struct session *session, struct standin *standin)
{
    struct guest *guest = &session->guest;
    guest_init(guest, standin, 0, BENCH_BASE, BENCH_SHMEM, BENCH_SHMEM_SIZE);
    int r = guest_probe(guest, RNG_DEVICE_ID);
    if (r == 0)
        r = guest_negotiate(guest, FEATURES);
    if (r == 0)
        r = guest_queue_start(guest, &session->queue, 0, 0);
    session->data = guest_alloc(guest, LARGEST, 64, &session->addr);
    if (r == 0 && !session->data)
        r = -ENOMEM;
    return r < 0 ? r : guest_driver_ok(guest);
}

static int run(struct bench *bench, const char *dir, int log, struct load_set *set)
{
    struct session session = {0};
    struct model model;
    struct load_side ours = {&session, &session.guest, &model}, none = {0};
    int r = model_start(bench, dir, log, "    type: rng\n    data_plane: virtio\n", &model);
    if (r == 0)
        r = start(&session, model.standin);
    for (unsigned int i = 0; r == 0 && i < sizeof(loads) / sizeof(loads[0]); i++) {
        session.size = loads[i].bytes;
        r = load_run(bench, set, &loads[i], &ours, &none);
    }
    guest_queue_free(&session.queue);
    return model_stop(&model, r);
}

struct load_set rng_set = {
    .name = "rng",
    .title = "random bytes",
    .operation = "requests/s",
    .notes = "One request under way. All but the rate: a request. bare:\n"
             "getrandom, by turns.\n",
    .run = run,
};
