/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device: what it writes and where, its bounds, its rate limit, and a kernel without
 * entropy. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/loop.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define BUFFERS (GUEST_BASE + GUEST_BUFFERS)
#define BUFFER(n) (BUFFERS + (n)*0x1000ull)

static struct guest_ring ring;
static unsigned int calls, wrong_flags;
static size_t longest;
static int errors[2]; /* the errors of the next calls; -1: no error, and no byte */

long __wrap_syscall(long number, ...);
long __real_syscall(long number, ...);

long __wrap_syscall(long number, ...)
{
    va_list arguments;
    va_start(arguments, number);
    void *to = va_arg(arguments, void *);
    size_t length = va_arg(arguments, size_t);
    unsigned int flags = va_arg(arguments, unsigned int);
    va_end(arguments);
    calls++;
    wrong_flags += number != SYS_getrandom || flags != GRND_NONBLOCK;
    longest = length > longest ? length : longest;
    int error = errors[0];
    errors[0] = errors[1];
    errors[1] = 0;
    if (error == 0)
        return __real_syscall(number, to, length, flags);
    errno = error > 0 ? error : EINTR; /* an old one, if there is none */
    return error > 0 ? -1 : 0;
}

static void worker(uint64_t rate_limit)
{
    struct message_start start = guest_start(DEVICE_RNG_VIRTIO);
    start.of_kind.rng.rate_limit = rate_limit;
    guest_fds(DEVICE_RNG_VIRTIO, -1);
    guest_worker(&start);
}

static void driver(void)
{
    guest_ring_init(&ring, 0, 64);
    guest_negotiate(VERSION_1);
    guest_queue_setup(0, &ring);
    guest_driver_ok();
    guest_run();
}

static void running(uint64_t rate_limit)
{
    memset(&guest_state, 0, sizeof(guest_state));
    memset(guest_at(BUFFERS), 0, 0x100000);
    memset(errors, 0, sizeof(errors));
    worker(rate_limit);
    driver();
    calls = wrong_flags = 0;
    longest = 0;
}

static void offer(uint16_t number, uint32_t length)
{
    guest_desc(&ring, number, BUFFER(number), length, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, number);
}

/* The length of the next used element, which must have that head; -1: there is none. */
static int64_t used(uint32_t id)
{
    struct vring_used_elem element;
    if (!guest_used(&ring, &element))
        return -1;
    CU_ASSERT_EQUAL(element.id, id);
    return element.len;
}

static unsigned int zeros(uint64_t addr, size_t length)
{
    const unsigned char *bytes = guest_at(addr);
    unsigned int count = 0;
    for (size_t i = 0; i < length; i++)
        count += bytes[i] == 0;
    return count;
}

static void test_fills_the_buffers(void)
{
    running(0);
    for (uint16_t i = 0; i < 20; i++)
        offer(i, 1000);
    guest_kick(0);
    for (uint16_t i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(used(i), 1000);
        /* About 4 of 1000 random bytes are 0. The probability of 40 is below 10^-25. */
        CU_ASSERT(zeros(BUFFER(i), 1000) < 40);
        CU_ASSERT_EQUAL(zeros(BUFFER(i) + 1000, 0x1000 - 1000), 0x1000 - 1000);
        for (uint16_t j = 0; j < i; j++)
            CU_ASSERT_NOT_EQUAL(memcmp(guest_at(BUFFER(i)), guest_at(BUFFER(j)), 1000), 0);
    }
    CU_ASSERT_EQUAL(calls, 20);
    CU_ASSERT_EQUAL(wrong_flags, 0);
    CU_ASSERT_EQUAL(guest_state.counters.requests, 20);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 20000);
    CU_ASSERT_EQUAL(guest_interrupts(), 1);
    CU_ASSERT_EQUAL(ring.used->flags, 0); /* the driver has to kick again */
}

static void test_one_request_is_bounded(void)
{
    running(0);
    guest_desc(&ring, 0, BUFFERS, 0x20000000, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, 0);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), 0x10000);
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(longest, 0x10000);
    CU_ASSERT_EQUAL(zeros(BUFFERS + 0x10000, 0x1000), 0x1000);
}

static void test_a_turn_is_bounded(void)
{
    running(0);
    for (uint16_t i = 0; i < 32; i++) {
        guest_desc(&ring, i, BUFFERS, 0x10000, VRING_DESC_F_WRITE, 0);
        guest_offer(&ring, i);
    }
    guest_device.work = 1;
    loop_round(&guest_device, 0);
    CU_ASSERT_EQUAL(calls, 4);
    CU_ASSERT_EQUAL(guest_device.work, 1);
    guest_run();
    CU_ASSERT_EQUAL(calls, 32);
}

static void test_any_framing(void)
{
    running(0);
    guest_desc(&ring, 0, BUFFER(0), 16, VRING_DESC_F_NEXT,
               1); /* a driver must not do this (§5.4.6.1) */
    guest_desc(&ring, 1, BUFFER(1), 10, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 2);
    guest_desc(&ring, 2, BUFFER(2), 100, VRING_DESC_F_WRITE, 0);
    guest_offer(&ring, 0);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), 10);
    CU_ASSERT_EQUAL(zeros(BUFFER(0), 16), 16);
    CU_ASSERT(zeros(BUFFER(1), 10) < 10);
    CU_ASSERT_EQUAL(zeros(BUFFER(2), 100), 100);
}

static void test_nowhere_to_write(void)
{
    running(0);
    guest_desc(&ring, 0, BUFFER(0), 16, 0, 0);
    guest_offer(&ring, 0);
    guest_kick(0);
    CU_ASSERT_EQUAL(guest_logged(LOG_CHAIN_INVALID), 1);
    CU_ASSERT_EQUAL(guest_state.counters.guest_errors, 1);
    CU_ASSERT_EQUAL(used(0), -1);
    driver();
    offer(0, 16);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), 16);
}

static void test_rate(void)
{
    running(1000); /* 100 bytes in 100 ms */
    for (uint16_t i = 0; i < 5; i++)
        offer(i, 60);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), 60);
    CU_ASSERT_EQUAL(used(1), 40);
    CU_ASSERT_EQUAL(used(2), -1);
    CU_ASSERT_EQUAL(calls, 2); /* there is nothing left to ask for */
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100);
    CU_ASSERT_EQUAL(ring.used->flags, VRING_USED_F_NO_NOTIFY);

    /* The next bytes do not come earlier, neither with kicks nor after a wait that was cut short.
     */
    unsigned int before = calls;
    for (unsigned int i = 0; i < 5; i++)
        guest_kick(0);
    loop_round(&guest_device, 99);
    CU_ASSERT_EQUAL(calls, before);
    CU_ASSERT_EQUAL(used(2), -1);

    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(used(2), 60);
    CU_ASSERT_EQUAL(used(3), 40);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100);
    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(used(4), 60);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    CU_ASSERT_EQUAL(ring.used->flags, 0);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 260);
}

/* Slots never give more than the rate. This tries the smallest rates, and rates that are no
 * multiple of 10. */
static void test_slots(void)
{
    static const struct {
        uint64_t rate;
        unsigned int bytes, ms;
    } slots[] = {
        {1, 1, 1000},         {3, 1, 334},
        {9, 1, 112},          {10, 1, 100},
        {19, 1, 53},          {999, 99, 100},
        {1001, 100, 100},     {65536, 6553, 100},
        {600000, 60000, 100}, {UINT32_MAX, 0x10000, 0},
    };
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        running(slots[i].rate);
        offer(0, 0x10000);
        guest_kick(0);
        CU_ASSERT_EQUAL(used(0), slots[i].bytes);
        offer(1, 1);
        guest_kick(0);
        CU_ASSERT_EQUAL(guest_device.pause_ms, slots[i].ms);
    }
    struct message_start start = guest_start(DEVICE_RNG_VIRTIO);
    start.of_kind.rng.rate_limit = 1ull << 32;
    CU_ASSERT_EQUAL(device_init(&guest_device, &start, &guest_state, guest_memory), -EINVAL);
}

static void test_reset_gives_nothing_in_advance(void)
{
    running(1000);
    offer(0, 100);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), 100);
    for (unsigned int i = 0; i < 3; i++) {
        driver();
        offer(0, 100);
        guest_kick(0);
        CU_ASSERT_EQUAL(used(0), -1);
    }
    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(used(0), 100);
}

static void test_kernel_without_entropy(void)
{
    running(0);
    errors[0] = EAGAIN;
    errors[1] = EAGAIN;
    offer(0, 16);
    guest_kick(0);
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(used(0), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100);
    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(calls, 2);
    CU_ASSERT_EQUAL(used(0), -1);
    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(calls, 3);
    CU_ASSERT_EQUAL(used(0), 16);

    errors[0] = EINTR;
    offer(1, 16);
    guest_kick(0);
    CU_ASSERT_EQUAL(calls, 5);
    CU_ASSERT_EQUAL(used(1), 16);
}

/* A kernel that gives nothing has nothing now: that is no reason to ask it again and again. */
static void test_kernel_gives_nothing(void)
{
    running(0);
    errors[0] = -1;
    offer(0, 16);
    guest_kick(0);
    CU_ASSERT_EQUAL(calls, 1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 100);
    loop_round(&guest_device, 100);
    CU_ASSERT_EQUAL(calls, 2);
    CU_ASSERT_EQUAL(used(0), 16);
}

/* A buffer that was taken and not filled is the driver's again after a reset, of the device or of
 * the queue. */
static void test_a_buffer_is_given_back(void)
{
    for (unsigned int whole = 0; whole < 2; whole++) {
        running(0);
        errors[0] = EAGAIN;
        offer(0, 16);
        guest_kick(0);
        CU_ASSERT_EQUAL(used(0), -1);
        if (whole == 0) {
            guest_write(VIRTIO_MMIO_QUEUE_SEL, 0);
            guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
            guest_ring_init(&ring, 0, 64);
            guest_queue_setup(0, &ring);
        } else {
            driver();
        }
        offer(5, 32);
        guest_kick(0);
        loop_round(&guest_device, 100);
        CU_ASSERT_EQUAL(used(5), 32);
        CU_ASSERT_EQUAL(zeros(BUFFER(0), 16), 16);
    }
}

/* Each request is one call, however small it is. */
static void test_many_small_requests(void)
{
    running(0);
    for (unsigned int i = 0; i < 64; i++)
        offer((uint16_t)i, 1);
    guest_device.work = 1;
    loop_round(&guest_device, 0);
    CU_ASSERT_EQUAL(calls, 64);
    CU_ASSERT_EQUAL(guest_device.work, 0);
    CU_ASSERT_EQUAL(guest_state.counters.requests, 64);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_in, 64);
}

/* A worker had taken buffers and not filled them. Its successor takes them again. */
static void test_successor(void)
{
    running(0);
    errors[0] = EAGAIN;
    offer(0, 16);
    offer(1, 16);
    guest_kick(0);
    CU_ASSERT_EQUAL(used(0), -1);
    worker(0);
    guest_run();
    CU_ASSERT_EQUAL(used(0), 16);
    CU_ASSERT_EQUAL(used(1), 16);
    CU_ASSERT_EQUAL(used(2), -1);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"fills the buffers", test_fills_the_buffers},
        {"one request is bounded", test_one_request_is_bounded},
        {"a turn is bounded", test_a_turn_is_bounded},
        {"any framing", test_any_framing},
        {"nowhere to write", test_nowhere_to_write},
        {"rate", test_rate},
        {"slots", test_slots},
        {"a reset gives nothing in advance", test_reset_gives_nothing_in_advance},
        {"kernel without entropy", test_kernel_without_entropy},
        {"a kernel that gives nothing", test_kernel_gives_nothing},
        {"a buffer is given back", test_a_buffer_is_given_back},
        {"many small requests", test_many_small_requests},
        {"successor", test_successor},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "rng", tests);
}
