/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same random operations on a split and on a packed queue, and on a model that is neither: a
 * list of chains and four counters. After each operation all three must agree. The two drivers
 * below were written from the standard. They share nothing with the worker or the other tests.
 */
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "worker/virtqueue/virtqueue.h"

#define BASE 0x10000000ull
#define WINDOW_SIZE 0x100000u
#define RINGS_END 0x8000u
#define BUFFERS 0x40000u
#define TABLE_ENTRIES 8u
#define RING_MAX QUEUE_SIZE_MAX
#define EVENT_IDX (1ull << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT (1ull << VIRTIO_RING_F_INDIRECT_DESC)
#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define ROUNDS 300
#define OPERATIONS 3000

static unsigned char memory[2][WINDOW_SIZE] __attribute__((aligned(4096)));

static uint32_t random_below(uint32_t bound)
{
    static uint64_t state = 88172645463325252ull;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33) % bound;
}

/* ---- The model ---- */

struct buffer {
    uint32_t offset, length; /* in the window */
    bool writable;
};

struct request {
    struct buffer buffers[TABLE_ENTRIES];
    unsigned int count;
    bool indirect;
    uint32_t descriptors; /* of the ring */
    uint32_t position;    /* free-running count of descriptors at its start */
    uint16_t id;          /* packed: Buffer ID */
    uint16_t head;        /* split */
    uint32_t length;      /* as it was completed */
};

enum wish { NEVER, ALWAYS, AT_CHAIN };

/* Counters are free-running; seen <= published <= completed <= taken <= offered. */
static struct {
    struct request requests[1024]; /* index: the number, modulo the size */
    uint32_t offered, taken, completed, published, seen;
    uint32_t position; /* descriptors offered */
    uint32_t free;     /* descriptors */
    uint32_t size;     /* of the smaller ring */
    uint64_t features;
    enum wish wish;       /* for interrupts */
    uint32_t wish_chain;  /* AT_CHAIN: its number */
    uint32_t decided;     /* published count at the last decision */
    bool first_interrupt; /* it is always due */
    bool kicks_on;
    uint32_t kick_chain, kick_position; /* the device's place when it asked for kicks */
} model;

static struct request *request(uint32_t number)
{
    return &model.requests[number % 1024];
}

/* ---- Two drivers ---- */

struct queue {
    bool packed;
    uint32_t size;
    unsigned char *memory;
    struct window window;
    struct state_queue state;
    struct virtqueue vq;
    struct chain chains[RING_MAX]; /* one for each that is in flight */
    /* split */
    uint16_t free[RING_MAX]; /* descriptors */
    uint32_t free_count;
    uint16_t members[RING_MAX][TABLE_ENTRIES]; /* by head */
    uint16_t idx, used_idx;
    /* packed */
    uint32_t next, used; /* free-running: descriptors */
};

static struct queue queues[2];

/* Split ring: table at 0, avail at 0x4000, used at 0x5000. Packed ring: ring at 0, driver area at
 * 0x4000, device area at 0x5000. Indirect tables are at RINGS_END, one for each descriptor. */
static uint16_t get16(const struct queue *q, uint32_t offset)
{
    return __atomic_load_n((uint16_t *)(void *)(q->memory + offset), __ATOMIC_ACQUIRE);
}

static void put16(const struct queue *q, uint32_t offset, uint16_t value)
{
    __atomic_store_n((uint16_t *)(void *)(q->memory + offset), value, __ATOMIC_RELEASE);
}

static void put_desc(const struct queue *q, uint32_t offset, uint64_t addr, uint32_t length,
                     uint16_t third, uint16_t fourth)
{
    memcpy(q->memory + offset, &addr, 8);
    memcpy(q->memory + offset + 8, &length, 4);
    put16(q, offset + 12, third);
    put16(q, offset + 14, fourth);
}

static void put_table(const struct queue *q, uint32_t at, const struct request *r)
{
    for (unsigned int i = 0; i < r->count; i++) {
        uint16_t flags = r->buffers[i].writable ? 2 : 0;
        uint64_t addr = BASE + r->buffers[i].offset;
        if (q->packed)
            put_desc(q, at + 16 * i, addr, r->buffers[i].length, 0, flags);
        else
            put_desc(q, at + 16 * i, addr, r->buffers[i].length,
                     (uint16_t)(flags | (i + 1 < r->count)), (uint16_t)(i + 1));
    }
}

static void offer_split(struct queue *q, struct request *r)
{
    uint16_t members[TABLE_ENTRIES];
    for (unsigned int i = 0; i < r->descriptors; i++)
        members[i] = q->free[--q->free_count];
    r->head = members[0];
    memcpy(q->members[r->head], members, sizeof(members));
    uint32_t table = RINGS_END + 16 * TABLE_ENTRIES * r->head;
    if (r->indirect) {
        put_table(q, table, r);
        put_desc(q, 16u * r->head, BASE + table, 16 * r->count, 4, 0);
    }
    for (unsigned int i = 0; i < r->descriptors && !r->indirect; i++) {
        bool last = i + 1 == r->descriptors;
        put_desc(q, 16u * members[i], BASE + r->buffers[i].offset, r->buffers[i].length,
                 (uint16_t)((r->buffers[i].writable ? 2 : 0) | !last), last ? 0 : members[i + 1]);
    }
    put16(q, 0x4004 + 2 * (q->idx % q->size), r->head);
    put16(q, 0x4002, ++q->idx);
}

static bool lap_is_even(const struct queue *q, uint32_t position)
{
    return position / q->size % 2 == 0;
}

static void offer_packed(struct queue *q, const struct request *r)
{
    uint32_t first = 16 * (q->next % q->size);
    uint16_t first_flags = 0;
    uint32_t table = RINGS_END + 16 * TABLE_ENTRIES * (q->next % q->size);
    if (r->indirect)
        put_table(q, table, r);
    for (unsigned int i = 0; i < r->descriptors; i++, q->next++) {
        uint16_t flags = lap_is_even(q, q->next) ? 1u << 7 : 1u << 15;
        uint32_t at = 16 * (q->next % q->size);
        bool last = i + 1 == r->descriptors;
        flags |= r->indirect ? 4 : (uint16_t)((r->buffers[i].writable ? 2 : 0) | !last);
        uint64_t addr = r->indirect ? table : r->buffers[i].offset;
        uint32_t length = r->indirect ? 16 * r->count : r->buffers[i].length;
        if (i == 0)
            first_flags = flags;
        put_desc(q, at, BASE + addr, length, last ? r->id : 0xdead,
                 i == 0 ? get16(q, at + 14) : flags);
    }
    put16(q, first + 14, first_flags);
}

/* Get the next used chain; false if there is none. */
static bool get_used(struct queue *q, const struct request *r, uint32_t *ret_id,
                     uint32_t *ret_length)
{
    if (!q->packed) {
        uint32_t at = 0x5004 + 8 * (q->used_idx % q->size);
        if (get16(q, 0x5002) == q->used_idx)
            return false;
        memcpy(ret_id, q->memory + at, 4);
        memcpy(ret_length, q->memory + at + 4, 4);
        q->used_idx++;
        for (unsigned int i = r->descriptors; i > 0; i--)
            q->free[q->free_count++] = q->members[r->head][i - 1];
        return true;
    }
    uint32_t at = 16 * (q->used % q->size);
    uint16_t flags = get16(q, at + 14), both = 1u << 7 | 1u << 15;
    if ((flags & both) != (lap_is_even(q, q->used) ? both : 0))
        return false;
    *ret_id = get16(q, at + 12);
    memcpy(ret_length, q->memory + at + 8, 4);
    CU_ASSERT_EQUAL((flags & 2) != 0, *ret_length > 0);
    q->used += r->descriptors;
    return true;
}

static uint16_t event_of(const struct queue *q, uint32_t position)
{
    return (uint16_t)(position % q->size | (lap_is_even(q, position) ? 1u << 15 : 0));
}

/* `chain` starts at `position`. */
static void wish_interrupt(const struct queue *q, enum wish wish, uint32_t chain, uint32_t position)
{
    if (q->packed) {
        put16(q, 0x4000, event_of(q, position));
        put16(q, 0x4002, wish == NEVER ? 1 : wish == ALWAYS ? 0 : 2);
    } else if ((model.features & EVENT_IDX) != 0) {
        put16(q, 0x4004 + 2 * q->size, (uint16_t)chain);
    } else {
        put16(q, 0x4000, wish == NEVER);
    }
}

/* Whether the device wants a kick for what was offered from chain `chain` (at `position`) on. */
static bool kick_wanted(const struct queue *q, uint32_t chain, uint32_t position)
{
    if (!q->packed) {
        if ((model.features & EVENT_IDX) == 0)
            return get16(q, 0x5000) == 0;
        for (uint32_t c = chain; c < model.offered; c++) {
            if (get16(q, 0x5004 + 8 * q->size) == (uint16_t)c)
                return true;
        }
        return false;
    }
    if (get16(q, 0x5002) != 2)
        return get16(q, 0x5002) == 0;
    for (uint32_t p = position; p < model.position; p++) {
        if (get16(q, 0x5000) == event_of(q, p))
            return true;
    }
    return false;
}

/* ---- Operations ---- */

static void start_queues(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        struct queue *q = &queues[i];
        struct guest_fault fault;
        uint64_t features = model.features | (q->packed ? PACKED : 0);
        CU_ASSERT_TRUE_FATAL(virtqueue_indices_valid(&q->state, features));
        CU_ASSERT_EQUAL_FATAL(
            virtqueue_start(&q->vq, 0, &q->window, &q->state, RING_MAX, features, &fault), 0);
    }
    model.taken = model.completed = model.decided = model.published;
    model.first_interrupt = true;
}

/* §2.7.10, §2.8.10: the device does this when it has nothing left to do. */
static void op_enable_kicks(void)
{
    for (unsigned int i = 0; i < 2; i++)
        CU_ASSERT_EQUAL_FATAL(virtqueue_enable_notify(&queues[i].vq), model.taken == model.offered);
    model.kicks_on = true;
    model.kick_chain = model.taken;
    model.kick_position =
        model.taken == model.offered ? model.position : request(model.taken)->position;
}

static void op_disable_kicks(void)
{
    for (unsigned int i = 0; i < 2; i++)
        virtqueue_disable_notify(&queues[i].vq);
    if ((model.features & EVENT_IDX) == 0)
        model.kicks_on = false;
}

static void make_request(struct request *r, uint32_t room)
{
    *r = (struct request){.indirect = (model.features & INDIRECT) != 0 && random_below(2) == 0};
    uint32_t most = r->indirect || room > TABLE_ENTRIES ? TABLE_ENTRIES : room;
    r->count = 1 + random_below(most);
    r->descriptors = r->indirect ? 1 : r->count;
    uint32_t readable = random_below(r->count + 1);
    for (unsigned int i = 0; i < r->count; i++)
        r->buffers[i] =
            (struct buffer){BUFFERS + random_below(0x80000),
                            random_below(4) == 0 ? 0 : random_below(5000), i >= readable};
    r->position = model.position;
    r->id = (uint16_t)(random_below(65536) & ~0x3ffu) | (uint16_t)(model.offered % 1024);
}

static void op_offer(void)
{
    uint32_t chain = model.offered, position = model.position;
    for (uint32_t n = 1 + random_below(6); n > 0 && model.free > 0; n--) {
        struct request *r = request(model.offered);
        make_request(r, model.free);
        model.free -= r->descriptors;
        offer_split(&queues[0], r);
        offer_packed(&queues[1], r);
        model.position += r->descriptors;
        model.offered++;
    }
    if (chain == model.offered)
        return;
    bool event = (model.features & EVENT_IDX) != 0;
    bool expected =
        event ? model.kick_chain >= chain && model.kick_chain < model.offered : model.kicks_on;
    /* An event that is two laps of the packed ring old looks like a new one. */
    bool stale = event && model.position - model.kick_position > 2 * queues[1].size;
    for (unsigned int i = 0; i < 2; i++) {
        bool wanted = kick_wanted(&queues[i], chain, position);
        CU_ASSERT_TRUE_FATAL(wanted == expected || (stale && wanted));
    }
}

static void expect_chain(const struct queue *q, const struct chain *chain, const struct request *r)
{
    unsigned int at = 0, readable = 0;
    for (unsigned int i = 0; i < r->count; i++) {
        const struct buffer *buffer = &r->buffers[i];
        if (buffer->length == 0)
            continue;
        CU_ASSERT_PTR_EQUAL_FATAL(chain->segments[at].iov_base, q->memory + buffer->offset);
        CU_ASSERT_EQUAL_FATAL(chain->segments[at].iov_len, buffer->length);
        readable += !buffer->writable;
        at++;
    }
    CU_ASSERT_EQUAL_FATAL(chain->readable_count, readable);
    CU_ASSERT_EQUAL_FATAL(chain->writable_count, at - readable);
    CU_ASSERT_EQUAL_FATAL(chain->ref.id, q->packed ? r->id : r->head);
}

static void op_pop(void)
{
    bool any = model.taken < model.offered;
    for (unsigned int i = 0; i < 2; i++) {
        struct queue *q = &queues[i];
        struct guest_fault fault;
        struct chain *chain = &q->chains[model.taken % RING_MAX];
        CU_ASSERT_EQUAL_FATAL(virtqueue_available(&q->vq), any);
        CU_ASSERT_EQUAL_FATAL(virtqueue_pop(&q->vq, chain, &fault), any);
        if (any)
            expect_chain(q, chain, request(model.taken));
    }
    model.taken += any;
}

static void op_push(void)
{
    if (model.completed == model.taken)
        return;
    struct request *r = request(model.completed);
    r->length = random_below(3) == 0 ? 0 : random_below(100000);
    for (unsigned int i = 0; i < 2; i++)
        virtqueue_push(&queues[i].vq, queues[i].chains[model.completed % RING_MAX].ref, r->length);
    model.completed++;
}

static void op_publish(void)
{
    for (unsigned int i = 0; i < 2; i++)
        virtqueue_publish(&queues[i].vq);
    model.published = model.completed;
}

static void op_interrupt(void)
{
    bool expected = model.first_interrupt || model.wish == ALWAYS ||
                    (model.wish == AT_CHAIN && model.wish_chain >= model.decided &&
                     model.wish_chain < model.published);
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL_FATAL(virtqueue_undecided(&queues[i].vq), model.decided != model.published);
        if (model.decided != model.published)
            CU_ASSERT_EQUAL_FATAL(virtqueue_interrupt_due(&queues[i].vq), expected);
    }
    if (model.decided != model.published)
        model.first_interrupt = false;
    model.decided = model.published;
}

static uint32_t position_of(uint32_t chain)
{
    return chain == model.offered ? model.position : request(chain)->position;
}

/* The driver takes everything that is used, and says when it wants the next interrupt. */
static void op_get(void)
{
    for (;;) {
        bool any = model.seen < model.published;
        const struct request *r = request(model.seen);
        for (unsigned int i = 0; i < 2; i++) {
            uint32_t id = 0, length = 0;
            CU_ASSERT_EQUAL_FATAL(get_used(&queues[i], r, &id, &length), any);
            if (any)
                CU_ASSERT_EQUAL_FATAL(id, queues[i].packed ? r->id : r->head);
            if (any)
                CU_ASSERT_EQUAL_FATAL(length, r->length);
        }
        if (!any)
            break;
        model.free += r->descriptors;
        model.seen++;
    }
    bool event = (model.features & EVENT_IDX) != 0;
    model.wish = event ? AT_CHAIN : random_below(2) == 0 ? NEVER : ALWAYS;
    model.wish_chain = model.seen + random_below(model.offered - model.seen + 1);
    uint32_t position = position_of(model.wish_chain);
    if (position - position_of(model.seen) == queues[1].size) { /* a lap ahead looks as if passed */
        model.wish_chain = model.seen;
        position = position_of(model.seen);
    }
    for (unsigned int i = 0; i < 2; i++)
        wish_interrupt(&queues[i], model.wish, model.wish_chain, position);
}

/* A worker dies between two operations: chains that are not published are taken again. */
static void op_restart(void)
{
    start_queues();
    op_enable_kicks();
}

/* ---- Rounds ---- */

static void start_round(uint64_t features, uint32_t packed_size)
{
    uint32_t split_size = 1;
    while (split_size < packed_size)
        split_size *= 2;
    memset(&model, 0, sizeof(model));
    memset(memory, 0, sizeof(memory));
    memset(queues, 0, sizeof(queues));
    model.features = features;
    model.size = packed_size;
    model.free = packed_size;
    for (unsigned int i = 0; i < 2; i++) {
        struct queue *q = &queues[i];
        q->packed = i == 1;
        q->size = q->packed ? packed_size : split_size;
        q->memory = memory[i];
        q->window = (struct window){memory[i], BASE, WINDOW_SIZE};
        q->state = (struct state_queue){.size = q->size,
                                        .ready = 1,
                                        .desc = BASE,
                                        .driver = BASE + 0x4000,
                                        .device = BASE + 0x5000};
        for (uint32_t d = 0; d < q->size; d++)
            q->free[q->free_count++] = (uint16_t)d;
    }
    start_queues();
    op_enable_kicks();
    op_get();
}

static void run(uint64_t features)
{
    static void (*const operations[])(void) = {
        op_offer, op_offer,   op_pop,       op_pop, op_pop,          op_push,
        op_push,  op_publish, op_interrupt, op_get, op_enable_kicks, op_disable_kicks,
    };
    uint32_t chains = 0;
    for (unsigned int round = 0; round < ROUNDS; round++) {
        start_round(features, 1 + random_below(random_below(2) == 0 ? 10 : RING_MAX));
        for (unsigned int i = 0; i < OPERATIONS; i++) {
            if (random_below(200) == 0)
                op_restart();
            operations[random_below(sizeof(operations) / sizeof(operations[0]))]();
        }
        chains += model.seen;
    }
    CU_ASSERT_TRUE(chains > 10000);
}

static void test_plain(void)
{
    run(0);
}

static void test_event_idx(void)
{
    run(EVENT_IDX);
}

static void test_indirect(void)
{
    run(INDIRECT);
}

static void test_all(void)
{
    run(EVENT_IDX | INDIRECT | 1ull << VIRTIO_F_IN_ORDER);
}

/* The largest rings are filled and emptied as a whole, until the counts have wrapped round. */
static void test_full(void)
{
    uint32_t most = 0;
    start_round(INDIRECT, QUEUE_SIZE_MAX);
    while (model.offered < 2 * (UINT16_MAX + 1u)) {
        while (model.free > 0)
            op_offer();
        uint32_t chains = model.offered - model.taken;
        most = chains > most ? chains : most;
        while (model.taken < model.offered)
            op_pop();
        op_pop();
        while (model.completed < model.taken)
            op_push();
        op_publish();
        op_interrupt();
        op_get();
        CU_ASSERT_EQUAL_FATAL(model.seen, model.offered);
    }
    CU_ASSERT(most > VIRTQUEUE_BATCH_MAX);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"no features", test_plain},
        {"event index", test_event_idx},
        {"indirect", test_indirect},
        {"all features", test_all},
        {"the largest rings, full and empty", test_full},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "split and packed ring beside a model", tests);
}
