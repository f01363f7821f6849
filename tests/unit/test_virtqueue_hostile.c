/* SPDX-License-Identifier: Apache-2.0 */
/* The split virtqueue against a driver that writes whatever it likes, whenever it likes. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "tests/unit/split_under_test.h"

static void put_table(uint64_t addr, unsigned int index, struct vring_desc desc)
{
    memcpy((unsigned char *)guest_at(addr) + index * sizeof(desc), &desc, sizeof(desc));
}

static void serve_one(void)
{
    guest_desc(&ring, 0, BUFFER(0), 64, F_WRITE, 0);
    guest_offer(&ring, 0);
    CU_ASSERT_EQUAL_FATAL(pop(), 1);
    virtqueue_push(&vq, (struct chain_ref){.id = 0}, 0);
}

static void test_bad_heads_and_nexts(void)
{
    static const uint16_t bad[] = {8, 9, 255, 0x7fff, 0xffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fresh(8, INDIRECT);
        guest_offer(&ring, bad[i]);
        expect_refused(LOG_DESC_INVALID, CHECK_HEAD);
        fresh(8, INDIRECT);
        guest_desc(&ring, 0, BUFFER(0), 1, F_NEXT, bad[i]);
        guest_offer(&ring, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_NEXT);
        fresh(8, INDIRECT);
        put_table(BUFFER(8), 0, (struct vring_desc){BUFFER(0), 1, F_NEXT, bad[i]});
        guest_desc(&ring, 0, BUFFER(8), 4 * 16, F_INDIRECT, 0);
        guest_offer(&ring, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_NEXT);
    }
}

static void test_loops(void)
{
    for (uint16_t size = 1; size <= 256; size *= 2) {
        for (uint32_t len = 0; len < 2; len++) {
            fresh(size, INDIRECT);
            for (uint16_t i = 0; i < size; i++)
                guest_desc(&ring, i, BUFFER(0), len, F_NEXT, (uint16_t)((i + 1) % size));
            guest_offer(&ring, 0);
            expect_refused(LOG_CHAIN_INVALID, CHECK_LOOP);
            fresh(size, INDIRECT);
            guest_desc(&ring, 0, BUFFER(0), len, F_NEXT, 0);
            guest_offer(&ring, 0);
            expect_refused(LOG_CHAIN_INVALID, CHECK_LOOP);
        }
    }
    /* In a table as large as the window, a walk over empty descriptors would take for ever. */
    fresh(8, INDIRECT);
    put_table(GUEST_BASE, 4, (struct vring_desc){0, 0, F_NEXT, 4});
    put_table(BUFFER(8), 0, (struct vring_desc){0, 0, F_NEXT, 4});
    put_table(BUFFER(8), 4, (struct vring_desc){0, 0, F_NEXT, 4});
    guest_desc(&ring, 0, BUFFER(8), 0x20000000, F_INDIRECT, 0);
    guest_offer(&ring, 0);
    expect_refused(LOG_CHAIN_INVALID, CHECK_SEGMENTS);
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
        fresh(8, INDIRECT);
        guest_desc(&ring, 0, bad[i].addr, bad[i].len, 0, 0);
        guest_offer(&ring, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_ADDRESS);
        fresh(8, INDIRECT);
        put_table(BUFFER(8), 0, (struct vring_desc){bad[i].addr, bad[i].len, F_WRITE, 0});
        guest_desc(&ring, 0, BUFFER(8), 16, F_INDIRECT, 0);
        guest_offer(&ring, 0);
        expect_refused(LOG_DESC_INVALID, CHECK_ADDRESS);
    }
}

static void test_bad_order_and_length(void)
{
    fresh(8, 0);
    guest_desc(&ring, 0, BUFFER(0), 1, F_WRITE | F_NEXT, 1);
    guest_desc(&ring, 1, BUFFER(0), 1, 0, 0);
    guest_offer(&ring, 0);
    expect_refused(LOG_DESC_INVALID, CHECK_ORDER);

    fresh(8, 0); /* 5 times 1 GiB less a byte: each is inside the window */
    for (uint16_t i = 0; i < 5; i++)
        guest_desc(&ring, i, GUEST_BASE, (uint32_t)GUEST_SIZE - 1, i < 4 ? F_NEXT : 0,
                   (uint16_t)(i + 1));
    guest_offer(&ring, 0);
    expect_refused(LOG_CHAIN_INVALID, CHECK_LENGTH);
}

static void expect_indirect_refused(uint64_t features, uint64_t addr, uint32_t len, uint16_t flags,
                                    enum ring_check check)
{
    fresh(8, features);
    guest_desc(&ring, 0, addr, len, F_INDIRECT | flags, 1);
    guest_offer(&ring, 0);
    expect_refused(LOG_DESC_INVALID, check);
}

static void test_bad_indirect(void)
{
    uint64_t end = GUEST_BASE + GUEST_SIZE;
    put_table(BUFFER(8), 0, (struct vring_desc){BUFFER(8), 16, F_INDIRECT, 0});
    expect_indirect_refused(0, BUFFER(8), 16, 0, CHECK_INDIRECT_FEATURE);
    expect_indirect_refused(INDIRECT, BUFFER(8), 16, 0, CHECK_INDIRECT_NESTED);
    expect_indirect_refused(INDIRECT, BUFFER(8), 16, F_NEXT, CHECK_INDIRECT_WITH_NEXT);
    expect_indirect_refused(INDIRECT, BUFFER(8), 0, 0, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), 15, 0, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), 17, 0, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, BUFFER(8), UINT32_MAX, 0, CHECK_INDIRECT_LENGTH);
    expect_indirect_refused(INDIRECT, GUEST_BASE - 16, 16, 0, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, end - 16, 32, 0, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, 0, 16, 0, CHECK_INDIRECT_ADDRESS);
    expect_indirect_refused(INDIRECT, BUFFER(8), 0xfffffff0, 0, CHECK_INDIRECT_ADDRESS);
}

static void test_avail_jumps(void)
{
    static const uint16_t bad[] = {9, 10, 0x100, 0x8000, 0xfff0, 0xffff};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        fresh(8, 0);
        ring.avail->idx = bad[i];
        CU_ASSERT_EQUAL(pop(), -EBADMSG);
        CU_ASSERT_EQUAL(fault.code, LOG_AVAIL_INVALID);
        CU_ASSERT_EQUAL(fault.args[1], bad[i]);
    }
    fresh(8, 0);
    ring.avail->idx = 8;
    CU_ASSERT_EQUAL(pop(), 1);

    /* A chain that is completed, but not yet published, still occupies the ring. */
    fresh(8, 0);
    for (uint16_t i = 0; i < 8; i++)
        serve_one();
    ring.avail->idx = 9;
    CU_ASSERT_EQUAL(pop(), -EBADMSG);

    /* An index before what has already been taken. */
    fresh(8, 0);
    serve_one();
    serve_one();
    ring.avail->idx = 1;
    CU_ASSERT_EQUAL(pop(), -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, LOG_AVAIL_INVALID);
}

/* Everything in the ring is random. Still, all of a chain is inside the window. */
static void check_chain(void)
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
}

static struct vring_desc random_desc(uint16_t size)
{
    uint64_t r = guest_random();
    struct vring_desc desc = {
        .addr = r % 8 ? GUEST_BASE + guest_random() % (GUEST_SIZE + 64) : guest_random(),
        .len = r % 16 ? (uint32_t)(guest_random() % 512) : (uint32_t)guest_random(),
        .flags = (uint16_t)(guest_random() % 16 ? guest_random() & 3 : guest_random()),
        .next = (uint16_t)(r % 32 ? guest_random() % size : guest_random()),
    };
    if (guest_random() % 8 == 0) /* an indirect table between the random ones */
        desc = (struct vring_desc){BUFFER(8) + guest_random() % 256,
                                   16 * (uint32_t)(guest_random() % 40), 4, 0};
    return desc;
}

static void test_random_rings(void)
{
    unsigned int taken = 0, refused = 0;
    for (unsigned int round = 0; round < 60000; round++) {
        uint16_t size = (uint16_t)(1u << guest_random() % 9);
        fresh(size, INDIRECT | EVENT_IDX);
        for (uint16_t i = 0; i < size; i++)
            ring.desc[i] = random_desc(size);
        for (unsigned int i = 0; i < 48; i++)
            put_table(BUFFER(8), i, random_desc(48));
        for (uint16_t i = 0; i < size; i++)
            guest_offer(&ring,
                        (uint16_t)(guest_random() % 64 ? guest_random() % size : guest_random()));
        if (guest_random() % 8 == 0)
            ring.avail->idx = (uint16_t)guest_random();
        int r;
        while ((r = pop()) == 1) {
            check_chain();
            virtqueue_push(&vq, chain.ref, 0);
            taken++;
        }
        refused += r < 0;
        virtqueue_publish(&vq);
    }
    CU_ASSERT_TRUE(taken > 10000);
    CU_ASSERT_TRUE(refused > 10000);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"bad heads and nexts", test_bad_heads_and_nexts},
        {"loops", test_loops},
        {"bad buffers", test_bad_buffers},
        {"bad order and length", test_bad_order_and_length},
        {"bad indirect", test_bad_indirect},
        {"avail jumps", test_avail_jumps},
        {"random rings", test_random_rings},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "hostile virtqueue", tests);
}
