/* SPDX-License-Identifier: Apache-2.0 */
/* The packed virtqueue against a driver that writes whatever it likes, whenever it likes. */
#include <stdlib.h>

#include "tests/cunit_main.h"
#include "tests/unit/packed_under_test.h"

static const struct vring_packed_desc byte = {BUFFER(0), 1, 0, 0};

static void put_table(uint64_t addr, unsigned int index, struct vring_packed_desc desc)
{
    memcpy((unsigned char *)guest_at(addr) + index * sizeof(desc), &desc, sizeof(desc));
}

/* Flags that do not mean "available in this lap" are ignored. */
static void test_flags_nonsense(void)
{
    fresh(4, INDIRECT);
    for (uint32_t flags = 0; flags <= UINT16_MAX; flags++) {
        ring.desc[0] = (struct vring_packed_desc){BUFFER(0), 1, 0, (uint16_t)flags};
        bool is = (flags & (PACKED_AVAIL | PACKED_USED)) == PACKED_AVAIL;
        CU_ASSERT_EQUAL_FATAL(virtqueue_available(&vq), is);
        if (!is)
            CU_ASSERT_EQUAL_FATAL(pop(), 0);
    }
    /* In the next lap the flags have the opposite meaning. */
    fresh(1, 0);
    packed_offer(&ring, byte, 1, 0);
    CU_ASSERT_EQUAL(pop(), 1);
    virtqueue_push(&vq, chain.ref, 0);
    virtqueue_publish(&vq);
    ring.desc[0].flags = PACKED_AVAIL;
    CU_ASSERT_EQUAL(pop(), 0);
    ring.desc[0].flags = PACKED_USED;
    CU_ASSERT_EQUAL(pop(), 1);
}

/* A chain that goes on in descriptors which the driver has not made available, or has not got back
 * yet. */
static void test_chain_too_long(void)
{
    static const uint16_t bad[] = {0, PACKED_USED, PACKED_AVAIL | PACKED_USED};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fresh(8, 0);
        packed_offer(&ring, byte, 3, 0);
        ring.desc[1].flags = bad[i] | F_NEXT;
        expect_refused(LOG_DESC_INVALID, CHECK_AVAILABLE);
        CU_ASSERT_EQUAL(fault.args[1], 1);
    }
    for (uint16_t size = 1; size <= 256; size *= 2) { /* round the ring */
        fresh(size, 0);
        packed_offer(&ring, byte, size, 0);
        ring.desc[size - 1].flags |= F_NEXT;
        expect_refused(LOG_CHAIN_INVALID, CHECK_LOOP);
    }
    /* The chain reaches into what is taken, or completed but not published: only the rest of the
     * ring is free. */
    for (unsigned int published = 0; published < 2; published++) {
        fresh(8, 0);
        packed_offer(&ring, byte, 5, 1);
        CU_ASSERT_EQUAL(pop(), 1);
        if (published)
            virtqueue_push(&vq, chain.ref, 0);
        packed_offer(&ring, byte, 4, 2);
        expect_refused(LOG_CHAIN_INVALID, CHECK_LOOP);
    }
    /* Everything is taken, but the driver says that there is more. */
    fresh(4, 0);
    packed_offer(&ring, byte, 4, 1);
    CU_ASSERT_EQUAL(pop(), 1);
    packed_offer(&ring, byte, 1, 2);
    CU_ASSERT_TRUE(virtqueue_available(&vq));
    expect_refused(LOG_CHAIN_INVALID, CHECK_LOOP);
}

static void test_bad_buffers(void)
{
    uint64_t end = GUEST_BASE + GUEST_SIZE;
    const struct {
        uint64_t addr;
        uint32_t len;
    } bad[] = {
        {0, 1},
        {GUEST_BASE - 1, 1},
        {GUEST_BASE - 1, 2},
        {end, 1},
        {end - 1, 2},
        {GUEST_BASE, 1u << 31},
        {UINT64_MAX, 1},
        {UINT64_MAX, UINT32_MAX},
        {end - 16, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct vring_packed_desc desc = {bad[i].addr, bad[i].len, 0, F_WRITE};
        fresh(8, INDIRECT);
        packed_offer(&ring, desc, 1, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_ADDRESS);
        fresh(8, INDIRECT);
        put_table(BUFFER(8), 0, desc);
        packed_offer(&ring, (struct vring_packed_desc){BUFFER(8), 16, 0, F_INDIRECT}, 1, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_ADDRESS);
    }
}

static void test_bad_order_and_length(void)
{
    fresh(8, 0);
    packed_put(&ring, (struct vring_packed_desc){BUFFER(0), 1, 0, F_WRITE | F_NEXT});
    packed_put(&ring, (struct vring_packed_desc){BUFFER(0), 1, 0, 0});
    expect_refused(LOG_DESC_INVALID, CHECK_ORDER);

    fresh(8, 0); /* 5 times 1 GiB less a byte: each is inside the window */
    packed_offer(&ring, (struct vring_packed_desc){GUEST_BASE, (uint32_t)GUEST_SIZE - 1, 0, 0}, 5,
                 0);
    expect_refused(LOG_CHAIN_INVALID, CHECK_LENGTH);
}

static void expect_indirect_refused(uint64_t features, uint64_t addr, uint32_t len,
                                    enum ring_check check)
{
    fresh(8, features);
    packed_offer(&ring, (struct vring_packed_desc){addr, len, 0, F_INDIRECT}, 1, 0);
    expect_refused(LOG_DESC_INVALID, check);
}

static void test_bad_indirect(void)
{
    uint64_t end = GUEST_BASE + GUEST_SIZE;
    expect_indirect_refused(0, BUFFER(8), 16, CHECK_INDIRECT_FEATURE);
    expect_indirect_refused(INDIRECT, BUFFER(8), 0, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), 15, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), 17, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), UINT32_MAX, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, GUEST_BASE - 16, 16, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, end - 16, 32, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, 0, 16, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, BUFFER(8), 0xfffffff0, CHECK_INDIRECT_ADDRESS);
    /* In a list with other descriptors, at its start or its end, §2.8.5. */
    put_table(BUFFER(8), 0, byte);
    fresh(8, INDIRECT);
    packed_offer(&ring, (struct vring_packed_desc){BUFFER(8), 16, 0, F_INDIRECT}, 2, 0);
    expect_refused(LOG_DESC_INVALID, CHECK_INDIRECT_WITH_NEXT);
    fresh(8, INDIRECT);
    packed_put(&ring, (struct vring_packed_desc){BUFFER(0), 1, 0, F_NEXT});
    packed_put(&ring, (struct vring_packed_desc){BUFFER(8), 16, 0, F_INDIRECT});
    expect_refused(LOG_DESC_INVALID, CHECK_INDIRECT_WITH_NEXT);
    CU_ASSERT_EQUAL(fault.args[1], 1);
}

/* A table that is inside the ring, or a ring that is a buffer, confuses nobody but the guest. */
static void test_overlaps(void)
{
    fresh(8, INDIRECT);
    packed_offer(&ring, (struct vring_packed_desc){GUEST_BASE, 16, 0, F_INDIRECT}, 1, 0);
    CU_ASSERT_EQUAL(pop(), 1); /* the entry is the descriptor itself: its flags are ignored */
    CU_ASSERT_PTR_EQUAL(chain.segments[0].iov_base, guest_memory);
    fresh(8, 0);
    packed_offer(&ring, (struct vring_packed_desc){GUEST_BASE, 128, 0, F_WRITE}, 1, 0);
    CU_ASSERT_EQUAL(pop(), 1);
    memset(chain.segments[0].iov_base, 0xff, 128);
    virtqueue_push(&vq, chain.ref, 128);
    virtqueue_publish(&vq);
    CU_ASSERT_EQUAL(pop(), 0);
}

/* Everything in the ring is random. Still, all of a chain is inside the window, and the device
 * never has more descriptors than the ring. */
static void check_chain(uint32_t *taken)
{
    uint64_t readable = 0, writable = 0;
    CU_ASSERT_TRUE_FATAL(chain.readable_count + chain.writable_count <= CHAIN_SEGMENTS_MAX);
    for (unsigned int i = 0; i < chain.readable_count + chain.writable_count; i++) {
        const unsigned char *base = chain.segments[i].iov_base;
        size_t length = chain.segments[i].iov_len;
        CU_ASSERT_TRUE_FATAL(length > 0 && length <= GUEST_SIZE);
        CU_ASSERT_TRUE_FATAL(base >= guest_memory && base + length <= guest_memory + GUEST_SIZE);
        *(i < chain.readable_count ? &readable : &writable) += length;
    }
    CU_ASSERT_EQUAL_FATAL(readable, chain.readable_length);
    CU_ASSERT_EQUAL_FATAL(writable, chain.writable_length);
    *taken += chain.ref.descriptors;
    CU_ASSERT_TRUE_FATAL(chain.ref.descriptors > 0 && *taken <= vq.size);
}

static struct vring_packed_desc random_desc(void)
{
    uint64_t r = guest_random();
    struct vring_packed_desc desc = {
        .addr = r % 8 ? GUEST_BASE + guest_random() % (GUEST_SIZE + 64) : guest_random(),
        .len = r % 16 ? (uint32_t)(guest_random() % 512) : (uint32_t)guest_random(),
        .id = (uint16_t)guest_random(),
        .flags = (uint16_t)(guest_random() % 16 ? guest_random() & 3 : guest_random()),
    };
    if (guest_random() % 8 == 0) /* an indirect table between the random ones */
        desc = (struct vring_packed_desc){BUFFER(8) + guest_random() % 256,
                                          16 * (uint32_t)(guest_random() % 40), 0, F_INDIRECT};
    if (guest_random() % 64 != 0)
        desc.flags = (uint16_t)((desc.flags & ~PACKED_USED) | PACKED_AVAIL);
    return desc;
}

static void test_random_rings(void)
{
    unsigned int taken = 0, refused = 0;
    for (unsigned int round = 0; round < 60000; round++) {
        uint16_t size = (uint16_t)(guest_random() % 100 + 1);
        fresh(size, INDIRECT | EVENT_IDX);
        *(uint32_t *)(void *)ring.driver = (uint32_t)guest_random();
        for (uint16_t i = 0; i < size; i++)
            ring.desc[i] = random_desc();
        for (unsigned int i = 0; i < 48; i++)
            put_table(BUFFER(8), i, random_desc());
        uint32_t outstanding = 0;
        int r;
        while ((r = pop()) == 1) {
            check_chain(&outstanding);
            virtqueue_push(&vq, chain.ref, 0);
            taken++;
            if (guest_random() % 4 != 0)
                continue;
            virtqueue_publish(&vq);
            virtqueue_interrupt_due(&vq);
            outstanding = 0;
            for (uint16_t i = 0; i < size; i++) /* makes it go on */
                ring.desc[i].flags ^=
                    (uint16_t)(guest_random() % 4 ? 0 : 1u << guest_random() % 16);
        }
        refused += r < 0;
        virtqueue_publish(&vq);
        CU_ASSERT_TRUE_FATAL(virtqueue_indices_valid(&state, PACKED));
    }
    CU_ASSERT_TRUE(taken > 10000);
    CU_ASSERT_TRUE(refused > 10000);
}

/* Whatever the ring holds, a successor that passes the checks stays inside it. */
static void test_random_restarts(void)
{
    unsigned int started = 0;
    for (unsigned int round = 0; round < 100000; round++) {
        uint16_t size = (uint16_t)(guest_random() % 8 + 1);
        packed_init(&ring, size);
        state = packed_state(&ring);
        for (uint16_t i = 0; i < size; i++)
            ring.desc[i] = random_desc();
        ring.desc[size] = (struct vring_packed_desc){1, 2, 3, 4}; /* behind the ring */
        state.next_used = (uint16_t)(guest_random() % size | (guest_random() & STATE_POSITION_LAP));
        state.batch_end = (uint16_t)(guest_random() % size | (guest_random() & STATE_POSITION_LAP));
        state.next_avail = state.batch_end;
        state.batch_count = (uint16_t)(guest_random() % 3 + 1);
        for (unsigned int i = 0; i < 3; i++)
            state.batch[i].descriptors = (uint16_t)(guest_random() % 4 + 1);
        if (!virtqueue_indices_valid(&state, PACKED))
            continue;
        started++;
        CU_ASSERT_EQUAL_FATAL(start(INDIRECT), 0);
        CU_ASSERT_EQUAL_FATAL(state.next_used, state.batch_end);
        uint32_t taken = 0;
        while (pop() == 1)
            check_chain(&taken);
        CU_ASSERT_EQUAL_FATAL(ring.desc[size].addr, 1);
        CU_ASSERT_EQUAL_FATAL(ring.desc[size].flags, 4);
    }
    CU_ASSERT_TRUE(started > 5000);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"flags nonsense", test_flags_nonsense},
        {"chain too long", test_chain_too_long},
        {"bad buffers", test_bad_buffers},
        {"bad order and length", test_bad_order_and_length},
        {"bad indirect", test_bad_indirect},
        {"overlaps", test_overlaps},
        {"random rings", test_random_rings},
        {"random restarts", test_random_restarts},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "hostile packed virtqueue", tests);
}
