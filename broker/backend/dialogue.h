/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start of the dialogue with a vhost-user daemon: from connect() up to and including
 * SET_MEM_TABLE, which gives the daemon the frontend's memory. The worker gets the connected socket
 * and does the rest.
 *
 * The daemon is a program of somebody else: it may be missing, hang, stop in the middle of a
 * message, or lie. Nothing here waits: vhost_user_step does what can be done at once, and says for
 * what to wait before the next call. Each step of the dialogue has a deadline. Any failure closes
 * the connection; the next attempt comes after an exponential back-off, and there is always a next
 * one.
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

/* The time that a daemon may take for one answer. Only this device waits for it. Some daemons exit
 * for good when the connection ends in the middle of their start, and a slow machine makes that
 * start long. */
#define VHOST_USER_STEP_MS 5000

/* What the daemon is asked for. Constant once the first dialogue has begun. */
struct vhost_user_terms {
    struct sockaddr_un address;
    uint32_t queues;      /* that it has to serve: numbers 0 to queues - 1 */
    uint16_t queue_size;  /* maximum, of each queue */
    uint32_t config_size; /* bytes of configuration space, if it has one; 0: not asked for */
    bool config_needed;   /* no other source gives the configuration space */
    uint64_t guest_addr;  /* guest-physical base of the frontend's memory */
    uint64_t memory_size; /* bytes */
    int memory;           /* the file to map it from; borrowed */
};

struct vhost_user {
    struct vhost_user_terms terms;
    struct connector *connector; /* makes the connections; borrowed, and used by nobody else */

    /* The dialogue. */
    int fd;            /* -1: not connected */
    bool connecting;   /* the connector has been asked */
    unsigned int step; /* behind the last: the socket is ready to be handed on */
    bool sent;         /* this step's message is out, an answer is awaited */
    int64_t until;     /* ms: the step's deadline, or when to connect */
    struct backoff backoff;
    struct vhost_user_header header; /* of the answer; valid as far as `received` says */
    union vhost_user_payload payload;
    uint32_t received; /* bytes of header and payload */
    int answer_fd;     /* the file that came with the answer; -1: none */

    /* What the daemon has said on the present connection. */
    uint64_t features, protocol_features;
    uint8_t config[VHOST_USER_CONFIG_MAX]; /* terms.config_size bytes, with PROTOCOL_F_CONFIG */
    int requests; /* our end of the channel for its requests; -1: it wants no channel */

    /* Its buffer for requests in flight. It is kept when the daemon restarts, since the daemon
     * resumes from it. */
    int inflight_fd; /* -1: none yet */
    struct vhost_user_inflight inflight;
};

void vhost_user_init(struct vhost_user *vu);

static inline bool vhost_user_has(uint64_t protocol_features, enum vhost_user_protocol_feature bit)
{
    return (protocol_features & 1ull << bit) != 0;
}

/*
 * Go on. Returns 0 if the dialogue is complete: take `fd` with vhost_user_take. -EINPROGRESS: call
 * again at the time `until`, or as soon as the connector has answered, or as soon as `fd` is
 * readable (if it is not -1). -ECONNREFUSED: this attempt has failed, and *ret_failure says how;
 * otherwise as -EINPROGRESS.
 */
int vhost_user_step(struct vhost_user *vu, int64_t now, struct failure *ret_failure);

/* Returns the connected socket. The caller now owns it, and closes it and ->requests. */
int vhost_user_take(struct vhost_user *vu);

#endif
