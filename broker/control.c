/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/log.h"
#include "broker/supervisor.h"
#include "broker/unix_socket.h"

/* A rate that bao-dmctl never reaches, whoever runs it, and that costs the broker little time. */
static bool rate_allows(struct control *control)
{
    static const struct rate rate = {.burst = 256, .interval_ms = 5};
    uint64_t refused;
    return rate_limit_take(&control->rate, &rate, clock_ms(), &refused);
}

/* ---- The socket ---- */

#define LOOK_MS 10
#define NAME_BYTES 64u /* of the configuration's name; keeps the socket's name short */

void control_default_path(const char *config, unsigned int number, char ret[CONTROL_PATH_SIZE])
{
    static const char *const suffixes[] = {".yaml", ".yml"};
    const char *slash = strrchr(config, '/'), *name = slash ? slash + 1 : config;
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        size_t tail = strlen(suffixes[i]);
        if (length > tail && strcmp(name + length - tail, suffixes[i]) == 0)
            length -= tail;
    }
    char again[16] = "";
    if (number > 1)
        snprintf(again, sizeof(again), "-%u", number);
    if (length > NAME_BYTES)
        length = NAME_BYTES;
    snprintf(ret, CONTROL_PATH_SIZE, CONTROL_DIRECTORY "/%.*s%s" CONTROL_SUFFIX, (int)length, name,
             again);
}

static int explain(struct failure *failure, const char *path, int result)
{
    if (result == -EEXIST)
        return failure_set(failure, result,
                           "control socket \"%s\": another file has that name: choose another by "
                           "--control",
                           path);
    if (result == -EADDRINUSE)
        return failure_set(failure, result,
                           "control socket \"%s\": another bao-virtio-dm serves it: choose another "
                           "by --control",
                           path);
    return failure_set(failure, result, "control socket \"%s\": %s", path, strerror(-result));
}

int control_open(struct control *control, const char *path, uint32_t mode, bool again,
                 struct failure *failure)
{
    control->listener = -1;
    control->rate = (struct rate_limit){0};
    const int64_t end = clock_ms() + (again ? CONTROL_WAIT_MS : 0);
    int result;
    do
        result = unix_listen(path, SOCK_SEQPACKET, mode, CONTROL_CLIENTS_MAX);
    while (result == -EADDRINUSE && clock_ms() < end && poll(NULL, 0, LOOK_MS) == 0);
    if (result < 0)
        return explain(failure, path, result);
    control->listener = result;
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        control->clients[i] = -1;
    return 0;
}

int control_open_default(struct control *control, const char *config, uint32_t mode, bool again,
                         char ret_path[CONTROL_PATH_SIZE], struct failure *failure)
{
    int result = -EADDRINUSE;
    for (unsigned int i = 1; result == -EADDRINUSE && i <= CONTROL_NUMBER_MAX; i++) {
        control_default_path(config, i, ret_path);
        result = control_open(control, ret_path, mode, again && i == 1, failure);
    }
    return result;
}

void control_drop(struct control *control, size_t client)
{
    close(control->clients[client]);
    control->clients[client] = -1;
}

int control_accept(struct control *control)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    if (!rate_allows(control))
        return -EBUSY;
    int fd = unix_accept(control->listener);
    if (fd < 0)
        return fd;
    for (int i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        if (control->clients[i] >= 0)
            continue;
        control->clients[i] = fd;
        control->is_root[i] =
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == 0;
        return i;
    }
    close(fd);
    return -EMFILE;
}

/* ---- Requests ---- */

/* Each value is read once, and shown as a plain number. */
static void fill_from_page(const struct device *device, struct control_device *ret)
{
    const struct state_page *page = device->state;
    ret->status = page->transport.status;
    ret->features = page->transport.driver_features;
    for (uint32_t q = 0; q < device->queue_count; q++) {
        const struct state_queue *queue = &page->queues[q];
        ret->queues[q] = (struct control_queue){
            .size = queue->size,
            .ready = queue->ready,
            .next_avail = queue->next_avail,
            .next_used = queue->next_used,
        };
    }
    ret->interrupts_raised = atomic_load(&device->journal->interrupt) >> INTERRUPT_COUNT_SHIFT;
    memcpy(&ret->counters, &page->counters, sizeof(ret->counters));
}

/* Why the backend can't be opened, or can't work; "" if all is well. */
static const char *trouble_of(const struct device *device)
{
    return device->opening.phase == OPENING_DONE ? device->backend.trouble.text
                                                 : device->opening.said.text;
}

static void fill_device(const struct device *device, struct control_device *ret)
{
    static const enum control_phase phases[] = {
        [WORKER_DUE] = CONTROL_WAITING,
        [WORKER_STARTING] = CONTROL_STARTING,
        [WORKER_READY] = CONTROL_RUNNING,
        [WORKER_ENDING] = CONTROL_ENDING,
    };
    const struct worker *worker = &device->worker;
    *ret = (struct control_device){
        .id = device->config->id,
        .kind = (uint32_t)device->config->kind,
        .virtio_id = device->info->virtio_id,
        .phase = phases[worker->phase],
        .restarts = worker->incarnation,
        .pid = worker->pid,
        .layers = worker->phase == WORKER_READY ? worker->layers : 0,
        .cgroup = worker->pid > 0 ? worker->cgroup : 0,
        .queue_count = device->queue_count,
        .generation = (uint32_t)device->generation,
        .gone = atomic_load(&device->relay.gone),
        .connections = device->config->connections,
        .uptime_ms = worker->pid > 0 ? (uint64_t)(clock_ms() - worker->started_at) : 0,
        .mmio_addr = device->config->mmio_addr,
        .shmem_addr = device->shmem_addr,
        .shmem_size = device->shmem_size,
        .broker_level = (uint32_t)log_level(),
    };
    if (config_kind_has(device->config->kind, CONFIG_KEY_CACHE))
        snprintf(ret->cache, sizeof(ret->cache), "%s", config_cache_word(device->config->cache));
    memcpy(ret->name, device->name, sizeof(ret->name));
    snprintf(ret->last_death, sizeof(ret->last_death), "%.127s", worker->last_death);
    snprintf(ret->trouble, sizeof(ret->trouble), "%.255s", trouble_of(device));
    fill_from_page(device, ret);
}

static int carry_out(const struct control_request *request, bool is_root,
                     struct supervisor *supervisor, struct control_device *ret_device)
{
    struct device *device =
        device_of_id(supervisor->devices, supervisor->device_count, request->index);
    switch (request->verb) {
    case CONTROL_STATUS:
        if (request->index >= supervisor->device_count)
            return ENODEV;
        fill_device(&supervisor->devices[request->index], ret_device);
        return 0;
    case CONTROL_RESTART:
        if (!is_root)
            return EPERM;
        return device ? supervisor_restart(supervisor, device) : ENODEV;
    case CONTROL_LOG_LEVEL:
        if (!is_root)
            return EPERM;
        if (request->index >= LOG_LEVELS)
            return EINVAL;
        log_info(NULL, "the log level is now %s", log_level_name(request->index));
        log_set_level((enum log_level)request->index);
        return 0;
    default:
        return EINVAL;
    }
}

void control_answer(const void *packet, size_t length, bool is_root, struct supervisor *supervisor,
                    struct control_reply *ret_reply)
{
    struct control_request request;
    memset(ret_reply, 0, sizeof(*ret_reply)); /* with the padding: all of it is sent */
    ret_reply->version = CONTROL_VERSION;
    ret_reply->device_count = (uint32_t)supervisor->device_count;
    ret_reply->keeper = supervisor->control.keeper;
    memcpy(ret_reply->config, supervisor->control.config, sizeof(ret_reply->config));
    if (length != sizeof(request)) {
        ret_reply->error = EPROTO;
        return;
    }
    memcpy(&request, packet, sizeof(request));
    if (request.version != CONTROL_VERSION || request.reserved != 0)
        ret_reply->error = EPROTO;
    else
        ret_reply->error = carry_out(&request, is_root, supervisor, &ret_reply->device);
}

bool control_serve(struct control *control, size_t client, struct supervisor *supervisor)
{
    static struct control_reply reply;
    uint8_t packet[sizeof(struct control_request) + 1]; /* to detect a longer packet */
    struct iovec iov = {.iov_base = packet, .iov_len = sizeof(packet)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    int fd = control->clients[client];
    ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == EAGAIN)
        return true;
    if (length > 0 && (control->is_root[client] || rate_allows(control))) {
        control_answer(packet, (size_t)length, control->is_root[client], supervisor, &reply);
        iov = (struct iovec){.iov_base = &reply, .iov_len = sizeof(reply)};
        /* A client that asks and does not read is dropped. The broker does not wait for it. */
        if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof(reply))
            return true;
    }
    control_drop(control, client);
    return false;
}
