/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the socket device in user space share: the device model with one such device,
 * the driver of the device, and programs of the host.
 */
#ifndef TESTS_STANDIN_VSOCK_FIXTURE_H
#define TESTS_STANDIN_VSOCK_FIXTURE_H

#include "tests/standin/fixture.h"
#include "tests/standin/guest_vsock.h"

#define STREAM VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET VIRTIO_VSOCK_TYPE_SEQPACKET
#define GUEST_PORT 52u
#define HOST_PORT 53u
#define WAIT_MS 60000

struct vsock_fixture {
    struct fixture fixture;
    struct guest_vsock vsock;
    int server; /* listens on HOST_PORT; -1: none */
};

/* The device model and the driver; the guest listens on GUEST_PORT, the host on HOST_PORT. */
void vsock_start(struct vsock_fixture *test);
/* The same with more lines of YAML for the device. */
void vsock_start_with(struct vsock_fixture *test, const char *more);
/* Asserts that the device has kept the rules, and that no process died unless `restarted`. */
void vsock_stop(struct vsock_fixture *test, bool restarted);

/* Non-blocking sockets of the host; `name` in the fixture's directory. */
int host_listen(const struct vsock_fixture *test, const char *name, int type);
/* Let a seqpacket socket send messages larger than its usual buffer. host_connect does it. */
void host_sends_large_messages(int fd);
int host_connect(const struct vsock_fixture *test, const char *name, int type);
/* Let the guest run until the fd is readable. False after WAIT_MS. */
bool host_wait(struct vsock_fixture *test, int fd);
/* recv, after host_wait. */
ssize_t host_receive(struct vsock_fixture *test, int fd, void *data, size_t size);
/* Is the end of file next? */
bool host_at_end(struct vsock_fixture *test, int fd);

/* Let the guest run for a while. */
void guest_run(struct vsock_fixture *test, int ms);
/* Let the guest run until the device has taken every packet that was sent. */
void guest_run_until_taken(struct vsock_fixture *test);

/* Let the guest run until a socket is reset, or until it gets SHUTDOWN with exactly these flags.
 * False after WAIT_MS. */
bool guest_is_reset(struct vsock_fixture *test, const struct guest_socket *socket);
bool guest_is_told(struct vsock_fixture *test, const struct guest_socket *socket, uint32_t flags);
/* Let the guest run until the socket has received something. Returns the bytes, 0 after WAIT_MS. */
uint32_t guest_receive(struct vsock_fixture *test, struct guest_socket *socket, void *data,
                       uint32_t size);

/* Both ends of a connection. The guest or a client on the host has made it. */
struct pair {
    struct guest_socket *guest;
    int host;
};
struct pair pair_by_guest(struct vsock_fixture *test);
/* A client's AF_VSOCK socket on the host makes it; the kernel's vhost serves the device. */
struct pair pair_by_kernel(struct vsock_fixture *test);
/* A seqpacket connection that a client on the host makes. */
struct pair pair_of_messages(struct vsock_fixture *test);
struct pair pair_by_host(struct vsock_fixture *test, const char *name, int type);
/* The same, for a device whose connections are all asked for at this moment: until the broker has
 * said which of them have to wait, none gives way, and the client is turned away. It tries again
 * for so long. */
struct pair pair_by_host_within(struct vsock_fixture *test, const char *name, int type, int ms);

/* Send "CONNECT GUEST_PORT"; returns the port in the answer OK; 0: the device has closed the
 * connection, or has not answered. */
uint32_t host_greet(struct vsock_fixture *test, int fd);

/* Asserts that the connection works: a few bytes each way. */
void assert_talks(struct vsock_fixture *test, const struct pair *pair);

/* The byte at that place of a pattern. */
uint8_t pattern(uint64_t at);

#endif
