/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's half of the dialogue with a vhost-user daemon. The daemon's answers lie in the
 * socket before the worker asks; afterwards the test reads what the worker has sent. A worker that
 * gives the daemon up ends, so that is done in a child.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/one_fd.h"
#include "common/vhost_user.h"
#include "tests/cunit_main.h"
#include "tests/unit/guest.h"

#define BIT(n) (1ull << (n))
#define OPS vhost_user_ops
#define DAEMON WORKER_FD_BACKEND
#define REQUESTS (WORKER_FD_BACKEND + 2)
#define INFLIGHT (WORKER_FD_BACKEND + 3)
#define SIZE 64u
#define ANSWER (VHOST_USER_VERSION | VHOST_USER_REPLY)

static struct device device;
static struct guest_ring rings[2];
static struct guest_fault fault;
static int daemon_end = -1, requests_end = -1, inflight = -1;

static int connected(int number)
{
    int ends[2];
    CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    int far = fcntl(ends[0], F_DUPFD_CLOEXEC, 64);
    CU_ASSERT_FATAL(far >= 0 && dup2(ends[1], number) == number);
    close(ends[0]);
    if (ends[1] != number)
        close(ends[1]);
    return far;
}

static struct message_start start_of(uint64_t protocol_features)
{
    struct message_start start = {.kind = DEVICE_FS_VHOST_USER};
    start.of_kind.vhost_user.features =
        BIT(VIRTIO_F_VERSION_1) | (protocol_features ? BIT(VHOST_USER_F_PROTOCOL_FEATURES) : 0);
    start.of_kind.vhost_user.protocol_features = protocol_features;
    start.of_kind.vhost_user.config_size = 8;
    start.of_kind.vhost_user.inflight = (struct vhost_user_inflight){.mmap_size = 4096};
    return start;
}

/* Both rings are ready, the second one only if `both`. */
static void prepare(uint64_t protocol_features, bool both)
{
    const struct message_start start = start_of(protocol_features);
    guest_fds(DEVICE_FS_VHOST_USER, -1);
    close(daemon_end);
    close(requests_end);
    close(inflight);
    daemon_end = connected(DAEMON);
    requests_end = connected(REQUESTS);
    inflight = fcntl(memfd_create("in flight", MFD_CLOEXEC), F_DUPFD_CLOEXEC, 64);
    CU_ASSERT_FATAL(ftruncate(inflight, 8192) == 0 && dup2(inflight, INFLIGHT) == INFLIGHT);
    memset(&guest_state, 0, sizeof(guest_state));
    device = (struct device){
        .state = &guest_state, .backend_fd_count = 4, .queue_count = 2, .window = guest_window};
    for (unsigned int q = 0; q < 2; q++) {
        guest_ring_init(&rings[q], q, SIZE);
        guest_state.queues[q] = guest_ring_state(&rings[q]);
        guest_state.queues[q].ready = q == 0 || both;
        rings[q].avail->idx = rings[q].used->idx = (uint16_t)(5 + q);
    }
    guest_state.transport.driver_features = BIT(VIRTIO_F_VERSION_1);
    CU_ASSERT_EQUAL_FATAL(OPS.init(&device, &start), 0);
}

/* ---- The daemon ---- */

static void say(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
    const struct vhost_user_header header = {request, flags, size};
    CU_ASSERT_EQUAL(write(socket, &header, sizeof(header)), (ssize_t)sizeof(header));
    if (size > 0)
        CU_ASSERT_EQUAL(write(socket, payload, size), (ssize_t)size);
}

static void answer(uint32_t request, const void *payload, uint32_t size)
{
    say(daemon_end, request, ANSWER, payload, size);
}

static void answer_number(uint32_t request, uint64_t value)
{
    answer(request, &value, sizeof(value));
}

/* Asserts that this is the worker's next message, with a file or without. */
static void hears(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                  bool with_file)
{
    struct vhost_user_header header = {0};
    unsigned char bytes[512];
    union one_fd room = {0};
    struct iovec part = {&header, sizeof(header)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room.buffer,
                             .msg_controllen = sizeof(room.buffer)};
    CU_ASSERT_EQUAL_FATAL(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), (ssize_t)sizeof(header));
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    CU_ASSERT_EQUAL(cmsg != NULL, with_file);
    if (cmsg)
        close(*(const int *)(const void *)CMSG_DATA(cmsg));
    CU_ASSERT_EQUAL(header.request, request);
    CU_ASSERT_EQUAL(header.flags, flags);
    CU_ASSERT_EQUAL_FATAL(header.size, size);
    if (size > 0)
        CU_ASSERT_EQUAL(read(socket, bytes, size), (ssize_t)size);
    CU_ASSERT_EQUAL(memcmp(bytes, payload, size), 0);
}

static void hears_nothing_more(int socket)
{
    char byte;
    CU_ASSERT(recv(socket, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void hears_ring(unsigned int q, uint32_t flags, bool asks)
{
    const struct vhost_vring_state num = {q, SIZE}, base = {q, 5 + q};
    const struct vhost_vring_addr addr = {.index = q,
                                          .desc_user_addr = rings[q].desc_addr,
                                          .avail_user_addr = rings[q].avail_addr,
                                          .used_user_addr = rings[q].used_addr};
    static const uint32_t files[] = {VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR,
                                     VHOST_USER_SET_VRING_KICK};
    const uint64_t index = q;
    hears(daemon_end, VHOST_USER_SET_VRING_NUM, flags, &num, sizeof(num), false);
    hears(daemon_end, VHOST_USER_SET_VRING_BASE, flags, &base, sizeof(base), false);
    hears(daemon_end, VHOST_USER_SET_VRING_ADDR, flags, &addr, sizeof(addr), false);
    for (size_t i = 0; i < 3; i++) {
        hears(daemon_end, files[i], flags, &index, sizeof(index), true);
        if (asks)
            hears(daemon_end, VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, "", 0, false);
    }
}

/* ---- Tests ---- */

static void test_start_and_stop(void)
{
    uint64_t features = BIT(VIRTIO_F_VERSION_1), kicks = 0;
    prepare(0, true);
    for (int i = 0; i < 6; i++)
        answer_number(VHOST_USER_GET_FEATURES, 0);
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
    char bytes[8192];
    prepare(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK) | BIT(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
                BIT(VHOST_USER_PROTOCOL_F_RESET_DEVICE),
            false);
    const struct vhost_user_inflight buffer = start_of(1).of_kind.vhost_user.inflight;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        answer_number(requests[i], 0);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_FEATURES, flags, &features, 8, false);
    hears(daemon_end, VHOST_USER_SET_INFLIGHT_FD, flags, &buffer, sizeof(buffer), true);
    hears_ring(0, flags, false);
    hears(daemon_end, VHOST_USER_SET_VRING_ENABLE, flags, &enable, sizeof(enable), false);
    hears_nothing_more(daemon_end);

    /* The driver begins anew: nothing is in flight. What lies behind the buffer stays. */
    memset(bytes, 'x', sizeof(bytes));
    CU_ASSERT_EQUAL(pwrite(inflight, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    answer(VHOST_USER_GET_VRING_BASE, &(struct vhost_vring_state){0, 9}, 8);
    answer_number(VHOST_USER_RESET_DEVICE, 0);
    OPS.stop(&device);
    CU_ASSERT_EQUAL(pread(inflight, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
    CU_ASSERT(bytes[0] == 0 && bytes[4095] == 0 && bytes[4096] == 'x' && bytes[8191] == 'x');
    hears(daemon_end, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION,
          &(struct vhost_vring_state){0, 0}, 8, false);
    hears(daemon_end, VHOST_USER_RESET_DEVICE, flags, "", 0, false);
    hears_nothing_more(daemon_end);
}

/* A daemon with this answer to the first message is given up. */
struct wrong {
    uint32_t request, flags, size;
    uint64_t value;
    bool with_file, ends;
};

static void lose(const struct wrong *wrong)
{
    prepare(BIT(VHOST_USER_PROTOCOL_F_REPLY_ACK), false);
    const struct vhost_user_header header = {wrong->request, wrong->flags, wrong->size};
    union one_fd room = {0};
    struct iovec parts[] = {{(void *)&header, sizeof(header)}, {(void *)&wrong->value, 8}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    one_fd_attach(&message, &room, wrong->with_file ? 0 : -1);
    if (sendmsg(daemon_end, &message, 0) < 0 || (wrong->ends && shutdown(daemon_end, SHUT_WR) < 0))
        _exit(77);
    (void)OPS.start(&device, false, &fault);
    _exit(78);
}

static void test_wrong_answers(void)
{
    static const struct wrong rows[] = {
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 1, false, false}, /* it says that it failed */
        {VHOST_USER_GET_FEATURES, ANSWER, 8, 0, false, false},
        {VHOST_USER_SET_FEATURES, ANSWER, 4, 0, false, false},
        {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 8, 0, false, false},
        {VHOST_USER_SET_FEATURES, VHOST_USER_REPLY | 2, 8, 0, false, false},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, true, false},
        {VHOST_USER_SET_FEATURES, ANSWER, 8, 0, false, true}, /* good, but then it ends */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0)
            lose(&rows[i]);
        CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
        CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE);
    }
}

/* The next answer to GET_CONFIG. */
static void answer_config(const char *content)
{
    struct vhost_user_config config = {.size = 8};
    memcpy(config.region, content, 8);
    answer(VHOST_USER_GET_CONFIG, &config, VHOST_USER_CONFIG_HEADER + 8);
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
    prepare(BIT(VHOST_USER_PROTOCOL_F_MQ), false);
    CU_ASSERT_EQUAL(OPS.write_config(&device, 4, 2, 0x1234, &fault), 0);
    hears_nothing_more(daemon_end);
    prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG), false);
    answer_config("12345678");
    CU_ASSERT_EQUAL(OPS.write_config(&device, 4, 2, 0x1234, &fault), 0);
    hears(daemon_end, VHOST_USER_SET_CONFIG, VHOST_USER_VERSION, &config,
          VHOST_USER_CONFIG_HEADER + 2, false);
    hears_get_config();
    hears_nothing_more(daemon_end);
    CU_ASSERT_EQUAL(memcmp(device.config, "12345678", 8), 0);
}

/* All that the daemon has asked is done in one turn. The driver hears of a new content only. */
static void test_config_changes(void)
{
    const uint64_t done = 0;
    prepare(BIT(VHOST_USER_PROTOCOL_F_CONFIG) | BIT(VHOST_USER_PROTOCOL_F_BACKEND_REQ), false);
    const uint32_t generation = guest_state.transport.config_generation;
    say(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG,
        VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, "", 0);
    say(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_VERSION, "", 0);
    answer_config("12345678");
    answer_config("12345678");
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 2, EPOLLIN, &fault), 0);
    hears_get_config();
    hears_get_config();
    hears(requests_end, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, ANSWER, &done, 8, false);
    hears_nothing_more(requests_end);
    hears_nothing_more(daemon_end);
    CU_ASSERT_EQUAL(memcmp(device.config, "12345678", 8), 0);
    CU_ASSERT_EQUAL(guest_state.transport.config_generation, generation + 1);
    CU_ASSERT_EQUAL(shutdown(requests_end, SHUT_WR), 0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 2, EPOLLIN, &fault), 0); /* the end of the channel */
}

/* Events without a meaning: of a daemon that said nothing, and of a ring that does not run. */
static void test_events(void)
{
    prepare(0, false);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 0, EPOLLIN, &fault), 0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 1, EPOLLIN, &fault), 0);
    for (int i = 0; i < 3; i++)
        answer_number(VHOST_USER_GET_FEATURES, 0);
    CU_ASSERT_EQUAL(OPS.start(&device, false, &fault), 0);
    CU_ASSERT_EQUAL(OPS.backend_event(&device, 1, EPOLLIN, &fault), -EBADMSG);
    CU_ASSERT_EQUAL(fault.code, LOG_DAEMON_RING);
}

static void test_start_checked(void)
{
    struct message_start start = start_of(0);
    prepare(0, false);
    start.of_kind.vhost_user.config_size = sizeof(device.config) + 1;
    CU_ASSERT_EQUAL(OPS.init(&device, &start), -EINVAL);
    start = start_of(0);
    start.of_kind.vhost_user.inflight.mmap_offset = 1ull << 63;
    CU_ASSERT_EQUAL(OPS.init(&device, &start), -EINVAL);
    start = start_of(0);
    start.of_kind.vhost_user.inflight.mmap_size = 1ull << 63;
    CU_ASSERT_EQUAL(OPS.init(&device, &start), -EINVAL);
    start = start_of(0);
    start.of_kind.vhost_user.features = ~0ull;
    CU_ASSERT_EQUAL(OPS.init(&device, &start), 0);
    CU_ASSERT_EQUAL(device.features & (BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_ACCESS_PLATFORM) |
                                       BIT(VHOST_USER_F_PROTOCOL_FEATURES)),
                    0);
    CU_ASSERT_EQUAL(fcntl(DAEMON, F_GETFL) & O_NONBLOCK, 0);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"rings are started and stopped", test_start_and_stop},
        {"each message is acknowledged", test_acknowledged},
        {"wrong answers", test_wrong_answers},
        {"the configuration is written", test_config_is_written},
        {"the configuration changes", test_config_changes},
        {"events", test_events},
        {"START is checked", test_start_checked},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "a worker and its vhost-user daemon", tests);
}
