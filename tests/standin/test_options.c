/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The optional keys of every device do what docs/CONFIGURATION.md says. The tests look from
 * outside: at the worker's scheduling, and at what the device offers to the frontend.
 */
#include <sched.h>
#include <signal.h>

#include "tests/standin/fixture.h"

#define DEVICE                                                                                     \
    "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"     \
    "    file_path: \"@/disk.img\"\n"

static void start(struct fixture *fixture, const char *yaml)
{
    fixture_init(fixture);
    fixture_make_image(fixture, "disk.img", 64);
    fixture_configure(fixture, yaml);
    fixture_start(fixture, 1, 1);
}

static void stop(struct fixture *fixture)
{
    fixture_assert_never_restarted(fixture);
    fixture_stop(fixture);
    fixture_free(fixture);
}

static void assert_scheduled(pid_t worker, int policy, int priority, const cpu_set_t *processors)
{
    struct sched_param param;
    cpu_set_t allowed;
    CU_ASSERT_EQUAL(sched_getscheduler(worker), policy);
    CU_ASSERT_EQUAL(sched_getparam(worker, &param), 0);
    CU_ASSERT_EQUAL(param.sched_priority, priority);
    CU_ASSERT_EQUAL(sched_getaffinity(worker, sizeof(allowed), &allowed), 0);
    CU_ASSERT(CPU_EQUAL(&allowed, processors));
}

static void processors_and_scheduling_are_the_workers_alone(void)
{
    struct fixture fixture;
    cpu_set_t first, all;
    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof(all), &all), 0);
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    start(&fixture, DEVICE "    cpu_affinity: [0]\n    sched: fifo:7\n");
    assert_scheduled(fixture.workers[0], SCHED_FIFO, 7, &first);
    assert_scheduled(fixture.broker, SCHED_OTHER, 0, &all);
    assert_scheduled(standin_pid(fixture.standin), SCHED_OTHER, 0, &all);

    /* A successor has the same. */
    kill(fixture.workers[0], SIGKILL);
    fixture.workers[0] = fixture_wait_worker(&fixture, 0, fixture.workers[0]);
    uint64_t value; /* the access is answered when the successor is ready */
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &value, 8000), 0);
    assert_scheduled(fixture.workers[0], SCHED_FIFO, 7, &first);
    stop(&fixture);
}

static void a_processor_that_is_not_there_is_said(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_make_image(&fixture, "disk.img", 64);
    fixture_configure(&fixture, DEVICE "    cpu_affinity: 63\n");
    fixture_start(&fixture, 1, 0);
    fixture_wait_logged(&fixture, "cpu_affinity", 20000);
    fixture_assert_logged(&fixture, "take its processors and scheduling class");
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void the_queue_size_is_what_the_driver_is_offered(void)
{
    struct fixture fixture;
    start(&fixture, DEVICE "    queue_size: 16\n");
    struct guest_block block;
    fixture_block(&fixture, 0, &block, GUEST_BLOCK_FEATURES, 4, 512);
    CU_ASSERT_EQUAL(block.queue.size, 16);
    fixture_assert_reads(&block, 9);
    guest_block_free(&block);
    stop(&fixture);
}

static void features_that_are_off_are_not_offered(void)
{
    struct fixture fixture;
    start(&fixture, DEVICE "    features_off: [VIRTIO_F_EVENT_IDX, VIRTIO_BLK_F_FLUSH]\n");
    struct guest guest;
    fixture_guest(&fixture, 0, &guest);
    CU_ASSERT_EQUAL_FATAL(guest_probe(&guest, 2), 0);
    uint64_t offered = guest_offered_features(&guest);
    CU_ASSERT_EQUAL(offered & (1ull << VIRTIO_RING_F_EVENT_IDX | 1ull << VIRTIO_BLK_F_FLUSH |
                               1ull << VIRTIO_BLK_F_CONFIG_WCE),
                    0);
    CU_ASSERT_NOT_EQUAL(offered & 1ull << VIRTIO_RING_F_INDIRECT_DESC, 0);
    /* A driver that takes the features nevertheless is refused. */
    guest_accept_features(&guest, offered | 1ull << VIRTIO_BLK_F_FLUSH);
    guest_add_status(&guest, VIRTIO_CONFIG_S_FEATURES_OK);
    CU_ASSERT_EQUAL(guest_status(&guest) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
    stop(&fixture);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"processors and scheduling are the worker's alone",
         processors_and_scheduling_are_the_workers_alone},
        {"a processor that is not there is said", a_processor_that_is_not_there_is_said},
        {"the queue size is what the driver is offered",
         the_queue_size_is_what_the_driver_is_offered},
        {"features that are off are not offered", features_that_are_off_are_not_offered},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "options", tests);
}
