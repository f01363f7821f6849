/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of the dialogue with a vhost-user daemon: from connect() up to and including
 * SET_MEM_TABLE, which gives it the frontend's memory. What comes after is the worker's, which
 * gets the connected socket.
 *
 * The daemon is somebody else's program: it may be missing, hang, stop in the middle of a message,
 * or lie. Nothing here waits: vhost_user_step does what can be done at once and says for what to
 * call it again. Each step of the dialogue has a deadline; whatever goes wrong closes the
 * connection, and the next attempt comes after an exponential back-off, without end.
 *
 * Single-threaded. Functions do not log.
 */
#ifndef BROKER_BACKEND_DIALOGUE_H
#define BROKER_BACKEND_DIALOGUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "broker/backend/connector.h"
#include "broker/backoff.h"
#include "broker/failure.h"
#include "common/vhost_user.h"

/* What a daemon may take for one answer. Nobody else waits for it, and some end for good when they
 * are left alone in the middle of their start, which a slow machine makes long. */
#define VHOST_USER_STEP_MS 5000

/* What is asked of the daemon. Constant once the first dialogue has begun. */
struct vhost_user_terms {
    struct sockaddr_un address;
    uint32_t queues;      /* that it shall serve: numbers 0 to queues - 1 */
    uint16_t queue_size;  /* at most, of each */
    uint32_t config_size; /* bytes of configuration space, if it has one; 0: not asked for */
    bool config_needed;   /* nobody else has the configuration space */
    uint64_t guest_addr;  /* guest-physical base of the frontend's memory */
    uint64_t memory_size; /* bytes */
    int memory;           /* the file to map it from; borrowed */
};

struct vhost_user {
    struct vhost_user_terms terms;
    struct connector *connector; /* connects; borrowed, and nobody else's */

    /* The dialogue. */
    int fd;          /* -1: not connected */
    bool connecting; /* the connector has been asked */
    unsigned int step;
    bool sent;     /* this step's message is out, an answer is awaited */
    bool finished; /* the socket is ready to be handed on */
    int64_t until; /* ms: the step's deadline, or when to connect */
    struct backoff backoff;
    struct vhost_user_header header; /* of the answer, as far as `received` says */
    union vhost_user_payload payload;
    uint32_t received; /* bytes of header and payload */
    int answer_fd;     /* that came with it; -1: none */

    /* What the daemon has said; of the present connection. */
    uint64_t features, protocol_features;
    uint8_t config[VHOST_USER_CONFIG_MAX]; /* terms.config_size bytes, with PROTOCOL_F_CONFIG */
    int requests; /* our end of the channel for its requests; -1: it wants none */

    /* Its buffer for requests in flight: kept over its restarts, as it is what it resumes from. */
    int inflight_fd; /* -1: none yet */
    struct vhost_user_inflight inflight;
};

void vhost_user_init(struct vhost_user *vu);

static inline bool vhost_user_has(uint64_t protocol_features, enum vhost_user_protocol_feature bit)
{
    return (protocol_features & 1ull << bit) != 0;
}

/*
 * Go on. Returns 0 if the dialogue has come to its end, and `fd` is to be taken with
 * vhost_user_take. -EINPROGRESS: call again at the time `until`, or as soon as the connector has
 * answered, or `fd`, if it is not -1, is readable. -ECONNREFUSED: this attempt has failed, and
 * *ret_failure says how; otherwise as -EINPROGRESS.
 */
int vhost_user_step(struct vhost_user *vu, int64_t now, struct failure *ret_failure);

/* The connected socket, now the caller's, who closes it and ->requests. */
int vhost_user_take(struct vhost_user *vu);

#endif
