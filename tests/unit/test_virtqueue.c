/* SPDX-License-Identifier: Apache-2.0 */
/* The split virtqueue with a correct driver, and after a predecessor that died. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/split_under_test.h"

enum result { NOTHING, SUPPRESSED, INTERRUPT };

static enum result publish(void)
{
    virtqueue_publish(&vq);
    if (!virtqueue_undecided(&vq))
        return NOTHING;
    return virtqueue_interrupt_due(&vq) ? INTERRUPT : SUPPRESSED;
}

/* ---- Addresses ---- */

static void test_translate(void)
{
    const struct window *w = &guest_window;
    CU_ASSERT_PTR_EQUAL(window_translate(w, (struct guest_addr){GUEST_BASE}, 1), guest_memory);
    CU_ASSERT_PTR_NOT_NULL(window_translate(w, (struct guest_addr){GUEST_BASE}, GUEST_SIZE));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){GUEST_BASE}, GUEST_SIZE + 1));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){GUEST_BASE - 1}, 1));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){GUEST_BASE - 1}, 2));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){0}, UINT64_MAX));
    uint64_t end = GUEST_BASE + GUEST_SIZE;
    CU_ASSERT_PTR_EQUAL(window_translate(w, (struct guest_addr){end - 1}, 1),
                        guest_memory + GUEST_SIZE - 1);
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){end - 1}, 2));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){end}, 0));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){end - 16}, UINT64_MAX - 8));
    CU_ASSERT_PTR_NULL(window_translate(w, (struct guest_addr){UINT64_MAX}, 1));
}

static bool valid(void)
{
    return virtqueue_usable(&state, &guest_window, QUEUE_SIZE_MAX, 0);
}

static void test_ring_valid(void)
{
    static const uint32_t bad_sizes[] = {0, 3, 255, 257, 2048, 32768, 1u << 31, UINT32_MAX};
    guest_ring_init(&ring, 0, 256);
    state = guest_ring_state(&ring);
    CU_ASSERT_TRUE(valid());
    for (size_t i = 0; i < sizeof(bad_sizes) / sizeof(bad_sizes[0]); i++) {
        state.size = bad_sizes[i];
        CU_ASSERT_FALSE(valid());
        CU_ASSERT_EQUAL(start(0), -EBADMSG);
        CU_ASSERT_EQUAL(fault.code, LOG_QUEUE_INVALID);
        CU_ASSERT_EQUAL(fault.args[0], 0);
        CU_ASSERT_EQUAL(fault.args[1], bad_sizes[i]);
        CU_ASSERT_EQUAL(fault.args[2], 0);
    }
    for (uint32_t size = 1; size <= 256; size *= 2) {
        state.size = size;
        CU_ASSERT_TRUE(valid());
    }
    const struct {
        uint64_t *field;
        uint64_t align, length;
    } parts[] = {
        {&state.desc, 16, 16 * 256},
        {&state.driver, 2, 6 + 2 * 256},
        {&state.device, 4, 6 + 8 * 256},
    };
    for (size_t i = 0; i < 3; i++) {
        uint64_t kept = *parts[i].field;
        uint64_t end = GUEST_BASE + GUEST_SIZE;
        uint64_t last = (end - parts[i].length) & ~(parts[i].align - 1);
        const struct {
            uint64_t addr;
            bool ok;
        } tries[] = {
            {kept + 1, false},
            {kept + parts[i].align / 2, false},
            {GUEST_BASE, true},
            {GUEST_BASE - parts[i].align, false},
            {last, true},
            {last + parts[i].align, false},
            {end, false},
            {0, false},
            {UINT64_MAX - 15, false},
        };
        for (size_t t = 0; t < sizeof(tries) / sizeof(tries[0]); t++) {
            *parts[i].field = tries[t].addr;
            CU_ASSERT_EQUAL(valid(), tries[t].ok);
        }
        *parts[i].field = kept;
    }
}

/* Each part of a ring may lie at the very end of the window. */
static void test_at_the_end_of_the_window(void)
{
    const uint64_t end = GUEST_BASE + GUEST_SIZE;
    for (unsigned int part = 0; part < 3; part++) {
        struct vring_used_elem element;
        guest_ring_init(&ring, 0, 8);
        if (part == 0)
            ring.desc = guest_at(ring.desc_addr = end - 16 * 8);
        else if (part == 1)
            ring.avail = guest_at(ring.avail_addr = end - 6 - 2 * 8);
        else
            ring.used = guest_at(ring.used_addr = (end - 6 - 8 * 8) & ~3ull);
        memset(guest_at(end - 4096), 0, 4096);
        state = guest_ring_state(&ring);
        CU_ASSERT_EQUAL_FATAL(start(EVENT_IDX), 0);
        for (uint16_t i = 0; i < 8; i++) {
            guest_desc(&ring, i, BUFFER(i), 16, F_WRITE, 0);
            guest_offer(&ring, i);
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            virtqueue_push(&vq, chain.ref, i);
        }
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
        CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
        for (uint16_t i = 0; i < 8; i++)
            CU_ASSERT(guest_used(&ring, &element) && element.id == i && element.len == i);
    }
}

/* A queue in which nothing has happened, in either format. */
static void test_untouched(void)
{
    uint16_t *const positions[] = {&state.next_used, &state.batch_end, &state.next_avail};
    state = (struct state_queue){.size = 8, .ready = 1};
    CU_ASSERT_TRUE(virtqueue_untouched(&state));
    for (size_t i = 0; i < 3; i++) {
        for (uint16_t value = 1; value <= 2; value++) {
            *positions[i] = value;
            CU_ASSERT_FALSE(virtqueue_untouched(&state));
        }
        *positions[i] = 0;
    }
}

/* ---- A correct driver ---- */

/* Take two chains, and complete them in the given order, or one of them twice. Returns how the
 * process ends. */
static int end_of(unsigned int first, unsigned int second)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        struct chain_ref refs[2];
        fresh(8, 0);
        for (uint16_t i = 0; i < 2; i++) {
            guest_desc(&ring, i, BUFFER(0), 16, F_WRITE, 0);
            guest_offer(&ring, i);
            if (pop() != 1)
                _exit(1);
            refs[i] = chain.ref;
        }
        virtqueue_push(&vq, refs[first], 0);
        virtqueue_push(&vq, refs[second], 0);
        _exit(0);
    }
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    return status;
}

/* A restart relies on counting, so a device must not complete chains out of order. */
static void test_out_of_order_ends_the_worker(void)
{
    CU_ASSERT_EQUAL(end_of(0, 1), 0);
    CU_ASSERT(WIFSIGNALED(end_of(1, 0)));
    CU_ASSERT(WIFSIGNALED(end_of(0, 0)));
}

static void test_pop_push(void)
{
    fresh(8, 0);
    CU_ASSERT_EQUAL(pop(), 0);
    guest_desc(&ring, 5, BUFFER(0), 16, F_NEXT, 2);
    guest_desc(&ring, 2, BUFFER(1), 4096, F_NEXT | F_WRITE, 7);
    guest_desc(&ring, 7, BUFFER(2), 1, F_WRITE, 0);
    guest_offer(&ring, 5);
    CU_ASSERT_EQUAL_FATAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.ref.id, 5);
    CU_ASSERT_EQUAL(chain.readable_count, 1);
    CU_ASSERT_EQUAL(chain.writable_count, 2);
    CU_ASSERT_EQUAL(chain.readable_length, 16);
    CU_ASSERT_EQUAL(chain.writable_length, 4097);
    CU_ASSERT_PTR_EQUAL(chain.segments[0].iov_base, guest_at(BUFFER(0)));
    CU_ASSERT_PTR_EQUAL(chain.segments[1].iov_base, guest_at(BUFFER(1)));
    CU_ASSERT_EQUAL(chain.segments[2].iov_len, 1);
    CU_ASSERT_EQUAL(pop(), 0);

    struct vring_used_elem element;
    CU_ASSERT_EQUAL(publish(), NOTHING);
    virtqueue_push(&vq, (struct chain_ref){.id = 5}, 4097);
    CU_ASSERT_FALSE(guest_used(&ring, &element));
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
    CU_ASSERT_TRUE_FATAL(guest_used(&ring, &element));
    CU_ASSERT_EQUAL(element.id, 5);
    CU_ASSERT_EQUAL(element.len, 4097);
    CU_ASSERT_EQUAL(state.next_used, 1);
    CU_ASSERT_EQUAL(state.batch_end, 1);
    CU_ASSERT_EQUAL(state.next_avail, 1);
}

/* Go round the ring, and round the 16-bit indices, in batches of every size. */
static void test_wrap_around(void)
{
    struct vring_used_elem element;
    fresh(16, 0);
    for (uint32_t round = 0, batch = 1; round < 20000; round++, batch = batch % 16 + 1) {
        for (uint16_t i = 0; i < batch; i++) {
            guest_desc(&ring, i, BUFFER(i), 64, F_WRITE, 0);
            guest_offer(&ring, i);
        }
        for (uint16_t i = 0; i < batch; i++) {
            CU_ASSERT_EQUAL_FATAL(pop(), 1);
            CU_ASSERT_EQUAL_FATAL(chain.ref.id, i);
            virtqueue_push(&vq, chain.ref, 100u + i);
        }
        CU_ASSERT_EQUAL_FATAL(pop(), 0);
        CU_ASSERT_FALSE_FATAL(guest_used(&ring, &element));
        CU_ASSERT_EQUAL_FATAL(publish(), INTERRUPT);
        for (uint16_t i = 0; i < batch; i++) {
            CU_ASSERT_TRUE_FATAL(guest_used(&ring, &element));
            CU_ASSERT_EQUAL_FATAL(element.id, i);
            CU_ASSERT_EQUAL_FATAL(element.len, 100u + i);
        }
        CU_ASSERT_FALSE_FATAL(guest_used(&ring, &element));
    }
}

static void serve_one(void)
{
    guest_desc(&ring, 0, BUFFER(0), 64, F_WRITE, 0);
    guest_offer(&ring, 0);
    CU_ASSERT_EQUAL_FATAL(pop(), 1);
    virtqueue_push(&vq, (struct chain_ref){.id = 0}, 0);
}

static void test_interrupt_flag(void)
{
    fresh(8, 0);
    ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
    serve_one();
    CU_ASSERT_EQUAL(publish(), INTERRUPT); /* the first one always interrupts */
    serve_one();
    CU_ASSERT_EQUAL(publish(), SUPPRESSED);
    ring.avail->flags = 0;
    serve_one();
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
}

static void test_interrupt_event_idx(void)
{
    fresh(8, EVENT_IDX);
    uint16_t *used_event = &ring.avail->ring[8];
    ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT; /* §2.7.7.2: must be ignored */
    serve_one();
    CU_ASSERT_EQUAL(publish(), INTERRUPT); /* the first one always interrupts */
    *used_event = 1;
    serve_one();
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
    serve_one(); /* entry 2, event at 1: it was passed before */
    CU_ASSERT_EQUAL(publish(), SUPPRESSED);
    *used_event = 5;
    for (uint16_t i = 3; i < 5; i++) {
        serve_one();
        CU_ASSERT_EQUAL(publish(), SUPPRESSED);
    }
    serve_one();
    serve_one();
    serve_one(); /* entries 5, 6, 7 in one batch: one interrupt */
    CU_ASSERT_EQUAL(publish(), INTERRUPT);
    for (uint32_t i = 8; i < 65536; i++) {
        *used_event = 65535;
        serve_one();
        CU_ASSERT_EQUAL_FATAL(publish(), i == 65535 ? INTERRUPT : SUPPRESSED);
    }
}

/* The decision comes late, for several batches at once. An event anywhere among them counts. */
static void test_interrupt_decided_late(void)
{
    for (uint16_t event = 0; event < 12; event++) {
        fresh(8, EVENT_IDX);
        serve_one();
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
        CU_ASSERT_EQUAL(virtqueue_since_interrupt(&vq), 0);
        ring.avail->ring[8] = event;
        for (uint16_t i = 1; i < 7; i++) {
            serve_one();
            virtqueue_publish(&vq);
            CU_ASSERT_EQUAL(ring.used->idx, i + 1);
            CU_ASSERT_EQUAL(virtqueue_since_interrupt(&vq), i);
        }
        CU_ASSERT_EQUAL(publish(), event >= 1 && event < 7 ? INTERRUPT : SUPPRESSED);
        CU_ASSERT_EQUAL(publish(), NOTHING);
    }
}

static void test_notify(void)
{
    fresh(8, 0);
    virtqueue_disable_notify(&vq);
    CU_ASSERT_EQUAL(ring.used->flags, VRING_USED_F_NO_NOTIFY);
    CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
    CU_ASSERT_EQUAL(ring.used->flags, 0);
    guest_desc(&ring, 0, BUFFER(0), 64, 0, 0);
    guest_offer(&ring, 0);
    CU_ASSERT_FALSE(virtqueue_enable_notify(&vq));

    fresh(8, EVENT_IDX);
    const uint16_t *avail_event = (const uint16_t *)&ring.used->ring[8];
    for (uint16_t i = 0; i < 5; i++)
        serve_one();
    virtqueue_disable_notify(&vq);
    CU_ASSERT_EQUAL(ring.used->flags, 0); /* §2.7.10.2 */
    CU_ASSERT_EQUAL(*avail_event, 0);
    CU_ASSERT_TRUE(virtqueue_enable_notify(&vq));
    CU_ASSERT_EQUAL(*avail_event, 5);
    guest_offer(&ring, 0);
    CU_ASSERT_FALSE(virtqueue_enable_notify(&vq));
}

/* ---- Layouts ---- */

static void put_table(uint64_t addr, unsigned int index, struct vring_desc desc)
{
    memcpy((unsigned char *)guest_at(addr) + index * sizeof(desc), &desc, sizeof(desc));
}

static void test_indirect(void)
{
    for (uint64_t skew = 0; skew < 16; skew += 5) { /* a table may be at any address */
        uint64_t table = BUFFER(8) + skew;
        fresh(8, INDIRECT);
        put_table(table, 0, (struct vring_desc){BUFFER(1), 10, F_NEXT, 3});
        put_table(table, 3, (struct vring_desc){BUFFER(2), 20, F_NEXT | F_WRITE, 1});
        put_table(table, 1, (struct vring_desc){BUFFER(3), 30, F_WRITE, 0xffff});
        guest_desc(&ring, 4, BUFFER(0), 5, F_NEXT, 6);
        guest_desc(&ring, 6, table, 4 * 16, F_INDIRECT | F_WRITE, 0);
        guest_offer(&ring, 4);
        CU_ASSERT_EQUAL_FATAL(pop(), 1);
        CU_ASSERT_EQUAL(chain.readable_count, 2);
        CU_ASSERT_EQUAL(chain.writable_count, 2);
        CU_ASSERT_EQUAL(chain.readable_length, 15);
        CU_ASSERT_EQUAL(chain.writable_length, 50);
        CU_ASSERT_PTR_EQUAL(chain.segments[3].iov_base, guest_at(BUFFER(3)));
    }
}

static void long_table(uint64_t table, unsigned int count)
{
    for (unsigned int i = 0; i < count; i++) {
        uint16_t flags = i + 1 < count ? F_NEXT : 0;
        put_table(table, i, (struct vring_desc){BUFFER(0), 1, flags, (uint16_t)(i + 1)});
    }
    guest_desc(&ring, 0, table, count * 16, F_INDIRECT, 0);
    guest_offer(&ring, 0);
}

static void test_longest_chains(void)
{
    fresh(256, INDIRECT);
    for (uint16_t i = 0; i < 256; i++)
        guest_desc(&ring, i, BUFFER(0), 1, i < 255 ? F_NEXT : 0, (uint16_t)(i + 1));
    guest_offer(&ring, 0);
    CU_ASSERT_EQUAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.readable_count, 256);

    fresh(8, INDIRECT);
    long_table(BUFFER(8), 256);
    CU_ASSERT_EQUAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.readable_count, 256);

    fresh(8, INDIRECT);
    long_table(BUFFER(8), 257);
    expect_refused(LOG_CHAIN_INVALID, CHECK_SEGMENTS);
}

static void test_zero_length(void)
{
    fresh(8, 0);
    guest_desc(&ring, 0, 0, 0, F_NEXT, 1); /* no byte, so its address can't be wrong */
    guest_desc(&ring, 1, BUFFER(0), 8, F_NEXT, 2);
    guest_desc(&ring, 2, UINT64_MAX, 0, F_WRITE, 0);
    guest_offer(&ring, 0);
    CU_ASSERT_EQUAL(pop(), 1);
    CU_ASSERT_EQUAL(chain.readable_count, 1);
    CU_ASSERT_EQUAL(chain.readable_length, 8);
    CU_ASSERT_EQUAL(chain.writable_count, 0);
}

/* ---- Restarts ---- */

/* A batch of three that was taken and completed, but not yet published. */
static void batch_of_three(uint16_t at)
{
    guest_ring_init(&ring, 0, 8);
    state = guest_ring_state(&ring);
    ring.avail_idx = at;
    ring.avail->idx = at;
    ring.used->idx = at;
    ring.used_seen = at;
    state.next_used = state.batch_end = state.next_avail = at;
    CU_ASSERT_EQUAL_FATAL(start(0), 0);
    for (uint16_t i = 0; i < 3; i++)
        serve_one();
}

/* How many chains a successor finds to do. */
static unsigned int taken_again(void)
{
    unsigned int count = 0;
    while (pop() == 1) {
        virtqueue_push(&vq, chain.ref, 0);
        count++;
    }
    return count;
}

static void test_restart(void)
{
    static const uint16_t positions[] = {0, 7, 65533, 65534, 65535};
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        uint16_t at = positions[i];
        uint16_t end = (uint16_t)(at + 3);

        batch_of_three(at); /* died before it published anything */
        CU_ASSERT_EQUAL(state.next_avail, end);
        CU_ASSERT_EQUAL(start(0), 0);
        CU_ASSERT_EQUAL(state.next_avail, at); /* none is taken yet */
        CU_ASSERT_EQUAL(virtqueue_since_interrupt(&vq), 0);
        CU_ASSERT_EQUAL(taken_again(), 3);
        CU_ASSERT_EQUAL(publish(), INTERRUPT);
        CU_ASSERT_EQUAL(ring.used->idx, end);

        batch_of_three(at); /* died between batch_end and used->idx */
        state.batch_end = end;
        CU_ASSERT_EQUAL(start(0), 0);
        CU_ASSERT_EQUAL(state.batch_end, at);
        CU_ASSERT_EQUAL(taken_again(), 3);

        batch_of_three(at); /* died between used->idx and next_used */
        state.batch_end = end;
        ring.used->idx = end;
        CU_ASSERT_EQUAL(start(0), 0);
        CU_ASSERT_EQUAL(state.next_used, end);
        CU_ASSERT_EQUAL(taken_again(), 0);
        CU_ASSERT_EQUAL(publish(), NOTHING);

        batch_of_three(at); /* died after it */
        publish();
        ring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
        CU_ASSERT_EQUAL(start(0), 0);
        CU_ASSERT_EQUAL(taken_again(), 0);
        serve_one();
        CU_ASSERT_EQUAL(publish(), INTERRUPT); /* whatever the driver has asked for */

        batch_of_three(at); /* neither end: somebody else has written used->idx */
        state.batch_end = end;
        ring.used->idx = (uint16_t)(at + 1);
        CU_ASSERT_EQUAL(start(0), -EBADMSG);
        CU_ASSERT_EQUAL(fault.code, LOG_USED_INVALID);
    }
}

/* ---- Looking ahead ---- */

static void offer_some(uint16_t count)
{
    for (uint16_t i = 0; i < count; i++) {
        guest_desc(&ring, i, BUFFER(i), 16u + i, F_WRITE, 0);
        guest_offer(&ring, i);
    }
}

/* Each chain is shown once, and is still there to be taken. Positions may wrap round. */
static void test_looking_ahead(void)
{
    static const uint16_t positions[] = {0, 100, 65530, 65534, 65535};
    for (size_t i = 0; i < sizeof(positions) / sizeof(positions[0]); i++) {
        const uint16_t at = positions[i];
        batch_of_three(at);
        virtqueue_publish(&vq);
        CU_ASSERT_EQUAL(taken_again(), 0);
        CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
        offer_some(5);
        CU_ASSERT_EQUAL(pop(), 1);
        CU_ASSERT_FALSE(virtqueue_was_shown(&vq));
        virtqueue_push(&vq, chain.ref, 0);
        for (uint16_t k = 1; k < 4; k++) {
            CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
            CU_ASSERT_EQUAL(chain.ref.id, k);
            CU_ASSERT_EQUAL(chain.writable_length, 16u + k);
            CU_ASSERT_EQUAL(state.next_avail, (uint16_t)(at + 4));
        }
        for (uint16_t k = 1; k < 5; k++) {
            CU_ASSERT_EQUAL(pop(), 1);
            CU_ASSERT_EQUAL(chain.ref.id, k);
            CU_ASSERT_EQUAL(virtqueue_was_shown(&vq), k < 4);
            CU_ASSERT_EQUAL(state.next_avail, (uint16_t)(at + 4 + k));
            virtqueue_push(&vq, chain.ref, 0);
        }
        CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
        CU_ASSERT_FALSE(virtqueue_was_shown(&vq));
    }
}

/* What was shown long ago is not taken for what is in front: the counts have 16 bits. */
static void test_looking_ahead_after_many_chains(void)
{
    static struct chain other;
    fresh(8, 0);
    for (uint32_t i = 0; i < 0x18000; i++) {
        offer_some(1);
        CU_ASSERT_EQUAL_FATAL(pop(), 1);
        CU_ASSERT_EQUAL_FATAL(virtqueue_pop(&vq, &other, &fault), 0);
        CU_ASSERT_FALSE_FATAL(virtqueue_was_shown(&vq));
        virtqueue_push(&vq, chain.ref, 0);
        virtqueue_publish(&vq);
    }
    offer_some(2);
    CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
    CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
    CU_ASSERT_EQUAL(chain.ref.id, 1);
    CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
}

/* A chain that is broken is not shown; who takes it hears why. */
static void test_looking_ahead_at_a_broken_chain(void)
{
    fresh(8, 0);
    offer_some(2);
    guest_desc(&ring, 1, BUFFER(0), 16, F_NEXT, 8);
    CU_ASSERT_TRUE(virtqueue_ahead(&vq, &chain));
    CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
    CU_ASSERT_FALSE(virtqueue_ahead(&vq, &chain));
    CU_ASSERT_EQUAL(pop(), 1);
    expect_refused(LOG_DESC_INVALID, CHECK_NEXT);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"translate", test_translate},
        {"ring valid", test_ring_valid},
        {"at the end of the window", test_at_the_end_of_the_window},
        {"untouched", test_untouched},
        {"pop and push", test_pop_push},
        {"completing out of order is the end", test_out_of_order_ends_the_worker},
        {"wrap around", test_wrap_around},
        {"interrupt by flag", test_interrupt_flag},
        {"interrupt by event index", test_interrupt_event_idx},
        {"interrupt decided late", test_interrupt_decided_late},
        {"notify", test_notify},
        {"indirect", test_indirect},
        {"longest chains", test_longest_chains},
        {"zero length", test_zero_length},
        {"restart", test_restart},
        {"looking ahead", test_looking_ahead},
        {"looking ahead after many chains", test_looking_ahead_after_many_chains},
        {"looking ahead at a broken chain", test_looking_ahead_at_a_broken_chain},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "virtqueue", tests);
}
