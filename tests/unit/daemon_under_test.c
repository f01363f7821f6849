/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/daemon_under_test.h"

#include <CUnit/CUnit.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/connector_process.h"

struct vhost_user vu;
struct connector connector;
struct failure failure;
int daemon_end;
int memory;

const struct manners right_manners = {
    ALL_FEATURES, ALL_PROTOCOL_FEATURES, QUEUES, 0, NULL, 0, false, 0};

const uint32_t whole_dialogue[10] = {
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

void dialogue_connect(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    vu.fd = sockets[0];
    daemon_end = sockets[1];
}

void dialogue_begin(void)
{
    memset(&vu, 0x55, sizeof(vu));
    vhost_user_init(&vu);
    CU_ASSERT(vu.fd == -1 && vu.answer_fd == -1 && vu.requests == -1 && vu.inflight_fd == -1);
    CU_ASSERT(!vu.connecting && vu.until == 0);
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
    dialogue_connect();
}

void dialogue_end(void)
{
    close(daemon_end);
    if (vu.requests >= 0)
        close(vu.requests);
    if (vu.fd >= 0)
        close(vu.fd);
    if (vu.inflight_fd >= 0)
        close(vu.inflight_fd);
}

bool daemon_takes(struct packet *packet)
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

void daemon_sends(const void *data, size_t size, const int *fds, unsigned int count)
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

bool daemon_answers(const struct manners *manners, struct packet *packet)
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

bool is_the_memory(int fd)
{
    struct stat there, here;
    return fstat(fd, &there) == 0 && fstat(memory, &here) == 0 && there.st_ino == here.st_ino;
}

/* The other end of the channel for the daemon's requests. */
static bool is_the_channel(int fd)
{
    char byte;
    CU_ASSERT_EQUAL(fcntl(vu.requests, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(vu.requests, F_GETFD), FD_CLOEXEC);
    return write(fd, "x", 1) == 1 && read(vu.requests, &byte, 1) == 1 && byte == 'x';
}

/* What the document asks for, and nothing else. */
static void is_right(const struct packet *packet)
{
    const union vhost_user_payload *payload = &packet->payload;
    uint32_t size = 0;
    unsigned int fds = 0;
    bool asks_for_ack = false;
    switch ((enum vhost_user_request)packet->header.request) {
    case VHOST_USER_SET_PROTOCOL_FEATURES:
        size = sizeof(payload->u64);
        CU_ASSERT_EQUAL(payload->u64, vu.protocol_features);
        break;
    case VHOST_USER_SET_BACKEND_REQ_FD:
        fds = 1;
        asks_for_ack = true;
        CU_ASSERT_TRUE(packet->fd_count == 1 && is_the_channel(packet->fds[0]));
        break;
    case VHOST_USER_GET_CONFIG:
        size = VHOST_USER_CONFIG_HEADER + CONFIG_SIZE;
        CU_ASSERT(payload->config.offset == 0 && payload->config.size == CONFIG_SIZE);
        break;
    case VHOST_USER_GET_INFLIGHT_FD:
        size = sizeof(payload->inflight);
        CU_ASSERT(payload->inflight.num_queues == QUEUES && payload->inflight.queue_size == 256);
        CU_ASSERT_EQUAL(payload->inflight.mmap_size, 0);
        break;
    case VHOST_USER_SET_MEM_TABLE:
        size = sizeof(payload->memory);
        fds = 1;
        asks_for_ack = true;
        CU_ASSERT_TRUE(packet->fd_count == 1 && is_the_memory(packet->fds[0]));
        CU_ASSERT(payload->memory.nregions == 1 && payload->memory.mmap_offset == 0);
        CU_ASSERT(payload->memory.guest_addr == 0x50000000 && payload->memory.size == 0x100000);
        CU_ASSERT_EQUAL(payload->memory.user_addr, payload->memory.guest_addr);
        break;
    default:
        break;
    }
    CU_ASSERT_EQUAL(packet->header.size, size);
    CU_ASSERT_EQUAL(packet->fd_count, fds);
    CU_ASSERT_EQUAL((packet->header.flags & VHOST_USER_NEED_REPLY) != 0,
                    asks_for_ack && (vu.protocol_features & BIT(REPLY_ACK)) != 0);
}

void packet_close(struct packet *packet)
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
        daemon_sends(bytes + at, part, packet->fds, at == 0 ? packet->fd_count : 0);
        if (at + part < size)
            CU_ASSERT_EQUAL(vhost_user_step(&vu, NOW, &failure), -EINPROGRESS);
    }
}

void limit_files(int limit)
{
    static struct rlimit usual;
    if (limit >= 0) {
        CU_ASSERT_EQUAL(getrlimit(RLIMIT_NOFILE, &usual), 0);
        struct rlimit now = {(rlim_t)limit, usual.rlim_max};
        CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &now), 0);
    } else {
        CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &usual), 0);
    }
}

int dialogue_run(const struct manners *manners, uint32_t requests[16])
{
    unsigned int count = 0;
    for (;;) {
        struct packet packet;
        int result = vhost_user_step(&vu, NOW, &failure);
        if (result == -ECONNREFUSED)
            return result;
        bool any = false;
        while (daemon_takes(&packet)) {
            any = true;
            CU_ASSERT_FATAL(count < 15);
            requests[count++] = packet.header.request;
            requests[count] = 0;
            is_right(&packet);
            packet_close(&packet);
            if (manners->limit_after == packet.header.request)
                limit_files(0);
            bool wrong = packet.header.request == manners->wrong;
            if (!daemon_answers(manners, &packet))
                continue;
            if (wrong && manners->spoil)
                manners->spoil(&packet);
            if (!wrong || !manners->stop)
                send_answer(manners, &packet);
            packet_close(&packet);
        }
        if (!any)
            return result;
    }
}

void the_next_dialogue_is_right(void)
{
    bool has_buffer = vu.inflight_fd >= 0;
    uint32_t requests[16] = {0};
    close(daemon_end);
    dialogue_connect();
    CU_ASSERT_EQUAL(dialogue_run(&right_manners, requests), 0);
    CU_ASSERT_EQUAL(memcmp(requests, whole_dialogue, 7 * sizeof(whole_dialogue[0])), 0);
    CU_ASSERT_EQUAL(requests[7], has_buffer ? VHOST_USER_SET_MEM_TABLE : whole_dialogue[7]);
    CU_ASSERT_EQUAL(requests[8], has_buffer ? 0 : whole_dialogue[8]);
}

static void *serve(void *argument)
{
    struct pollfd broker = {.fd = *(const int *)argument, .events = POLLIN};
    while (connector_serve(broker.fd))
        (void)poll(&broker, 1, -1);
    return NULL;
}

bool daemon_prepare(void)
{
    static int sockets[2];
    pthread_t thread;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return false;
    memory = memfd_create("memory", MFD_CLOEXEC);
    connector = (struct connector){.socket = sockets[0]};
    return memory >= 0 && pthread_create(&thread, NULL, serve, &sockets[1]) == 0;
}
