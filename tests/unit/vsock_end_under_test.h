/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end under test: one slot of worker/vsock/host.h, and a program of the host at its
 * other end. */
#ifndef TESTS_UNIT_VSOCK_END_UNDER_TEST_H
#define TESTS_UNIT_VSOCK_END_UNDER_TEST_H

#include <CUnit/CUnit.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/connector_process.h"
#include "common/worker_fds.h"
#include "worker/vsock/host.h"

#define LIMIT 4u
#define SLOT 2u
#define STREAM VIRTIO_VSOCK_TYPE_STREAM
#define SEQPACKET VIRTIO_VSOCK_TYPE_SEQPACKET

static struct vsock_table table;
static uint8_t data[VSOCK_MESSAGE_MAX + 1], got[VSOCK_MESSAGE_MAX + 1];
static int worker_s_end; /* of the connection that was opened last */

static int prepare(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 131 + (i >> 8) * 29);
    if (epoll != WORKER_FD_EPOLL && dup2(epoll, WORKER_FD_EPOLL) != WORKER_FD_EPOLL)
        return -1;
    return vsock_host_init(LIMIT);
}

/* The other end of a new connection, which is open. */
static int open_slot(uint16_t type)
{
    int pair[2], flags = SOCK_NONBLOCK | SOCK_CLOEXEC;
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, (type == STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | flags, 0, pair), 0);
    for (unsigned int i = 0; i < 2; i++)
        connector_take_messages(pair[i]);
    vsock_init(&table, 3, LIMIT, true);
    table.connections[SLOT] =
        (struct vsock_connection){.state = VSOCK_OPEN, .type = type, .peer_alloc = 0x100000};
    worker_s_end = pair[0];
    CU_ASSERT_TRUE_FATAL(vsock_host_open(SLOT, type, pair[0]));
    return pair[1];
}

/* What the worker is woken for. */
static uint32_t reported(void)
{
    struct epoll_event event = {0};
    return epoll_wait(WORKER_FD_EPOLL, &event, 1, 0) > 0 ? event.events : 0;
}

#endif
