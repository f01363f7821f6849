/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads that verify what they get, for storms (storm.h). Each is the driver of one guest and, if
 * there is one, the other end on the host. One thread uses a load. A load makes CUnit assertions
 * only where this file says so, and counts errors in `wrong`. The load of the block device is
 * block_load.h.
 */
#ifndef TESTS_STANDIN_LOADS_H
#define TESTS_STANDIN_LOADS_H

#include <stdatomic.h>

#include "tests/standin/guest.h"
#include "tests/standin/guest_vsock.h"
#include "tests/standin/net_fixture.h"

#define LOAD_DEADLINE_MS 60000

struct storm;

/* ---- Net: frames may be lost, as on any wire. None is damaged, and every buffer comes back ----
 */

struct net_load {
    struct net_fixture *net;    /* started */
    uint32_t next;              /* number of the next frame */
    uint64_t to_host, to_guest; /* frames that arrived */
    uint64_t wrong;
    const atomic_bool *over; /* when it is set, the load waits no more; NULL: never */
    uint8_t frame[GUEST_NET_FRAME_MAX];
};

/* The options that the load needs for net_fixture_start. */
extern const struct guest_net_options net_load_options;

/* Send until more has arrived at both ends; false if it takes too long. */
bool net_load_exchange(struct net_load *load);

/* ---- Entropy: every buffer comes back once, and is completely filled ---- */

#define RNG_LOAD_BUFFERS 8u

struct rng_load {
    struct guest guest; /* initialised by the caller, with room for 20 s of waiting */
    struct guest_queue queue;
    struct rng_load_buffer {
        uint8_t *data;
        uint64_t addr;
        uint32_t length;
        bool busy;
    } buffers[RNG_LOAD_BUFFERS];
    uint32_t next; /* length of the next buffer */
    uint64_t wrong;
};

/* Bring the device up. Returns 0 or -errno. */
int rng_load_start(struct rng_load *load, uint64_t features);
/* Give the free buffers to the device, and take one buffer back. */
void rng_load_run(struct rng_load *load);
/* Take the buffers that are still under way, and free. */
void rng_load_end(struct rng_load *load);

/* ---- Console: a stream of bytes; each byte shows its place in the stream ---- */

struct console_load {
    struct guest_console *console; /* started */
    int terminal;                  /* non-blocking; -1: to be opened */
    const char *path; /* of a terminal that may end and be replaced by another; NULL: none */
    uint64_t at;      /* position in the stream of the next expected byte */
    uint64_t seen;    /* the furthest position that was seen */
    uint64_t wrong;
    unsigned int repeats; /* after a worker's death, at most the bytes of one write come again */
    unsigned int
        terminals; /* terminals opened again: each may begin with a gap, of lost unread bytes */
    uint64_t lenient_until; /* up to this value of `seen`, such a gap is allowed */
    uint8_t held[8192];     /* read, but not yet checked */
    size_t length;
};

/* Print a piece and read what is there. Returns whether something was read. */
bool console_load_run(struct console_load *load);
/* Read until all that was printed has been seen, or until that takes too long. */
void console_load_end(struct console_load *load);

/* ---- Sockets: messages of the guest, and their echoes ---- */

#define VSOCK_LOAD_TALKERS 6u
#define VSOCK_LOAD_MESSAGE 64u
#define VSOCK_LOAD_ECHOES 128u

struct vsock_load {
    struct guest_vsock *vsock; /* started */
    int server;                /* listens, non-blocking */
    uint32_t port;             /* the port on which it listens, for the guest */
    struct vsock_load_talker {
        struct guest_socket *socket;
        bool asked;
        uint32_t number, got;
        uint8_t said[VSOCK_LOAD_MESSAGE], heard[VSOCK_LOAD_MESSAGE];
        uint64_t since; /* ms: time of its last change */
    } talkers[VSOCK_LOAD_TALKERS];
    int echoes[VSOCK_LOAD_ECHOES];
    unsigned int echo_count;
    const atomic_bool *over; /* as in struct net_load */
    struct storm *storm;     /* it is told of events; NULL: none */
    uint64_t events;
    uint64_t answers, resets, wrong;
    uint64_t lost; /* times that a connection got neither an answer nor a reset for 10 s */
};

/* Run until each connection has had an answer. False if something is wrong. */
bool vsock_load_run(struct vsock_load *load);
/* Close the host's ends. */
void vsock_load_end(struct vsock_load *load);

#endif
