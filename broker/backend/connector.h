/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect() by a path, for one device, in a process of its own (broker/connector_process.h). The
 * path may lie on a file system that hangs (FUSE, NFS, a dying disk): whoever looks it up then
 * waits, in a state in which nothing but that file system can wake him, and can't even die. Here it
 * is this device's process, and not the broker: its connections wait, and nobody else's.
 *
 * One asks, and takes the answers, in order. What waits is bounded by the ring. Nothing here waits.
 */
#ifndef BROKER_BACKEND_CONNECTOR_H
#define BROKER_BACKEND_CONNECTOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

/* Where the process has the one directory that it can reach. */
#define CONNECTOR_DIRECTORY "/sockets"

#define CONNECTOR_REQUESTS 16u /* a power of two */

struct connector_request {
    struct sockaddr_un address;
    int type;             /* SOCK_STREAM or SOCK_SEQPACKET */
    uint32_t tag;         /* the caller's, as are the next two */
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

/* Returns 0; -EBUSY if too many wait already, or while there is no process. */
int connector_ask(struct connector *connector, const struct connector_request *request);

/* Its socket may have something to read. Returns false if that was its end, or is no answer: then
 * it is closed, and what was asked is answered by -ECONNABORTED. */
bool connector_receive(struct connector *connector);

/* The next answer, whose socket is then the caller's. Returns false if there is none yet. */
bool connector_take(struct connector *connector, struct connector_request *ret);

/* Is there one? */
bool connector_answered(const struct connector *connector);

#endif
