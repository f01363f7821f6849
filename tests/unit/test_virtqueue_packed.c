/* SPDX-License-Identifier: Apache-2.0 */
/* The packed virtqueue with a correct driver, and after a predecessor that died. */
#include <stdlib.h>

#include "tests/cunit_main.h"
#include "tests/unit/packed_under_test.h"

enum result { NOTHING, SUPPRESSED, INTERRUPT };

static enum result publish(void)
{
    virtqueue_publish(&vq);
    if (!virtqueue_undecided(&vq))
        return NOTHING;
    return virtqueue_interrupt_due(&vq) ? INTERRUPT : SUPPRESSED;
}

static bool valid(void)
{
    return virtqueue_usable(&state, &guest_window, PACKED_SIZE_MAX, PACKED);
}

static void test_ring_valid(void)
{
    static const uint32_t good_sizes[] = {1, 2, 3, 5, 127, 255, 256, 1000, 32767, 32768};
    static const uint32_t bad_sizes[] = {0, 32769, 65536, 1u << 31, UINT32_MAX};
    packed_init(&ring, 256);
    state = packed_state(&ring);
    for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
        state.size = bad_sizes[i];
        CU_ASSERT_FALSE(valid());
        CU_ASSERT_FALSE(virtqueue_usable(&state, &guest_window, UINT32_MAX, PACKED));
        CU_ASSERT_EQUAL(start(0), -EBADMSG);
        CU_ASSERT_EQUAL(fault.code, LOG_QUEUE_INVALID);
    }
    for (size_t i = 0; i < sizeof(good_sizes) / sizeof(good_sizes[0]); i++) {
        state.size = good_sizes[i];
        CU_ASSERT_TRUE(valid());
        CU_ASSERT_FALSE(virtqueue_usable(&state, &guest_window, good_sizes[i] - 1, PACKED));
    }
    state.size = 255;
    const struct {
        uint64_t *field;
        uint64_t align, length;
    } parts[] = {{&state.desc, 16, 16 * 255}, {&state.driver, 4, 4}, {&state.device, 4, 4}};
    for (size_t i = 0; i < 3; i++) {
        uint64_t kept = *parts[i].field, end = GUEST_BASE + GUEST_SIZE;
        const struct {
            uint64_t addr;
            bool ok;
        } tries[] = {
            {kept + parts[i].align / 2, false},
            {GUEST_BASE - parts[i].align, false},
            {end - parts[i].length, true},
            {end - parts[i].length + parts[i].align, false},
            {end, false},
            {0, false},
        };
        for (size_t t = 0; t < sizeof(tries) / sizeof(tries[0]); t++) {
            *parts[i].field = tries[t].addr;
            CU_ASSERT_EQUAL(valid(), tries[t].ok);
        }
        *parts[i].field = kept;
    }
}

static void test_pop_push(void)
{
    fresh(5, 0);
    CU_ASSERT_EQUAL(pop(), 0);
    packed_put(&ring, (struct vring_packed_desc){BUFFER(0), 16, 77, F_NEXT});
    packed_put(&ring, (struct vring_packed_desc){BUFFER(1), 4096, 78, F_NEXT | F_WRITE});
    packed_put(&ring, (struct vring_packed_desc){BUFFER(2), 1, 0xfff0, F_WRITE});
    ring.taken[0xfff0] = 3;
    CU_ASSERT_EQUAL_FATAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.ref.id, 0xfff0); /* the last one's id counts, whatever it is */
    CU_ASSERT_EQUAL(chain.ref.descriptors, 3);
    CU_ASSERT_EQUAL(chain.readable_count, 1);
    CU_ASSERT_EQUAL(chain.writable_count, 2);
    CU_ASSERT_EQUAL(chain.readable_length, 16);
    CU_ASSERT_EQUAL(chain.writable_length, 4097);
    CU_ASSERT_PTR_EQUAL(chain.segments[0].iov_base, guest_at(BUFFER(0)));
    CU_ASSERT_PTR_EQUAL(chain.segments[1].iov_base, guest_at(BUFFER(1)));
    CU_ASSERT_EQUAL(chain.segments[2].iov_len, 1);
    CU_ASSERT_EQUAL(pop(), 0);

    struct vring_packed_desc used;
    CU_ASSERT_EQUAL(publish(), NOTHING);
    virtqueue_push(&vq, chain.ref, 4097);
    CU_ASSERT_FALSE(packed_used(&ring, &used));
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
    CU_ASSERT_TRUE_FATAL(packed_used(&ring, &used));
    CU_ASSERT_EQUAL(used.id, 0xfff0);
    CU_ASSERT_EQUAL(used.len, 4097);
    CU_ASSERT_EQUAL(used.flags, PACKED_AVAIL | PACKED_USED | F_WRITE);
    CU_ASSERT_FALSE(packed_used(&ring, &used));
    CU_ASSERT_EQUAL(state.next_used, 3);
    CU_ASSERT_EQUAL(state.batch_end, 3);
    CU_ASSERT_EQUAL(state.next_avail, 3);
}

/* Nothing of a batch is visible before all of it is. */
static void test_batch_at_once(void)
{
    struct vring_packed_desc used;
    fresh(64, 0);
    for (uint16_t i = 0; i < 10; i++)
        packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 8, 0, 0}, i % 3 + 1, i);
    for (uint16_t i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL_FATAL(pop(), 1);
        virtqueue_push(&vq, chain.ref, 0);
        CU_ASSERT_FALSE(packed_used_next(&ring));
    }
    virtqueue_publish(&vq);
    for (uint16_t i = 0; i < 10; i++) {
        CU_ASSERT_TRUE_FATAL(packed_used(&ring, &used));
        CU_ASSERT_EQUAL(used.id, i);
        CU_ASSERT_EQUAL(used.flags & F_WRITE, 0); /* §2.8.3: the device wrote nothing */
    }
    CU_ASSERT_FALSE(packed_used_next(&ring));
}

/* Go round rings of every kind of size, with chains and batches of all lengths. */
static void go_round(uint32_t size, uint32_t chains)
{
    struct vring_packed_desc used;
    uint16_t id = 0, done = 0;
    fresh(size, 0);
    for (uint32_t served = 0; served < chains;) {
        uint32_t room = size, count = 0;
        uint32_t batch = (uint32_t)(guest_random() % 300) + 1;
        while (room > 0 && count < batch) {
            uint16_t length = (uint16_t)(guest_random() % (room < 9 ? room : 9) + 1);
            packed_offer(&ring, (struct vring_packed_desc){BUFFER(1), 64, 0, F_WRITE}, length,
                         id++);
            room -= length;
            count++;
        }
        for (uint32_t i = 0; i < count; i++) {
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            CU_ASSERT_EQUAL_FATAL(chain.writable_count, ring.taken[chain.ref.id]);
            virtqueue_push(&vq, chain.ref, 100u + chain.ref.id);
        }
        CU_ASSERT_EQUAL_FATAL(pop(), 0);
        CU_ASSERT_EQUAL_FATAL(packed_used_next(&ring), count > VIRTQUEUE_BATCH_MAX);
        virtqueue_publish(&vq);
        for (uint32_t i = 0; i < count; i++, done++) {
            CU_ASSERT_TRUE_FATAL(packed_used(&ring, &used));
            CU_ASSERT_EQUAL_FATAL(used.id, done);
            CU_ASSERT_EQUAL_FATAL(used.len, 100u + done);
        }
        CU_ASSERT_FALSE_FATAL(packed_used_next(&ring));
        CU_ASSERT_TRUE_FATAL(virtqueue_indices_valid(&state, PACKED));
        served += count;
    }
    CU_ASSERT_EQUAL(vq.next_used, id);
}

static void test_wrap_around(void)
{
    static const uint32_t sizes[] = {1, 2, 3, 7, 16, 100, 255, 256, 257, 1000, 32767, 32768};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        go_round(sizes[i], 70000);
}

static void serve(uint16_t descriptors)
{
    packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 64, 0, F_WRITE}, descriptors, 0);
    CU_ASSERT_EQUAL_FATAL(pop(), 1);
    virtqueue_push(&vq, chain.ref, 0);
}

static void test_interrupt_flags(void)
{
    for (uint64_t features = 0; features <= EVENT_IDX; features += EVENT_IDX) {
        fresh(8, features);
        ring.driver->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
        serve(1);
        CU_ASSERT_EQUAL(publish(), INTERRUPT); /* the first one always interrupts */
        serve(1);
        CU_ASSERT_EQUAL(publish(), SUPPRESSED);
        ring.driver->flags = VRING_PACKED_EVENT_FLAG_ENABLE;
        serve(1);
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
        ring.driver->flags = 3; /* reserved: one too many is better than a lost one */
        serve(1);
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
    }
    fresh(8, 0); /* §2.8.10: only valid with EVENT_IDX */
    serve(1);
    publish();
    ring.driver->flags = VRING_PACKED_EVENT_FLAG_DESC;
    ring.driver->off_wrap = packed_event(6, true);
    serve(1);
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
}

/* The driver waits for one descriptor after the other. An interrupt is due exactly when that one is
 * passed. */
static void test_interrupt_event(void)
{
    static const uint32_t sizes[] = {4, 5, 255};
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        uint32_t size = sizes[s], at = 1, event = 1;
        fresh(size, EVENT_IDX);
        ring.driver->flags = VRING_PACKED_EVENT_FLAG_DESC;
        serve(1);
        publish();
        for (uint32_t i = 0; i < 5000; i++) {
            if (event < at)
                event = at + (uint32_t)(guest_random() % size);
            ring.driver->off_wrap = packed_event(event % size, event / size % 2 == 0);
            uint16_t descriptors = (uint16_t)(guest_random() % (size < 4 ? size : 4) + 1);
            serve(descriptors);
            at += descriptors;
            CU_ASSERT_EQUAL_FATAL(publish(), event < at ? INTERRUPT : SUPPRESSED);
            /* When the event was passed, it causes no other interrupt. */
            if (event < at && size > 8) {
                serve(1);
                at++;
                CU_ASSERT_EQUAL_FATAL(publish(), SUPPRESSED);
            }
            /* The model's driver has taken all. */
            ring.used = ring.next;
            ring.used_wrap = ring.next_wrap;
        }
        ring.driver->off_wrap = packed_event(size, true); /* no such descriptor */
        serve(1);
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
    }
}

/* The decision comes late, for several batches at once. An event anywhere among them counts. */
static void test_interrupt_decided_late(void)
{
    for (uint16_t event = 0; event < 12; event++) {
        fresh(16, EVENT_IDX);
        serve(1);
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
        CU_ASSERT_EQUAL(virtqueue_since_interrupt(&vq), 0);
        ring.driver->flags = VRING_PACKED_EVENT_FLAG_DESC;
        ring.driver->off_wrap = packed_event(event, true);
        for (uint16_t i = 1; i < 7; i++) {
            serve(1);
            virtqueue_publish(&vq);
            CU_ASSERT_EQUAL(virtqueue_since_interrupt(&vq), i);
        }
        CU_ASSERT_EQUAL(publish(), event >= 1 && event < 7 ? INTERRUPT : SUPPRESSED);
        CU_ASSERT_EQUAL(publish(), NOTHING);
    }
}

static void test_notify(void)
{
    fresh(3, 0);
    virtqueue_disable_notify(&vq);
    CU_ASSERT_EQUAL(ring.device->flags, VRING_PACKED_EVENT_FLAG_DISABLE);
    CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
    CU_ASSERT_EQUAL(ring.device->flags, VRING_PACKED_EVENT_FLAG_ENABLE);
    packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 64, 0, 0}, 1, 0);
    CU_ASSERT_FALSE(virtqueue_enable_notify(&vq));
    CU_ASSERT_TRUE(virtqueue_available(&vq));

    fresh(3, EVENT_IDX);
    CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
    CU_ASSERT_EQUAL(ring.device->flags, VRING_PACKED_EVENT_FLAG_DESC);
    CU_ASSERT_EQUAL(ring.device->off_wrap, packed_event(0, true));
    for (uint16_t i = 0; i < 5; i++) {
        serve(1);
        virtqueue_publish(&vq);
    }
    virtqueue_disable_notify(&vq); /* an old value keeps it quiet */
    CU_ASSERT_EQUAL(ring.device->off_wrap, packed_event(0, true));
    CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
    CU_ASSERT_EQUAL(ring.device->off_wrap, packed_event(2, false));
    packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 64, 0, 0}, 1, 0);
    CU_ASSERT_FALSE(virtqueue_enable_notify(&vq));
}

static void put_table(uint64_t addr, unsigned int index, struct vring_packed_desc desc)
{
    memcpy((unsigned char *)guest_at(addr) + index * sizeof(desc), &desc, sizeof(desc));
}

static void test_indirect(void)
{
    for (uint64_t skew = 0; skew < 16; skew += 5) { /* a table may be at any address */
        uint64_t table = BUFFER(8) + skew;
        fresh(2, INDIRECT);
        /* §2.8.7: in an entry only WRITE counts; id and the other flags do not. */
        put_table(table, 0, (struct vring_packed_desc){BUFFER(1), 10, 9, 0});
        put_table(table, 1, (struct vring_packed_desc){BUFFER(2), 20, 8, F_INDIRECT | F_WRITE});
        put_table(table, 2, (struct vring_packed_desc){BUFFER(3), 30, 7, (uint16_t)~F_NEXT});
        packed_offer(&ring, (struct vring_packed_desc){table, 3 * 16, 0, F_INDIRECT | F_WRITE}, 1,
                     4);
        CU_ASSERT_EQUAL_FATAL(pop(), 1);
        CU_ASSERT_EQUAL(chain.ref.id, 4);
        CU_ASSERT_EQUAL(chain.ref.descriptors, 1);
        CU_ASSERT_EQUAL(chain.readable_length, 10);
        CU_ASSERT_EQUAL(chain.writable_length, 50);
        CU_ASSERT_PTR_EQUAL(chain.segments[2].iov_base, guest_at(BUFFER(3)));
    }
}

static void test_longest_chains(void)
{
    const struct vring_packed_desc byte = {BUFFER(0), 1, 0, 0};
    fresh(256, INDIRECT);
    packed_offer(&ring, byte, 256, 0);
    CU_ASSERT_EQUAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.readable_count, 256);
    virtqueue_push(&vq, chain.ref, 0);
    virtqueue_publish(&vq);
    CU_ASSERT_EQUAL(state.next_used, STATE_POSITION_LAP);
    CU_ASSERT_TRUE(packed_used_next(&ring));

    fresh(1000, INDIRECT);
    packed_offer(&ring, byte, 257, 0);
    expect_refused(LOG_CHAIN_INVALID, CHECK_SEGMENTS);

    for (uint32_t count = 256; count <= 257; count++) {
        fresh(8, INDIRECT);
        for (unsigned int i = 0; i < count; i++)
            put_table(BUFFER(8), i, byte);
        packed_offer(&ring, (struct vring_packed_desc){BUFFER(8), count * 16, 0, F_INDIRECT}, 1, 0);
        if (count > 256)
            expect_refused(LOG_CHAIN_INVALID, CHECK_SEGMENTS);
        else
            CU_ASSERT_EQUAL(pop(), 1);
    }
}

static void test_zero_length(void)
{
    fresh(8, 0);
    packed_put(&ring, (struct vring_packed_desc){0, 0, 0, F_NEXT});
    packed_put(&ring, (struct vring_packed_desc){BUFFER(0), 8, 0, F_NEXT});
    packed_put(&ring, (struct vring_packed_desc){UINT64_MAX, 0, 0, F_WRITE});
    CU_ASSERT_EQUAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.readable_count, 1);
    CU_ASSERT_EQUAL(chain.writable_count, 0);
    CU_ASSERT_EQUAL(chain.ref.descriptors, 3);
}

/* A restart between two batches: the chains that were taken are taken again, and no others. */
static void test_restart(void)
{
    struct vring_packed_desc used;
    for (uint16_t at = 0; at < 30; at++) {
        fresh(7, EVENT_IDX);
        for (uint16_t i = 0; i < at; i++) {
            serve(1);
            virtqueue_publish(&vq);
            CU_ASSERT_TRUE(packed_used(&ring, &used));
        }
        for (uint16_t i = 0; i < 3; i++)
            packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 8, 0, F_WRITE}, 2, i);
        for (uint16_t i = 0; i < 2; i++) {
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            virtqueue_push(&vq, chain.ref, 8);
        }
        CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED));
        CU_ASSERT_NOT_EQUAL(state.next_avail, state.next_used);
        CU_ASSERT_EQUAL(start(EVENT_IDX), 0);
        CU_ASSERT_EQUAL(state.next_avail, state.next_used); /* none is taken yet */
        ring.driver->flags = VRING_PACKED_EVENT_FLAG_DISABLE;
        for (uint16_t i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            CU_ASSERT_EQUAL(chain.ref.id, i);
            virtqueue_push(&vq, chain.ref, 16);
        }
        CU_ASSERT_EQUAL(pop(), 0);
        CU_ASSERT_EQUAL(publish(), INTERRUPT); /* whatever the driver has asked for */
        for (uint16_t i = 0; i < 3; i++) {
            CU_ASSERT_TRUE_FATAL(packed_used(&ring, &used));
            CU_ASSERT_EQUAL(used.len, 16);
        }
    }
}

/* Indices that no correct worker has written. */
static void test_indices(void)
{
    fresh(10, 0);
    CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED));
    uint16_t *const fields[] = {&state.next_used, &state.batch_end, &state.next_avail};
    for (size_t i = 0; i < 3; i++) {
        *fields[i] = 10; /* no such offset */
        CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
        *fields[i] = STATE_POSITION_LAP | 10;
        CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
        *fields[i] = 0;
    }
    state.next_avail = STATE_POSITION_LAP;
    CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED)); /* a whole ring */
    state.next_avail = STATE_POSITION_LAP | 1;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED)); /* one more than that */
    state.next_used = 5;
    state.batch_end = 5;
    state.next_avail = 4;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED)); /* backwards */

    state.next_avail = STATE_POSITION_LAP | 2;
    state.batch_end = 9;
    state.batch_count = 2;
    state.batch[0] = (struct state_used){.descriptors = 3};
    state.batch[1] = (struct state_used){.descriptors = 1};
    CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED));
    state.batch[1].descriptors = 2;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
    state.batch[0].descriptors = 4;
    state.batch[1].descriptors = 0;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
    state.batch_count = UINT16_MAX;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
    state.batch_count = 0;
    CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
}

/* Each part of a ring may lie at the very end of the window. */
static void test_at_the_end_of_the_window(void)
{
    const uint64_t end = GUEST_BASE + GUEST_SIZE;
    for (unsigned int part = 0; part < 3; part++) {
        struct vring_packed_desc used;
        packed_init(&ring, 7);
        state = packed_state(&ring);
        memset(guest_at(end - 4096), 0, 4096);
        if (part == 0)
            ring.desc = guest_at(state.desc = end - 16 * 7);
        else if (part == 1)
            ring.driver = guest_at(state.driver = end - 4);
        else
            ring.device = guest_at(state.device = end - 4);
        CU_ASSERT_EQUAL_FATAL(start(EVENT_IDX), 0);
        for (uint16_t i = 0; i < 20; i++) {
            serve(1);
            virtqueue_publish(&vq);
            (void)virtqueue_interrupt_due(&vq);
            CU_ASSERT_TRUE(packed_used(&ring, &used));
            CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
        }
    }
}

/* A batch can fill the ring, and can have as many chains as there is a record for. */
static void test_largest_batches(void)
{
    for (uint16_t at = 0; at < STATE_BATCH_MAX; at += 13) {
        fresh(STATE_BATCH_MAX, 0);
        state.next_used = at;
        state.next_avail = state.batch_end = STATE_POSITION_LAP | at;
        state.batch_count = 1;
        state.batch[0] = (struct state_used){.descriptors = STATE_BATCH_MAX};
        CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED));
        state.batch_count = STATE_BATCH_MAX;
        for (uint16_t i = 0; i < STATE_BATCH_MAX; i++)
            state.batch[i].descriptors = 1;
        CU_ASSERT_TRUE(virtqueue_indices_valid(&state, PACKED));
        state.batch[0].descriptors = 0;
        state.batch[1].descriptors = 2;
        CU_ASSERT_FALSE(virtqueue_indices_valid(&state, PACKED));
    }
}

/* Each chain is shown once, and is still there to be taken, at every place of the ring. */
static void test_looking_ahead(void)
{
    for (uint16_t at = 0; at < 20; at++) {
        fresh(7, 0);
        struct vring_packed_desc used;
        for (uint16_t i = 0; i < at; i++) {
            serve(1);
            virtqueue_publish(&vq);
            CU_ASSERT_TRUE(packed_used(&ring, &used));
        }
        CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
        for (uint16_t i = 0; i < 3; i++)
            packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 8u + i, 0, F_WRITE}, 2, i);
        const uint16_t before = state.next_avail;
        for (uint16_t i = 0; i < 3; i++) {
            CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
            CU_ASSERT_EQUAL(chain.ref.id, i);
            CU_ASSERT_EQUAL(state.next_avail, before);
        }
        CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
        for (uint16_t i = 0; i < 3; i++) {
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            CU_ASSERT_EQUAL(chain.ref.id, i);
            CU_ASSERT_TRUE(virtqueue_was_shown(&vq));
            virtqueue_push(&vq, chain.ref, 8);
        }
        CU_ASSERT_EQUAL(pop(), 0);
        virtqueue_publish(&vq);
        for (uint16_t i = 0; i < 3; i++)
            CU_ASSERT_TRUE(packed_used(&ring, &used));
        packed_offer(&ring, (struct vring_packed_desc){BUFFER(0), 8, 0, F_WRITE}, 1, 6);
        CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
        CU_ASSERT_EQUAL(chain.ref.id, 6);
    }
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"ring valid", test_ring_valid},
        {"pop and push", test_pop_push},
        {"batch at once", test_batch_at_once},
        {"wrap around", test_wrap_around},
        {"interrupt by flags", test_interrupt_flags},
        {"interrupt by event", test_interrupt_event},
        {"interrupt decided late", test_interrupt_decided_late},
        {"notify", test_notify},
        {"indirect", test_indirect},
        {"longest chains", test_longest_chains},
        {"zero length", test_zero_length},
        {"restart", test_restart},
        {"indices", test_indices},
        {"at the end of the window", test_at_the_end_of_the_window},
        {"largest batches", test_largest_batches},
        {"looking ahead", test_looking_ahead},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "packed virtqueue", tests);
}
