/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two sides of a queue on two processors. No kick and no interrupt is lost, and nothing is
 * visible before it is complete. A side does not really sleep: it waits for a counter to move. So
 * each side is awake again at once, and the other side often meets the moment in which it falls
 * asleep.
 */
#include <linux/virtio_config.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest_packed.h"
#include "worker/virtqueue/virtqueue.h"

#define REQUESTS 400000u
#define PATIENCE_S 20 /* only a lost wake-up takes that long */
#define BUFFER (GUEST_BASE + GUEST_BUFFERS)

#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define PACKED_SIZE 7u

static struct guest_ring ring;
static struct guest_packed packed;
static struct state_queue state;
static struct virtqueue vq;
static struct chain chain;
static bool event_idx;
static _Atomic uint32_t kicks, interrupts;
static _Atomic bool finished, lost;

/* Returns when the counter has moved on from *seen; false if that does not happen. */
static bool sleep_until_moved(_Atomic uint32_t *counter, uint32_t *seen)
{
    struct timespec start = {0}, now;
    for (unsigned int i = 1; atomic_load(counter) == *seen; i++) {
        if (atomic_load(&finished))
            return true;
        if (i % 1024 != 0)
            continue;
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (start.tv_sec == 0)
            start = now;
        if (now.tv_sec - start.tv_sec > PATIENCE_S) {
            atomic_store(&lost, true);
            return false;
        }
    }
    *seen = atomic_load(counter);
    return true;
}

/* The device doubles the number in each buffer. */
static void *device(void *unused)
{
    struct guest_fault fault;
    uint32_t seen = 0;
    while (!atomic_load(&finished) && !atomic_load(&lost)) {
        int r;
        virtqueue_disable_notify(&vq);
        while ((r = virtqueue_pop(&vq, &chain, &fault)) == 1) {
            uint32_t *number = chain.segments[0].iov_base;
            *number *= 2;
            virtqueue_push(&vq, chain.ref, *number);
        }
        virtqueue_publish(&vq);
        if (virtqueue_undecided(&vq) && virtqueue_interrupt_due(&vq))
            atomic_fetch_add(&interrupts, 1);
        if (r < 0 || (virtqueue_enable_notify(&vq) && !sleep_until_moved(&kicks, &seen)))
            break;
    }
    return unused;
}

/* The driver's side of each format. Chains are counted from 0. */
struct format {
    uint32_t size;
    void (*start)(void);
    void (*offer)(uint64_t buffer, uint16_t id);
    bool (*kick_wanted)(uint32_t first, uint32_t end); /* chains available since the last call */
    void (*quiet)(void);
    bool (*may_sleep)(void); /* ask for an interrupt, and look once more */
    bool (*used)(uint32_t *ret_id, uint32_t *ret_length);
};

static const struct format *format;

static void split_start(void)
{
    guest_ring_init(&ring, 0, 8);
    state = guest_ring_state(&ring);
}

static void split_offer(uint64_t buffer, uint16_t id)
{
    guest_desc(&ring, id, buffer, 4, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, id);
}

/* §2.7.10.1 */
static bool split_kick_wanted(uint32_t first, uint32_t end)
{
    const uint16_t *avail_event = (const uint16_t *)&ring.used->ring[ring.size];
    if (!event_idx)
        return (guest_load16(&ring.used->flags) & VRING_USED_F_NO_NOTIFY) == 0;
    return vring_need_event(guest_load16(avail_event), (uint16_t)end, (uint16_t)first);
}

static void split_quiet(void)
{
    if (!event_idx)
        guest_store16(&ring.avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

/* §2.7.7.1 */
static bool split_may_sleep(void)
{
    if (event_idx)
        guest_store16(&ring.avail->ring[ring.size], ring.used_seen);
    else
        guest_store16(&ring.avail->flags, 0);
    atomic_thread_fence(memory_order_seq_cst);
    return guest_load16(&ring.used->idx) == ring.used_seen;
}

static bool split_used(uint32_t *ret_id, uint32_t *ret_length)
{
    struct vring_used_elem element;
    if (!guest_used(&ring, &element))
        return false;
    *ret_id = element.id;
    *ret_length = element.len;
    return true;
}

static void packed_start(void)
{
    packed_init(&packed, PACKED_SIZE);
    state = packed_state(&packed);
}

static void packed_offer_one(uint64_t buffer, uint16_t id)
{
    packed_offer(&packed, (struct vring_packed_desc){buffer, 4, 0, VRING_DESC_F_WRITE}, 1, id);
}

/* §2.8.10, for chains of one descriptor each */
static bool packed_kick_wanted(uint32_t first, uint32_t end)
{
    uint32_t event = __atomic_load_n((uint32_t *)(void *)packed.device, __ATOMIC_RELAXED);
    if (event >> 16 != VRING_PACKED_EVENT_FLAG_DESC)
        return event >> 16 != VRING_PACKED_EVENT_FLAG_DISABLE;
    for (uint32_t i = first; i < end; i++) {
        if (packed_event(i % PACKED_SIZE, i / PACKED_SIZE % 2 == 0) == (uint16_t)event)
            return true;
    }
    return false;
}

static void packed_quiet(void)
{
    guest_store16(&packed.driver->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
}

static bool packed_may_sleep(void)
{
    uint16_t event = packed_event(packed.used, packed.used_wrap);
    uint16_t flags = event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
    guest_store16(&packed.driver->off_wrap, event);
    __atomic_store_n(&packed.driver->flags, flags, __ATOMIC_RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    return !packed_used_next(&packed);
}

static bool packed_used_one(uint32_t *ret_id, uint32_t *ret_length)
{
    struct vring_packed_desc used;
    if (!packed_used(&packed, &used))
        return false;
    *ret_id = used.id;
    *ret_length = used.len;
    return true;
}

static const struct format split_format = {
    8, split_start, split_offer, split_kick_wanted, split_quiet, split_may_sleep, split_used};
static const struct format packed_format = {
    PACKED_SIZE,  packed_start,     packed_offer_one, packed_kick_wanted,
    packed_quiet, packed_may_sleep, packed_used_one,
};

static void offer(uint32_t number)
{
    uint16_t id = (uint16_t)(number % format->size);
    *(uint32_t *)guest_at(BUFFER + id * 64u) = number;
    format->offer(BUFFER + id * 64u, id);
}

/* Takes what is completed, in order. False if it is not what it should be. */
static bool take(uint32_t *completed)
{
    uint32_t id, length;
    while (format->used(&id, &length)) {
        uint32_t doubled = *completed * 2;
        if (id != *completed % format->size || length != doubled ||
            *(uint32_t *)guest_at(BUFFER + id * 64u) != doubled)
            return false;
        ++*completed;
    }
    return true;
}

static void drive(void)
{
    uint32_t offered = 0, completed = 0, seen = 0;
    while (completed < REQUESTS && !atomic_load(&lost)) {
        uint32_t old = offered;
        uint32_t batch = 1 + (uint32_t)(guest_random() % 4);
        while (batch-- > 0 && offered < REQUESTS && offered - completed < format->size)
            offer(offered++);
        atomic_thread_fence(memory_order_seq_cst); /* offer before reading the device's wish */
        if (old != offered && format->kick_wanted(old, offered))
            atomic_fetch_add(&kicks, 1);
        format->quiet();
        if (!take(&completed)) {
            CU_FAIL("completed out of order, or seen too early");
            break;
        }
        /* Otherwise the next ones come just when the device has finished these. */
        bool sleep = offered - completed == format->size || guest_random() % 4 == 0;
        for (uint64_t spin = guest_random() % 256; !sleep && spin > 0; spin--)
            atomic_signal_fence(memory_order_seq_cst);
        if (sleep && completed < offered && format->may_sleep() &&
            !sleep_until_moved(&interrupts, &seen))
            break;
    }
    CU_ASSERT_EQUAL(completed, REQUESTS);
    CU_ASSERT_FALSE(atomic_load(&lost));
}

static void race(uint64_t features)
{
    struct guest_fault fault;
    pthread_t thread;
    format = (features & PACKED) != 0 ? &packed_format : &split_format;
    format->start();
    event_idx = (features & 1ull << VIRTIO_RING_F_EVENT_IDX) != 0;
    kicks = interrupts = 0;
    finished = lost = false;
    CU_ASSERT_EQUAL_FATAL(
        virtqueue_start(&vq, 0, &guest_window, &state, QUEUE_SIZE_MAX, features, &fault), 0);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, device, NULL), 0);
    drive();
    atomic_store(&finished, true);
    pthread_join(thread, NULL);
}

static void test_flags(void)
{
    race(0);
}

static void test_packed_flags(void)
{
    race(PACKED);
}

static void test_packed_event_idx(void)
{
    race(PACKED | 1ull << VIRTIO_RING_F_EVENT_IDX);
}

static void test_event_idx(void)
{
    race(1ull << VIRTIO_RING_F_EVENT_IDX);
}

/* A descriptor that changes all the time is used as it was checked, or is refused. */
static void *flip(void *unused)
{
    volatile struct vring_desc *desc = &ring.desc[0];
    for (uint32_t i = 0; !atomic_load(&finished); i++) {
        desc->addr = i % 2 ? GUEST_BASE + 64 : GUEST_BASE + GUEST_SIZE - 4;
        desc->len = i % 3 ? 4 : 0x10000;
        desc->flags = i % 5 ? 0 : VRING_DESC_F_NEXT;
        desc->next = i % 7 ? 1 : 0xffff;
    }
    return unused;
}

static bool in_window(const struct iovec *segment)
{
    const unsigned char *base = segment->iov_base;
    return base >= guest_memory && base + segment->iov_len <= guest_memory + GUEST_SIZE &&
           (segment->iov_len == 4 || segment->iov_len == 0x10000);
}

static void test_changing_descriptor(void)
{
    struct guest_fault fault;
    pthread_t thread;
    unsigned int taken = 0, refused = 0;
    guest_ring_init(&ring, 0, 2);
    state = guest_ring_state(&ring);
    guest_desc(&ring, 1, BUFFER, 4, 0, 0);
    finished = false;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flip, NULL), 0);
    for (unsigned int i = 0; i < 100000000 && (taken < 100000 || refused < 100000); i++) {
        state.next_used = state.batch_end = 0;
        ring.avail->idx = 1;
        virtqueue_start(&vq, 0, &guest_window, &state, QUEUE_SIZE_MAX, 0, &fault);
        if (virtqueue_pop(&vq, &chain, &fault) != 1) {
            refused++;
            continue;
        }
        taken++;
        for (unsigned int s = 0; s < chain.readable_count; s++)
            CU_ASSERT_TRUE_FATAL(in_window(&chain.segments[s]));
    }
    atomic_store(&finished, true);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(taken >= 100000 && refused >= 100000, true);
}

static void *flip_packed(void *unused)
{
    volatile struct vring_packed_desc *desc = &packed.desc[0];
    for (uint32_t i = 0; !atomic_load(&finished); i++) {
        desc->addr = i % 2 ? GUEST_BASE + 64 : GUEST_BASE + GUEST_SIZE - 4;
        desc->len = i % 3 ? 4 : 0x10000;
        desc->flags = (uint16_t)((i % 5 ? 0 : VRING_DESC_F_NEXT) | (i % 7 ? PACKED_AVAIL : 0));
    }
    return unused;
}

static void test_changing_packed_descriptor(void)
{
    struct guest_fault fault;
    pthread_t thread;
    unsigned int taken = 0, refused = 0;
    packed_init(&packed, 3);
    state = packed_state(&packed);
    packed.desc[1] = (struct vring_packed_desc){BUFFER, 4, 0, PACKED_AVAIL};
    finished = false;
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, flip_packed, NULL), 0);
    for (unsigned int i = 0; i < 100000000 && (taken < 100000 || refused < 100000); i++) {
        virtqueue_start(&vq, 0, &guest_window, &state, QUEUE_SIZE_MAX, PACKED, &fault);
        int r = virtqueue_pop(&vq, &chain, &fault);
        refused += r < 0;
        if (r != 1)
            continue;
        taken++;
        CU_ASSERT_TRUE_FATAL(chain.ref.descriptors == 1 || chain.ref.descriptors == 2);
        for (unsigned int s = 0; s < chain.readable_count; s++)
            CU_ASSERT_TRUE_FATAL(in_window(&chain.segments[s]));
    }
    atomic_store(&finished, true);
    pthread_join(thread, NULL);
    CU_ASSERT_TRUE(taken >= 100000 && refused >= 100000);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"suppression by flags", test_flags},
        {"suppression by event index", test_event_idx},
        {"packed, suppression by flags", test_packed_flags},
        {"packed, suppression by event", test_packed_event_idx},
        {"changing packed descriptor", test_changing_packed_descriptor},
        {"changing descriptor", test_changing_descriptor},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "virtqueue race", tests);
}
