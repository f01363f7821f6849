/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that a vhost-user daemon serves: daemons that come late, die, hang or lie. The daemon is
 * daemon.c, a block device. So the guest's block driver can tell whether anything was lost.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"
#include "tests/standin/request_load.h"

#define DEADLINE_MS 15000
#define ROUNDS 4

#define YAML                                                                                       \
    "devices:\n  - id: 0\n    type: block\n    data_plane: vhost_user\n"                           \
    "    mmio_addr: 0xa003e00\n    config_size: 8\n    socket_path: \"@/blk.sock\"\n"

static void prepare(struct fixture *fixture, const char *yaml)
{
    fixture_init(fixture);
    fixture_make_image(fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(fixture, yaml);
}

static pid_t start_daemon(const struct fixture *fixture, const char *const options[])
{
    return block_daemon_start(fixture, "disk.img", options);
}

static pid_t start_with(struct fixture *fixture, const char *yaml, const char *const options[],
                        unsigned int workers)
{
    prepare(fixture, yaml);
    pid_t daemon = start_daemon(fixture, options);
    block_daemon_wait(fixture);
    fixture_start(fixture, 1, workers);
    return daemon;
}

static pid_t start(struct fixture *fixture, const char *const options[])
{
    return start_with(fixture, YAML, options, 1);
}

static void stop(struct fixture *fixture, pid_t daemon)
{
    fixture_stop(fixture);
    block_daemon_kill(daemon);
    fixture_free(fixture);
}

#define FEATURES                                                                                   \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_BLK_F_FLUSH)

static void start_driver(struct fixture *fixture, struct guest_block *block)
{
    fixture_block(fixture, 0, block, FEATURES, 32, 4096);
    block->guest.timeout_ms = DEADLINE_MS;
}

/* Whatever the daemon offers or leaves out, the device is used, reset and used again. */
static void use(const char *const options[])
{
    struct fixture fixture;
    struct guest_block block;
    pid_t daemon = start(&fixture, options);
    for (unsigned int i = 0; i < 2; i++) {
        start_driver(&fixture, &block);
        CU_ASSERT_EQUAL(block.capacity, FIXTURE_IMAGE_SECTORS);
        for (uint64_t sector = 0; sector < 300; sector += 7)
            fixture_assert_reads(&block, sector);
        CU_ASSERT_EQUAL(guest_block_io(&block, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), 0);
        CU_ASSERT_EQUAL(guest_reset(&block.guest), 0);
        guest_block_free(&block);
    }
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, daemon);
}

static void it_is_used(void)
{
    use(NULL);
}

static void it_offers_less(void)
{
    static const char *const less[][BLOCK_DAEMON_OPTIONS_MAX] = {
        {"no-ack"},
        {"no-inflight"},
        {"no-requests"},
        {"no-ack", "no-inflight", "no-requests"},
    };
    for (size_t i = 0; i < sizeof(less) / sizeof(less[0]); i++)
        use(less[i]);
}

static void it_answers_in_pieces(void)
{
    use((const char *const[]){"answer-late", NULL});
}

/* Without protocol features, or without PROTOCOL_F_CONFIG, the configuration space comes from the
 * configuration file. */
static void the_file_has_the_configuration_space(void)
{
    static const char *const less[][BLOCK_DAEMON_OPTIONS_MAX] = {{"no-protocol"}, {"no-config"}};
    for (size_t i = 0; i < 2; i++) {
        struct fixture fixture;
        struct guest_block block;
        pid_t daemon = start_with(&fixture,
                                  "devices:\n  - id: 0\n    type: 2\n    data_plane: vhost_user\n"
                                  "    mmio_addr: 0xa003e00\n    socket_path: \"@/blk.sock\"\n"
                                  "    config: \"0010000000000000\"\n",
                                  less[i], 1);
        start_driver(&fixture, &block);
        CU_ASSERT_EQUAL(block.capacity, 4096);
        fixture_assert_reads(&block, 5);
        guest_block_free(&block);
        stop(&fixture, daemon);
    }
}

static void nobody_has_the_configuration_space(void)
{
    struct fixture fixture;
    pid_t daemon = start_with(&fixture, YAML, (const char *const[]){"no-config", NULL}, 0);
    fixture_wait_logged(&fixture, "it has no configuration space of its own", DEADLINE_MS);
    stop(&fixture, daemon);
}

static void the_daemon_comes_late(void)
{
    struct fixture fixture;
    struct guest_block block;
    prepare(&fixture, YAML);
    fixture_start(&fixture, 1, 0);
    fixture_wait_logged(&fixture, "connect: No such file or directory", DEADLINE_MS);
    usleep(700000);
    pid_t daemon = start_daemon(&fixture, NULL);
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 3);
    char *log = fixture_log(&fixture);
    const char *first = strstr(log, "waits for the daemon");
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    CU_ASSERT_PTR_NULL(strstr(first + 1, "waits for the daemon")); /* once for many attempts */
    free(log);
    guest_block_free(&block);
    stop(&fixture, daemon);
}

static void the_directory_is_missing(void)
{
    struct fixture fixture;
    fixture_init(&fixture);
    fixture_configure(&fixture,
                      "devices:\n  - id: 0\n    type: fs\n    data_plane: vhost_user\n    tag: x\n"
                      "    mmio_addr: 0xa003e00\n    socket_path: \"@/missing/\"\n");
    fixture_start(&fixture, 1, 0);
    fixture_assert_start_fails(&fixture, DEADLINE_MS);
    fixture_wait_logged(&fixture, "config.yaml:7:18:", DEADLINE_MS);
    fixture_wait_logged(&fixture, "/missing\": No such file or directory: make the directory",
                        DEADLINE_MS);
    fixture_stop_failed(&fixture);
    fixture_free(&fixture);
}

/* The neighbour's worker starts at once. Each register access is answered: if nothing else can be,
 * with a fixed value. */
static void a_daemon_that_hangs_delays_nobody(void)
{
    struct fixture fixture;
    struct guest guest;
    uint64_t value;
    prepare(&fixture, YAML "  - id: 1\n    type: rng\n    data_plane: virtio\n"
                           "    mmio_addr: 0xa004000\n");
    pid_t daemon = start_daemon(&fixture, (const char *const[]){"hang-accept", NULL});
    block_daemon_wait(&fixture);
    fixture_start(&fixture, 2, 0);
    fixture_wait_logged(&fixture, "rng 1: worker", DEADLINE_MS);
    fixture_wait_logged(&fixture, "GET_FEATURES: it does not answer in time", DEADLINE_MS);
    fixture_guest(&fixture, 1, &guest);
    for (unsigned int i = 0; i < 2000; i++) {
        CU_ASSERT_EQUAL_FATAL(guest_read(&guest, VIRTIO_MMIO_DEVICE_ID, 4), 4);
        usleep(500);
    }
    CU_ASSERT_EQUAL(standin_read(fixture.standin, 0, fixture_base(0), 4, &value, DEADLINE_MS), 0);
    CU_ASSERT_EQUAL(value, 0);
    block_daemon_kill(daemon);
    daemon = start_daemon(&fixture, NULL);
    fixture_wait_logged(&fixture, "block 0: worker", DEADLINE_MS);
    stop(&fixture, daemon);
}

/* The broker finds the lies in the first part of the dialogue. Each ends as it should. */
static void lies(void)
{
    static const struct {
        const char *option, *words;
    } cases[] = {
        {"wrong-size", "GET_FEATURES: its answer has the wrong length"},
        {"wrong-request", "GET_FEATURES: it answers another request"},
        {"wrong-flags", "GET_FEATURES: its answer is none of version 1"},
        {"extra-fd", "GET_FEATURES: it sends files that it was not asked for"},
        {"unasked", "GET_PROTOCOL_FEATURES: it answers another request"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture fixture;
        struct guest_block block;
        pid_t daemon = start_with(&fixture, YAML, (const char *const[]){cases[i].option, NULL}, 0);
        fixture_wait_logged(&fixture, cases[i].words, DEADLINE_MS);
        block_daemon_kill(daemon);
        daemon = start_daemon(&fixture, NULL); /* an honest daemon */
        start_driver(&fixture, &block);
        fixture_assert_reads(&block, 3);
        guest_block_free(&block);
        stop(&fixture, daemon);
    }
}

/* ---- Deaths under load ---- */

static void load_start(struct request_load *load, struct fixture *fixture)
{
    start_driver(fixture, &load->block);
    request_load_start(load, false);
}

static void assert_load_goes_on(struct request_load *load)
{
    unsigned int requests = atomic_load(&load->requests) + 100;
    for (unsigned int i = 0; i < DEADLINE_MS; i++) {
        if (atomic_load(&load->requests) >= requests)
            return;
        usleep(1000);
    }
    CU_FAIL("the driver waits for ever");
}

static void load_stop(struct request_load *load)
{
    request_load_stop(load);
    guest_block_free(&load->block);
}

/* The buffer for requests in flight outlives the daemon. No request is lost, though the daemon
 * completes them out of order. */
static void the_daemon_is_killed_under_load(void)
{
    static const char *const slow[] = {"pause", NULL};
    struct fixture fixture;
    struct request_load load;
    pid_t daemon = start(&fixture, slow);
    load_start(&load, &fixture);
    for (unsigned int round = 0; round < ROUNDS; round++) {
        assert_load_goes_on(&load);
        block_daemon_kill(daemon);
        daemon = start_daemon(&fixture, slow);
    }
    assert_load_goes_on(&load);
    load_stop(&load);
    stop(&fixture, daemon);
}

static void the_worker_is_killed_under_load(void)
{
    static const char *const slow[] = {"pause", NULL};
    struct fixture fixture;
    struct request_load load;
    pid_t daemon = start(&fixture, slow);
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
    stop(&fixture, daemon);
}

/* The reset that makes the worker send GET_VRING_BASE is answered, perhaps by the worker's
 * successor. The device works again after it. */
static void the_daemon_hangs_in_get_vring_base(void)
{
    struct fixture fixture;
    struct guest_block block;
    pid_t daemon = start(&fixture, (const char *const[]){"hang-vring-base", NULL});
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 1);
    CU_ASSERT_EQUAL(
        standin_write(fixture.standin, 0, fixture_base(0) + VIRTIO_MMIO_STATUS, 4, 0, DEADLINE_MS),
        0);
    fixture_wait_logged(&fixture, "did not answer as it must: reconnecting", DEADLINE_MS);
    guest_block_free(&block);
    block_daemon_kill(daemon);
    daemon = start_daemon(&fixture, NULL);
    fixture_wait_logged(&fixture, "register accesses answered without a worker", DEADLINE_MS);
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 2);
    guest_block_free(&block);
    stop(&fixture, daemon);
}

/* The daemon dies with requests in flight, and stays away for so long that the driver has to reset
 * the device. The next driver's daemon finds none of them in its buffer. */
static void a_reset_forgets_what_a_dead_daemon_had_in_flight(void)
{
    struct fixture fixture;
    struct guest_block block;
    pid_t daemon = start(&fixture, (const char *const[]){"pause", NULL});
    start_driver(&fixture, &block);
    for (unsigned int i = 0; i < block.depth; i++)
        CU_ASSERT_EQUAL(guest_block_submit(&block, &block.requests[i], VIRTIO_BLK_T_IN, i, 512), 0);
    guest_queue_kick(&block.queue);
    for (unsigned int i = 0;
         i < DEADLINE_MS && __atomic_load_n(&block.queue.used->idx, __ATOMIC_ACQUIRE) == 0; i++)
        usleep(1000);
    block_daemon_kill(daemon);
    CU_ASSERT(block.queue.used->idx < block.depth);
    CU_ASSERT_EQUAL(
        standin_write(fixture.standin, 0, fixture_base(0) + VIRTIO_MMIO_STATUS, 4, 0, DEADLINE_MS),
        0);
    guest_block_free(&block);
    daemon = start_daemon(&fixture, NULL);
    fixture_wait_logged(&fixture, "register accesses answered without a worker", DEADLINE_MS);
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 1);
    CU_ASSERT_EQUAL(guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    guest_block_free(&block);
    stop(&fixture, daemon);
}

static void the_configuration_space_changes(void)
{
    struct fixture fixture;
    struct guest_block block;
    pid_t daemon = start(&fixture, NULL);
    start_driver(&fixture, &block);
    CU_ASSERT_EQUAL(block.capacity, FIXTURE_IMAGE_SECTORS);
    CU_ASSERT_EQUAL(kill(daemon, SIGUSR1), 0);
    for (unsigned int i = 0; i < 100 && block.guest.config_changes == 0; i++)
        CU_ASSERT_FATAL(guest_take_interrupt(&block.guest) >= 0);
    uint64_t capacity;
    guest_config(&block.guest, 0, &capacity, sizeof(capacity), 4);
    CU_ASSERT_EQUAL(capacity, FIXTURE_IMAGE_SECTORS + 8);
    fixture_assert_never_restarted(&fixture);
    guest_block_free(&block);
    stop(&fixture, daemon);
}

/* The driver offers a head that does not exist. The daemon reports this through its error eventfd.
 */
static void the_driver_spoils_the_ring(void)
{
    struct fixture fixture;
    struct guest_block block;
    pid_t daemon = start(&fixture, NULL);
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 1);
    uint16_t index = block.queue.avail->idx;
    block.queue.avail->ring[index % block.queue.size] = (uint16_t)block.queue.size;
    __atomic_store_n(&block.queue.avail->idx, (uint16_t)(index + 1), __ATOMIC_RELEASE);
    guest_write(&block.guest, VIRTIO_MMIO_QUEUE_NOTIFY, 4, 0);
    for (unsigned int i = 0; i < DEADLINE_MS; i++) {
        if ((guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET) != 0)
            break;
        usleep(1000);
    }
    CU_ASSERT_NOT_EQUAL(guest_status(&block.guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    guest_block_free(&block);
    start_driver(&fixture, &block);
    fixture_assert_reads(&block, 2);
    guest_block_free(&block);
    fixture_assert_never_restarted(&fixture);
    stop(&fixture, daemon);
}

/* The event queue belongs to the worker. Connections of a dead worker or of a dead daemon end at
 * once (VirtIO 1.2 §5.10.6.7). */
static void a_vsock_device_announces_its_reset(void)
{
    struct fixture fixture;
    struct guest guest;
    struct guest_queue queues[3];
    uint64_t cid;
    pid_t daemon = start_with(&fixture,
                              "devices:\n  - id: 0\n    type: vsock\n    data_plane: vhost_user\n"
                              "    mmio_addr: 0xa003e00\n    socket_path: \"@/blk.sock\"\n"
                              "    guest_cid: 7\n",
                              (const char *const[]){"no-config", NULL}, 1);
    fixture_guest(&fixture, 0, &guest);
    CU_ASSERT_EQUAL_FATAL(guest_probe(&guest, 19), 0);
    CU_ASSERT_EQUAL(guest_negotiate(&guest, FEATURES), 0);
    guest_config(&guest, 0, &cid, sizeof(cid), 4);
    CU_ASSERT_EQUAL(cid, 7);
    for (uint32_t q = 0; q < 3; q++)
        CU_ASSERT_EQUAL_FATAL(guest_queue_start(&guest, &queues[q], q, 0), 0);
    CU_ASSERT_EQUAL(guest_driver_ok(&guest), 0);

    struct guest_segment segment = {.len = 4, .device_writable = true};
    uint32_t *events[2], length;
    for (unsigned int i = 0; i < 2; i++) {
        events[i] = guest_alloc(&guest, 4, 8, &segment.addr);
        *events[i] = UINT32_MAX;
        CU_ASSERT_EQUAL(guest_queue_add(&queues[2], &segment, 1, events[i]), 0);
    }
    guest_queue_kick(&queues[2]);
    for (unsigned int i = 0; i < 2; i++) {
        CU_ASSERT_PTR_NULL(guest_queue_get(&queues[2], &length));
        if (i == 0) {
            CU_ASSERT_EQUAL(kill(fixture.workers[0], SIGKILL), 0);
        } else {
            block_daemon_kill(daemon);
            daemon = start_daemon(&fixture, (const char *const[]){"no-config", NULL});
        }
        void *token = NULL;
        while (!token && guest.error == 0) {
            CU_ASSERT_FATAL(guest_take_interrupt(&guest) >= 0);
            token = guest_queue_get(&queues[2], &length);
        }
        CU_ASSERT_PTR_EQUAL(token, events[i]);
        CU_ASSERT_EQUAL(length, 4);
        CU_ASSERT_EQUAL(*events[i], 0); /* VIRTIO_VSOCK_EVENT_TRANSPORT_RESET */
    }
    for (uint32_t q = 0; q < 3; q++)
        guest_queue_free(&queues[q]);
    stop(&fixture, daemon);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"it is used", it_is_used},
        {"it offers less", it_offers_less},
        {"it answers in pieces", it_answers_in_pieces},
        {"the file has the configuration space", the_file_has_the_configuration_space},
        {"nobody has the configuration space", nobody_has_the_configuration_space},
        {"the daemon comes late", the_daemon_comes_late},
        {"the directory is missing", the_directory_is_missing},
        {"a daemon that hangs delays nobody", a_daemon_that_hangs_delays_nobody},
        {"lies", lies},
        {"the daemon is killed under load", the_daemon_is_killed_under_load},
        {"the worker is killed under load", the_worker_is_killed_under_load},
        {"the daemon hangs in GET_VRING_BASE", the_daemon_hangs_in_get_vring_base},
        {"a reset forgets what a dead daemon had in flight",
         a_reset_forgets_what_a_dead_daemon_had_in_flight},
        {"the configuration space changes", the_configuration_space_changes},
        {"the driver spoils the ring", the_driver_spoils_the_ring},
        {"a vsock device announces its reset", a_vsock_device_announces_its_reset},
        CU_TEST_INFO_NULL,
    };
    return fixture_main(argc, argv, "vhost-user", tests);
}
