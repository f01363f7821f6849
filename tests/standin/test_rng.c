/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device, VirtIO 1.2 §5.4, from the driver's side: data, rate limit, restart. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/clock.h"
#include "tests/standin/fixture.h"

#define RNG_DEVICE_ID 4
#define FEATURES                                                                                   \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)
#define TURNS 3u
#define BUFFERS 8u
#define BUFFER_SIZE 4096u

struct rng {
    struct fixture fixture;
    struct guest guest;
    struct guest_queue queue;
    uint8_t *buffers[BUFFERS];
    uint64_t addrs[BUFFERS];
    uint64_t bytes; /* bytes that were taken */
};

static void start_driver(struct rng *rng)
{
    guest_queue_free(&rng->queue);
    CU_ASSERT_EQUAL_FATAL(guest_probe(&rng->guest, RNG_DEVICE_ID), 0);
    CU_ASSERT_EQUAL_FATAL(guest_negotiate(&rng->guest, FEATURES), 0);
    CU_ASSERT_EQUAL(rng->guest.features, FEATURES);
    CU_ASSERT_EQUAL_FATAL(guest_queue_start(&rng->guest, &rng->queue, 0, 0), 0);
    for (unsigned int i = 0; i < BUFFERS; i++) {
        rng->buffers[i] = guest_alloc(&rng->guest, BUFFER_SIZE, 64, &rng->addrs[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(rng->buffers[i]);
    }
    CU_ASSERT_EQUAL_FATAL(guest_driver_ok(&rng->guest), 0);
}

static void start(struct rng *rng, const char *more)
{
    char yaml[256];
    memset(rng, 0, sizeof(*rng));
    fixture_init(&rng->fixture);
    snprintf(
        yaml, sizeof(yaml),
        "devices:\n  - id: 0\n    type: rng\n    data_plane: virtio\n    mmio_addr: 0x%llx\n%s",
        (unsigned long long)fixture_base(0), more);
    fixture_configure(&rng->fixture, yaml);
    fixture_start(&rng->fixture, 1, 1);
    fixture_guest(&rng->fixture, 0, &rng->guest);
    start_driver(rng);
}

static void stop(struct rng *rng)
{
    CU_ASSERT_EQUAL(rng->guest.error, 0);
    guest_queue_free(&rng->queue);
    fixture_stop(&rng->fixture);
    fixture_free(&rng->fixture);
}

static void add(struct rng *rng, unsigned int buffer, uint32_t length)
{
    const struct guest_segment segment = {rng->addrs[buffer], length, true};
    memset(rng->buffers[buffer], 0, BUFFER_SIZE);
    CU_ASSERT_EQUAL(guest_queue_add(&rng->queue, &segment, 1, rng->buffers[buffer]), 0);
}

/* Wait for the next buffer; returns its number. */
static unsigned int take(struct rng *rng, uint32_t *ret_length)
{
    void *token;
    while (!(token = guest_queue_get(&rng->queue, ret_length))) {
        if (guest_queue_enable_interrupts(&rng->queue))
            CU_ASSERT_FATAL(guest_take_interrupt(&rng->guest) >= 0);
    }
    rng->bytes += *ret_length;
    for (unsigned int i = 0; i < BUFFERS; i++) {
        if (token == rng->buffers[i])
            return i;
    }
    CU_FAIL_FATAL("a token that was never added");
    return 0;
}

/* Every byte value comes about as often as the others: chi-square with 255 degrees of freedom. */
static void gives_random_bytes(void)
{
    static uint64_t count[256];
    struct rng rng;
    uint64_t total = 0;
    uint32_t length;
    start(&rng, "");
    for (unsigned int i = 0; i < BUFFERS; i++)
        add(&rng, i, BUFFER_SIZE);
    guest_queue_kick(&rng.queue);
    while (total < 4u << 20) {
        unsigned int buffer = take(&rng, &length);
        CU_ASSERT_EQUAL(length, BUFFER_SIZE);
        for (uint32_t i = 0; i < length; i++)
            count[rng.buffers[buffer][i]]++;
        total += length;
        add(&rng, buffer, BUFFER_SIZE);
        guest_queue_kick(&rng.queue);
    }
    double chi = 0, expected = (double)total / 256;
    for (unsigned int i = 0; i < 256; i++)
        chi += ((double)count[i] - expected) * ((double)count[i] - expected) / expected;
    CU_ASSERT(chi > 120 && chi < 420); /* both ends: probability below 10^-9 */
    fixture_assert_never_restarted(&rng.fixture);
    stop(&rng);
}

/* Take what comes within two seconds. Returns when that was over. */
static uint64_t take_for_two_seconds(struct rng *rng)
{
    uint64_t from = now_ms(), end = from;
    while (end - from < 2000) {
        uint32_t length;
        unsigned int buffer = take(rng, &length);
        CU_ASSERT(length >= 1 && length <= 700);
        end = now_ms();
        add(rng, buffer, 700);
        guest_queue_kick(&rng->queue);
    }
    return end;
}

/* A driver that takes all it can gets at most what the rate allows (and the amount at the start),
 * and not much less: the best of some turns, since a busy machine can take longer. */
static void keeps_to_the_rate(void)
{
    struct rng rng;
    bool enough = false;
    start(&rng, "    rate_limit: 10000\n");
    const uint64_t start_ms = now_ms();
    for (unsigned int i = 0; i < BUFFERS; i++)
        add(&rng, i, 700);
    guest_queue_kick(&rng.queue);
    for (unsigned int turn = 0; turn < TURNS && !enough; turn++) {
        uint64_t from = now_ms(), before = rng.bytes, end = take_for_two_seconds(&rng);
        CU_ASSERT(rng.bytes <= 1000 + (end - start_ms) * 10);
        enough = rng.bytes - before >= (end - from) * 7;
    }
    CU_ASSERT(enough);
    stop(&rng);
}

static uint64_t processor_ticks(pid_t pid)
{
    char path[64];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                           &user, &system),
                    2);
    fclose(file);
    return user + system;
}

/* The worker sleeps while it waits. Returns whether register accesses are answered meanwhile. */
static bool answers_while_it_waits(void)
{
    struct rng rng;
    uint64_t slowest = 0;
    start(&rng, "    rate_limit: 1\n");
    add(&rng, 0, 1);
    add(&rng, 1, 1);
    guest_queue_kick(&rng.queue);
    uint32_t length;
    CU_ASSERT_EQUAL(take(&rng, &length), 0);
    uint64_t kicks = rng.guest.kicks, ticks = processor_ticks(rng.fixture.workers[0]);
    add(&rng, 2, 1);
    guest_queue_kick(&rng.queue);
    CU_ASSERT_EQUAL(rng.guest.kicks, kicks); /* the device does not want a kick */
    for (uint64_t from = now_ms(); from + 500 > now_ms(); usleep(20000)) {
        uint64_t before = now_ms();
        CU_ASSERT_EQUAL(guest_read(&rng.guest, VIRTIO_MMIO_DEVICE_ID, 4), RNG_DEVICE_ID);
        slowest = now_ms() - before > slowest ? now_ms() - before : slowest;
    }
    CU_ASSERT_EQUAL(take(&rng, &length), 1);
    CU_ASSERT_EQUAL(take(&rng, &length), 2);
    CU_ASSERT(processor_ticks(rng.fixture.workers[0]) - ticks < 20); /* of some 300 without sleep */
    fixture_assert_never_restarted(&rng.fixture);
    stop(&rng);
    return slowest < 500;
}

/* In one of some turns: a busy machine can be slow at any time, this device would be at each. */
static void waits_without_keeping_anyone_waiting(void)
{
    bool answers = false;
    for (unsigned int turn = 0; turn < TURNS && !answers; turn++)
        answers = answers_while_it_waits();
    CU_ASSERT(answers);
}

static void goes_on_after_its_worker_was_killed(void)
{
    struct rng rng;
    uint32_t length;
    start(&rng, "");
    for (unsigned int deaths = 0; deaths < 5; deaths++) {
        pid_t worker = fixture_worker(&rng.fixture, 0);
        add(&rng, 0, 64);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        guest_queue_kick(&rng.queue);
        CU_ASSERT_EQUAL(take(&rng, &length), 0);
        CU_ASSERT_EQUAL(length, 64);
        CU_ASSERT_FATAL(fixture_wait_worker(&rng.fixture, 0, worker) > 0);
    }
    stop(&rng);
}

/* §5.4.6.1 forbids such a buffer. A driver that offers one sees DEVICE_NEEDS_RESET, and after the
 * reset all is well. */
static void a_buffer_that_cannot_be_written_needs_a_reset(void)
{
    struct rng rng;
    start(&rng, "");
    const struct guest_segment readable = {rng.addrs[0], 64, false};
    CU_ASSERT_EQUAL(guest_queue_add(&rng.queue, &readable, 1, rng.buffers[0]), 0);
    guest_queue_kick(&rng.queue);
    while ((guest_status(&rng.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) == 0 && rng.guest.error == 0)
        usleep(1000);
    start_driver(&rng);
    uint32_t length;
    add(&rng, 0, 64);
    guest_queue_kick(&rng.queue);
    CU_ASSERT_EQUAL(take(&rng, &length), 0);
    fixture_assert_never_restarted(&rng.fixture);
    stop(&rng);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"gives random bytes", gives_random_bytes},
        {"keeps to the rate", keeps_to_the_rate},
        {"waits without keeping anyone waiting", waits_without_keeping_anyone_waiting},
        {"goes on after its worker was killed", goes_on_after_its_worker_was_killed},
        {"a buffer that can't be written needs a reset",
         a_buffer_that_cannot_be_written_needs_a_reset},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "entropy device", tests);
}
