/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads that verify what they get, for storms (storm.h): each is one guest's driver and, where
 * there is one, the other end on the host. A load is one thread's; it makes no CUnit assertion but
 * where it says so, and counts what is `wrong`. The block device's is block_load.h.
 */
#ifndef TESTS_STANDIN_LOADS_H
#define TESTS_STANDIN_LOADS_H

#include <stdatomic.h>

#include "tests/standin/guest.h"
#include "tests/standin/guest_vsock.h"
#include "tests/standin/net_fixture.h"

#define LOAD_DEADLINE_MS 20000

struct storm;

/* ---- Net: frames may be lost, as on any wire; none is damaged, and no buffer stays away ---- */

struct net_load {
    struct net_fixture *net;    /* started */
    uint32_t next;              /* frame */
    uint64_t to_host, to_guest; /* arrived */
    uint64_t wrong;
    const atomic_bool *over; /* when it is set nothing more is waited for; NULL: never */
    uint8_t frame[GUEST_NET_FRAME_MAX];
};

/* What the load wants of net_fixture_start. */
extern const struct guest_net_options net_load_options;

/* Send until more has arrived at both ends; false if it takes too long. */
bool net_load_exchange(struct net_load *load);

/* ---- Entropy: every buffer comes back once, filled to its end ---- */

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
    uint32_t next; /* length */
    uint64_t wrong;
};

/* Bring the device up. Returns 0 or -errno. */
int rng_load_start(struct rng_load *load, uint64_t features);
/* Give what is free, and take one buffer. */
void rng_load_run(struct rng_load *load);
/* Take what is still under way, and free. */
void rng_load_end(struct rng_load *load);

/* ---- Console: a stream of bytes, each of which tells its place ---- */

struct console_load {
    struct guest_console *console; /* started */
    int terminal;                  /* non-blocking; -1: to be opened */
    const char *path;              /* of a terminal that may end, and be another then; NULL: none */
    uint64_t at;                   /* of the stream: the next byte expected */
    uint64_t seen;                 /* the furthest */
    uint64_t wrong;
    unsigned int repeats;   /* after a worker's death at most what one call wrote comes again */
    unsigned int terminals; /* opened anew: each may begin with a gap, of what nobody has read */
    uint64_t lenient_until; /* `seen`, up to which that is in order */
    uint8_t held[8192];     /* read and not yet judged */
    size_t length;
};

/* Print a piece and read what is there. Returns whether something was. */
bool console_load_run(struct console_load *load);
/* Read until all that was printed has been seen, or it takes too long. */
void console_load_end(struct console_load *load);

/* ---- Sockets: messages of the guest's, and their echo ---- */

#define VSOCK_LOAD_TALKERS 6u
#define VSOCK_LOAD_MESSAGE 64u
#define VSOCK_LOAD_ECHOES 128u

struct vsock_load {
    struct guest_vsock *vsock; /* started */
    int server;                /* listens, non-blocking */
    uint32_t port;             /* where, for the guest */
    struct vsock_load_talker {
        struct guest_socket *socket;
        bool asked;
        uint32_t number, got;
        uint8_t said[VSOCK_LOAD_MESSAGE], heard[VSOCK_LOAD_MESSAGE];
        uint64_t since; /* ms: of its last change */
    } talkers[VSOCK_LOAD_TALKERS];
    int echoes[VSOCK_LOAD_ECHOES];
    unsigned int echo_count;
    const atomic_bool *over; /* as above */
    struct storm *storm;     /* to be told of events; NULL: none */
    uint64_t events;
    uint64_t answers, resets, wrong;
    uint64_t lost; /* times that a connection had neither answer nor reset for 10 s */
};

/* Until each connection has had an answer; false if something is wrong. */
bool vsock_load_run(struct vsock_load *load);
/* Close the host's ends. */
void vsock_load_end(struct vsock_load *load);

#endif
