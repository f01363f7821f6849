/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and brokers that are killed at random moments, a hundred times and more for each kind of
 * device, under a load that verifies what it gets.
 */
#include "tests/standin/test_storm.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/standin/block_load.h"
#include "tests/standin/net_fixture.h"
#include "tests/standin/storm.h"

#define DEADLINE_MS 20000
#define BLOCK_QUEUES 4

static void assert_needs_no_reset(struct guest *guest)
{
    const uint32_t running = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                             VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK;
    CU_ASSERT_EQUAL(guest_status(guest), running);
    CU_ASSERT_EQUAL(guest->error, 0);
}

/* ---- Block: nothing is lost, done twice to another's data, or corrupted ---- */

#define BLOCK                                                                                      \
    "devices:\n  - id: 0\n    type: block\n    data_plane: virtio\n    mmio_addr: 0xa003e00\n"     \
    "    file_path: \"@/disk.img\"\n    read_only: false\n    queues: 4\n"

static void start_block(struct fixture *fixture, const char *yaml)
{
    fixture_init(fixture);
    fixture_make_image(fixture, "disk.img", FIXTURE_IMAGE_SECTORS);
    fixture_configure(fixture, yaml);
}

/* The load: every read is compared, and at the end all of the image. */
static void rage_on_blocks(struct fixture *fixture, unsigned int queues,
                           void (*begin)(struct storm *storm, const struct fixture *fixture))
{
    struct storm storm;
    struct guest guest;
    fixture_guest(fixture, 0, &guest);
    guest.timeout_ms = DEADLINE_MS;
    int image = fixture_open(fixture, "disk.img"), r = 0;
    struct block_load *load =
        block_load_start(&guest, queues, image, FIXTURE_IMAGE_SECTORS, fixture_format);
    CU_ASSERT_PTR_NOT_NULL_FATAL(load);
    begin(&storm, fixture);
    while (storm_rages(&storm) && (r = block_load_run(load, 16)) == 0)
        storm_progress(&storm);
    CU_ASSERT_EQUAL(r, 0);
    storm_end(&storm);
    CU_ASSERT_EQUAL(block_load_end(load), 0);
    assert_needs_no_reset(&guest);
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
    for (unsigned int i = 0; i < storm_broker_rounds(); i++) {
        struct fixture fixture;
        struct standin_counts counts;
        start_block(&fixture, BLOCK);
        fixture_start(&fixture, 1, 1);
        rage_on_blocks(&fixture, BLOCK_QUEUES, storm_brokers);
        standin_counts(fixture.standin, &counts);
        CU_ASSERT_EQUAL(counts.dm_get_info, 1); /* once a device, whoever lives and dies */
        CU_ASSERT_EQUAL(counts.dm_releases, 0);
        fixture_stop(&fixture);
        fixture_free(&fixture);
    }
}

/* ---- vhost-user: the daemon holds the requests, and each worker connects anew ---- */

static pid_t start_daemon(const struct fixture *fixture)
{
    char socket[128], image[128];
    struct stat status;
    snprintf(socket, sizeof(socket), "%s/blk.sock", fixture->dir);
    snprintf(image, sizeof(image), "%s/disk.img", fixture->dir);
    char *argv[] = {(char *)"vhost-user-daemon", socket, image, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(DAEMON, argv);
        _exit(127);
    }
    CU_ASSERT_FATAL(pid > 0);
    for (unsigned int i = 0; i < DEADLINE_MS && stat(socket, &status) < 0; i++)
        usleep(1000);
    return pid;
}

static void vhost_user_goes_on(void)
{
    struct fixture fixture;
    int status;
    start_block(&fixture, "devices:\n  - id: 0\n    type: block\n    data_plane: vhost_user\n"
                          "    mmio_addr: 0xa003e00\n    config_size: 8\n"
                          "    socket_path: \"@/blk.sock\"\n");
    pid_t daemon = start_daemon(&fixture);
    fixture_start(&fixture, 1, 1);
    rage_on_blocks(&fixture, 1, storm_workers);
    fixture_stop(&fixture);
    CU_ASSERT_EQUAL(kill(daemon, SIGKILL), 0);
    CU_ASSERT_EQUAL(waitpid(daemon, &status, 0), daemon);
    CU_ASSERT(WIFSIGNALED(status)); /* it has not ended by itself, on something it did not like */
    fixture_free(&fixture);
}

/* ---- Net: frames may be lost, as on any wire; none is damaged, and no buffer stays away ---- */

#define FRAME_MIN 100u
#define FRAMES 900u /* lengths: each has its own contents */
#define BATCH 8u

static const struct virtio_net_hdr_v1 no_offload = {0};
static uint8_t frame[GUEST_NET_FRAME_MAX];

struct traffic {
    struct net_fixture net;
    uint32_t next;              /* frame */
    uint64_t to_host, to_guest; /* arrived */
    uint64_t wrong;
};

/* A frame's length tells what it must hold. */
static bool is_good(const uint8_t *data, int length)
{
    return length >= (int)FRAME_MIN && length < (int)(FRAME_MIN + FRAMES) &&
           net_fixture_is_frame(data, (uint32_t)length, (uint32_t)length);
}

static bool is_ours(const uint8_t *data)
{
    return data[12] == NET_FIXTURE_TYPE >> 8 && data[13] == (NET_FIXTURE_TYPE & 0xff);
}

static void send_both_ways(struct traffic *traffic)
{
    struct net_fixture *net = &traffic->net;
    for (unsigned int i = 0; i < BATCH; i++) {
        uint32_t length = FRAME_MIN + traffic->next++ % FRAMES;
        net_fixture_frame(frame, net->host_mac, net_fixture_mac, length, length);
        (void)guest_net_put(&net->net, 0, &no_offload, frame, length); /* when there is room */
        net_fixture_frame(frame, net_fixture_mac, net->host_mac, length, length);
        (void)send(net->packets, frame, length, MSG_DONTWAIT); /* likewise */
    }
    guest_net_kick(&net->net, 0);
}

static void receive_both(struct traffic *traffic)
{
    struct net_fixture *net = &traffic->net;
    struct virtio_net_hdr_v1 header;
    int length;
    while ((length = guest_net_receive(&net->net, 0, &header, frame, false, 0)) >= 0) {
        traffic->to_guest += is_ours(frame);
        traffic->wrong += is_ours(frame) && !is_good(frame, length);
    }
    traffic->wrong += length != -ETIMEDOUT;
    while ((length = (int)recv(net->packets, frame, sizeof(frame), MSG_DONTWAIT)) >= 0) {
        traffic->to_host++;
        traffic->wrong += !is_good(frame, length);
    }
}

/* Until more has arrived at both ends, or it takes too long. */
static bool exchange_frames(struct traffic *traffic)
{
    const uint64_t to_guest = traffic->to_guest, to_host = traffic->to_host;
    for (unsigned int i = 0; i < DEADLINE_MS; i++) {
        send_both_ways(traffic);
        receive_both(traffic);
        if (traffic->to_guest > to_guest && traffic->to_host > to_host)
            return true;
        usleep(200);
    }
    return false;
}

static void net_recovers_without_a_reset(void)
{
    static const struct guest_net_options options = {
        .features = GUEST_NET_FEATURES,
        .rx_count = 128,
        .tx_count = 32,
        .rx_size = 1536,
        .tx_size = 2048,
    };
    struct traffic traffic = {0};
    struct storm storm;
    bool arrives = true;
    net_fixture_start(&traffic.net, "mode tap", "", &options);
    traffic.net.net.guest.timeout_ms = DEADLINE_MS;
    storm_workers(&storm, &traffic.net.fixture);
    while (storm_rages(&storm) && (arrives = exchange_frames(&traffic))) {
        storm_progress(&storm);
        usleep(200);
    }
    CU_ASSERT_TRUE(arrives);
    storm_end(&storm);
    CU_ASSERT_TRUE(exchange_frames(&traffic));
    CU_ASSERT_EQUAL(traffic.wrong, 0);
    CU_ASSERT_EQUAL(guest_net_flush(&traffic.net.net, 0), 0); /* each buffer has come back */
    assert_needs_no_reset(&traffic.net.net.guest);
    CU_ASSERT_TRUE(
        net_fixture_wait_status(&traffic.net, VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_ANNOUNCE));
    net_fixture_stop(&traffic.net);
}

/* ---- Entropy: every buffer comes back once, filled to its end ---- */

#define RNG_DEVICE_ID 4
#define RNG_BUFFERS 8u
#define RNG_SIZE 4096u

struct rng {
    struct guest guest;
    struct guest_queue queue;
    struct rng_buffer {
        uint8_t *data;
        uint64_t addr;
        uint32_t length;
        bool busy;
    } buffers[RNG_BUFFERS];
    uint32_t next; /* length */
    uint64_t wrong;
};

static void start_rng(struct fixture *fixture, struct rng *rng)
{
    fixture_init(fixture);
    fixture_configure(fixture, "devices:\n  - id: 0\n    type: rng\n    data_plane: virtio\n"
                               "    mmio_addr: 0xa003e00\n");
    fixture_start(fixture, 1, 1);
    fixture_guest(fixture, 0, &rng->guest);
    rng->guest.timeout_ms = DEADLINE_MS;
    CU_ASSERT_EQUAL_FATAL(guest_probe(&rng->guest, RNG_DEVICE_ID), 0);
    CU_ASSERT_EQUAL_FATAL(
        guest_negotiate(&rng->guest, 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_ACCESS_PLATFORM |
                                         1ull << VIRTIO_RING_F_EVENT_IDX | fixture_format),
        0);
    CU_ASSERT_EQUAL_FATAL(guest_queue_start(&rng->guest, &rng->queue, 0, 0), 0);
    for (unsigned int i = 0; i < RNG_BUFFERS; i++) {
        rng->buffers[i].data = guest_alloc(&rng->guest, RNG_SIZE, 64, &rng->buffers[i].addr);
        CU_ASSERT_PTR_NOT_NULL_FATAL(rng->buffers[i].data);
    }
    CU_ASSERT_EQUAL_FATAL(guest_driver_ok(&rng->guest), 0);
}

static void give_buffers(struct rng *rng)
{
    for (unsigned int i = 0; i < RNG_BUFFERS; i++) {
        struct rng_buffer *buffer = &rng->buffers[i];
        if (buffer->busy)
            continue;
        buffer->length = 16 + rng->next++ * 61 % (RNG_SIZE - 16);
        const struct guest_segment segment = {buffer->addr, buffer->length, true};
        memset(buffer->data, 0, RNG_SIZE);
        buffer->busy = guest_queue_add(&rng->queue, &segment, 1, buffer) == 0;
        rng->wrong += !buffer->busy;
    }
    guest_queue_kick(&rng->queue);
}

/* Its last 16 bytes are hardly all 0 by chance, and what lies behind them is not the device's. */
static bool is_filled(const struct rng_buffer *buffer)
{
    static const uint8_t zeros[16];
    for (uint32_t i = buffer->length; i < RNG_SIZE; i++) {
        if (buffer->data[i] != 0)
            return false;
    }
    return memcmp(buffer->data + buffer->length - 16, zeros, 16) != 0;
}

static void take_buffer(struct rng *rng)
{
    struct rng_buffer *buffer;
    uint32_t length;
    while (!(buffer = guest_queue_get(&rng->queue, &length))) {
        if (guest_queue_enable_interrupts(&rng->queue) && guest_take_interrupt(&rng->guest) < 0) {
            rng->wrong++;
            return;
        }
    }
    rng->wrong += !buffer->busy || length != buffer->length || !is_filled(buffer);
    buffer->busy = false;
}

static void rng_fills_every_buffer(void)
{
    struct fixture fixture;
    struct storm storm;
    struct rng rng = {0};
    start_rng(&fixture, &rng);
    storm_workers(&storm, &fixture);
    while (storm_rages(&storm) && rng.wrong == 0) {
        give_buffers(&rng);
        take_buffer(&rng);
        storm_progress(&storm);
    }
    storm_end(&storm);
    for (unsigned int i = 0; i < RNG_BUFFERS && rng.wrong == 0; i++) {
        if (rng.buffers[i].busy)
            take_buffer(&rng);
    }
    CU_ASSERT_EQUAL(rng.wrong, 0);
    assert_needs_no_reset(&rng.guest);
    guest_queue_free(&rng.queue);
    fixture_stop(&fixture);
    fixture_free(&fixture);
}

int main(void)
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
    return net_fixture_namespace() ? fixture_main_formats("storm", tests, packed_tests)
                                   : EXIT_FAILURE;
}
