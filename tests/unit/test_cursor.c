/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cursor is compared with a model: one array of bytes that holds the segments in a row, and two
 * numbers, the cursor's position and its end. The segments lie apart from each other, with guard
 * bytes between them, so that an access outside a segment is found.
 */
#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cunit_main.h"
#include "worker/virtqueue/cursor.h"

#define SEGMENTS 12u
#define SEGMENT_MAX 40u
#define BYTES (SEGMENTS * SEGMENT_MAX)
#define GUARD 0xee
#define ROUNDS 20000

static unsigned char memory[SEGMENTS][SEGMENT_MAX + 16];
static struct iovec segments[SEGMENTS + 2];
static unsigned int count;

static struct {
    unsigned char bytes[BYTES];
    size_t length; /* of all segments */
    size_t at, end;
} model;

static size_t below(size_t bound)
{
    static uint64_t state = 88172645463325252ull;
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (size_t)(state >> 33) % bound;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Makes segments of 0 to SEGMENT_MAX bytes. Behind the last one there are two more, which belong to
 * nobody. */
static void build(unsigned int how_many)
{
    memset(memory, GUARD, sizeof(memory));
    memset(&model, 0, sizeof(model));
    count = how_many;
    for (unsigned int i = 0; i < count; i++) {
        size_t length = below(3) == 0 ? below(3) : below(SEGMENT_MAX + 1);
        segments[i] = (struct iovec){memory[i] + 8, length};
        for (size_t b = 0; b < length; b++)
            model.bytes[model.length++] = memory[i][8 + b] = (unsigned char)below(200);
    }
    for (unsigned int i = count; i < count + 2; i++)
        segments[i] = (struct iovec){NULL, SEGMENT_MAX};
    model.end = model.length;
}

/* Whether the segments hold what the model says, and the bytes around them are unchanged. */
static bool memory_agrees(void)
{
    size_t at = 0;
    for (unsigned int i = 0; i < SEGMENTS; i++) {
        size_t length = i < count ? segments[i].iov_len : 0;
        if (memcmp(memory[i] + 8, model.bytes + at, length) != 0)
            return false;
        at += length;
        for (size_t b = 0; b < sizeof(memory[i]); b++) {
            if ((b < 8 || b >= 8 + length) && memory[i][b] != GUARD)
                return false;
        }
    }
    return true;
}

static void read_bytes(struct cursor *cursor, size_t length)
{
    unsigned char got[2 * BYTES];
    memset(got, GUARD, sizeof(got));
    size_t want = smaller(length, model.end - model.at);
    CU_ASSERT_EQUAL_FATAL(cursor_read(cursor, got, length), want);
    CU_ASSERT_EQUAL_FATAL(memcmp(got, model.bytes + model.at, want), 0);
    for (size_t i = want; i < sizeof(got); i++)
        CU_ASSERT_EQUAL_FATAL(got[i], GUARD);
    model.at += want;
}

static void write_bytes(struct cursor *cursor, size_t length)
{
    unsigned char from[2 * BYTES];
    for (size_t i = 0; i < length; i++)
        from[i] = (unsigned char)below(200);
    size_t want = smaller(length, model.end - model.at);
    CU_ASSERT_EQUAL_FATAL(cursor_write(cursor, from, length), want);
    memcpy(model.bytes + model.at, from, want);
    model.at += want;
    CU_ASSERT_TRUE_FATAL(memory_agrees());
}

static void take_piece(struct cursor *cursor, size_t most)
{
    struct iovec piece = cursor_next(cursor, most);
    CU_ASSERT_FATAL(piece.iov_len <= smaller(most, model.end - model.at));
    CU_ASSERT_EQUAL_FATAL(piece.iov_len == 0, most == 0 || model.at == model.end);
    if (piece.iov_len > 0)
        CU_ASSERT_EQUAL_FATAL(memcmp(piece.iov_base, model.bytes + model.at, piece.iov_len), 0);
    model.at += piece.iov_len;
}

/* The cursor as an iovec array: the same bytes, no empty element, and no more elements than there
 * is room for. */
static void list(const struct cursor *cursor, unsigned int room)
{
    struct iovec got[SEGMENTS + 2];
    memset(got, GUARD, sizeof(got));
    unsigned int listed = cursor_segments(cursor, got, room);
    size_t at = model.at;
    CU_ASSERT_FATAL(listed <= room);
    for (unsigned int i = 0; i < listed; i++) {
        CU_ASSERT_FATAL(got[i].iov_len > 0 && got[i].iov_len <= model.end - at);
        CU_ASSERT_EQUAL_FATAL(memcmp(got[i].iov_base, model.bytes + at, got[i].iov_len), 0);
        at += got[i].iov_len;
    }
    CU_ASSERT_FATAL(at == model.end || listed == room);
    const unsigned char *behind = (const unsigned char *)&got[room];
    for (size_t i = 0; room < SEGMENTS + 2 && i < sizeof(got[0]); i++)
        CU_ASSERT_EQUAL_FATAL(behind[i], GUARD);
}

static void operate(struct cursor *cursor)
{
    size_t length = below(4) == 0 ? below(2 * BYTES) : below(30), want;
    switch (below(6)) {
    case 0:
        read_bytes(cursor, length);
        break;
    case 1:
        write_bytes(cursor, length);
        break;
    case 2:
        want = smaller(length, model.end - model.at);
        CU_ASSERT_EQUAL_FATAL(cursor_skip(cursor, length), want);
        model.at += want;
        break;
    case 3:
        cursor_cut(cursor, 2 * length);
        model.end = model.at + smaller(2 * length, model.end - model.at);
        break;
    case 4:
        take_piece(cursor, below(8) == 0 ? SIZE_MAX : length);
        break;
    default:
        list(cursor, (unsigned int)below(SEGMENTS + 3));
        break;
    }
    CU_ASSERT_EQUAL_FATAL(cursor->left, model.end - model.at);
}

static void test_model(void)
{
    for (int round = 0; round < ROUNDS; round++) {
        build((unsigned int)below(SEGMENTS + 1));
        struct cursor cursor =
            below(2) == 0 ? cursor_of(segments, count) : cursor_over(segments, count, model.length);
        CU_ASSERT_EQUAL_FATAL(cursor.left, model.length);
        for (size_t n = below(20); n > 0; n--)
            operate(&cursor);
    }
}

/* Whatever a caller asks, and even if it gives a wrong length, no segment behind the last is read:
 * those have no memory. */
static void test_length_that_is_wrong(void)
{
    unsigned char bytes[2 * BYTES];
    for (int round = 0; round < 200; round++) {
        build((unsigned int)below(SEGMENTS + 1));
        struct cursor cursor = cursor_over(segments, count, SIZE_MAX), copy = cursor;
        CU_ASSERT_EQUAL(cursor_skip(&copy, SIZE_MAX), model.length);
        CU_ASSERT_EQUAL(copy.left, 0);
        copy = cursor;
        CU_ASSERT_EQUAL(cursor_read(&copy, bytes, sizeof(bytes)), model.length);
        CU_ASSERT_EQUAL(copy.left, 0);
        CU_ASSERT_EQUAL(memcmp(bytes, model.bytes, model.length), 0);
        copy = cursor;
        CU_ASSERT_EQUAL(cursor_write(&copy, bytes, sizeof(bytes)), model.length);
        CU_ASSERT_EQUAL(cursor_next(&copy, 1).iov_len, 0);
        CU_ASSERT_TRUE(memory_agrees());
        struct iovec got[SEGMENTS + 2];
        CU_ASSERT(cursor_segments(&cursor, got, SEGMENTS + 2) <= count);
    }
}

/* A copy moves independently. */
static void test_copies(void)
{
    unsigned char first[4], again[4];
    do
        build(SEGMENTS);
    while (model.length < sizeof(first));
    struct cursor cursor = cursor_of(segments, count), copy = cursor;
    CU_ASSERT_EQUAL(cursor_read(&copy, first, sizeof(first)), sizeof(first));
    CU_ASSERT_EQUAL(cursor.left, model.length);
    CU_ASSERT_EQUAL(cursor_read(&cursor, again, sizeof(again)), sizeof(again));
    CU_ASSERT_EQUAL(memcmp(first, again, sizeof(first)), 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the same as one array of bytes", test_model},
        {"a length that is wrong leads nowhere", test_length_that_is_wrong},
        {"a copy goes its own way", test_copies},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "cursor", tests);
}
