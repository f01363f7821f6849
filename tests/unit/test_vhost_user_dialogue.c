/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker's part of the dialogue with a vhost-user daemon. The daemons are this program's own:
 * they answer correctly, wrongly, in pieces, or not at all. The broker never waits, so one thread
 * plays both sides.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/backend/dialogue.h"
#include "broker/connector_process.h"
#include "tests/cunit_main.h"

#define QUEUES 2
#define CONFIG_SIZE 8
#define NOW 1000

#define BIT(name) (1ull << VHOST_USER_PROTOCOL_F_##name)
#define ALL_PROTOCOL_FEATURES                                                                      \
    (BIT(MQ) | BIT(REPLY_ACK) | BIT(BACKEND_REQ) | BIT(CONFIG) | BIT(INFLIGHT_SHMFD) |             \
     BIT(RESET_DEVICE))
#define ALL_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_USER_F_PROTOCOL_FEATURES)

static struct vhost_user vu;
static struct connector connector; /* one for all tests; its thread does not end */
static struct failure failure;
static int daemon_end; /* the daemon's end of the connection */
static int memory;

/* A request to a daemon, or its answer. */
struct packet {
    struct vhost_user_header header;
    union vhost_user_payload payload;
    int fds[4];
    unsigned int fd_count;
};

/* How a test's daemon differs from a correct one. */
struct manners {
    uint64_t features, protocol_features, queue_num;
    uint32_t wrong; /* the request whose answer is spoilt; 0: none */
    void (*spoil)(struct packet *answer);
    unsigned int piece; /* bytes that it sends at a time; 0: all */
};

static const struct manners right = {ALL_FEATURES, ALL_PROTOCOL_FEATURES, QUEUES, 0, NULL, 0};

static unsigned int open_fds(void)
{
    unsigned int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static void begin(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    vhost_user_init(&vu);
    vu.connector = &connector;
    vu.terms = (struct vhost_user_terms){
        .address = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"},
        .queues = QUEUES,
        .queue_size = 256,
        .config_size = CONFIG_SIZE,
        .config_needed = true,
        .guest_addr = 0x50000000,
        .memory_size = 0x100000,
        .memory = memory,
    };
    vu.fd = sockets[0]; /* as if it had been connected */
    daemon_end = sockets[1];
}

static void end(void)
{
    close(daemon_end);
    if (vu.requests >= 0)
        close(vu.requests);
    if (vu.fd >= 0)
        close(vu.fd);
    if (vu.inflight_fd >= 0)
        close(vu.inflight_fd);
}

/* The next request, if there is one. */
static bool take(struct packet *packet)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int) * 4)];
    } control;
    struct iovec part = {&packet->header, sizeof(packet->header)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    *packet = (struct packet){0};
    if (recvmsg(daemon_end, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) !=
        (ssize_t)sizeof(packet->header))
        return false;
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
    if (cmsg) {
        packet->fd_count = (unsigned int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(packet->fds, CMSG_DATA(cmsg), packet->fd_count * sizeof(int));
    }
    CU_ASSERT_EQUAL(packet->header.flags & VHOST_USER_VERSION_MASK, VHOST_USER_VERSION);
    CU_ASSERT_FATAL(packet->header.size <= sizeof(packet->payload));
    return packet->header.size == 0 || recv(daemon_end, &packet->payload, packet->header.size, 0) ==
                                           (ssize_t)packet->header.size;
}

static void send_with_fds(const void *data, size_t size, const int *fds, unsigned int count)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int) * 4)];
    } control = {0};
    struct iovec part = {(void *)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    }
    CU_ASSERT_EQUAL(sendmsg(daemon_end, &message, MSG_NOSIGNAL), (ssize_t)size);
}

/* Make a correct answer; false if the request has none. */
static bool answer_to(const struct manners *manners, struct packet *packet)
{
    uint32_t size = sizeof(uint64_t);
    switch ((enum vhost_user_request)packet->header.request) {
    case VHOST_USER_GET_FEATURES:
        packet->payload.u64 = manners->features;
        break;
    case VHOST_USER_GET_PROTOCOL_FEATURES:
        packet->payload.u64 = manners->protocol_features;
        break;
    case VHOST_USER_GET_QUEUE_NUM:
        packet->payload.u64 = manners->queue_num;
        break;
    case VHOST_USER_GET_CONFIG:
        CU_ASSERT_EQUAL(packet->payload.config.size, CONFIG_SIZE);
        memcpy(packet->payload.config.region, "\1\2\3\4\5\6\7\10", CONFIG_SIZE);
        size = VHOST_USER_CONFIG_HEADER + CONFIG_SIZE;
        break;
    case VHOST_USER_GET_INFLIGHT_FD:
        CU_ASSERT_EQUAL(packet->payload.inflight.num_queues, QUEUES);
        packet->payload.inflight.mmap_size = 4096;
        packet->fds[packet->fd_count++] = dup(memory);
        size = sizeof(packet->payload.inflight);
        break;
    default:
        packet->payload.u64 = 0;
        if ((packet->header.flags & VHOST_USER_NEED_REPLY) == 0)
            return false;
    }
    packet->header.size = size;
    packet->header.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
    return true;
}

static void close_all(struct packet *packet)
{
    for (unsigned int i = 0; i < packet->fd_count; i++)
        close(packet->fds[i]);
    packet->fd_count = 0;
}

static void send_answer(const struct manners *manners, struct packet *packet)
{
    unsigned char bytes[sizeof(struct vhost_user_header) + 512];
    size_t size = sizeof(packet->header) + packet->header.size;
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &packet->header, sizeof(packet->header));
    memcpy(bytes + sizeof(packet->header), &packet->payload, sizeof(packet->payload));
    size = size < sizeof(bytes) ? size : sizeof(bytes);
    size_t piece = manners->piece > 0 ? manners->piece : size;
    for (size_t at = 0; at < size; at += piece) {
        size_t part = size - at < piece ? size - at : piece;
        send_with_fds(bytes + at, part, packet->fds, at == 0 ? packet->fd_count : 0);
        if (at + part < size)
            CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    }
}

/* Both sides go on until one of them has nothing to do. Returns the result of the last step. */
static int run(const struct manners *manners, uint32_t requests[16])
{
    unsigned int count = 0;
    for (;;) {
        struct packet packet;
        int result = vhost_user_step(&vu, NOW, &failure);
        if (result == -ECONNREFUSED)
            return result;
        bool any = false;
        while (take(&packet)) {
            any = true;
            CU_ASSERT_FATAL(count < 15);
            requests[count++] = packet.header.request;
            requests[count] = 0;
            close_all(&packet);
            bool wrong = packet.header.request == manners->wrong;
            if (!answer_to(manners, &packet))
                continue;
            if (wrong)
                manners->spoil(&packet);
            send_answer(manners, &packet);
            close_all(&packet);
        }
        if (!any)
            return result;
    }
}

static void the_whole_dialogue(void)
{
    static const uint32_t expected[] = {
        VHOST_USER_GET_FEATURES,
        VHOST_USER_GET_PROTOCOL_FEATURES,
        VHOST_USER_SET_PROTOCOL_FEATURES,
        VHOST_USER_GET_QUEUE_NUM,
        VHOST_USER_SET_OWNER,
        VHOST_USER_SET_BACKEND_REQ_FD,
        VHOST_USER_GET_CONFIG,
        VHOST_USER_GET_INFLIGHT_FD,
        VHOST_USER_SET_MEM_TABLE,
        0,
    };
    for (unsigned int piece = 0; piece < 30; piece++) {
        struct manners manners = right;
        uint32_t requests[16] = {0};
        unsigned int before = open_fds();
        manners.piece = piece;
        begin();
        CU_ASSERT_EQUAL(run(&manners, requests), 0);
        CU_ASSERT_EQUAL(memcmp(requests, expected, sizeof(expected)), 0);
        CU_ASSERT_EQUAL(vu.protocol_features, ALL_PROTOCOL_FEATURES);
        CU_ASSERT_EQUAL(memcmp(vu.config, "\1\2\3\4\5\6\7\10", CONFIG_SIZE), 0);
        CU_ASSERT_EQUAL(vu.inflight.mmap_size, 4096);
        CU_ASSERT(vu.requests >= 0 && vu.inflight_fd >= 0);
        end();
        CU_ASSERT_EQUAL(open_fds(), before);
    }
}

static void what_is_not_offered_is_not_asked_for(void)
{
    static const uint32_t expected[] = {VHOST_USER_GET_FEATURES, VHOST_USER_SET_OWNER,
                                        VHOST_USER_SET_MEM_TABLE, 0};
    struct manners manners = right;
    uint32_t requests[16] = {0};
    manners.features = 1ull << VIRTIO_F_VERSION_1;
    begin();
    vu.terms.config_needed = false;
    CU_ASSERT_EQUAL(run(&manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, expected, sizeof(expected)), 0);
    end();
}

/* Features that the broker does not know are not accepted. */
static void unknown_protocol_features(void)
{
    struct manners manners = right;
    uint32_t requests[16] = {0};
    manners.protocol_features = UINT64_MAX;
    begin();
    CU_ASSERT_EQUAL(run(&manners, requests), 0);
    CU_ASSERT_EQUAL(vu.protocol_features, ALL_PROTOCOL_FEATURES);
    end();
}

/* ---- Lies ---- */

static void other_request(struct packet *packet)
{
    packet->header.request++;
}

static void no_reply_flag(struct packet *packet)
{
    packet->header.flags = VHOST_USER_VERSION;
}

static void version_2(struct packet *packet)
{
    packet->header.flags = 2 | VHOST_USER_REPLY;
}

static void too_long(struct packet *packet)
{
    packet->header.size += 8;
}

static void too_short(struct packet *packet)
{
    packet->header.size -= 1;
}

static void huge(struct packet *packet)
{
    packet->header.size = UINT32_MAX;
}

static void extra_fd(struct packet *packet)
{
    packet->fds[packet->fd_count++] = dup(memory);
}

static void no_fd(struct packet *packet)
{
    close_all(packet);
}

static void not_zero(struct packet *packet)
{
    packet->payload.u64 = 1;
}

static void smaller(struct packet *packet)
{
    packet->payload.config.size = 4;
    packet->header.size = VHOST_USER_CONFIG_HEADER + 4;
}

static void empty(struct packet *packet)
{
    packet->header.size = 0;
}

static void none(struct packet *packet)
{
    packet->payload.u64 = 0;
}

static void lies(void)
{
    static const struct {
        enum vhost_user_request request;
        void (*spoil)(struct packet *answer);
        const char *words;
    } cases[] = {
        {VHOST_USER_GET_FEATURES, other_request, "GET_FEATURES: it answers another request"},
        {VHOST_USER_GET_FEATURES, no_reply_flag, "GET_FEATURES: its answer is none of version 1"},
        {VHOST_USER_GET_FEATURES, version_2, "GET_FEATURES: its answer is none of version 1"},
        {VHOST_USER_GET_FEATURES, too_long, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, too_short, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, huge, "GET_FEATURES: its answer has the wrong length"},
        {VHOST_USER_GET_FEATURES, extra_fd,
         "GET_FEATURES: it sends files that it was not asked for"},
        {VHOST_USER_GET_FEATURES, none, "GET_FEATURES: it does not offer VIRTIO_F_VERSION_1"},
        {VHOST_USER_GET_QUEUE_NUM, none,
         "GET_QUEUE_NUM: it serves fewer queues than the device has"},
        {VHOST_USER_SET_BACKEND_REQ_FD, not_zero, "SET_BACKEND_REQ_FD: it refuses"},
        {VHOST_USER_SET_BACKEND_REQ_FD, too_long,
         "SET_BACKEND_REQ_FD: its answer has the wrong length"},
        {VHOST_USER_GET_CONFIG, smaller,
         "GET_CONFIG: its configuration space has not the size that is expected (config_size)"},
        {VHOST_USER_GET_CONFIG, empty,
         "GET_CONFIG: its configuration space has not the size that is expected (config_size)"},
        {VHOST_USER_GET_CONFIG, huge, "GET_CONFIG: its answer has the wrong length"},
        {VHOST_USER_GET_INFLIGHT_FD, no_fd,
         "GET_INFLIGHT_FD: it sends no buffer for requests in flight"},
        {VHOST_USER_GET_INFLIGHT_FD, extra_fd,
         "GET_INFLIGHT_FD: it sends files that it was not asked for"},
        {VHOST_USER_SET_MEM_TABLE, not_zero, "SET_MEM_TABLE: it refuses"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manners manners = right;
        uint32_t requests[16] = {0};
        unsigned int before = open_fds();
        manners.wrong = cases[i].request;
        manners.spoil = cases[i].spoil;
        begin();
        CU_ASSERT_EQUAL(run(&manners, requests), -ECONNREFUSED);
        CU_ASSERT_STRING_EQUAL(failure.text, cases[i].words);
        CU_ASSERT_EQUAL(vu.fd, -1);
        end();
        CU_ASSERT_EQUAL(open_fds(), before);
    }
}

static void nobody_has_the_configuration_space(void)
{
    struct manners manners = right;
    uint32_t requests[16] = {0};
    manners.protocol_features &= ~BIT(CONFIG);
    begin();
    CU_ASSERT_EQUAL(run(&manners, requests), -ECONNREFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "it has no configuration space of its own"));
    end();
    manners.features = 1ull << VIRTIO_F_VERSION_1;
    begin();
    CU_ASSERT_EQUAL(run(&manners, requests), -ECONNREFUSED);
    CU_ASSERT_PTR_NOT_NULL(strstr(failure.text, "it has no configuration space of its own"));
    end();
}

/* The daemon hangs up in its first answer. It has not got the memory: that comes only after
 * everything else was correct. */
static void it_hangs_up(void)
{
    struct packet packet;
    begin();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_TRUE(take(&packet));
    (void)answer_to(&right, &packet);
    send_with_fds(&packet.header, 7, NULL, 0);
    shutdown(daemon_end, SHUT_WR);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it closes the connection");
    end();
}

/* ---- Time ---- */

/* Bytes that come one by one do not put the deadline off. */
static void the_deadline_of_a_step(void)
{
    struct packet packet;
    begin();
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vu.until, NOW + VHOST_USER_STEP_MS);
    CU_ASSERT_TRUE(take(&packet));
    (void)answer_to(&right, &packet);
    for (int64_t i = 0; i < 9; i++) {
        send_with_fds((char *)&packet.header + i, 1, NULL, 0);
        CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + 100 * i, &failure), -EINPROGRESS);
    }
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + VHOST_USER_STEP_MS - 1, &failure), -EINPROGRESS);
    CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW + VHOST_USER_STEP_MS, &failure), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "GET_FEATURES: it does not answer in time");
    end();
}

/* While the connector works, there is nothing to do, and no failure. */
static int step_connecting(int64_t now)
{
    int result;
    do {
        (void)connector_receive(&connector);
        result = vhost_user_step(&vu, now, &failure);
    } while (result == -EINPROGRESS && vu.connecting && usleep(100) == 0);
    return result;
}

/* The first attempt comes at once, the next after 100 ms. The pauses double up to 5 s. Attempts
 * never stop. After a success the pauses start again. */
static void the_pauses_between_attempts(void)
{
    static const int64_t pauses[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    int64_t now = NOW;
    begin();
    close(vu.fd);
    vu.fd = -1;
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        CU_ASSERT_EQUAL(step_connecting(now), -ECONNREFUSED);
        CU_ASSERT_STRING_EQUAL(failure.text, "connect: No such file or directory");
        CU_ASSERT_EQUAL(vu.until, now + pauses[i]);
        if (pauses[i] > 0)
            CU_ASSERT_EQUAL(vhost_user_step(&vu, vu.until - 1, &failure), -EINPROGRESS);
        now = vu.until;
    }
    end();
}

/* The daemon's backlog is full. The broker does not wait. */
static void a_daemon_that_accepts_nobody(void)
{
    char dir[] = "/tmp/bao-vhost-user-XXXXXX";
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
    begin();
    close(vu.fd);
    vu.fd = -1;
    struct sockaddr_un *address = &vu.terms.address;
    snprintf(address->sun_path, sizeof(address->sun_path), "%s/socket", dir);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(bind(listening, (const struct sockaddr *)address, sizeof(*address)), 0);
    CU_ASSERT_EQUAL(listen(listening, 0), 0);
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL(connect(other, (const struct sockaddr *)address, sizeof(*address)), 0);
    CU_ASSERT_EQUAL(step_connecting(NOW), -ECONNREFUSED);
    CU_ASSERT_STRING_EQUAL(failure.text, "connect: Resource temporarily unavailable");
    close(other);
    close(listening);
    unlink(address->sun_path);
    rmdir(dir);
    end();
}

/* The next connection gets the last connection's buffer: the daemon is told to go on from it, and
 * is not asked for another. */
static void the_inflight_buffer_is_kept(void)
{
    uint32_t requests[16] = {0};
    int sockets[2];
    begin();
    CU_ASSERT_EQUAL(run(&right, requests), 0);
    int kept = vu.inflight_fd;
    close(vu.requests);
    close(vhost_user_take(&vu));
    close(daemon_end);
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    vu.fd = sockets[0];
    daemon_end = sockets[1];
    CU_ASSERT_EQUAL(run(&right, requests), 0);
    CU_ASSERT_EQUAL(requests[7], VHOST_USER_SET_MEM_TABLE);
    CU_ASSERT_EQUAL(vu.inflight_fd, kept);
    end();
}

static void *serve(void *argument)
{
    struct pollfd broker = {.fd = *(const int *)argument, .events = POLLIN};
    while (connector_serve(broker.fd))
        (void)poll(&broker, 1, -1);
    return NULL;
}

static bool start_connector(void)
{
    static int sockets[2];
    pthread_t thread;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return false;
    connector = (struct connector){.socket = sockets[0]};
    return pthread_create(&thread, NULL, serve, &sockets[1]) == 0;
}

int main(int argc, char **argv)
{
    if (!start_connector())
        return EXIT_FAILURE;
    CU_TestInfo tests[] = {
        {"the whole dialogue, in one piece and in many", the_whole_dialogue},
        {"what is not offered is not asked for", what_is_not_offered_is_not_asked_for},
        {"unknown protocol features", unknown_protocol_features},
        {"lies", lies},
        {"nobody has the configuration space", nobody_has_the_configuration_space},
        {"it hangs up", it_hangs_up},
        {"the deadline of a step", the_deadline_of_a_step},
        {"the pauses between attempts", the_pauses_between_attempts},
        {"a daemon that accepts nobody", a_daemon_that_accepts_nobody},
        {"the in-flight buffer is kept", the_inflight_buffer_is_kept},
        CU_TEST_INFO_NULL,
    };
    memory = memfd_create("memory", MFD_CLOEXEC);
    if (memory < 0)
        return EXIT_FAILURE;
    return run_tests(argc, argv, "the broker's dialogue with a vhost-user daemon", tests);
}
