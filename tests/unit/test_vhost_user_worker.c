/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker tells a vhost-user daemon, and what it makes of the daemon's messages. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_vsock.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/worker_dialogue.h"

static void test_start_and_stop(void)
{
    uint64_t features = BIT(VIRTIO_F_VERSION_1), kicks = 0;
    prepare(0, 2);
    answer_after_files(6);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, &features, 8, false);
    for (unsigned int q = 0; q < 2; q++) {
        hears_ring(q, VHOST_USER_VERSION, true);
        CU_ASSERT_EQUAL(read(device_kick_fd(&device, q), &kicks, 8), 8);
        CU_ASSERT_EQUAL(kicks, 1);
    }
    hears_nothing_more(daemon_end);

    for (unsigned int q = 0; q < 2; q++) {
        const struct vhost_vring_state base = {q, 17};
        answer(VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
    }
    OPS.stop(&device);
    for (unsigned int q = 0; q < 2; q++) {
        const struct vhost_vring_state base = {q, 0};
        hears(daemon_end, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &base, sizeof(base),
              false);
    }
    OPS.stop(&device); /* nothing runs */
    OPS.queue_stop(&device, 0);
    hears_nothing_more(daemon_end);
}

/* A queue that becomes ready later, one that is no longer ready, and one that comes back. */
static void test_queues_come_and_go(void)
{
    prepare(0, 1);
    answer_after_files(3);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    hears_anything(daemon_end);
    for (int times = 0; times < 2; times++) {
        const struct vhost_vring_state base = {1, 0};
        for (int i = 0; i < 3; i++)
            answer_number(VHOST_USER_GET_FEATURES, 0);
        CU_ASSERT_EQUAL(OPS.queue_start(&device, 1, &fault), 0);
        hears_ring(1, VHOST_USER_VERSION, true);
        hears_nothing_more(daemon_end);
        answer(VHOST_USER_GET_VRING_BASE, &base, sizeof(base));
        OPS.queue_stop(&device, 1);
        hears(daemon_end, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &base, sizeof(base),
              false);
        OPS.queue_stop(&device, 1);
        hears_nothing_more(daemon_end);
    }
}

/* The driver's mistake is found before the daemon hears of the ring. */
static void test_malformed_ring(void)
{
    prepare(0, 2);
    answer_after_files(3);
    rings[1].avail->idx = 6 + SIZE + 1;
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, LOG_AVAIL_INVALID);
    hears_anything(daemon_end);
    CU_ASSERT_EQUAL(OPS.queue_start(&device, 1, &fault), -EBADMSG);
    hears_nothing_more(daemon_end);
    answer(VHOST_USER_GET_VRING_BASE, &(struct vhost_vring_state){0, 9}, 8);
    OPS.stop(&device);
    hears_anything(daemon_end);
}

/* With REPLY_ACK each message is answered, and nothing more is asked. */
static void test_acknowledged(void)
{
    static const uint32_t requests[] = {
        VHOST_USER_SET_FEATURES,   VHOST_USER_SET_INFLIGHT_FD, VHOST_USER_SET_VRING_NUM,
        VHOST_USER_SET_VRING_BASE, VHOST_USER_SET_VRING_ADDR,  VHOST_USER_SET_VRING_CALL,
        VHOST_USER_SET_VRING_ERR,  VHOST_USER_SET_VRING_KICK,  VHOST_USER_SET_VRING_ENABLE};
    const uint32_t flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;
    const uint64_t features = BIT(VIRTIO_F_VERSION_1) | BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    const struct vhost_vring_state enable = {0, 1};
    prepare(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
                BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE),
            1);
    const struct vhost_user_inflight buffer = start_of(1).of_kind.vhost_user.inflight;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        answer_number(requests[i], 0);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_FEATURES, flags, &features, 8, false);
    hears(daemon_end, VHOST_USER_SET_INFLIGHT_FD, flags, &buffer, sizeof(buffer), true);
    hears_ring(0, flags, false);
    hears(daemon_end, VHOST_USER_SET_VRING_ENABLE, flags, &enable, sizeof(enable), false);
    hears_nothing_more(daemon_end);

    answer(VHOST_USER_GET_VRING_BASE, &(struct vhost_vring_state){0, 9}, 8);
    answer_number(VHOST_USER_RESET_DEVICE, 0);
    OPS.stop(&device);
    hears(daemon_end, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION,
          &(struct vhost_vring_state){0, 0}, 8, false);
    hears(daemon_end, VHOST_USER_RESET_DEVICE, flags, "", 0, false);
    hears_nothing_more(daemon_end);
}

/* What a buffer of ones holds after a start. */
static void start_with_buffer(bool resumed, unsigned char bytes[8192])
{
    prepare(BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), 0);
    memset(bytes, 1, 8192);
    CU_ASSERT_EQUAL(pwrite(inflight, bytes, 8192, 0), 8192);
    answer_number(VHOST_USER_GET_FEATURES, 0);
    CU_ASSERT_EQUAL(OPS.start(&device, resumed, &fault), 0);
    CU_ASSERT_EQUAL(pread(inflight, bytes, 8192, 0), 8192);
}

/* A predecessor may have died in the middle. The driver that it served goes on with what was in
 * flight. A driver that begins anew has nothing in flight. What lies behind the buffer stays. */
static void test_in_flight(void)
{
    unsigned char bytes[8192];
    start_with_buffer(true, bytes);
    CU_ASSERT(bytes[0] == 1 && bytes[4095] == 1 && bytes[4096] == 1 && bytes[8191] == 1);
    start_with_buffer(false, bytes);
    CU_ASSERT(bytes[0] == 0 && bytes[4095] == 0 && bytes[4096] == 1 && bytes[8191] == 1);
    struct stat now;
    CU_ASSERT(fstat(inflight, &now) == 0 && now.st_size == 8192);
}

/* A reset reaches the daemon, even if the driver has stopped the queues before. The queues that run
 * are stopped first, and only these. */
static void test_reset(void)
{
    const struct vhost_vring_state asked = {1, 0};
    prepare(BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE), 2);
    OPS.stop(&device); /* the daemon knows of no driver */
    hears_nothing_more(daemon_end);
    for (unsigned int stopped = 1; stopped <= 2; stopped++) {
        answer_after_files(6);
        CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
        for (unsigned int q = 0; q < 2; q++)
            answer(VHOST_USER_GET_VRING_BASE, &(struct vhost_vring_state){q, 9}, 8);
        for (unsigned int q = 0; q < stopped; q++)
            OPS.queue_stop(&device, q);
        hears_anything(daemon_end);
        OPS.stop(&device);
        if (stopped < 2)
            hears(daemon_end, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &asked, 8, false);
        hears(daemon_end, VHOST_USER_RESET_DEVICE, VHOST_USER_VERSION, "", 0, false);
        OPS.stop(&device);
        hears_nothing_more(daemon_end);
    }
}

static void hears_get_config(void)
{
    const struct vhost_user_config config = {.size = 8};
    hears(daemon_end, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, &config,
          VHOST_USER_CONFIG_HEADER + 8, false);
}

/* What a driver writes goes to the daemon, and the whole space is read again. */
static void test_config_is_written(void)
{
    struct vhost_user_config config = {.offset = 4, .size = 2, .region = {0x34, 0x12}};
    prepare(BIT(VHOST_USER_PROTOCOL_F_MQ), 1);
    CU_ASSERT_EQUAL(OPS.write_config(&device, 4, 2, 0x1234, &fault), 0);
    hears_nothing_more(daemon_end);
    prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG), 1);
    answer_config("12345678");
    CU_ASSERT_EQUAL(OPS.write_config(&device, 4, 2, 0x1234, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_CONFIG, VHOST_USER_VERSION, &config,
          VHOST_USER_CONFIG_HEADER + 2, false);
    hears_get_config();
    hears_nothing_more(daemon_end);
    CU_ASSERT_EQUAL(memcmp(device.config, "12345678", 8), 0);
}

/* The driver hears of a new content only, and the daemon only if it wants to. */
static void test_config_changes(void)
{
    const uint64_t done = 0;
    prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ), 1);
    const uint32_t generation = guest_state.transport.config_generation;
    for (int asks = 1; asks >= 0; asks--) { /* the second time, the content is the same */
        say(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
            VHOST_USER_VERSION | (asks ? VHOST_USER_NEED_REPLY : 0), "", 0);
        answer_config("12345678");
        CU_ASSERT_EQUAL(OPS.backend_event(&device, 2, EPOLLIN, &fault), 0);
        hears_get_config();
        if (asks)
            hears(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, ANSWER, &done, 8, false);
        hears_nothing_more(requests_end);
        hears_nothing_more(daemon_end);
        CU_ASSERT_EQUAL(memcmp(device.config, "12345678", 8), 0);
        CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
    }
    CU_ASSERT_EQUAL(shutdown(requests_end, SHUT_WR), 0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 2, EPOLLIN, &fault), 0); /* the end of the channel */
}

/* Events without a meaning: of a daemon that said nothing, and of a ring that does not run. */
static void test_events(void)
{
    prepare(0, 1);
    const struct timeval none = {0}; /* a worker that waits here waits for ever */
    CU_ASSERT_EQUAL(setsockopt(DAEMON, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)), 0);
    alarm(60);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 0, EPOLLIN, &fault), 0);
    alarm(0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 1, EPOLLIN, &fault), 0);
    answer_after_files(3);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 1, EPOLLIN, &fault), -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, LOG_DAEMON_RING);
}

static void test_start_checked(void)
{
    static const struct {
        uint32_t config_size;
        uint64_t offset, size;
        int result;
    } rows[] = {
        {sizeof(device.config), INT64_MAX, INT64_MAX, 0},
        {sizeof(device.config) + 1, 0, 0, -EINVAL},
        {0, 1ull << 63, 0, -EINVAL},
        {0, 0, 1ull << 63, -EINVAL},
    };
    prepare(0, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_start start = start_of(0);
        start.of_kind.vhost_user.config_size = rows[i].config_size;
        start.of_kind.vhost_user.inflight.mmap_offset = rows[i].offset;
        start.of_kind.vhost_user.inflight.mmap_size = rows[i].size;
        CU_ASSERT_EQUAL(OPS.init(&device, &start), rows[i].result);
    }
}

static void test_what_is_offered(void)
{
    static const unsigned int never[] = {26, 30, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED, 37,
                                         38, 39};
    struct message_start start = start_of(0);
    uint64_t offered = ~0ull;
    prepare(0, 1);
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
        offered &= ~BIT(never[i]);
    start.of_kind.vhost_user.features = ~0ull;
    memcpy(start.of_kind.vhost_user.config, "abcdefgh", 8);
    CU_ASSERT_EQUAL(OPS.init(&device, &start), 0);
    CU_ASSERT_EQUAL(device.features, offered);
    CU_ASSERT_EQUAL(device.config_size, 8);
    CU_ASSERT_EQUAL(memcmp(device.config, "abcdefgh", 8), 0);
    CU_ASSERT_EQUAL(device.backend_events, 3); /* the daemon, and the eventfd for errors */
    start.of_kind.vhost_user.protocol_features = BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ);
    CU_ASSERT_EQUAL(OPS.init(&device, &start), 0);
    CU_ASSERT_EQUAL(device.backend_events, 7);

    /* A driver can accept no more of it, whatever the state page says. */
    guest_state.transport.driver_features = ~0ull;
    guest_state.queues[0].ready = 0;
    offered |= BIT(VHOST_USER_F_PROTOCOL_FEATURES);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, &offered, 8, false);
}

/* No call on the daemon's socket may wait longer than a second. */
static void test_waiting_is_limited(void)
{
    static const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
    const struct message_start start = start_of(0);
    prepare(0, 1);
    CU_ASSERT_EQUAL(fcntl(DAEMON, F_GETFL) & O_NONBLOCK, 0);
    for (size_t i = 0; i < 2; i++) {
        struct timeval limit = {0};
        socklen_t size = sizeof(limit);
        CU_ASSERT_EQUAL(getsockopt(DAEMON, SOL_SOCKET, options[i], &limit, &size), 0);
        CU_ASSERT(limit.tv_sec == 1 && limit.tv_usec == 0);
    }
    CU_ASSERT_EQUAL(dup2(inflight, DAEMON), DAEMON); /* what is no socket has no such limit */
    CU_ASSERT_EQUAL(OPS.init(&device, &start), -ENOTSOCK);
    close(DAEMON);
    CU_ASSERT_EQUAL(OPS.init(&device, &start), -EBADF);
}

/* ---- The daemon of a socket device ---- */

static void vsock_worker(void)
{
    struct message_start start = guest_start(DEVICE_VSOCK_VHOST_USER);
    start.of_kind.vhost_user.features = BIT(VIRTIO_F_VERSION_1);
    start.of_kind.vhost_user.config_size = sizeof(struct virtio_vsock_config);
    start.of_kind.vhost_user.config[0] = 7;
    guest_fds(DEVICE_VSOCK_VHOST_USER, -1);
    close(daemon_end);
    daemon_end = connected(DAEMON);
    answer_after_files(6);
    guest_worker(&start);
}

/* The daemon serves rx and tx, and hears of no other queue. The driver of a predecessor hears on
 * the event queue, once, that its connections are gone. A driver that begins anew has none. */
static void test_socket_device(void)
{
    static struct guest_ring events;
    struct vring_used_elem used;
    memset(&guest_state, 0, sizeof(guest_state));
    vsock_worker();
    CU_ASSERT_EQUAL(guest_device.user_queues, 1u << 2);
    CU_ASSERT_EQUAL(guest_device.backend_events, 3);
    CU_ASSERT_EQUAL(guest_device.config_size, sizeof(struct virtio_vsock_config));
    CU_ASSERT_EQUAL(guest_device.config[0], 7);
    guest_negotiate(BIT(VIRTIO_F_VERSION_1));
    for (unsigned int q = 0; q < 2; q++) {
        guest_ring_init(&rings[q], q, SIZE);
        rings[q].avail->idx = rings[q].used->idx = (uint16_t)(5 + q);
        guest_queue_setup(q, &rings[q]);
    }
    guest_ring_init(&events, 2, SIZE);
    guest_desc(&events, 0, GUEST_BASE + GUEST_BUFFERS, 8, VRING_DESC_F_WRITE, 0);
    guest_offer(&events, 0);
    guest_queue_setup(2, &events);
    guest_driver_ok();
    guest_run();
    CU_ASSERT_FALSE(guest_used(&events, &used));
    const uint64_t features = BIT(VIRTIO_F_VERSION_1);
    hears(daemon_end, VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, &features, 8, false);
    for (unsigned int q = 0; q < 2; q++)
        hears_ring(q, VHOST_USER_VERSION, true);
    hears_nothing_more(daemon_end);
    CU_ASSERT_EQUAL(vsock_vhost_user_ops.queue_start(&guest_device, 2, &fault), 0);
    hears_nothing_more(daemon_end);

    memset(guest_at(GUEST_BASE + GUEST_BUFFERS), 0xff, 8);
    vsock_worker();
    guest_run();
    CU_ASSERT_TRUE(guest_used(&events, &used));
    CU_ASSERT_EQUAL(used.len, 4);
    const uint32_t *event = guest_at(GUEST_BASE + GUEST_BUFFERS);
    CU_ASSERT(event[0] == VIRTIO_VSOCK_EVENT_TRANSPORT_RESET && event[1] == UINT32_MAX);
    guest_offer(&events, 0);
    guest_kick(2);
    CU_ASSERT_FALSE(guest_used(&events, &used));
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"rings are started and stopped", test_start_and_stop},
        {"queues come and go", test_queues_come_and_go},
        {"a malformed ring", test_malformed_ring},
        {"each message is acknowledged", test_acknowledged},
        {"requests in flight", test_in_flight},
        {"a reset reaches the daemon", test_reset},
        {"the configuration is written", test_config_is_written},
        {"the configuration changes", test_config_changes},
        {"events", test_events},
        {"START is checked", test_start_checked},
        {"what is offered", test_what_is_offered},
        {"waiting is limited", test_waiting_is_limited},
        {"a socket device", test_socket_device},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "a worker and its vhost-user daemon", tests);
}
