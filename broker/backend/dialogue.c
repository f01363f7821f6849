/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backend/dialogue.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/words.h"
#include "common/message.h"
#include "common/one_fd.h"

#define FDS_MAX 8 /* a message may carry this many; we never take more than one */

/* The features that we can use. Every feature that lets a daemon map or send us more is left
 * out. */
static const uint64_t protocol_features_known =
    1ull << VHOST_USER_PROTOCOL_F_MQ | 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK |
    1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ | 1ull << VHOST_USER_PROTOCOL_F_CONFIG |
    1ull << VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD | 1ull << VHOST_USER_PROTOCOL_F_RESET_DEVICE;

void vhost_user_init(struct vhost_user *vu)
{
    *vu = (struct vhost_user){.fd = -1, .answer_fd = -1, .requests = -1, .inflight_fd = -1};
}

/* --- What is said and answered --------------------------------------------------------------- */

struct request {
    union vhost_user_payload payload;
    uint32_t size;
    int fd;            /* -1: none */
    bool owned;        /* to be closed once it is sent */
    const char *wrong; /* why it can't be sent; NULL: it can */
};

static bool has(const struct vhost_user *vu, enum vhost_user_protocol_feature bit)
{
    return vhost_user_has(vu->protocol_features, bit);
}

static const char no_config[] =
    "it has no configuration space of its own, so the configuration file has to say what is in it";

static bool has_protocol_features(const struct vhost_user *vu)
{
    return (vu->features & 1ull << VHOST_USER_F_PROTOCOL_FEATURES) != 0;
}

static const char *take_features(struct vhost_user *vu)
{
    vu->features = vu->payload.u64;
    vu->protocol_features = 0; /* the daemon of the last connection may have been another one */
    if ((vu->features & 1ull << VIRTIO_F_VERSION_1) == 0)
        return "it does not offer VIRTIO_F_VERSION_1";
    return vu->terms.config_needed && !has_protocol_features(vu) ? no_config : NULL;
}

/* The channel for the daemon's requests is useful for one request only: the configuration space has
 * changed. */
static const char *take_protocol_features(struct vhost_user *vu)
{
    vu->protocol_features = vu->payload.u64 & protocol_features_known;
    if (vu->terms.config_size == 0)
        vu->protocol_features &= ~(1ull << VHOST_USER_PROTOCOL_F_CONFIG);
    if (!has(vu, VHOST_USER_PROTOCOL_F_CONFIG))
        vu->protocol_features &= ~(1ull << VHOST_USER_PROTOCOL_F_BACKEND_REQ);
    return vu->terms.config_needed && !has(vu, VHOST_USER_PROTOCOL_F_CONFIG) ? no_config : NULL;
}

static void fill_protocol_features(struct vhost_user *vu, struct request *request)
{
    request->payload.u64 = vu->protocol_features;
    request->size = sizeof(request->payload.u64);
}

static bool has_queue_num(const struct vhost_user *vu)
{
    return has(vu, VHOST_USER_PROTOCOL_F_MQ);
}

static const char *take_queue_num(struct vhost_user *vu)
{
    return vu->payload.u64 < vu->terms.queues ? "it serves fewer queues than the device has" : NULL;
}

static bool has_requests(const struct vhost_user *vu)
{
    return has(vu, VHOST_USER_PROTOCOL_F_BACKEND_REQ);
}

static void fill_requests(struct vhost_user *vu, struct request *request)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0) {
        request->wrong = words_error(errno);
        return;
    }
    vu->requests = sockets[0];
    request->fd = sockets[1];
    request->owned = true;
}

static bool has_config(const struct vhost_user *vu)
{
    return has(vu, VHOST_USER_PROTOCOL_F_CONFIG);
}

static void fill_config(struct vhost_user *vu, struct request *request)
{
    request->payload.config = (struct vhost_user_config){.size = vu->terms.config_size};
    request->size = VHOST_USER_CONFIG_HEADER + vu->terms.config_size;
}

static const char *take_config(struct vhost_user *vu)
{
    const struct vhost_user_config *config = &vu->payload.config;
    if (vu->header.size != VHOST_USER_CONFIG_HEADER + vu->terms.config_size ||
        config->size != vu->terms.config_size)
        return "its configuration space has not the size that is expected (config_size)";
    memcpy(vu->config, config->region, config->size);
    return NULL;
}

static bool needs_inflight(const struct vhost_user *vu)
{
    return has(vu, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) && vu->inflight_fd < 0;
}

static void fill_inflight(struct vhost_user *vu, struct request *request)
{
    request->payload.inflight = (struct vhost_user_inflight){
        .num_queues = (uint16_t)vu->terms.queues,
        .queue_size = vu->terms.queue_size,
    };
    request->size = sizeof(request->payload.inflight);
}

/* Nobody here maps the buffer, so its contents concern only the daemon. */
static const char *take_inflight(struct vhost_user *vu)
{
    if (vu->answer_fd < 0)
        return "it sends no buffer for requests in flight";
    vu->inflight_fd = vu->answer_fd;
    vu->answer_fd = -1;
    vu->inflight = vu->payload.inflight;
    vu->inflight.num_queues = (uint16_t)vu->terms.queues;
    vu->inflight.queue_size = vu->terms.queue_size;
    return NULL;
}

/* Bao's driver maps from the start of the window, whatever offset is given. */
static void fill_memory(struct vhost_user *vu, struct request *request)
{
    request->payload.memory = (struct vhost_user_memory){
        .nregions = 1,
        .guest_addr = vu->terms.guest_addr,
        .size = vu->terms.memory_size,
        .user_addr = vu->terms.guest_addr,
    };
    request->size = sizeof(request->payload.memory);
    request->fd = vu->terms.memory;
}

enum answer {
    ANSWER_NONE, /* the protocol has no answer, and none is requested */
    ANSWER_ACK,  /* an answer only with REPLY_ACK: a number, 0 for success */
    ANSWER_OWN,  /* always an answer, with a payload of the request's own */
};

/* The steps of the dialogue, in order. */
static const struct step {
    enum vhost_user_request request;
    const char *name;
    enum answer answer;
    uint32_t size_min, size_max;                  /* of the answer's payload, for ANSWER_OWN */
    bool takes_fd;                                /* the answer carries a file */
    bool (*applies)(const struct vhost_user *vu); /* NULL: always */
    void (*fill)(struct vhost_user *vu, struct request *request); /* NULL: no payload */
    const char *(*take)(struct vhost_user *vu); /* NULL, or what is wrong with the answer */
} steps[] = {
    {VHOST_USER_GET_FEATURES, "GET_FEATURES", ANSWER_OWN, 8, 8, false, NULL, NULL, take_features},
    {VHOST_USER_GET_PROTOCOL_FEATURES, "GET_PROTOCOL_FEATURES", ANSWER_OWN, 8, 8, false,
     has_protocol_features, NULL, take_protocol_features},
    {VHOST_USER_SET_PROTOCOL_FEATURES, "SET_PROTOCOL_FEATURES", ANSWER_NONE, 0, 0, false,
     has_protocol_features, fill_protocol_features, NULL},
    {VHOST_USER_GET_QUEUE_NUM, "GET_QUEUE_NUM", ANSWER_OWN, 8, 8, false, has_queue_num, NULL,
     take_queue_num},
    {VHOST_USER_SET_OWNER, "SET_OWNER", ANSWER_NONE, 0, 0, false, NULL, NULL, NULL},
    {VHOST_USER_SET_BACKEND_REQ_FD, "SET_BACKEND_REQ_FD", ANSWER_ACK, 0, 0, false, has_requests,
     fill_requests, NULL},
    /* With an empty answer a daemon says that it has no configuration space. */
    {VHOST_USER_GET_CONFIG, "GET_CONFIG", ANSWER_OWN, 0, sizeof(struct vhost_user_config), false,
     has_config, fill_config, take_config},
    {VHOST_USER_GET_INFLIGHT_FD, "GET_INFLIGHT_FD", ANSWER_OWN, sizeof(struct vhost_user_inflight),
     sizeof(struct vhost_user_inflight), true, needs_inflight, fill_inflight, take_inflight},
    /* This step is last: from here on the daemon can reach the frontend's memory. */
    {VHOST_USER_SET_MEM_TABLE, "SET_MEM_TABLE", ANSWER_ACK, 0, 0, false, NULL, fill_memory, NULL},
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* --- One connection -------------------------------------------------------------------------- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool expects_answer(const struct vhost_user *vu, const struct step *step)
{
    return step->answer == ANSWER_OWN ||
           (step->answer == ANSWER_ACK && has(vu, VHOST_USER_PROTOCOL_F_REPLY_ACK));
}

/* Returns NULL, or what went wrong. The buffer of a new connection has room for all that is ever
 * sent before an answer, so a message that does not fit is not tried again. */
static const char *send_request(struct vhost_user *vu, const struct step *step)
{
    union one_fd room = {0};
    struct request request = {.fd = -1};
    if (step->fill)
        step->fill(vu, &request);
    if (request.wrong)
        return request.wrong;
    struct vhost_user_header header = {step->request, VHOST_USER_VERSION, request.size};
    if (step->answer == ANSWER_ACK && expects_answer(vu, step))
        header.flags |= VHOST_USER_NEED_REPLY;

    struct iovec parts[] = {{&header, sizeof(header)}, {&request.payload, request.size}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    one_fd_attach(&message, &room, request.fd);
    ssize_t sent = sendmsg(vu->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = errno;
    if (request.owned)
        close_fd(&request.fd);
    if (sent < 0)
        return words_error(error);
    return (size_t)sent == sizeof(header) + request.size ? NULL : "it does not read";
}

/* Keeps one file for a step that takes one, and closes all others. Returns true if there was one
 * file too many. */
static bool take_fds(struct vhost_user *vu, struct msghdr *message, bool takes_fd)
{
    size_t room = takes_fd && vu->answer_fd < 0 ? 1 : 0;
    return message_take_fds(message, &vu->answer_fd, room) > room ||
           (message->msg_flags & MSG_CTRUNC) != 0;
}

/* The part of the answer that has not come yet: first the rest of the header, then the rest of the
 * payload that the header announces. */
static struct iovec missing(struct vhost_user *vu)
{
    uint32_t header = sizeof(vu->header);
    if (vu->received < header)
        return (struct iovec){(char *)&vu->header + vu->received, header - vu->received};
    return (struct iovec){(char *)&vu->payload + (vu->received - header),
                          header + vu->header.size - vu->received};
}

/* This is called before any byte of the payload is read, so that the payload can't be longer than
 * its buffer. */
static const char *check_header(const struct vhost_user *vu, const struct step *step)
{
    const struct vhost_user_header *header = &vu->header;
    bool own = step->answer == ANSWER_OWN;
    uint32_t size_min = own ? step->size_min : sizeof(uint64_t);
    uint32_t size_max = own ? step->size_max : sizeof(uint64_t);
    const uint32_t expected = VHOST_USER_VERSION | VHOST_USER_REPLY;
    if (header->request != (uint32_t)step->request)
        return "it answers another request";
    if ((header->flags & (VHOST_USER_VERSION_MASK | VHOST_USER_REPLY)) != expected)
        return "its answer is none of version 1";
    if (header->size < size_min || header->size > size_max)
        return "its answer has the wrong length";
    return NULL;
}

/* Reads what is there. Returns 1 if the answer is complete, 0 if more must come, -1 with *ret_wrong
 * if it is not a valid answer. */
static int receive_answer(struct vhost_user *vu, const struct step *step, const char **ret_wrong)
{
    union {
        struct cmsghdr align;
        char buffer[CMSG_SPACE(sizeof(int) * FDS_MAX)];
    } control;
    for (;;) {
        struct iovec part = missing(vu);
        if (part.iov_len == 0)
            return 1;
        struct msghdr message = {
            .msg_iov = &part,
            .msg_iovlen = 1,
            .msg_control = control.buffer,
            .msg_controllen = sizeof(control.buffer),
        };
        ssize_t count = recvmsg(vu->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN)
            return 0;
        *ret_wrong = count < 0 ? words_error(errno) : "it closes the connection";
        if (count <= 0)
            return -1;
        *ret_wrong = "it sends files that it was not asked for";
        if (take_fds(vu, &message, step->takes_fd))
            return -1;
        vu->received += (uint32_t)count;
        *ret_wrong = vu->received == sizeof(vu->header) ? check_header(vu, step) : NULL;
        if (*ret_wrong)
            return -1;
    }
}

static const char *check_answer(struct vhost_user *vu, const struct step *step)
{
    if (step->answer == ANSWER_ACK)
        return vu->payload.u64 == 0 ? NULL : "it refuses";
    return step->take ? step->take(vu) : NULL;
}

static void forget_connection(struct vhost_user *vu)
{
    close_fd(&vu->fd);
    close_fd(&vu->answer_fd);
    close_fd(&vu->requests);
    vu->step = 0;
    vu->sent = false;
}

static int fail(struct vhost_user *vu, int64_t now, const char *where, const char *wrong,
                struct failure *ret_failure)
{
    forget_connection(vu);
    vu->until = now + backoff_after_death(&vu->backoff, 0);
    return failure_set(ret_failure, -ECONNREFUSED, "%s: %s", where, wrong);
}

/* The connector connects, not this process: the path may lie on a file system that hangs. It is
 * asked once, and its answer is used however late it comes. Returns 1 if connected, 0 while that is
 * not known, -1 with *ret_wrong. */
static int connect_to_daemon(struct vhost_user *vu, int64_t now, const char **ret_wrong)
{
    struct connector_request request = {.address = vu->terms.address, .type = SOCK_STREAM};
    if (!vu->connecting) {
        int result = connector_ask(vu->connector, &request);
        *ret_wrong = words_error(-result);
        if (result < 0)
            return -1;
        vu->connecting = true;
        vu->until = now + VHOST_USER_STEP_MS;
    }
    if (!connector_take(vu->connector, &request)) {
        *ret_wrong = "the file system of its socket does not answer";
        return now < vu->until ? 0 : -1;
    }
    vu->connecting = false;
    *ret_wrong = words_error(-request.result);
    if (request.result < 0)
        return -1;
    vu->fd = request.result;
    return 1;
}

static const struct step *next_step(struct vhost_user *vu)
{
    while (vu->step < STEPS && steps[vu->step].applies && !steps[vu->step].applies(vu))
        vu->step++;
    return vu->step < STEPS ? &steps[vu->step] : NULL;
}

/* Returns 1 if the step is over, 0 while its answer is awaited, -1 with *ret_wrong. */
static int take_step(struct vhost_user *vu, const struct step *step, int64_t now,
                     const char **ret_wrong)
{
    if (!vu->sent) {
        *ret_wrong = send_request(vu, step);
        if (*ret_wrong)
            return -1;
        vu->sent = true;
        vu->received = 0;
        vu->until = now + VHOST_USER_STEP_MS;
    }
    if (expects_answer(vu, step)) {
        int complete = receive_answer(vu, step, ret_wrong);
        if (complete == 0 && now >= vu->until) {
            *ret_wrong = "it does not answer in time";
            return -1;
        }
        if (complete <= 0)
            return complete;
        *ret_wrong = check_answer(vu, step);
        if (*ret_wrong)
            return -1;
    }
    vu->sent = false;
    vu->step++;
    return 1;
}

int vhost_user_step(struct vhost_user *vu, int64_t now, struct failure *ret_failure)
{
    const char *wrong;
    if (vu->fd < 0) {
        if (now < vu->until && !vu->connecting)
            return -EINPROGRESS;
        int connected = connect_to_daemon(vu, now, &wrong);
        if (connected < 0)
            return fail(vu, now, "connect", wrong, ret_failure);
        if (connected == 0)
            return -EINPROGRESS;
    }
    for (const struct step *step = next_step(vu); step; step = next_step(vu)) {
        int over = take_step(vu, step, now, &wrong);
        if (over < 0)
            return fail(vu, now, step->name, wrong, ret_failure);
        if (over == 0)
            return -EINPROGRESS;
    }
    vu->backoff = (struct backoff){0};
    return 0;
}

int vhost_user_take(struct vhost_user *vu)
{
    int fd = vu->fd;
    vu->fd = -1;
    vu->requests = -1;
    vu->step = 0;
    vu->until = 0;
    return fd;
}
