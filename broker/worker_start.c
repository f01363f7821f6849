/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/log.h"
#include "broker/supervision.h"
#include "broker/words.h"
#include "common/worker_fds.h"

/* --- Ending a worker ------------------------------------------------------------------------- */

void supervision_end_worker(struct supervisor *supervisor, struct device *device)
{
    union message kill = {.header = {.type = MSG_KILL, .device = device->index}};
    device->worker.phase = WORKER_ENDING;
    relay_worker_gone(&device->relay);
    message_send(supervisor->keeper, &kill, NULL, 0); /* if this fails, the keeper is gone: STOP */
}

void supervision_end_because(struct supervisor *supervisor, struct device *device, const char *why)
{
    const struct log_source source = supervision_source(device);
    log_from(LOG_LEVEL_WARNING, &source, "worker %d is ended: %s", (int)device->worker.pid, why);
    device->worker.judged = true;
    supervision_end_worker(supervisor, device);
}

void supervision_close_socket(struct worker *worker)
{
    if (worker->socket >= 0)
        close(worker->socket); /* this also removes it from epoll: there is no copy */
    worker->socket = -1;
}

void supervision_schedule(struct device *device, const char *what_happened)
{
    struct worker *worker = &device->worker;
    int64_t now = clock_ms();
    /* Workers write the counter. A worker that writes a false value is still limited by what starts
     * may cost. */
    const struct worker_life life = {
        .now = now,
        .lived_ms = now - worker->started_at,
        .start_ms = worker->start_ms > 0 ? worker->start_ms : (uint32_t)(now - worker->started_at),
        .did_something = !worker->judged && device->state->counters.requests != worker->requests,
    };
    uint32_t wait = backoff_after_worker(&worker->backoff, &life);

    supervision_close_socket(worker);
    relay_worker_gone(&device->relay);
    const struct log_source source = supervision_source(device);
    if (wait == 0)
        log_from(LOG_LEVEL_WARNING, &source, "%s: starting another", what_happened);
    else
        log_from(LOG_LEVEL_WARNING, &source, "%s: starting another in %u ms", what_happened, wait);
    worker->phase = WORKER_DUE;
    worker->when = now + wait;
    worker->pid = 0;
    worker->incarnation++;
}

int supervisor_restart(struct supervisor *supervisor, struct device *device)
{
    if (device->worker.phase != WORKER_READY && device->worker.phase != WORKER_STARTING)
        return EAGAIN; /* it is being replaced already */
    device->worker.backoff = (struct worker_backoff){0};
    device->worker.excused = true;
    const struct log_source source = supervision_source(device);
    log_from(LOG_LEVEL_INFO, &source, "worker %d is ended: a restart was asked for",
             (int)device->worker.pid);
    supervision_end_worker(supervisor, device);
    return 0;
}

/* --- Starting a worker ----------------------------------------------------------------------- */

static uint32_t queue_size(const struct device *device)
{
    return device->config->queue_size > 0
               ? device->config->queue_size
               : device_kind_queue_size(device->info, device->queue_count, device->shmem_size);
}

static int send_start(struct device *device, int socket)
{
    union message message = {
        .start =
            {
                .header = {.type = MSG_START, .device = device->index},
                .kind = (uint32_t)device->config->kind,
                .incarnation = device->worker.incarnation,
                .uid = WORKER_UID_BASE + device->config->id,
                .virtio_id = device->config->virtio_id,
                .queue_size_max = queue_size(device),
                .queue_count = device->queue_count,
                .sched_priority = device->config->sched_priority,
                .poll_us = device->config->poll_us,
                .irq_delay_us = device->config->irq_delay_us,
                .processors = device->config->processors,
                .features_off = device->config->features_off,
                .shmem_addr = device->shmem_addr,
                .shmem_size = device->shmem_size,
            },
    };
    for (size_t i = 0; i < DEVICE_NAME_SIZE - 1 && device->name[i]; i++)
        message.start.name[i] = device->name[i];

    struct backend_fds backend;
    int result = device->backend.ops->give(&device->backend, &message.start, &backend);
    if (result < 0)
        return result;
    device->backend_fd_count = backend.count;
    message.start.backend_fd_count = backend.count;
    message.start.boxed = backend.boxed;

    /* In the order of common/worker_fds.h. */
    int fds[MESSAGE_FDS_MAX];
    size_t count = 0;
    fds[count++] = device->request;
    fds[count++] = device->reply;
    fds[count++] = device->call;
    for (uint32_t i = 0; i < backend.count; i++)
        fds[count++] = backend.fds[i];
    for (uint32_t q = 0; q < device->queue_count; q++)
        fds[count++] = device->kicks[q];
    fds[count++] = device->state_fd;
    fds[count++] = device->dm;
    result = message_send(socket, &message, fds, count);

    for (uint32_t i = 0; backend.owned && i < backend.count; i++) {
        if ((backend.kept & 1u << i) == 0)
            close(backend.fds[i]);
    }
    return result;
}

/* The whole start message of the worker waits in the socket before the worker exists. */
static int spawn_worker(struct supervisor *supervisor, struct device *device)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    union message spawn = {.header = {.type = MSG_SPAWN, .device = device->index}};
    int result = send_start(device, sockets[0]);
    if (result == 0)
        result = message_send(supervisor->keeper, &spawn, &sockets[1], 1);
    close(sockets[1]);
    if (result < 0)
        close(sockets[0]);
    else
        device->worker.socket = sockets[0];
    return result;
}

bool supervision_look_at_backend(struct device *device)
{
    struct state_backend *state = &device->state->backend;
    const struct backend_ops *ops = device->backend.ops;
    bool new = ops->look && ops->look(&device->backend, state);
    if (device->backend.news.text[0] != '\0')
        log_warning(device->name, "%s", device->backend.news.text);
    device->backend.news.text[0] = '\0';
    if (!new && !ops->worker_looks)
        return false;
    /* Release: pairs with the worker's acquire. After that the worker reads what was written. */
    atomic_fetch_add_explicit(&state->changes, 1, memory_order_release);
    return true;
}

/* By the next time, the watched fd number may be another file, or the worker may own the file. So
 * nothing stays watched while the backend works on it. */
static void watch_backend(struct supervisor *supervisor, struct device *device, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN,
        .data.u32 = EVENT_BACKEND_FIRST + device->index,
    };
    if (device->backend_watched >= 0)
        epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, device->backend_watched, NULL);
    /* If the fd can't be watched, the backend is still called again at the given time. */
    bool watched = fd >= 0 && epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    device->backend_watched = watched ? fd : -1;
}

bool supervision_prepare_backend(struct supervisor *supervisor, struct device *device)
{
    const struct backend_memory memory = {
        .dm = device->dm,
        .guest_addr = device->shmem_addr,
        .size = device->shmem_size,
    };
    struct backend_wait wait;
    if (!device->backend.ops->prepare)
        return true;
    watch_backend(supervisor, device, -1);
    int result = device->backend.ops->prepare(&device->backend, &memory, clock_ms(), &wait);
    if (result == 0)
        return true;
    if (wait.news.text[0] != '\0')
        log_warning(device->name, "%s", wait.news.text);
    watch_backend(supervisor, device, wait.fd);
    device->worker.when = wait.until;
    return false;
}

void supervision_start_worker(struct supervisor *supervisor, struct device *device)
{
    struct worker *worker = &device->worker;
    char what[WORDS_SIZE];
    worker->started_at = clock_ms();
    worker->start_ms = 0;
    worker->judged = false;
    worker->requests = device->state->counters.requests;
    /* Before the page is settled: from now on, no access is given up. */
    relay_worker_starting(&device->relay);
    (void)supervision_look_at_backend(device);
    bool interrupt = device_driver_ok(device);
    if (worker->excused || (device->restored && worker->incarnation == 0))
        device_excuse_death(device);
    worker->excused = false;
    device_settle_given_up(device);
    if (worker->incarnation > 0 || device->restored)
        device_refresh_eventfds(device, interrupt);

    int result = spawn_worker(supervisor, device);
    if (result < 0) {
        snprintf(what, sizeof(what), "can't prepare a worker: %s", words_error(-result));
        supervision_schedule(device, what);
        return;
    }
    worker->phase = WORKER_STARTING;
    worker->when = worker->started_at + WORKER_START_MS;
}
