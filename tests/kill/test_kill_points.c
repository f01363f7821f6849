/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker can die at any instruction. Here it does. It is single-stepped through a batch of
 * requests, or a register access, and is killed after each number of instructions in turn. Its
 * successor takes over. Whatever the point, every request is completed exactly once with the right
 * data, and every register access is answered with the right value.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/device_kind.h"
#include "tests/cunit_main.h"
#include "tests/kill/driver.h"
#include "worker/virtqueue/poison.h"

#define REPEATS 4u
#define COMPLETE_NS 60000000000ll /* only a lost request takes that long */
#define INSTRUCTIONS_MAX 200000u  /* a batch that takes more does not end */

#define IN VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT

/* Together, these batches go through every part of the data path. */
static const struct batch {
    const char *name;
    unsigned int count;
    struct request requests[DRIVER_REQUESTS];
} batches[] = {
    {"write, read, flush, and an identification",
     5,
     {{.type = OUT, .sector = 8, .length = 512, .pieces = 1},
      {.type = IN, .sector = 40, .length = 1024, .pieces = 2},
      {.type = VIRTIO_BLK_T_FLUSH},
      {.type = OUT, .sector = 100, .length = 2048, .pieces = 4},
      {.type = VIRTIO_BLK_T_GET_ID, .length = 20, .pieces = 1}}},
    {"the same sectors written again and again",
     4,
     {{.type = OUT, .sector = 16, .length = 512, .pieces = 1},
      {.type = OUT, .sector = 16, .length = 1024, .pieces = 1},
      {.type = OUT, .sector = 17, .length = 512, .pieces = 1},
      {.type = OUT, .sector = 16, .length = 512, .pieces = 2}}},
    {"neighbours, and what fails",
     6,
     {{.type = IN, .sector = 200, .length = 512, .pieces = 1},
      {.type = IN, .sector = 201, .length = 512, .pieces = 1},
      {.type = IN, .sector = HARNESS_SECTORS, .length = 512, .pieces = 1},
      {.type = OUT, .sector = 202, .length = 512, .pieces = 1},
      {.type = OUT, .sector = 203, .length = 512, .pieces = 1},
      {.type = IN, .sector = 202, .length = 1024, .pieces = 1}}},
};
#define BATCHES (sizeof(batches) / sizeof(batches[0]))

/* What the image must hold, and a number that makes the data of each batch different. */
static uint8_t expected[HARNESS_SECTORS][512];
static uint64_t generation;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- One batch ---- */

static bool in_range(const struct request *request)
{
    return request->sector + request->length / 512 <= HARNESS_SECTORS;
}

static void prepare(struct driver *driver, const struct batch *batch)
{
    CU_ASSERT_EQUAL(driver_collect(driver), 0); /* nothing came after the last batch was complete */
    driver->count = batch->count;
    memcpy(driver->requests, batch->requests, sizeof(batch->requests));
    generation++;
    for (unsigned int i = 0; i < batch->count; i++) {
        const struct request *request = &batch->requests[i];
        uint8_t *data = driver_data(driver, i);
        for (uint32_t b = 0; b < request->length; b++)
            data[b] = request->type == OUT ? (uint8_t)(generation * 131 + i * 17 + b * 7 + b / 256)
                                           : 0xee;
    }
}

/* Requests are served in order. So each reads what the earlier ones wrote. */
static void check_request(struct driver *driver, unsigned int index)
{
    const struct request *request = &driver->requests[index];
    CU_ASSERT_EQUAL(request->used, 1);
    bool fails = request->type != VIRTIO_BLK_T_GET_ID && !in_range(request);
    CU_ASSERT_EQUAL(driver_status(driver, index), fails ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
    if (fails)
        return;
    const uint8_t *data = driver_data(driver, index);
    if (request->type == OUT) {
        memcpy(expected[request->sector], data, request->length);
    } else if (request->type == IN) {
        CU_ASSERT_EQUAL(memcmp(expected[request->sector], data, request->length), 0);
    } else if (request->type == VIRTIO_BLK_T_GET_ID) {
        CU_ASSERT_STRING_EQUAL((const char *)data, "killed");
    }
    uint32_t written = request->type == OUT ? 1 : request->length + 1;
    CU_ASSERT_EQUAL(request->used_length, written);
}

static void check_image(const struct harness *harness)
{
    static uint8_t image[HARNESS_SECTORS][512];
    CU_ASSERT_EQUAL(pread(harness->fds[FD_IMAGE], image, sizeof(image), 0), (ssize_t)sizeof(image));
    CU_ASSERT_EQUAL(memcmp(image, expected, sizeof(image)), 0);
}

/* Wait until all have come back, and check that they are right. */
static void check_batch(struct driver *driver)
{
    unsigned int done = 0;
    int64_t end = now_ns() + COMPLETE_NS;
    for (unsigned int i = 0; i < driver->count; i++)
        done += driver->requests[i].used > 0;
    while ((done += driver_collect(driver)) < driver->count && now_ns() < end)
        usleep(20);
    CU_ASSERT_EQUAL_FATAL(done, driver->count);
    for (unsigned int i = 0; i < driver->count; i++)
        check_request(driver, i);
    check_image(driver->harness);
}

/* ---- Where it is killed ---- */

/* The worker's place after each instruction of the operation in which it is killed. */
static uint64_t places[INSTRUCTIONS_MAX];
static unsigned int place_count, points, missed;

/* A worker with a ring takes longer to start, since it waits for the end of its predecessor's. */
static bool with_ring;
#define RING_POINTS 20u /* of each batch */

/* In a long run every place; otherwise every third, which gives 10,000 over both formats. */
static unsigned int stride(void)
{
    if (with_ring)
        return place_count / RING_POINTS + 1;
    return long_form() ? 1 : 3;
}

/* The next place at which to kill. An instruction that repeats itself (rep stos) is listed once for
 * each repetition; its middle counts as one place. */
static unsigned int next_place(unsigned int index)
{
    index += stride();
    while (index < place_count && index >= REPEATS && places[index] == places[index - REPEATS])
        index++;
    return index;
}

/* How many times the worker has been at places[index] by then. */
static unsigned int nth_time(unsigned int index)
{
    unsigned int times = 0;
    for (unsigned int i = 0; i <= index; i++)
        times += places[i] == places[index];
    return times;
}

/* Run a stopped worker to places[index], kill it there, and let its successor take over. */
static void kill_at(struct harness *harness, unsigned int index)
{
    points++;
    /* The path can differ by an instruction or two, for example if an index wraps round. Then the
     * worker is killed when it has done everything. */
    missed += !harness_run_to(harness, places[index], nth_time(index));
    harness_kill(harness);
}

static void write_places_down(struct harness *harness)
{
    place_count = harness_trace(harness, places, INSTRUCTIONS_MAX);
    CU_ASSERT_FATAL(place_count > 100 && place_count < INSTRUCTIONS_MAX);
}

static void report_points(void)
{
    if (missed > 0)
        printf("%u of %u places not met again ... ", missed, points);
    CU_ASSERT(missed * 50 < points);
    printf("%u kill points ... ", points - missed);
    points = missed = 0;
}

static void submit(struct driver *driver, const struct batch *batch)
{
    harness_stop(driver->harness);
    prepare(driver, batch);
    driver_submit(driver);
    harness_kick(driver->harness);
}

/* Measured with a successor: the workers that will be killed are successors, too. */
static void measure(struct driver *driver, const struct batch *batch)
{
    harness_kill(driver->harness);
    harness_start(driver->harness);
    submit(driver, batch);
    write_places_down(driver->harness);
    check_batch(driver);
    harness_kill(driver->harness);
    harness_start(driver->harness);
}

static void kill_in_batch(struct driver *driver, const struct batch *batch, unsigned int index)
{
    struct harness *harness = driver->harness;
    unsigned int failures = CU_get_number_of_failures();
    submit(driver, batch);
    kill_at(harness, index);
    (void)driver_collect(driver);      /* what the guest saw before the death stays seen */
    (void)harness_interrupts(harness); /* the driver has taken them, and waits for the next one */
    harness_start(harness);
    check_batch(driver);
    CU_ASSERT(harness_await_interrupt(harness)); /* nobody knows whether the last one was sent */
    if (CU_get_number_of_failures() > failures)
        printf("\n    \"%s\", killed after %u instructions", batch->name, index + 1);
}

static void kill_everywhere(enum ring_format format)
{
    struct harness harness;
    struct driver driver;
    memset(expected, 0, sizeof(expected));
    harness_init(&harness);
    if (with_ring)
        harness.start.kind = DEVICE_BLOCK_URING;
    harness_start(&harness);
    CU_ASSERT_FATAL(driver_start(&driver, &harness, format));
    for (size_t b = 0; b < BATCHES; b++) {
        measure(&driver, &batches[b]);
        for (unsigned int at = 0; at < place_count; at = next_place(at))
            kill_in_batch(&driver, &batches[b], at);
    }
    harness_free(&harness);
    report_points();
}

static void a_split_ring(void)
{
    kill_everywhere(RING_SPLIT);
}

static void a_packed_ring(void)
{
    kill_everywhere(RING_PACKED);
}

static void an_io_uring(void)
{
    with_ring = true;
    kill_everywhere(RING_SPLIT);
    with_ring = false;
}

/* ---- Kills at any time, of successors as well ---- */

static void storm(enum ring_format format)
{
    struct harness harness;
    struct driver driver;
    unsigned int random = 1;
    memset(expected, 0, sizeof(expected));
    harness_init(&harness);
    harness_start(&harness);
    CU_ASSERT_FATAL(driver_start(&driver, &harness, format));
    for (unsigned int round = 0; round < 300; round++) {
        prepare(&driver, &batches[round % BATCHES]);
        driver_submit(&driver);
        harness_kick(&harness);
        for (unsigned int death = 0; death < 1 + round % 3; death++) {
            random = random * 1103515245 + 12345;
            usleep(random >> 16 & 127);
            harness_kill(&harness);
            harness_start(&harness);
        }
        check_batch(&driver);
    }
    harness_free(&harness);
}

static void successors_on_a_split_ring(void)
{
    storm(RING_SPLIT);
}

static void successors_on_a_packed_ring(void)
{
    storm(RING_PACKED);
}

/* ---- A request that kills ---- */

/* Worker after worker dies at the same place while it serves the one request. */
static void die_of_it(struct driver *driver, uint64_t place)
{
    struct harness *harness = driver->harness;
    for (unsigned int death = 0; death < POISON_DEATHS; death++) {
        uint32_t status = harness->state->transport.status;
        CU_ASSERT_EQUAL(status & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
        harness_start_stopped(harness);
        CU_ASSERT_FATAL(harness_run_to(harness, place, 1));
        CU_ASSERT_EQUAL(harness->state->deaths.turn, 1);
        harness_kill(harness);
        (void)harness_interrupts(harness);
    }
}

static void the_death_of_all(void)
{
    struct harness harness;
    struct driver driver;
    const struct batch one = {
        "one read", 1, {{.type = IN, .sector = 8, .length = 512, .pieces = 1}}};
    memset(expected, 0, sizeof(expected));
    harness_init(&harness);
    harness_start(&harness);
    CU_ASSERT_FATAL(driver_start(&driver, &harness, RING_SPLIT));
    measure(&driver, &one);
    harness_kill(&harness);
    prepare(&driver, &one);
    driver_submit(&driver);
    die_of_it(&driver, places[place_count / 2]);
    harness_start(&harness);
    CU_ASSERT(harness_await_interrupt(&harness));
    CU_ASSERT_NOT_EQUAL(harness.interrupt_status & VIRTIO_MMIO_INT_CONFIG, 0);
    CU_ASSERT_NOT_EQUAL(harness_read(&harness, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET,
                        0);
    CU_ASSERT_EQUAL(driver_collect(&driver), 0);

    /* After the driver's reset it is a device like any other. */
    CU_ASSERT_FATAL(driver_start(&driver, &harness, RING_SPLIT));
    prepare(&driver, &one);
    driver_submit(&driver);
    harness_kick(&harness);
    check_batch(&driver);
    harness_free(&harness);
}

/* ---- Register accesses ---- */

static void drive_up(struct harness *harness)
{
    struct driver driver;
    CU_ASSERT_FATAL(driver_start(&driver, harness, RING_SPLIT));
}

/* Writes, and the register in which their effect can be read. */
static const struct access {
    const char *name;
    uint32_t offset, value, read_offset, read_value;
} accesses[] = {
    {"QueueSel", VIRTIO_MMIO_QUEUE_SEL, 0, VIRTIO_MMIO_QUEUE_READY, 1},
    {"QueueSel of no queue", VIRTIO_MMIO_QUEUE_SEL, 7, VIRTIO_MMIO_QUEUE_NUM_MAX, 0},
    {"DeviceFeaturesSel", VIRTIO_MMIO_DEVICE_FEATURES_SEL, 7, VIRTIO_MMIO_DEVICE_FEATURES, 0},
    {"QueueReady", VIRTIO_MMIO_QUEUE_READY, 0, VIRTIO_MMIO_QUEUE_READY, 0},
    {"Status, reset", VIRTIO_MMIO_STATUS, 0, VIRTIO_MMIO_STATUS, 0},
    {"Status, more bits", VIRTIO_MMIO_STATUS, 15, VIRTIO_MMIO_STATUS, 15},
};

static void kill_in_access(struct harness *harness, const struct access *access, unsigned int index)
{
    drive_up(harness);
    harness_stop(harness);
    harness_post_write(harness, access->offset, access->value);
    kill_at(harness, index);
    harness_start(harness);
    bool right = harness_answered(harness) &&
                 harness_read(harness, access->read_offset) == access->read_value;
    CU_ASSERT(right);
    if (!right)
        printf("\n    %s, killed after %u instructions", access->name, index + 1);
}

static void a_register_access(void)
{
    struct harness harness;
    harness_init(&harness);
    harness_start(&harness);
    for (size_t a = 0; a < sizeof(accesses) / sizeof(accesses[0]); a++) {
        harness_kill(&harness);
        harness_start(&harness);
        drive_up(&harness);
        harness_stop(&harness);
        harness_post_write(&harness, accesses[a].offset, accesses[a].value);
        write_places_down(&harness);
        CU_ASSERT_FATAL(harness_answered(&harness));
        harness_kill(&harness);
        harness_start(&harness);
        for (unsigned int at = 0; at < place_count; at = next_place(at))
            kill_in_access(&harness, &accesses[a], at);
    }
    harness_free(&harness);
    report_points();
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"in a batch on a split ring", a_split_ring},
        {"in a batch on a packed ring", a_packed_ring},
        {"in a batch with io_uring", an_io_uring},
        {"successors as well, split ring", successors_on_a_split_ring},
        {"successors as well, packed ring", successors_on_a_packed_ring},
        {"on the same request again and again", the_death_of_all},
        {"in a register access", a_register_access},
        CU_TEST_INFO_NULL,
    };
    if (geteuid() != 0) {
        fprintf(stderr, "root is needed: namespaces, and ptrace of a confined worker\n");
        return EXIT_FAILURE;
    }
    return run_tests(argc, argv, "a worker killed at any instruction", tests);
}
