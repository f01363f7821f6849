/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and brokers are killed at random moments, a hundred times and more for each kind of
 * device, under a load that verifies what it gets.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/standin/block_daemon.h"
#include "tests/standin/block_load.h"
#include "tests/standin/storm_loads.h"
#include "tests/standin/vsock_fixture.h"

#define BLOCK_QUEUES 4

/* ---- Block: no request is lost, done again on another's data, or corrupted ---- */

#define BLOCK                                                                                      \
    "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"     \
    "    file_path: \"@/disk.img\"\n    read_only: false\n    queues: 4\n"

static void start_block(struct fixture *fixture, const char *yaml)
{
    fixture_init(fixture);
    fixture_make_image(fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(fixture, yaml);
}

/* The load compares every read, and at the end the whole image. */
static void rage_on_blocks(struct fixture *fixture, unsigned int queues, storm_begin *begin)
{
    static struct storm storm;
    struct guest guest;
    fixture_guest(fixture, 0, &guest);
    guest.timeout_ms = LOAD_DEADLINE_MS;
    int image = fixture_open(fixture, "disk.img"), r = 0;
    struct block_load *load =
        block_load_start(&guest, queues, image, FIXTURE_IMAGE_SECTORS, fixture_format);
    CU_ASSERT_PTR_NOT_NULL_FATAL(load);
    begin(&storm, fixture);
    while (storm_rages(&storm) && (r = block_load_run(load, 16)) == 0)
        storm_progress(&storm);
    CU_ASSERT_EQUAL(r, 0);
    storm_end(&storm);
    storm_report(&storm, "block");
    CU_ASSERT_EQUAL(block_load_end(load), 0);
    fixture_assert_running(&guest);
    close(image);
}

static void block_loses_and_corrupts_nothing(void)
{
    struct fixture fixture;
    start_block(&fixture, BLOCK);
    fixture_start(&fixture, 1, 1);
    rage_on_blocks(&fixture, BLOCK_QUEUES, storm_workers);
    CU_ASSERT_EQUAL(standin_find_process(fixture.standin, "bao-virtio-broker", 0), fixture.broker);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

static void brokers_death_loses_and_corrupts_nothing(void)
{
    for (unsigned int i = 0; i < storm_broker_rounds(2, 500); i++) {
        struct fixture fixture;
        struct standin_counts counts;
        start_block(&fixture, BLOCK);
        fixture_start(&fixture, 1, 1);
        rage_on_blocks(&fixture, BLOCK_QUEUES, storm_brokers);
        standin_counts(fixture.standin, &counts);
        CU_ASSERT_EQUAL(counts.dm_get_info, 1); /* once for each device, whichever process dies */
        CU_ASSERT_EQUAL(counts.dm_releases, 0);
        fixture_stop(&fixture);
        fixture_free(&fixture);
    }
}

/* ---- vhost-user: the daemon holds the requests, and each worker connects again ---- */

static void vhost_user_goes_on(void)
{
    struct fixture fixture;
    start_block(&fixture, "devices:\n  - id: 0\n    type: block\n    data_plane: vhost_user\n"
                          "    mmio_addr: 0xa003e00\n    config_size: 8\n"
                          "    socket_path: \"@/blk.sock\"\n");
    pid_t daemon = block_daemon_start(&fixture, "disk.img", NULL);
    block_daemon_wait(&fixture);
    fixture_start(&fixture, 1, 1);
    rage_on_blocks(&fixture, 1, storm_workers);
    fixture_stop(&fixture);
    block_daemon_kill(daemon);
    fixture_free(&fixture);
}

/* ---- Net: frames may be lost, as on any wire. None is damaged, every buffer comes back ---- */

static void net_recovers_without_a_reset(void)
{
    static struct net_fixture net;
    net_fixture_start(&net, "mode tap", "", &net_load_options);
    storm_over_frames(storm_workers, &net, "net");
    CU_ASSERT_TRUE(net_fixture_wait_status(&net, VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_ANNOUNCE));
    net_fixture_stop(&net);
}

/* ---- Entropy: every buffer comes back once, filled to its end ---- */

#define RNG_FEATURES                                                                               \
    (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |                               \
     1ull << VIRTIO_RING_F_EVENT_IDX)

static void rng_fills_every_buffer(void)
{
    struct fixture fixture;
    static struct storm storm;
    struct rng_load load = {0};
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: rng\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n");
    fixture_start(&fixture, 1, 1);
    fixture_guest(&fixture, 0, &load.guest);
    load.guest.timeout_ms = LOAD_DEADLINE_MS;
    CU_ASSERT_EQUAL_FATAL(rng_load_start(&load, RNG_FEATURES | fixture_format), 0);
    storm_workers(&storm, &fixture);
    while (storm_rages(&storm) && load.wrong == 0) {
        rng_load_run(&load);
        storm_progress(&storm);
    }
    storm_end(&storm);
    rng_load_end(&load);
    CU_ASSERT_EQUAL(load.wrong, 0);
    fixture_assert_running(&load.guest);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* ---- Console ---- */

static void assert_takes_input(struct guest_console *console, int terminal)
{
    uint64_t wanted = console->ports[0].received + 6;
    CU_ASSERT_EQUAL(write(terminal, "alive?", 6), 6);
    for (unsigned int i = 0; i < LOAD_DEADLINE_MS && console->ports[0].received < wanted; i++) {
        guest_console_poll(console);
        usleep(1000);
    }
    CU_ASSERT_EQUAL(console->ports[0].received, wanted);
}

static void console_output_is_complete(void)
{
    static struct guest_console console;
    static struct console_load load;
    struct fixture fixture;
    static struct storm storm;
    char path[96];
    fixture_init(&fixture);
    fixture_configure(&fixture, "devices:\n  - id: 0\n    type: console\n    data_plane: virtio\n"
                                "    mmio_addr: 0xa003e00\n    pty_alias: \"@/console\"\n");
    fixture_start(&fixture, 1, 1);
    fixture_guest(&fixture, 0, &console.guest);
    CU_ASSERT_EQUAL_FATAL(guest_console_start(&console, GUEST_CONSOLE_FEATURES), 0);
    snprintf(path, sizeof(path), "%s/console", fixture.dir);
    load = (struct console_load){.console = &console};
    load.terminal = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    CU_ASSERT_FATAL(load.terminal >= 0);
    storm_workers(&storm, &fixture);
    while (storm_rages(&storm) && load.wrong == 0) {
        if (console_load_run(&load))
            storm_progress(&storm);
        else
            usleep(200);
    }
    storm_end(&storm);
    console_load_end(&load);
    CU_ASSERT(load.seen > 0);
    CU_ASSERT_EQUAL(load.seen, console.ports[0].sent);
    CU_ASSERT_EQUAL(load.wrong, 0);
    CU_ASSERT(load.repeats <= storm.deaths);
    assert_takes_input(&console, load.terminal);
    CU_ASSERT_EQUAL(console.guest.error, 0);
    close(load.terminal);
    guest_console_free(&console);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

/* ---- Sockets ---- */

static void sockets_are_reset_at_once_and_made_anew(void)
{
    static struct vsock_fixture test;
    static struct vsock_load load;
    static struct storm storm;
    vsock_start(&test);
    load = (struct vsock_load){.vsock = &test.vsock, .server = test.server, .port = HOST_PORT};
    storm_over_sockets(&storm, storm_workers, &load, &test.fixture, "vsock");
    CU_ASSERT(load.resets >= storm.calm);
    /* A connection in the other direction works as well. */
    struct pair pair = pair_by_host(&test, "v.sock", SOCK_STREAM);
    assert_talks(&test, &pair);
    close(pair.host);
    vsock_load_end(&load);
    vsock_stop(&test, true);
}

int main(int argc, char **argv)
{
    static CU_TestInfo tests[] = {
        {"block loses and corrupts nothing", block_loses_and_corrupts_nothing},
        {"net recovers without a reset", net_recovers_without_a_reset},
        {"console output is complete", console_output_is_complete},
        {"rng fills every buffer", rng_fills_every_buffer},
        {"sockets are reset at once, and made anew", sockets_are_reset_at_once_and_made_anew},
        {"vhost_user goes on", vhost_user_goes_on},
        {"a broker's death loses and corrupts nothing", brokers_death_loses_and_corrupts_nothing},
        CU_TEST_INFO_NULL,
    };
    static CU_TestInfo packed_tests[] = {
        {"block loses and corrupts nothing", block_loses_and_corrupts_nothing},
        {"net recovers without a reset", net_recovers_without_a_reset},
        {"a broker's death loses and corrupts nothing", brokers_death_loses_and_corrupts_nothing},
        CU_TEST_INFO_NULL,
    };
    return net_fixture_namespace() ? fixture_main_formats(argc, argv, "storm", tests, packed_tests)
                                   : EXIT_FAILURE;
}
