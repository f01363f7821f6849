/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect() by a path, for one device, in a thread of its own. The path may lie on a file system
 * that hangs (FUSE, NFS, a dying disk): whoever looks it up then waits, in a state in which nothing
 * but that file system can wake him. Here it is this device's thread, and not the broker's main
 * loop: its connections wait, and nobody else's.
 *
 * One asks, and takes the answers, in order: the main thread. What waits is bounded by the ring.
 * The thread makes three system calls besides those on its eventfd: socket, connect, close.
 */
#ifndef BROKER_BACKEND_CONNECTOR_H
#define BROKER_BACKEND_CONNECTOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

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
    bool running;
    int wake;   /* eventfd: there is a request */
    int report; /* eventfd: there is an answer; borrowed */
    pthread_t thread;
    atomic_uint asked, done; /* counts; main thread, thread */
    unsigned int taken;      /* likewise; main thread */
    struct connector_request ring[CONNECTOR_REQUESTS];
};

/* Before the filter that has no clone, nor what a thread calls at its start: it signals `report`
 * once when that is over. It takes no signal. Returns 0 or -errno. */
int connector_start(struct connector *connector, int report);

/* Returns 0; -EBUSY if too many wait already. */
int connector_ask(struct connector *connector, const struct connector_request *request);

/* The next answer, whose socket is then the caller's. Returns false if there is none yet. */
bool connector_take(struct connector *connector, struct connector_request *ret);

/* Is there one? */
bool connector_answered(const struct connector *connector);

#endif
