/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect() by a path, for one device, in a process of its own (broker/connector_process.h). The
 * path may lie on a file system that hangs (FUSE, NFS, a dying disk). A process that looks it up
 * then waits in a state that only that file system can end; the process can't even die. Here this
 * is the process of one device, and not the broker: only the connections of this device wait.
 *
 * The caller asks, and takes the answers in the same order. The ring bounds the number of waiting
 * requests. Nothing here waits.
 */
#ifndef BROKER_BACKEND_CONNECTOR_H
#define BROKER_BACKEND_CONNECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

/* The process finds the only directory that it can reach here. */
#define CONNECTOR_DIRECTORY "/sockets"

#define CONNECTOR_REQUESTS 16u /* a power of two */

struct connector_request {
    struct sockaddr_un address;
    int type;             /* SOCK_STREAM or SOCK_SEQPACKET */
    uint32_t tag;         /* for the caller's own use, like the next two */
    uint32_t port;        /*                                   */
    uint32_t incarnation; /*                                   */
    int result;           /* a non-blocking socket, or -errno */
};

struct connector {
    int socket;                      /* to the process; -1: there is none */
    unsigned int asked, done, taken; /* counts */
    struct connector_request ring[CONNECTOR_REQUESTS];
};

#define CONNECTOR_NONE ((struct connector){.socket = -1})

/* Returns 0; -EBUSY if too many requests wait already, or if there is no process. */
int connector_ask(struct connector *connector, const struct connector_request *request);

/* Reads what its socket may have. Returns false if the socket was at its end, or had a message that
 * is no answer: then it is closed, and every open request is answered with -ECONNABORTED. */
bool connector_receive(struct connector *connector);

/* Take the next answer; its socket is then the caller's. Returns false if there is no answer
 * yet. */
bool connector_take(struct connector *connector, struct connector_request *ret);

/* Is there an answer to take? */
bool connector_answered(const struct connector *connector);

#endif
