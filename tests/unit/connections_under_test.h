/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_connections.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_CONNECTIONS_UNDER_TEST_H
#define TESTS_UNIT_CONNECTIONS_UNDER_TEST_H

#include "broker/connections.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/virtio_vsock.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/supervision.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define INCARNATION 6
#define INDEX 4
#define NOW 100000
#define LATE INT64_MAX

static struct device device;
static struct backend_ops ops;
static int worker;       /* the worker's end of its socket */
static int connector;    /* the connector's end */
static int64_t again;    /* when there is more to do */
static unsigned int fds; /* open files before anything came */

/* The clients that wait on each listener: types, or -errno. */
static int waiting[BACKEND_LISTENERS][64];
static unsigned int wait_count[BACKEND_LISTENERS], accepted[BACKEND_LISTENERS];

/* ---- What connections.c calls ---- */

static char logged[8][WORDS_SIZE];
static unsigned int log_count;

void supervision_log(struct device *about, enum log_level level, const char *text)
{
    CU_ASSERT_PTR_EQUAL(about, &device);
    CU_ASSERT_EQUAL(level, LOG_LEVEL_DEBUG);
    snprintf(logged[log_count++ % 8], WORDS_SIZE, "%s", text);
}

static int accept_one(struct backend *backend, unsigned int number, uint32_t *ret_type)
{
    CU_ASSERT_FATAL(number < BACKEND_LISTENERS);
    if (accepted[number] == wait_count[number])
        return -EAGAIN;
    int client = waiting[number][accepted[number]++];
    if (client < 0)
        return client;
    *ret_type = (uint32_t)client;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (backend->ops->keeps_client)
        backend->client = fd;
    return fd;
}

static int address_of(const struct backend *backend, uint32_t port, uint32_t type,
                      struct sockaddr_un *ret)
{
    CU_ASSERT_PTR_EQUAL(backend, &device.backend);
    if (port == 0)
        return -EACCES;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret->sun_path, sizeof(ret->sun_path), "/sockets/%u", port);
    return type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;
}

static int unread;       /* bytes that the worker has left; -1: as the kernel says */
static int unread_error; /* of the question */

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    int *ret = va_arg(arguments, int *);
    va_end(arguments);
    CU_ASSERT_EQUAL(request, SIOCOUTQ);
    CU_ASSERT_EQUAL(fd, device.worker.socket);
    if (unread_error != 0) {
        errno = unread_error;
        return -1;
    }
    if (unread < 0)
        return __real_ioctl(fd, request, ret);
    *ret = unread;
    return 0;
}

/* ---- A device ---- */

static void pair(int *ret_ours, int *ret_theirs)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    *ret_ours = sockets[0];
    *ret_theirs = sockets[1];
}

static void begin(bool with_listeners)
{
    ops = (struct backend_ops){.accept = accept_one, .address = address_of};
    device =
        (struct device){.name = "vsock 0", .index = INDEX, .backend = {.ops = &ops, .client = -1}};
    for (size_t i = 0; i < OPENED_FILES; i++)
        device.backend.files[i] = -1;
    device.worker = WORKER_NONE;
    device.worker.phase = WORKER_READY;
    device.worker.incarnation = INCARNATION;
    device.backend.connector = CONNECTOR_NONE;
    pair(&device.worker.socket, &worker);
    pair(&device.backend.connector.socket, &connector);
    for (unsigned int i = 0; with_listeners && i < BACKEND_LISTENERS; i++)
        device.backend.files[OPENED_LISTENER_FIRST + i] = 1000 + (int)i;
    device.backend.files[OPENED_DIRECTORY] = 2000; /* this is no listener */
    unread = -1;
    unread_error = 0;
    device.worker.clients_wait = true;
    memset(wait_count, 0, sizeof(wait_count));
    memset(accepted, 0, sizeof(accepted));
    log_count = 0;
    again = LATE;
    fds = fd_count();
}

static void end(void)
{
    CU_ASSERT_EQUAL(fd_count(), fds);
    close(device.worker.socket);
    close(worker);
    if (device.backend.connector.socket >= 0)
        close(device.backend.connector.socket);
    close(connector);
}

static void come(unsigned int listener, int client, unsigned int times)
{
    for (unsigned int i = 0; i < times; i++)
        waiting[listener][wait_count[listener]++] = client;
}

static const char *serve(int64_t now)
{
    again = LATE;
    return connections_serve(&device, now, &again);
}

/* Read what the worker got; each must be like this. Returns how many came. */
static unsigned int read_all(uint32_t request, uint32_t type, int32_t error)
{
    unsigned int count = 0;
    union message message;
    int got[MESSAGE_FDS_MAX];
    size_t got_count = 0;
    while (message_receive(worker, ROLE_BROKER, &message, got, &got_count) == 1) {
        count++;
        CU_ASSERT_EQUAL(message.header.type, MSG_CONNECTION);
        CU_ASSERT_EQUAL(message.header.device, INDEX);
        CU_ASSERT_EQUAL(message.connection.request, request);
        CU_ASSERT_EQUAL(message.connection.type, type);
        CU_ASSERT_EQUAL(message.connection.error, error);
        CU_ASSERT_EQUAL(got_count, error == 0 ? 1 : 0);
        if (got_count > 0)
            close(got[0]);
    }
    return count;
}

#endif
