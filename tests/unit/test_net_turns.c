/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a network device's work is done in one turn, and in which order. */
#include <errno.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/net_under_test.h"
#include "worker/net/filter.h"

#define MQ (BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ))

static enum serve turn(unsigned int queue)
{
    struct guest_fault fault;
    return net_ops.turn(&guest_device, queue, &fault);
}

static void receive_buffers(unsigned int queue, uint16_t count)
{
    for (uint16_t i = 0; i < count; i++)
        net_offer(queue, i, BUFFER(i), 2000, VRING_DESC_F_WRITE);
    guest_kick(queue);
}

/* Also what is dropped has taken its time: 512 KiB are enough for one turn. */
static void test_bytes_to_the_tap(void)
{
    const uint32_t length = NET_TURN_BYTES / 4; /* longer than any frame may be */
    net_running(1, VERSION_1, 16);
    for (uint16_t i = 0; i < 6; i++)
        net_offer(TX, i, BUFFER(i), NET_HEADER_SIZE + length, 0);
    CU_ASSERT_EQUAL(turn(TX), SERVE_END);
    CU_ASSERT_EQUAL(guest_state.counters.dropped_out, 4);
    CU_ASSERT_EQUAL(turn(TX), SERVE_WAIT_ROOM);
    CU_ASSERT_EQUAL(guest_state.counters.dropped_out, 6);
}

static void test_bytes_from_the_tap(void)
{
    const uint32_t length = NET_HEADER_SIZE + NET_FRAME_MAX;
    const unsigned int frames = NET_TURN_BYTES / length + 1;
    net_running(1, VERSION_1, 16);
    receive_buffers(RX, 1);
    guest_state.of_kind.net.rx_mode = 0; /* the driver wants none of them */
    net.readable = 1;
    net_reads = (struct net_reads){.frames = 2 * frames + 1, .length = length};
    CU_ASSERT_EQUAL(turn(RX), SERVE_END);
    CU_ASSERT_EQUAL(net_reads.frames, frames + 1);
    CU_ASSERT_EQUAL(turn(RX), SERVE_END);
    CU_ASSERT_EQUAL(net_reads.frames, 1);
    CU_ASSERT_EQUAL(turn(RX), SERVE_WAIT_BACKEND);
    CU_ASSERT_EQUAL(net_reads.frames, 0);
    CU_ASSERT_EQUAL(net_used(RX, 0), -1);
}

/* Small frames: as many as there may be in one turn, whether the driver wants them or not. */
static void test_frames_from_the_tap(void)
{
    for (int wanted = 0; wanted < 2; wanted++) {
        net_running(1, VERSION_1, NET_TURN_FRAMES);
        receive_buffers(RX, NET_TURN_FRAMES);
        guest_state.of_kind.net.rx_mode = wanted ? NET_RX_PROMISC : 0;
        net.readable = 1;
        net_reads =
            (struct net_reads){.frames = NET_TURN_FRAMES + 1, .length = NET_HEADER_SIZE + 60};
        CU_ASSERT_EQUAL(turn(RX), SERVE_END);
        CU_ASSERT_EQUAL(net_reads.frames, 1);
        CU_ASSERT_EQUAL(net_rings[RX].used->idx, wanted ? NET_TURN_FRAMES : 0);
    }
    net_reads.frames = 0;
}

/* A signal says nothing about frames. Any other error says that there is none. */
static void test_reading_fails(void)
{
    for (unsigned int tap = 0; tap < 2; tap++) {
        net_running(2, VERSION_1 | MQ, 16);
        receive_buffers(RX, 1);
        net.readable = 1u << tap;
        net_reads = (struct net_reads){.error = EINTR};
        net_send(tap, 60, 1);
        CU_ASSERT_EQUAL(turn(RX), SERVE_WAIT_ROOM); /* for the frame after this one */
        CU_ASSERT_EQUAL(net_used(RX, 0), NET_HEADER_SIZE + 60);

        receive_buffers(RX, 1);
        net.readable = 1u << tap | 1u << 5; /* no other bit is touched */
        net_reads = (struct net_reads){.error = EBADFD};
        net_send(tap, 60, 1);
        CU_ASSERT_EQUAL(turn(RX), SERVE_WAIT_BACKEND);
        CU_ASSERT_EQUAL(net.readable, 1u << 5);
        CU_ASSERT_EQUAL(net_used(RX, 0), -1);
    }
}

/* One pair alone has the frames of all queues of the tap: one of each in turn. */
static void test_queues_of_the_tap_alternate(void)
{
    unsigned int before = 2;
    net_running(2, VERSION_1 | MQ, 16);
    receive_buffers(RX, 8);
    for (uint32_t n = 0; n < 3; n++)
        for (unsigned int tap = 0; tap < 2; tap++)
            net_send(tap, 20 + 20 * tap, 1);
    guest_run();
    for (unsigned int n = 0; n < 6; n++) {
        int64_t length = net_used(RX, n);
        CU_ASSERT(length == NET_HEADER_SIZE + 20 || length == NET_HEADER_SIZE + 40);
        unsigned int tap = length == NET_HEADER_SIZE + 40;
        CU_ASSERT_NOT_EQUAL(tap, before);
        before = tap;
    }
}

/* Each pair that is in use sends by its queue of the tap, and has the frames that come by it. */
static void test_pairs_and_their_queues(void)
{
    uint8_t got[NET_HEADER_SIZE + 100];
    net_running(TAPS, VERSION_1 | MQ, 16);
    guest_state.of_kind.net.pairs = TAPS;
    for (unsigned int pair = 0; pair < TAPS; pair++) {
        const unsigned int length = NET_HEADER_SIZE + 60 + pair;
        memset(guest_at(BUFFER(8)), 0, length);
        net_offer(2 * pair + 1, 0, BUFFER(8), length, 0);
        guest_kick(2 * pair + 1);
        CU_ASSERT_EQUAL(net_used(2 * pair + 1, 0), 0);
        for (unsigned int tap = 0; tap < TAPS; tap++)
            CU_ASSERT_EQUAL(net_received(tap, got, sizeof(got)),
                            tap == pair ? (ssize_t)length : -1);
        receive_buffers(2 * pair, 1);
    }
    for (unsigned int pair = 0; pair < TAPS; pair++) {
        net_send(pair, 60 + pair, 1);
        guest_run();
        for (unsigned int other = 0; other < TAPS; other++)
            CU_ASSERT_EQUAL(net_used(2 * other, 0),
                            other == pair ? (int64_t)(NET_HEADER_SIZE + 60 + pair) : -1);
    }
}

static void test_pair_is_taken_back(void)
{
    for (unsigned int pair = 0; pair < TAPS; pair++) {
        net_running(TAPS, VERSION_1 | MQ, 16);
        guest_state.of_kind.net.pairs = TAPS;
        for (unsigned int other = 0; other < TAPS; other++)
            net_fill_tap(2 * other + 1);
        guest_write(VIRTIO_MMIO_QUEUE_SEL, 2 * pair + 1);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
        for (unsigned int other = 0; other < TAPS; other++)
            CU_ASSERT_EQUAL(net_tx_waits(other), other != pair);
    }
}

/* A tap that never runs dry holds up no driver's start. Nothing but the tap is read: the file
 * behind it is that of the first queue's kicks. */
static void test_drained_for_some_time(void)
{
    uint64_t kicks = 0;
    memset(&guest_state, 0, sizeof(guest_state));
    net_worker(2);
    net_reads = (struct net_reads){.frames = 5000, .length = NET_HEADER_SIZE + 60};
    guest_negotiate(VERSION_1);
    CU_ASSERT_TRUE(eventfd_signal(device_kick_fd(&guest_device, 0)));
    guest_driver_ok();
    CU_ASSERT_EQUAL(read(device_kick_fd(&guest_device, 0), &kicks, sizeof(kicks)), 8);
    CU_ASSERT_EQUAL(net_reads.frames, 5000 - 2 * 2048);
    CU_ASSERT_EQUAL(net.readable, 3); /* no event comes for what is left */
    net_reads.frames = 0;
    for (int resumed = 0; resumed < 2; resumed++) {
        struct guest_fault fault;
        CU_ASSERT_EQUAL(net_ops.start(&guest_device, resumed, &fault), 0);
    }
}

/* The queue of commands is none of frames: it has no parameters of interrupts that come back. */
static void test_queue_of_commands_is_taken_back(void)
{
    struct state_net *state = &guest_state.of_kind.net;
    net_running(2, VERSION_1 | MQ, 16);
    for (unsigned int direction = 0; direction < 2; direction++)
        state->coal_of_all[direction] = (struct state_net_coal){3, 4 + direction};
    for (unsigned int queue = 0; queue < 5; queue++) {
        guest_write(VIRTIO_MMIO_QUEUE_SEL, queue);
        guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
        CU_ASSERT_EQUAL(state->coal[queue].max_usecs, queue < 4 ? 4 + queue % 2 : 0);
    }
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"bytes to the tap", test_bytes_to_the_tap},
        {"bytes from the tap", test_bytes_from_the_tap},
        {"frames from the tap", test_frames_from_the_tap},
        {"reading fails", test_reading_fails},
        {"queues of the tap alternate", test_queues_of_the_tap_alternate},
        {"pairs and their queues of the tap", test_pairs_and_their_queues},
        {"a pair's queue is taken back", test_pair_is_taken_back},
        {"drained for some time", test_drained_for_some_time},
        {"the queue of commands is taken back", test_queue_of_commands_is_taken_back},
        CU_TEST_INFO_NULL,
    };
    signal(SIGPIPE, SIG_IGN); /* as in a worker: a tap raises none */
    guest_window_init();
    return run_tests(argc, argv, "turns of a network device", tests);
}
