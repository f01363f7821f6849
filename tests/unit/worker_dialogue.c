/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/worker_dialogue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/one_fd.h"
#include "tests/cunit_main.h"

struct device device;
struct guest_ring rings[2];
struct guest_fault fault;
int daemon_end = -1, requests_end = -1, inflight = -1;

int connected(int number)
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

struct message_start start_of(uint64_t protocol_features)
{
    struct message_start start = {.kind = DEVICE_FS_VHOST_USER};
    start.of_kind.vhost_user.features =
        BIT(VIRTIO_F_VERSION_1) | (protocol_features ? BIT(VHOST_USER_F_PROTOCOL_FEATURES) : 0);
    start.of_kind.vhost_user.protocol_features = protocol_features;
    start.of_kind.vhost_user.config_size = 8;
    start.of_kind.vhost_user.inflight = (struct vhost_user_inflight){.mmap_size = 4096};
    return start;
}

void prepare(uint64_t protocol_features, unsigned int ready)
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
        guest_state.queues[q].ready = q < ready;
        rings[q].avail->idx = rings[q].used->idx = (uint16_t)(5 + q);
    }
    guest_state.queues[2].ready = 1; /* there is no such queue, whatever the page says */
    guest_state.transport.driver_features = BIT(VIRTIO_F_VERSION_1);
    CU_ASSERT_EQUAL_FATAL(OPS.init(&device, &start), 0);
}

/* ---- The daemon ---- */

void say(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
    const struct vhost_user_header header = {request, flags, size};
    CU_ASSERT_EQUAL(write(socket, &header, sizeof(header)), (ssize_t)sizeof(header));
    if (size > 0)
        CU_ASSERT_EQUAL(write(socket, payload, size), (ssize_t)size);
}

void answer(uint32_t request, const void *payload, uint32_t size)
{
    say(daemon_end, request, ANSWER, payload, size);
}

void answer_number(uint32_t request, uint64_t value)
{
    answer(request, &value, sizeof(value));
}

void answer_after_files(unsigned int count)
{
    for (unsigned int i = 0; i < count; i++)
        answer_number(VHOST_USER_GET_FEATURES, 0);
}

void answer_config(const char *content)
{
    struct vhost_user_config config = {.size = 8};
    memcpy(config.region, content, 8);
    answer(VHOST_USER_GET_CONFIG, &config, VHOST_USER_CONFIG_HEADER + 8);
}

void hears(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
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

void hears_nothing_more(int socket)
{
    char byte;
    CU_ASSERT(recv(socket, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

void hears_anything(int socket)
{
    char bytes[4096];
    while (recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) /* a file ends a part of it */
        continue;
    CU_ASSERT_EQUAL(errno, EAGAIN);
}

void hears_ring(unsigned int q, uint32_t flags, bool asks)
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
