/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's half of the dialogue with a vhost-user daemon, and the daemon. Its answers lie in
 * the socket before the worker asks; afterwards the test reads what the worker has sent.
 */
#ifndef TESTS_UNIT_WORKER_DIALOGUE_H
#define TESTS_UNIT_WORKER_DIALOGUE_H

#include "common/vhost_user.h"
#include "tests/unit/guest.h"

#define BIT(n) (1ull << (n))
#define OPS vhost_user_ops
#define DAEMON WORKER_FD_BACKEND
#define REQUESTS (WORKER_FD_BACKEND + 2)
#define INFLIGHT (WORKER_FD_BACKEND + 3)
#define SIZE 64u
#define ANSWER (VHOST_USER_VERSION | VHOST_USER_REPLY)

extern struct device device;
extern struct guest_ring rings[2];
extern struct guest_fault fault;
extern int daemon_end, requests_end; /* of the worker's sockets */
extern int inflight;                 /* the buffer, half of which is for requests in flight */

/* A new connection, of which the worker's end gets this number; returns the daemon's end. */
int connected(int number);

/* START as a broker sends it after a dialogue with this result. */
struct message_start start_of(uint64_t protocol_features);

/* A worker whose driver has made the first `ready` of its two rings ready. */
void prepare(uint64_t protocol_features, unsigned int ready);

/* The daemon's next message, or its next answer. */
void say(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size);
void answer(uint32_t request, const void *payload, uint32_t size);
void answer_number(uint32_t request, uint64_t value);
void answer_config(const char *content); /* 8 bytes */

/* A daemon without REPLY_ACK is asked something after each of so many files. */
void answer_after_files(unsigned int count);

/* Asserts that this is the worker's next message, with a file or without. */
void hears(int socket, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
           bool with_file);

/* The messages with which ring `q` starts; `asks`: each file is followed by a question. */
void hears_ring(unsigned int q, uint32_t flags, bool asks);

void hears_nothing_more(int socket);

/* Passes over all that the worker has sent. */
void hears_anything(int socket);

#endif
