/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file descriptors of a worker. Their numbers are fixed, so that a seccomp rule can name each
 * one. After lock-down a worker has exactly these, and checks that.
 *
 * The START message carries them in this order, from REQUEST on. After them come the state page and
 * the DM file, which are mapped and closed before lock-down.
 */
#ifndef COMMON_WORKER_FDS_H
#define COMMON_WORKER_FDS_H

/* X(constant, number, name used in policies, words for an auditor) */
#define WORKER_FDS(X)                                                                              \
    X(NULL_IN, 0, "null_in", "/dev/null: keeps number 0 from meaning anything else")               \
    X(NULL_OUT, 1, "null_out", "/dev/null, likewise")                                              \
    X(NULL_ERR, 2, "null_err", "/dev/null: what a C library may print on its way down")            \
    X(CONTROL, 3, "control", "the socket to the broker")                                           \
    X(EPOLL, 4, "epoll", "the event loop's epoll instance")                                        \
    X(REQUEST, 5, "request", "the mailbox eventfd: a register access waits")                       \
    X(REPLY, 6, "reply", "the mailbox eventfd: a register access is answered")                     \
    X(CALL, 7, "call", "the eventfd by which the broker is asked for an interrupt")                \
    X(BACKEND, 8, "backend", "the first file of the device's backend: image, tap or vhost")        \
    X(BACKEND2, 9, "backend2", "the second file of the backend, where there is one")               \
    X(BACKEND3, 10, "backend3", "the third, likewise")                                             \
    X(BACKEND4, 11, "backend4", "the fourth, likewise")                                            \
    X(BACKEND5, 12, "backend5", "the fifth, likewise")                                             \
    X(BACKEND6, 13, "backend6", "the sixth, likewise")                                             \
    X(BACKEND7, 14, "backend7", "the seventh, likewise")                                           \
    X(BACKEND8, 15, "backend8", "the eighth, likewise")

#define BACKEND_FDS_MAX 16u

enum worker_fd {
#define X(constant, number, name, words) WORKER_FD_##constant = (number),
    WORKER_FDS(X)
#undef X
};

/*
 * Connections that the broker sends after lock-down have numbers of their own, so that a policy can
 * name them by their highest bit: `fd & ~63 == 64`, and so on up to 2047. Before lock-down, the
 * free numbers below are filled with /dev/null, and RLIMIT_NOFILE is set to allow one number more
 * than the device has connections: one connection too many can still arrive, and is closed then.
 */
#define WORKER_FD_CONNECTION 64
#define CONNECTIONS_MAX 1024u
#define CONNECTIONS_DEFAULT 64u
#define CONNECTION_FDS_MIN 64u
#define CONNECTION_FDS_MAX (CONNECTIONS_MAX + 1)

/* RLIMIT_NOFILE of a worker with this number of connections; 0 for kinds that have no such
 * number. */
static inline unsigned int connections_fd_limit(unsigned int connections)
{
    return WORKER_FD_CONNECTION +
           (connections < CONNECTION_FDS_MIN ? CONNECTION_FDS_MIN : connections + 1);
}

/* The largest message of a seqpacket connection, in either direction: what Linux lets a guest send
 * to a peer with the buffer (buf_alloc) of a socket device. */
#define CONNECTION_MESSAGE_MAX 0x40000u

/* Bytes of a socket device's worker for each connection. They are mapped at its start, so the
 * kernel has promised them; a page counts only once it was used. */
#define CONNECTION_MEMORY 558080u

/*
 * The io_uring of a kind that has one (struct device_kind_info). It is made before lock-down and
 * has this number in every such worker, behind the kick of the last queue that a device can have;
 * free numbers below it are filled with /dev/null.
 */
#define WORKER_FD_RING 32

/* The kick eventfd of queue q of a device with b backend fds is WORKER_FD_BACKEND + b + q. */

#endif
