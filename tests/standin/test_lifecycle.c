/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever happens to a worker or to the broker, no vCPU waits for ever, no request is lost, and no
 * DM file is closed. The end is clean.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/register_load.h"
#include "tests/standin/request_load.h"

#define DEADLINE_MS 15000 /* the deadline of a stopped worker, its replacement, a slow machine */
#define BROKER_ROUNDS 10
#define ROUNDS 5 /* more rounds take long: each restart has to wait longer than the last one */

static void start(struct fixture *fixture, struct guest_block *block)
{
    fixture_start_blocks(fixture, 2);
    fixture_block(fixture, 0, block, GUEST_BLOCK_FEATURES, 16, 4096);
    block->guest.timeout_ms = DEADLINE_MS;
}

static void stop(struct fixture *fixture, struct guest_block *block)
{
    CU_ASSERT_EQUAL(block->guest.error, 0);
    guest_block_free(block);
    fixture_stop(fixture);
    fixture_free(fixture);
}

/* A vCPU that does register accesses, and one that does I/O. */
struct load {
    struct register_load registers;
    struct request_load requests;
};

static void load_start(struct load *load, struct fixture *fixture)
{
    start(fixture, &load->requests.block);
    register_load_start(&load->registers, fixture, 0, DEADLINE_MS);
    request_load_start(&load->requests, true);
}

/* Both go on: some more accesses and requests are completed. */
static void assert_load_goes_on(struct load *load)
{
    unsigned int accesses = atomic_load(&load->registers.accesses) + 5;
    unsigned int requests = atomic_load(&load->requests.requests) + 50;
    for (unsigned int i = 0; i < DEADLINE_MS; i++) {
        if (atomic_load(&load->registers.accesses) >= accesses &&
            atomic_load(&load->requests.requests) >= requests)
            return;
        usleep(1000);
    }
    CU_FAIL("a vCPU is stuck");
}

static void load_stop(struct load *load)
{
    register_load_stop(&load->registers);
    request_load_stop(&load->requests);
}

static void a_killed_worker_is_replaced_under_load(void)
{
    struct fixture fixture;
    struct load load;
    load_start(&load, &fixture);
    pid_t worker = fixture.workers[0];
    for (unsigned int round = 0; round < ROUNDS; round++) {
        assert_load_goes_on(&load);
        CU_ASSERT_EQUAL(kill(worker, SIGKILL), 0);
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
    }
    assert_load_goes_on(&load);
    load_stop(&load);
    CU_ASSERT_EQUAL(fixture_worker(&fixture, 1), fixture.workers[1]); /* the neighbour lives on */
    CU_ASSERT_EQUAL(standin_find_process(fixture.standin, "bao-virtio-broker", 0), fixture.broker);
    stop(&fixture, &load.requests.block);
}

static void a_killed_broker_is_replaced_under_load(void)
{
    struct fixture fixture;
    struct load load;
    load_start(&load, &fixture);
    pid_t broker = fixture.broker;
    for (unsigned int round = 0; round < BROKER_ROUNDS; round++) {
        assert_load_goes_on(&load);
        CU_ASSERT_EQUAL(kill(broker, SIGKILL), 0);
        broker = fixture_wait_broker(&fixture, broker);
        CU_ASSERT_FATAL(broker > 0);
    }
    assert_load_goes_on(&load);
    load_stop(&load);
    struct standin_counts counts;
    standin_counts(fixture.standin, &counts);
    CU_ASSERT_EQUAL(counts.dm_get_info, 2); /* once for each device, whichever process dies */
    CU_ASSERT_EQUAL(counts.dm_releases, 0);
    stop(&fixture, &load.requests.block);
}

/* Only the hypervisor knows whether the vCPU still waits or has gone on. */
static void a_broker_is_killed_in_the_midst_of_a_completion(void)
{
    static const enum standin_moment moments[] = {STANDIN_BEFORE_COMPLETE, STANDIN_AFTER_COMPLETE};
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    pid_t broker = fixture.broker;
    for (unsigned int i = 0; i < 4; i++) {
        standin_kill_at_complete(fixture.standin, moments[i % 2]);
        CU_ASSERT_EQUAL(guest_read(&block.guest, VIRTIO_MMIO_MAGIC_VALUE, 4), 0x74726976);
        CU_ASSERT_EQUAL(guest_read(&block.guest, VIRTIO_MMIO_VERSION, 4), 2);
        CU_ASSERT_EQUAL(guest_read(&block.guest, VIRTIO_MMIO_DEVICE_ID, 4), VIRTIO_ID_BLOCK);
        broker = fixture_wait_broker(&fixture, broker);
        CU_ASSERT_FATAL(broker > 0);
        fixture_assert_reads(&block, i);
    }
    stop(&fixture, &block);
}

static void a_stopped_worker_is_replaced_by_the_deadline(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    fixture_assert_reads(&block, 1);
    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGSTOP), 0);
    /* the successor answers, and the capacity is the same */
    CU_ASSERT_EQUAL(guest_read(&block.guest, VIRTIO_MMIO_CONFIG, 8), FIXTURE_IMAGE_SECTORS);
    CU_ASSERT_NOT_EQUAL(fixture_wait_worker(&fixture, 0, fixture.workers[0]), -1);
    fixture_assert_reads(&block, 2);
    CU_ASSERT_EQUAL(fixture_worker(&fixture, 1), fixture.workers[1]);
    stop(&fixture, &block);
}

/* This worker has nothing to do. Only its death tells that it has gone. */
static void an_idle_worker_is_replaced_as_well(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    fixture_assert_reads(&block, 1);
    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGKILL), 0);
    CU_ASSERT_NOT_EQUAL(fixture_wait_worker(&fixture, 0, fixture.workers[0]), -1);
    fixture_assert_reads(&block, 2);
    stop(&fixture, &block);
}

/* §3.1.1: the device sends no notification before DRIVER_OK. A frontend may not even be able to
 * take one yet. */
static void a_driver_that_is_not_ready_is_not_interrupted(void)
{
    struct fixture fixture;
    struct guest guest;
    fixture_init(&fixture);
    fixture_configure_blocks(&fixture, 1);
    fixture_start(&fixture, 1, 1);
    for (unsigned int i = 0; i < 3; i++) {
        pid_t worker = fixture_worker(&fixture, 0);
        CU_ASSERT_EQUAL_FATAL(kill(worker, SIGKILL), 0);
        CU_ASSERT_FATAL(fixture_wait_worker(&fixture, 0, worker) > 0);
        /* If this is answered, the new worker is at work. */
        fixture_guest(&fixture, 0, &guest);
        CU_ASSERT_EQUAL(guest_read(&guest, VIRTIO_MMIO_MAGIC_VALUE, 4), 0x74726976);
    }
    CU_ASSERT_EQUAL(standin_wait_irq(fixture.standin, 0, 100), -ETIMEDOUT);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* docs/RESTART.md: the successor does the requests that a dead worker had taken, each exactly once.
 */
static void requests_under_way_are_resumed(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    pid_t worker = fixture.workers[0];
    for (unsigned int round = 0; round < ROUNDS; round++) {
        for (unsigned int i = 0; i < block.depth; i++)
            CU_ASSERT_EQUAL(
                guest_block_submit(&block, &block.requests[i], VIRTIO_BLK_T_IN, 8ull * i, 4096), 0);
        guest_queue_kick(&block.queue);
        if (round > 0)
            usleep(round * 30);
        kill(worker, SIGKILL);
        unsigned int completed = 0;
        while (completed < block.depth && block.guest.error == 0) {
            int r = guest_block_interrupt(&block);
            CU_ASSERT_FATAL(r >= 0);
            completed += (unsigned int)r;
        }
        CU_ASSERT_EQUAL(completed, block.depth);
        for (unsigned int i = 0; i < block.depth; i++)
            CU_ASSERT_EQUAL(*block.requests[i].status, 0);
        worker = fixture_wait_worker(&fixture, 0, worker);
        CU_ASSERT_FATAL(worker > 0);
    }
    stop(&fixture, &block);
}

static void sighup_is_ignored(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    CU_ASSERT_EQUAL(kill(standin_pid(fixture.standin), SIGHUP), 0);
    CU_ASSERT_EQUAL(kill(fixture.broker, SIGHUP), 0);
    usleep(100000);
    fixture_assert_reads(&block, 1);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, &block);
}

static void ends_by(int signal)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    fixture_assert_reads(&block, 1);
    standin_expect_end(fixture.standin);
    CU_ASSERT_EQUAL(kill(standin_pid(fixture.standin), signal), 0);
    int status = standin_wait(fixture.standin, 20000);
    CU_ASSERT(status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CU_ASSERT_EQUAL(standin_wait_all(fixture.standin, 20000), 0);
    uint64_t value;
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &value, 100), -ESHUTDOWN);
    stop(&fixture, &block);
}

static void sigterm_ends_all_of_it(void)
{
    ends_by(SIGTERM);
}

static void sigint_ends_all_of_it(void)
{
    ends_by(SIGINT);
}

static void a_worker_that_is_stopped_does_not_keep_the_end_waiting(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGSTOP), 0);
    stop(&fixture, &block);
}

static void nobody_outlives_a_killed_keeper(void)
{
    struct fixture fixture;
    struct guest_block block;
    start(&fixture, &block);
    standin_expect_end(fixture.standin);
    CU_ASSERT_EQUAL(kill(standin_pid(fixture.standin), SIGKILL), 0);
    CU_ASSERT_EQUAL(standin_wait_all(fixture.standin, 20000), 0);
    int status = standin_stop(fixture.standin);
    CU_ASSERT(status >= 0 && WIFSIGNALED(status));
    guest_block_free(&block);
    fixture_free(&fixture);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"a killed worker is replaced under load", a_killed_worker_is_replaced_under_load},
        {"a killed broker is replaced under load", a_killed_broker_is_replaced_under_load},
        {"a broker is killed in the midst of a completion",
         a_broker_is_killed_in_the_midst_of_a_completion},
        {"a stopped worker is replaced by the deadline",
         a_stopped_worker_is_replaced_by_the_deadline},
        {"an idle worker is replaced as well", an_idle_worker_is_replaced_as_well},
        {"a driver that is not ready is not interrupted",
         a_driver_that_is_not_ready_is_not_interrupted},
        {"requests under way are resumed", requests_under_way_are_resumed},
        {"SIGHUP is ignored", sighup_is_ignored},
        {"SIGTERM ends all of it", sigterm_ends_all_of_it},
        {"SIGINT ends all of it", sigint_ends_all_of_it},
        {"a worker that is stopped does not keep the end waiting",
         a_worker_that_is_stopped_does_not_keep_the_end_waiting},
        {"nobody outlives a killed keeper", nobody_outlives_a_killed_keeper},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo packed_tests[] = {
        {"a killed worker is replaced under load", a_killed_worker_is_replaced_under_load},
        {"a killed broker is replaced under load", a_killed_broker_is_replaced_under_load},
        {"requests under way are resumed", requests_under_way_are_resumed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main_formats(argc, argv, "life and death", tests, packed_tests);
}
