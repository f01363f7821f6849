/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A console with a socket: its clients come and leave, one at a time. Each test has real sockets,
 * and the broker's end of the control socket.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/cunit_main.h"
#include "tests/unit/guest.h"
#include "worker/console/client.h"
#include "worker/console/console.h"
#include "worker/transport.h"

#define VERSION_1 (1ull << VIRTIO_F_VERSION_1)
#define BUFFER(n) (GUEST_BASE + GUEST_BUFFERS + (n)*0x10000ull)
#define PATIENCE_MS 10000u
#define HIGH 128

static struct guest_ring rings[2];
static int signal_error; /* of the next calls of signal; 0: none */

sighandler_t __real_signal(int number, sighandler_t handler);
sighandler_t __wrap_signal(int number, sighandler_t handler);

sighandler_t __wrap_signal(int number, sighandler_t handler)
{
    if (signal_error == 0)
        return __real_signal(number, handler);
    errno = signal_error;
    return SIG_ERR;
}

static struct message_start start_of(bool expected)
{
    struct message_start start = guest_start(DEVICE_CONSOLE_SOCKET);
    start.of_kind.console = (struct start_console){.ports = 1, .client = expected};
    strcpy(start.name, "console 1");
    return start;
}

/* `expected`: a predecessor had a client. */
static void running(bool expected)
{
    const struct message_start start = start_of(expected);
    signal(SIGPIPE, SIG_DFL);
    memset(&guest_state, 0, sizeof(guest_state));
    guest_fds(DEVICE_CONSOLE_SOCKET, -1);
    guest_worker(&start);
    guest_negotiate(VERSION_1);
    for (unsigned int q = 0; q < 2; q++) {
        guest_ring_init(&rings[q], q, 16);
        guest_queue_setup(q, &rings[q]);
    }
    guest_driver_ok();
    guest_run();
}

static unsigned int count_fds(void)
{
    unsigned int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    CU_ASSERT_PTR_NOT_NULL_FATAL(directory);
    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

static void hand_over(int fd)
{
    union message message = {.connection = {.header = {.type = MSG_CONNECTION, .device = 5},
                                            .request = CONNECTION_FROM_HOST}};
    CU_ASSERT_EQUAL(message_send(guest_control, &message, &fd, 1), 0);
    close(fd);
    guest_run();
}

/* High numbers, so that the worker is given the same lowest ones again and again. */
static void pair_of_sockets(int ret[2])
{
    int low[2];
    CU_ASSERT_FATAL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, low) == 0);
    for (int i = 0; i < 2; i++) {
        ret[i] = fcntl(low[i], F_DUPFD_CLOEXEC, HIGH);
        CU_ASSERT_FATAL(ret[i] >= HIGH);
        close(low[i]);
    }
}

/* A client connects. Returns its end. */
static int client(void)
{
    int ends[2];
    pair_of_sockets(ends);
    hand_over(ends[1]);
    return ends[0];
}

static void print(uint16_t head, const char *text)
{
    memcpy(guest_at(BUFFER(0)), text, strlen(text));
    guest_desc(&rings[CONSOLE_TX], head, BUFFER(0), (uint32_t)strlen(text), 0, 0);
    guest_offer(&rings[CONSOLE_TX], head);
    guest_kick(CONSOLE_TX);
}

static void offer_buffer(uint16_t head)
{
    guest_desc(&rings[CONSOLE_RX], head, BUFFER(8 + head), 100, VRING_DESC_F_WRITE, 0);
    guest_offer(&rings[CONSOLE_RX], head);
    guest_kick(CONSOLE_RX);
}

static int64_t used(unsigned int queue)
{
    struct vring_used_elem element;
    return guest_used(&rings[queue], &element) ? (int64_t)element.len : -1;
}

/* Asserts that the client gets this, and nothing more for now. */
static void expect_output(int end, const char *text)
{
    char got[256];
    ssize_t length = recv(end, got, sizeof(got), MSG_DONTWAIT);
    CU_ASSERT_EQUAL_FATAL(length, (ssize_t)strlen(text));
    CU_ASSERT_EQUAL(memcmp(got, text, strlen(text)), 0);
    CU_ASSERT(recv(end, got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void expect_closed(int end)
{
    char got;
    CU_ASSERT_EQUAL(recv(end, &got, 1, MSG_DONTWAIT), 0);
}

/* Asserts that this is the driver's next input, in the buffer of that number. */
static void expect_input(uint16_t head, const char *text)
{
    CU_ASSERT_EQUAL_FATAL(used(CONSOLE_RX), (int64_t)strlen(text));
    CU_ASSERT_EQUAL(memcmp(guest_at(BUFFER(8 + head)), text, strlen(text)), 0);
}

/* ---- Clients that come ---- */

static void test_output_and_input(void)
{
    running(false);
    int end = client();
    print(0, "login: ");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    expect_output(end, "login: ");
    offer_buffer(0);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1);
    CU_ASSERT_EQUAL(send(end, "root", 4, 0), 4);
    guest_run(); /* the connection's event: no kick comes */
    expect_input(0, "root");
    close(end);
}

/* Nobody is there: output is discarded at once, and there is no input. */
static void test_nobody(void)
{
    running(false);
    CU_ASSERT_EQUAL(console_client_fd(), -1);
    CU_ASSERT_FALSE(console_client_reads());
    print(0, "lost");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    offer_buffer(0);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1);
    guest_write(VIRTIO_MMIO_CONFIG + 8, '!'); /* emergency output: likewise */
    int end = client();
    print(1, "seen");
    expect_output(end, "seen");
    close(end);
}

/* A predecessor's client is on the way: output waits for it. */
static void test_expected(void)
{
    running(true);
    CU_ASSERT_EQUAL(console_client_fd(), -1);
    CU_ASSERT_TRUE(console_client_reads());
    print(0, "kept");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, PATIENCE_MS);
    int end = client();
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    expect_output(end, "kept");
    close(end);
}

/* A successor has none of its predecessor's connections. */
static void test_successor(void)
{
    running(false);
    int end = client();
    const struct message_start start = start_of(false);
    guest_worker(&start);
    guest_run();
    CU_ASSERT_EQUAL(console_client_fd(), -1);
    CU_ASSERT_FALSE(console_client_reads());
    print(0, "lost");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT(recv(end, (char[1]){0}, 1, MSG_DONTWAIT) < 0);
    close(end);
}

/* The next client takes the last one's place: that connection is closed, and no longer watched. */
static void test_next_client(void)
{
    struct epoll_event event;
    running(false);
    unsigned int before = count_fds();
    int first = client();
    int copy = fcntl(console_client_fd(), F_DUPFD_CLOEXEC, HIGH); /* the broker's */
    int first_fd = console_client_fd();
    int second = client();
    CU_ASSERT_NOT_EQUAL(console_client_fd(), first_fd);
    CU_ASSERT(fcntl(first_fd, F_GETFD) < 0);
    guest_run(); /* takes the event of the second one's coming */
    CU_ASSERT_EQUAL(epoll_wait(WORKER_FD_EPOLL, &event, 1, 0), 0);
    CU_ASSERT_EQUAL(send(first, "old", 3, MSG_NOSIGNAL), 3);
    CU_ASSERT_EQUAL(epoll_wait(WORKER_FD_EPOLL, &event, 1, 0), 0);
    close(copy);
    print(0, "new");
    expect_output(second, "new");
    offer_buffer(0);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1);
    CU_ASSERT_EQUAL(send(second, "mine", 4, 0), 4);
    guest_run();
    expect_input(0, "mine");

    int third = client();
    expect_closed(second);
    CU_ASSERT_EQUAL(console_client_fd(), first_fd); /* two numbers, in turn */
    close(first);
    close(second);
    CU_ASSERT_EQUAL(count_fds(), before + 2);
    close(third);
    close(console_client_fd());
}

/* The driver has offered both before there was a client. Its coming serves both queues. */
static void test_both_queues(void)
{
    int ends[2];
    running(true);
    offer_buffer(0);
    print(0, "out");
    pair_of_sockets(ends);
    CU_ASSERT_EQUAL(send(ends[0], "in", 2, 0), 2);
    hand_over(ends[1]);
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    expect_output(ends[0], "out");
    expect_input(0, "in");
    close(ends[0]);
}

/* ---- Clients that leave, or take nothing ---- */

/* The next write fails. That raises no signal, and is no loss worth a message. Later output is
 * discarded without a try; what the client had sent is still read. */
static void test_left(void)
{
    running(false);
    int end = client();
    CU_ASSERT_EQUAL(send(end, "bye", 3, 0), 3);
    close(end);
    print(0, "to nobody");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_FALSE(console_client_reads());
    CU_ASSERT(console_client_fd() >= 0);
    print(1, "to nobody");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(guest_state.counters.bytes_out, 0);
    CU_ASSERT_EQUAL(guest_logged(LOG_OUTPUT_LOST), 0);
    offer_buffer(0);
    expect_input(0, "bye");
    offer_buffer(1);
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1); /* the end of file is no input */
    CU_ASSERT_EQUAL(guest_device.work, 0);

    end = client();
    CU_ASSERT_TRUE(console_client_reads());
    print(2, "welcome");
    expect_output(end, "welcome");
    close(end);
}

/* Fill the socket, so that the client takes nothing more. Returns the number of bytes. */
static size_t fill(void)
{
    static const char some[4096];
    size_t total = 0;
    ssize_t length;
    while ((length = send(console_client_fd(), some, sizeof(some), MSG_DONTWAIT)) > 0)
        total += (size_t)length;
    while ((length = send(console_client_fd(), some, 1, MSG_DONTWAIT)) > 0)
        total += (size_t)length;
    return total;
}

static void take(int end, size_t total)
{
    static char sink[4096];
    while (total > 0) {
        size_t part = total < sizeof(sink) ? total : sizeof(sink);
        ssize_t length = recv(end, sink, part, MSG_DONTWAIT);
        CU_ASSERT_FATAL(length > 0);
        total -= (size_t)length;
    }
}

static void test_slow_client(void)
{
    running(false);
    int end = client();
    size_t total = fill();
    print(0, "later");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, PATIENCE_MS);
    take(end, total);
    guest_run(); /* there is room again */
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    expect_output(end, "later");
    CU_ASSERT_EQUAL(guest_device.pause_ms, 0);
    close(end);
}

/* Port 0 no longer waits for this client. It waits for the next one again. */
static void test_patience(void)
{
    running(false);
    int end = client();
    (void)fill();
    print(0, "dropped");
    device_pause_over(&guest_device);
    guest_run();
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    print(1, "dropped");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    int next = client();
    (void)fill();
    print(2, "waits");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), -1);
    CU_ASSERT_EQUAL(guest_device.pause_ms, PATIENCE_MS);
    close(end);
    close(next);
}

static void set_up_again(unsigned int queue)
{
    guest_write(VIRTIO_MMIO_QUEUE_SEL, queue);
    guest_write(VIRTIO_MMIO_QUEUE_READY, 0);
    guest_ring_init(&rings[queue], queue, 16);
    guest_queue_setup(queue, &rings[queue]);
    guest_run();
}

/* §2.6.1: a queue is reset alone. Its chain in hand belongs to the driver again, and the other
 * queue goes on with its own. */
static void test_queue_reset(void)
{
    running(false);
    int end = client();
    size_t total = fill();
    print(0, "later");
    offer_buffer(0);
    set_up_again(CONSOLE_RX);
    CU_ASSERT_EQUAL(send(end, "typed", 5, 0), 5);
    guest_run();
    CU_ASSERT_EQUAL(used(CONSOLE_RX), -1); /* there is no buffer */
    take(end, total);
    guest_run();
    expect_output(end, "later");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    offer_buffer(1);
    expect_input(1, "typed");

    offer_buffer(2);
    total = fill();
    print(1, "never");
    set_up_again(CONSOLE_TX);
    take(end, total);
    guest_run();
    print(0, "again");
    expect_output(end, "again");
    CU_ASSERT_EQUAL(used(CONSOLE_TX), 0);
    CU_ASSERT_EQUAL(send(end, "more", 4, 0), 4);
    guest_run();
    expect_input(2, "more");
    close(end);
}

/* ---- What the broker sends ---- */

/* No such message: the worker has nothing left to do with this broker. */
static void test_other_messages(void)
{
    union message message = {.header = {.type = MSG_CONNECTION, .device = 5}};
    running(false);
    message.connection.error = ECONNREFUSED; /* nobody asked for a connection */
    CU_ASSERT_EQUAL(message_send(guest_control, &message, NULL, 0), 0);
    CU_ASSERT_FALSE(device_control_event(&guest_device));
    message = (union message){.header = {.type = MSG_RUNNING, .device = 5}};
    CU_ASSERT_EQUAL(message_send(guest_control, &message, NULL, 0), 0);
    CU_ASSERT_FALSE(device_control_event(&guest_device));
    message.header.type = MSG_SPAWN; /* has one fd, too */
    CU_ASSERT_FALSE(console_client_take(&message, (const int[1]){-1}, 1));
    CU_ASSERT_EQUAL(console_client_fd(), -1);
}

/* A file that can't be watched is no client. It is closed, and the last client has left. */
static void test_not_watched(void)
{
    running(false);
    int end = client();
    unsigned int before = count_fds();
    const int standard_input = fcntl(STDIN_FILENO, F_GETFD);
    hand_over(memfd_create("no socket", MFD_CLOEXEC));
    CU_ASSERT_EQUAL(count_fds(), before - 1);
    CU_ASSERT_EQUAL(fcntl(STDIN_FILENO, F_GETFD), standard_input); /* this file, and no other */
    CU_ASSERT_EQUAL(console_client_fd(), -1);
    CU_ASSERT_FALSE(console_client_reads());
    expect_closed(end);
    close(end);
    end = client();
    print(0, "works");
    expect_output(end, "works");
    close(end);
}

static void test_start_checked(void)
{
    struct message_start start = start_of(false);
    running(false);
    /* A socket has no window size. */
    CU_ASSERT_EQUAL(guest_device.features & 1ull << VIRTIO_CONSOLE_F_SIZE, 0);
    CU_ASSERT_NOT_EQUAL(guest_device.features & 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE, 0);
    start.of_kind.console.ports = 2;
    start.queue_count = 6;
    CU_ASSERT_EQUAL(console_socket_ops.init(&guest_device, &start), -EINVAL);
    start = start_of(false);
    signal_error = EPERM;
    CU_ASSERT_EQUAL(console_socket_ops.init(&guest_device, &start), -EPERM);
    signal_error = 0;
    CU_ASSERT_EQUAL(console_socket_ops.init(&guest_device, &start), 0);
}

int main(int argc, char **argv)
{
    guest_window_init();
    CU_TestInfo tests[] = {
        {"output and input", test_output_and_input},
        {"nobody is there", test_nobody},
        {"a client is on the way", test_expected},
        {"a successor begins without a client", test_successor},
        {"the next client takes the last one's place", test_next_client},
        {"a client is served in both directions when it comes", test_both_queues},
        {"a client has left", test_left},
        {"a slow client", test_slow_client},
        {"patience begins anew with each client", test_patience},
        {"a queue is reset alone", test_queue_reset},
        {"other messages are refused", test_other_messages},
        {"a file that can't be watched", test_not_watched},
        {"START is checked", test_start_checked},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "console with a socket", tests);
}
