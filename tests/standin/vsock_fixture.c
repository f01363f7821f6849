/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/vsock_fixture.h"

#include <sys/socket.h> /* before linux/vm_sockets.h, which in Linux 6.1 does not include it */

#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/standin/clock.h"

uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8) * 29 + (at >> 17));
}

static struct sockaddr_un address_of(const struct vsock_fixture *test, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", test->fixture.dir, name);
    return address;
}

int host_listen(const struct vsock_fixture *test, const char *name, int type)
{
    const struct sockaddr_un address = address_of(test, name);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    CU_ASSERT_EQUAL_FATAL(listen(fd, 128), 0);
    return fd;
}

void host_sends_large_messages(int fd)
{
    const int size = 262144;
    CU_ASSERT_EQUAL(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

int host_connect(const struct vsock_fixture *test, const char *name, int type)
{
    const struct sockaddr_un address = address_of(test, name);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    if (type == SOCK_SEQPACKET)
        host_sends_large_messages(fd);
    return fd;
}

void guest_run(struct vsock_fixture *test, int ms)
{
    for (int i = 0; i < ms; i += 5)
        CU_ASSERT_FATAL(guest_vsock_poll(&test->vsock, 5) >= 0);
}

void guest_run_until_taken(struct vsock_fixture *test)
{
    for (int i = 0; i < WAIT_MS && !guest_vsock_all_taken(&test->vsock); i += 5)
        guest_run(test, 5);
    CU_ASSERT_TRUE(guest_vsock_all_taken(&test->vsock));
}

bool guest_is_reset(struct vsock_fixture *test, const struct guest_socket *socket)
{
    for (int i = 0; i < WAIT_MS && socket->state != SOCKET_RESET; i += 5)
        guest_run(test, 5);
    return socket->state == SOCKET_RESET;
}

bool guest_is_told(struct vsock_fixture *test, const struct guest_socket *socket, uint32_t flags)
{
    for (int i = 0; i < WAIT_MS && socket->peer_shutdown != flags; i += 5)
        guest_run(test, 5);
    return socket->peer_shutdown == flags;
}

uint32_t guest_receive(struct vsock_fixture *test, struct guest_socket *socket, void *data,
                       uint32_t size)
{
    uint32_t got = 0;
    for (int i = 0; i < WAIT_MS && got == 0; i += 5) {
        guest_run(test, 5);
        got = guest_vsock_receive(&test->vsock, socket, data, size);
    }
    return got;
}

bool host_wait(struct vsock_fixture *test, int fd)
{
    for (int i = 0; i < WAIT_MS; i += 5) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (poll(&readable, 1, 0) > 0)
            return true;
        guest_run(test, 5);
    }
    return false;
}

ssize_t host_receive(struct vsock_fixture *test, int fd, void *data, size_t size)
{
    return host_wait(test, fd) ? recv(fd, data, size, 0) : -1;
}

bool host_at_end(struct vsock_fixture *test, int fd)
{
    char byte;
    return host_receive(test, fd, &byte, 1) == 0;
}

void vsock_start(struct vsock_fixture *test)
{
    vsock_start_with(test, "");
}

void vsock_start_with(struct vsock_fixture *test, const char *more)
{
    char config[512];
    snprintf(config, sizeof(config),
             "devices:\n  - id: 0\n    type: vsock\n    data_plane: virtio\n"
             "    mmio_addr: 0xa003e00\n    guest_cid: 3\n    socket_path: \"@/v.sock\"\n%s",
             more);
    *test = (struct vsock_fixture){.server = -1};
    fixture_init(&test->fixture);
    fixture_configure(&test->fixture, config);
    fixture_start(&test->fixture, 1, 1);
    fixture_guest(&test->fixture, 0, &test->vsock.guest);
    test->server = host_listen(test, "v.sock_53", SOCK_STREAM);
    test->vsock.listening = GUEST_PORT;
    CU_ASSERT_EQUAL_FATAL(guest_vsock_start(&test->vsock, GUEST_VSOCK_FEATURES), 0);
}

void vsock_stop(struct vsock_fixture *test, bool restarted)
{
    CU_ASSERT_EQUAL(test->vsock.guest.error, 0);
    CU_ASSERT_EQUAL(test->vsock.violations, 0);
    CU_ASSERT_EQUAL(guest_status(&test->vsock.guest) & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
    if (!restarted)
        fixture_assert_never_restarted(&test->fixture);
    guest_vsock_free(&test->vsock);
    close(test->server);
    fixture_stop(&test->fixture);
    fixture_free(&test->fixture);
}

uint32_t host_greet(struct vsock_fixture *test, int fd)
{
    static const char hello[] = "CONNECT 52\n";
    char line[64] = {0};
    unsigned int port = 0;
    if (send(fd, hello, strlen(hello), MSG_NOSIGNAL) != (ssize_t)strlen(hello))
        return 0;
    ssize_t length = host_receive(test, fd, line, sizeof(line) - 1);
    if (length <= 0 || line[length - 1] != '\n' || sscanf(line, "OK %u\n", &port) != 1)
        return 0;
    return port;
}

struct pair pair_by_host(struct vsock_fixture *test, const char *name, int type)
{
    return pair_by_host_within(test, name, type, 0);
}

struct pair pair_by_host_within(struct vsock_fixture *test, const char *name, int type, int ms)
{
    struct pair pair;
    uint32_t port;
    for (uint64_t end = now_ms() + (uint64_t)ms;; guest_run(test, 5)) {
        pair.host = host_connect(test, name, type);
        port = host_greet(test, pair.host);
        if (port != 0 || now_ms() >= end)
            break;
        close(pair.host);
    }
    CU_ASSERT_FATAL(port >= 0x40000000u);
    pair.guest = guest_vsock_accepted(&test->vsock, port);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pair.guest);
    return pair;
}

struct pair pair_of_messages(struct vsock_fixture *test)
{
    return pair_by_host(test, "v.sock_seqpacket", SOCK_SEQPACKET);
}

struct pair pair_by_guest(struct vsock_fixture *test)
{
    struct pair pair = {.guest = guest_vsock_connect(&test->vsock, STREAM, HOST_PORT)};
    CU_ASSERT_PTR_NOT_NULL_FATAL(pair.guest);
    CU_ASSERT_EQUAL_FATAL(guest_vsock_wait(&test->vsock, pair.guest, WAIT_MS), SOCKET_CONNECTED);
    CU_ASSERT_TRUE_FATAL(host_wait(test, test->server));
    pair.host = accept4(test->server, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CU_ASSERT_FATAL(pair.host >= 0);
    return pair;
}

struct pair pair_by_kernel(struct vsock_fixture *test)
{
    struct sockaddr_vm address = {
        .svm_family = AF_VSOCK,
        .svm_cid = GUEST_VSOCK_CID,
        .svm_port = GUEST_PORT,
    };
    struct pair pair = {.host = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    CU_ASSERT_EQUAL(connect(pair.host, (struct sockaddr *)&address, sizeof(address)), -1);
    CU_ASSERT_EQUAL(errno, EINPROGRESS);
    for (int i = 0; i < WAIT_MS && !pair.guest; i += 5) {
        guest_run(test, 5);
        pair.guest = guest_vsock_accepted(&test->vsock, 0);
    }
    CU_ASSERT_PTR_NOT_NULL_FATAL(pair.guest);
    return pair;
}

void assert_talks(struct vsock_fixture *test, const struct pair *pair)
{
    static unsigned int count;
    char said[32], heard[32];
    int length = snprintf(said, sizeof(said), "message %u", count++);
    int sent = 0; /* credit may be on its way */
    for (int i = 0; i < WAIT_MS && sent == 0; i += 5) {
        sent = guest_vsock_send(&test->vsock, pair->guest, said, (uint32_t)length,
                                VIRTIO_VSOCK_SEQ_EOM);
        if (sent == 0)
            guest_run(test, 5);
    }
    CU_ASSERT_EQUAL(sent, length);
    CU_ASSERT_EQUAL(host_receive(test, pair->host, heard, sizeof(heard)), length);
    CU_ASSERT_EQUAL(memcmp(said, heard, (size_t)length), 0);
    CU_ASSERT_EQUAL(send(pair->host, said, (size_t)length, MSG_NOSIGNAL), length);
    CU_ASSERT_EQUAL(guest_receive(test, pair->guest, heard, sizeof(heard)), (uint32_t)length);
    CU_ASSERT_EQUAL(memcmp(said, heard, (size_t)length), 0);
}
