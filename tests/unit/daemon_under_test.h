/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vhost-user daemon, which the tests play themselves, and the dialogue with it. The broker never
 * waits, so one thread plays both sides.
 */
#ifndef TESTS_UNIT_DAEMON_UNDER_TEST_H
#define TESTS_UNIT_DAEMON_UNDER_TEST_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/backend/dialogue.h"

#define QUEUES 2
#define CONFIG_SIZE 8
#define NOW 1000

#define BIT(name) (1ull << VHOST_USER_PROTOCOL_F_##name)
#define ALL_PROTOCOL_FEATURES                                                                      \
    (BIT(MQ) | BIT(REPLY_ACK) | BIT(BACKEND_REQ) | BIT(CONFIG) | BIT(INFLIGHT_SHMFD) |             \
     BIT(RESET_DEVICE))
#define ALL_FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VHOST_USER_F_PROTOCOL_FEATURES)

extern struct vhost_user vu;
extern struct connector connector; /* one for all tests; its thread does not end */
extern struct failure failure;
extern int daemon_end; /* the daemon's end of the connection */
extern int memory;     /* of the frontend */

/* Make `connector` and `memory`. Returns false if that fails. */
bool daemon_prepare(void);

/* A request to a daemon, or its answer. */
struct packet {
    struct vhost_user_header header;
    union vhost_user_payload payload;
    int fds[4];
    unsigned int fd_count;
};

/* How a test's daemon differs from a correct one. */
struct manners {
    uint64_t features, protocol_features, queue_num;
    uint32_t wrong; /* the request whose answer is spoilt; 0: none */
    void (*spoil)(struct packet *answer);
    unsigned int piece;   /* bytes that it sends at a time; 0: all */
    bool stop;            /* the wrong answer does not come */
    uint32_t limit_after; /* after this request there is no room for more files; 0: there is */
};

extern const struct manners right_manners;

/* The requests of a dialogue in which nothing is missing, in order, and 0. */
extern const uint32_t whole_dialogue[10];

/* Begin a case: there is a connection, and nothing has been said. dialogue_end closes all files. */
void dialogue_begin(void);
void dialogue_end(void);

/* Make a connection, as the connector does. */
void dialogue_connect(void);

/* Both sides go on until one of them has nothing to do. Returns the result of the last step. */
int dialogue_run(const struct manners *manners, uint32_t requests[16]);

/* The next connection is as good as if there had been none before. Only a buffer for requests in
 * flight is kept. */
void the_next_dialogue_is_right(void);

/* The next request, if there is one. */
bool daemon_takes(struct packet *packet);

/* Make a correct answer of it; false: the request has none. */
bool daemon_answers(const struct manners *manners, struct packet *packet);
void daemon_sends(const void *data, size_t size, const int *fds, unsigned int count);

void packet_close(struct packet *packet); /* its files */

bool is_the_memory(int fd);

/* This process may have no file beyond that number; -1: as before. */
void limit_files(int limit);

#endif
