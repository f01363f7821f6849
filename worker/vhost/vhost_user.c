/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device whose queues a vhost-user daemon serves (QEMU, docs/interop/vhost-user): sockets, file
 * systems, and devices of any other type. The broker has begun the dialogue. It goes on here, from
 * SET_FEATURES to GET_VRING_BASE, whenever the driver starts or stops a queue.
 *
 * The daemon is a program of somebody else. If it hangs, the socket's time limits bound the wait. A
 * wrong answer, or an answer that nobody asked for, ends this process: the broker then connects
 * anew, and a successor goes on from the state page. Files that the daemon sends are never taken:
 * the kernel discards them.
 *
 * After lock-down, system calls: sendmsg and recvmsg on WORKER_FD_BACKEND and WORKER_FD_BACKEND3,
 * fallocate on WORKER_FD_BACKEND4, and write on the kick eventfds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/eventfd.h"
#include "common/one_fd.h"
#include "common/vhost_user.h"
#include "worker/device.h"
#include "worker/log.h"
#include "worker/vhost/vhost.h"
#include "worker/vsock/event.h"

/* VirtIO 1.2 §6; the headers of some build systems do not have these yet. */
#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif
#ifndef VIRTIO_F_NOTIF_CONFIG_DATA
#define VIRTIO_F_NOTIF_CONFIG_DATA 39
#endif

enum {
    FILE_DAEMON,   /* the socket */
    FILE_ERROR,    /* an eventfd: the daemon met a malformed ring */
    FILE_REQUESTS, /* the channel for the daemon's own requests */
    FILE_INFLIGHT, /* its buffer for requests in flight */
};

#define NO_FILE (-1)       /* a message goes without one */
#define ANSWER_SECONDS 1   /* the time that the daemon has to answer, or to read a message */
#define REQUESTS_A_TURN 64 /* the daemon's requests: a daemon that sends more is broken */

static struct dialogue {
    uint64_t protocol_features;
    bool has_protocol_features;
    struct vhost_user_inflight inflight;
    bool started;       /* the daemon has been told of a driver since its last reset */
    uint32_t running;   /* bit q: the daemon serves queue q */
    bool reset_pending; /* vsock: VIRTIO_VSOCK_EVENT_TRANSPORT_RESET is to be sent */
} dialogue;

/*
 * Features that are not offered, even if the daemon offers them: the daemon would need more from us
 * for them than there is. VIRTIO_F_ACCESS_PLATFORM tells a daemon to ask for each translation, a
 * packed ring can't be resumed from its content alone, and the notifications of the last two are
 * more than an eventfd can carry.
 */
static const uint64_t never_offered =
    1ull << VHOST_F_LOG_ALL | 1ull << VHOST_USER_F_PROTOCOL_FEATURES |
    1ull << VIRTIO_F_ACCESS_PLATFORM | 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_SR_IOV |
    1ull << VIRTIO_F_NOTIFICATION_DATA | 1ull << VIRTIO_F_NOTIF_CONFIG_DATA;

static bool has(enum vhost_user_protocol_feature bit)
{
    return (dialogue.protocol_features & 1ull << bit) != 0;
}

/* The broker has to repair the device. What the driver asked for waits for the successor. */
static _Noreturn void daemon_lost(void)
{
    log_event(LOG_DAEMON_LOST, 0);
    _exit(EXIT_FAILURE);
}

/* ---- Messages ---- */

static void send_all(int socket, const struct vhost_user_header *header, const void *payload,
                     int fd)
{
    union one_fd room = {0};
    struct iovec parts[] = {
        {(void *)header, sizeof(*header)},
        {(void *)payload, header->size},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    one_fd_attach(&message, &room, fd);
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != (ssize_t)(sizeof(*header) + header->size))
        daemon_lost();
}

/* As recv, from a backend file. There is no room for files: the kernel discards any that come, and
 * that is an error, EBADMSG. */
static ssize_t receive(unsigned int file, void *to, size_t size, int flags)
{
    struct iovec part = {to, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t received = recvmsg(WORKER_FD_BACKEND + (int)file, &message, flags);
    if ((message.msg_flags & MSG_CTRUNC) == 0)
        return received;
    errno = EBADMSG;
    return -1;
}

/* Receive all bytes within ANSWER_SECONDS. */
static void receive_all(void *to, uint32_t size)
{
    if (receive(FILE_DAEMON, to, size, MSG_WAITALL) != (ssize_t)size)
        daemon_lost();
}

static void take_answer(enum vhost_user_request request, void *payload, uint32_t size)
{
    struct vhost_user_header header;
    receive_all(&header, sizeof(header));
    if (header.request != (uint32_t)request || header.size != size ||
        (header.flags & (VHOST_USER_VERSION_MASK | VHOST_USER_REPLY)) !=
            (VHOST_USER_VERSION | VHOST_USER_REPLY))
        daemon_lost();
    receive_all(payload, size);
}

/* Send a request without a file, and wait for the answer to it. */
static void ask(enum vhost_user_request request, const void *payload, uint32_t size, void *answer,
                uint32_t answer_size)
{
    const struct vhost_user_header header = {request, VHOST_USER_VERSION, size};
    send_all(WORKER_FD_BACKEND + FILE_DAEMON, &header, payload, NO_FILE);
    take_answer(request, answer, answer_size);
}

/* Send a request; with REPLY_ACK, wait until the daemon has done it. */
static void tell_with_fd(enum vhost_user_request request, const void *payload, uint32_t size,
                         int fd)
{
    bool acknowledged = has(VHOST_USER_PROTOCOL_F_REPLY_ACK);
    struct vhost_user_header header = {request, VHOST_USER_VERSION, size};
    uint64_t result;
    if (acknowledged)
        header.flags |= VHOST_USER_NEED_REPLY;
    send_all(WORKER_FD_BACKEND + FILE_DAEMON, &header, payload, fd);
    if (acknowledged) {
        take_answer(request, &result, sizeof(result));
        if (result != 0)
            daemon_lost();
    } else if (fd != NO_FILE) {
        /* An answer to any later request shows that the daemon has taken the file. The kernel lets
         * only as many files be under way as this process may have open. */
        ask(VHOST_USER_GET_FEATURES, NULL, 0, &result, sizeof(result));
    }
}

static void tell(enum vhost_user_request request, const void *payload, uint32_t size)
{
    tell_with_fd(request, payload, size, NO_FILE);
}

/* ---- The configuration space ---- */

/* Returns whether it has changed. */
static bool read_config(struct device *dev)
{
    static struct vhost_user_config config;
    uint32_t size = VHOST_USER_CONFIG_HEADER + dev->config_size;
    config = (struct vhost_user_config){.size = dev->config_size};
    ask(VHOST_USER_GET_CONFIG, &config, size, &config, size);
    if (memcmp(dev->config, config.region, dev->config_size) == 0)
        return false;
    memcpy(dev->config, config.region, dev->config_size);
    return true;
}

/* What a driver writes can change what it reads next, from the same field or from another
 * (§5.8). */
static int write_config(struct device *dev, uint32_t offset, unsigned int width, uint64_t value,
                        struct guest_fault *ret_fault)
{
    (void)ret_fault;
    struct vhost_user_config config = {.offset = offset, .size = width};
    if (!has(VHOST_USER_PROTOCOL_F_CONFIG))
        return 0;
    memcpy(config.region, &value, width);
    tell(VHOST_USER_SET_CONFIG, &config, VHOST_USER_CONFIG_HEADER + width);
    (void)read_config(dev);
    return 0;
}

/* ---- Queues ---- */

/* The kick comes last: it lets the daemon begin. */
static void set_eventfds(const struct device *dev, unsigned int queue)
{
    const struct {
        enum vhost_user_request request;
        int fd;
    } files[] = {
        {VHOST_USER_SET_VRING_CALL, WORKER_FD_CALL},
        {VHOST_USER_SET_VRING_ERR, WORKER_FD_BACKEND + FILE_ERROR},
        {VHOST_USER_SET_VRING_KICK, device_kick_fd(dev, queue)},
    };
    const uint64_t index = queue;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        tell_with_fd(files[i].request, &index, sizeof(index), files[i].fd);
}

static int start_ring(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    const struct state_queue *state = &dev->state->queues[queue];
    uint16_t base;
    int r = vhost_ring_base(dev, queue, &base, ret_fault);
    if (r < 0)
        return r;
    const struct vhost_vring_state num = {.index = queue, .num = state->size};
    const struct vhost_vring_state first = {.index = queue, .num = base};
    const struct vhost_vring_state enable = {.index = queue, .num = 1};
    const struct vhost_vring_addr addr = {
        .index = queue,
        .desc_user_addr = state->desc,
        .avail_user_addr = state->driver,
        .used_user_addr = state->device,
    };
    tell(VHOST_USER_SET_VRING_NUM, &num, sizeof(num));
    tell(VHOST_USER_SET_VRING_BASE, &first, sizeof(first));
    tell(VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));
    /* The next message can make the daemon begin, so from now on it has to be stopped. */
    dialogue.running |= 1u << queue;
    set_eventfds(dev, queue);
    if (dialogue.has_protocol_features)
        tell(VHOST_USER_SET_VRING_ENABLE, &enable, sizeof(enable));
    /* Chains that were made available before had their kick, perhaps when nobody listened. */
    (void)eventfd_signal(device_kick_fd(dev, queue));
    return 0;
}

static void stop_ring(unsigned int queue)
{
    struct vhost_vring_state state = {.index = queue};
    if ((dialogue.running & 1u << queue) == 0)
        return;
    ask(VHOST_USER_GET_VRING_BASE, &state, sizeof(state), &state, sizeof(state));
    if (state.index != queue)
        daemon_lost();
    dialogue.running &= ~(1u << queue);
}

static bool is_the_daemons(const struct device *dev, unsigned int queue)
{
    return (dev->user_queues & 1u << queue) == 0;
}

/* A driver that begins anew has no requests in flight. The buffer says so when it is all zero. That
 * is done here, and not at the end: a predecessor may have died before it came to an end. */
static void share_inflight(bool resumed)
{
    const struct vhost_user_inflight *inflight = &dialogue.inflight;
    int buffer = WORKER_FD_BACKEND + FILE_INFLIGHT;
    if (!resumed && fallocate(buffer, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              (off_t)inflight->mmap_offset, (off_t)inflight->mmap_size) < 0)
        daemon_lost();
    tell_with_fd(VHOST_USER_SET_INFLIGHT_FD, inflight, sizeof(*inflight), buffer);
}

static int start(struct device *dev, bool resumed, struct guest_fault *ret_fault)
{
    uint64_t features = dev->state->transport.driver_features & ~never_offered;
    if (dialogue.has_protocol_features)
        features |= 1ull << VHOST_USER_F_PROTOCOL_FEATURES;
    dialogue.reset_pending = resumed;
    dialogue.started = true;
    tell(VHOST_USER_SET_FEATURES, &features, sizeof(features));
    if (has(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
        share_inflight(resumed);
    for (unsigned int q = 0; q < dev->queue_count; q++) {
        if (!is_the_daemons(dev, q) || dev->state->queues[q].ready == 0)
            continue;
        int r = start_ring(dev, q, ret_fault);
        if (r < 0)
            return r;
    }
    return 0;
}

static void stop(struct device *dev)
{
    (void)dev;
    if (!dialogue.started)
        return;
    while (dialogue.running != 0)
        stop_ring((unsigned int)__builtin_ctz(dialogue.running));
    dialogue.started = false;
    if (has(VHOST_USER_PROTOCOL_F_RESET_DEVICE))
        tell(VHOST_USER_RESET_DEVICE, NULL, 0);
}

static int queue_start(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    return is_the_daemons(dev, queue) ? start_ring(dev, queue, ret_fault) : 0;
}

static void queue_stop(struct device *dev, unsigned int queue)
{
    (void)dev;
    stop_ring(queue);
}

/* ---- What the daemon sends without a request ---- */

/* While no answer is awaited, only the end of the connection may come. The event can also be that
 * of an answer that has been taken already. */
static void look_at_daemon(void)
{
    char byte;
    if (receive(FILE_DAEMON, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN)
        daemon_lost();
}

/* Take a request from the daemon. Returns false if there is none. No known request has a
 * payload. */
static bool take_request(struct device *dev)
{
    struct vhost_user_header header;
    ssize_t size = receive(FILE_REQUESTS, &header, sizeof(header), MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN)
        return false;
    if (size == 0)
        return false; /* the end of the channel: the other socket shows what it means */
    if (size != (ssize_t)sizeof(header) || header.request != VHOST_USER_BACKEND_CONFIG_CHANGE_MSG ||
        header.size != 0 ||
        (header.flags & (VHOST_USER_VERSION_MASK | VHOST_USER_REPLY)) != VHOST_USER_VERSION)
        daemon_lost();
    if (read_config(dev))
        device_config_changed(dev);
    if ((header.flags & VHOST_USER_NEED_REPLY) != 0) {
        const uint64_t done = 0;
        header.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
        header.size = sizeof(done);
        send_all(WORKER_FD_BACKEND + FILE_REQUESTS, &header, &done, NO_FILE);
    }
    return true;
}

static int backend_event(struct device *dev, unsigned int file, uint32_t events,
                         struct guest_fault *ret_fault)
{
    (void)events;
    if (file == FILE_DAEMON) {
        look_at_daemon();
    } else if (file == FILE_REQUESTS) {
        for (unsigned int i = 0; take_request(dev); i++) {
            if (i == REQUESTS_A_TURN)
                daemon_lost();
        }
    } else if (file == FILE_ERROR && dialogue.running != 0) {
        *ret_fault = (struct guest_fault){.code = LOG_DAEMON_RING};
        return -EBADMSG;
    }
    return 0;
}

/* ---- Start ---- */

/* The broker does not wait in its half of the dialogue. This half waits, but not for ever. */
static int limit_waiting(void)
{
    const struct timeval limit = {.tv_sec = ANSWER_SECONDS};
    int socket = WORKER_FD_BACKEND + FILE_DAEMON;
    if (fcntl(socket, F_SETFL, 0) < 0 ||
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
        setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
        return -errno;
    return 0;
}

static int init(struct device *dev, const struct message_start *start)
{
    const struct start_vhost_user *given = &start->of_kind.vhost_user;
    if (given->config_size > sizeof(dev->config) || given->inflight.mmap_offset > INT64_MAX ||
        given->inflight.mmap_size > INT64_MAX)
        return -EINVAL;
    dialogue = (struct dialogue){
        .protocol_features = given->protocol_features,
        .has_protocol_features = (given->features & 1ull << VHOST_USER_F_PROTOCOL_FEATURES) != 0,
        .inflight = given->inflight,
    };
    dev->features = given->features & ~never_offered;
    dev->config_size = given->config_size;
    memcpy(dev->config, given->config, given->config_size);
    dev->backend_events = 1u << FILE_DAEMON | 1u << FILE_ERROR;
    if (has(VHOST_USER_PROTOCOL_F_BACKEND_REQ))
        dev->backend_events |= 1u << FILE_REQUESTS;
    return limit_waiting();
}

static int vsock_init(struct device *dev, const struct message_start *start)
{
    dev->user_queues = 1u << QUEUE_EVENT;
    return init(dev, start);
}

static enum serve vsock_turn(struct device *dev, unsigned int queue, struct guest_fault *ret_fault)
{
    (void)queue; /* the daemon serves the other queues */
    return vsock_event_turn(dev, &dialogue.reset_pending, ret_fault);
}

const struct device_ops vsock_vhost_user_ops = {
    .init = vsock_init,
    .start = start,
    .stop = stop,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .turn = vsock_turn,
    .backend_event = backend_event,
    .write_config = write_config,
};

const struct device_ops vhost_user_ops = {
    .init = init,
    .start = start,
    .stop = stop,
    .queue_start = queue_start,
    .queue_stop = queue_stop,
    .backend_event = backend_event,
    .write_config = write_config,
};
