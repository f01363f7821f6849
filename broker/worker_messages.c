/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "broker/clock.h"
#include "broker/connections.h"
#include "broker/log.h"
#include "broker/supervision.h"
#include "broker/words.h"
#include "common/log_code.h"
#include "common/sandbox_layer.h"
#include "common/worker_fds.h"

#define MESSAGES_A_TURN 32 /* of one worker, before the others have their turn */

/*
 * A higher rate than any worker of ours has, whatever its guest does: it limits its log by itself
 * (worker/log.h). A worker that sends more was taken over. It is ended, since it costs this thread
 * time that belongs to all devices.
 *
 * Connections are different: a guest may want any number of them. A worker asks for a few at a time
 * and waits for the answers (CONNECTIONS_AT_ONCE). When its share of this millisecond is used up,
 * its requests stay unread in its socket.
 */
static const struct rate worker_rate = {.burst = 1024, .interval_ms = 1};
#define CONNECTIONS_A_MS 8 /* of one worker */

struct log_source supervision_source(const struct device *device)
{
    return (struct log_source){.device = device->name, .worker = device->worker.pid};
}

/* `code`: NULL if it is not one of the worker's messages. */
static void log_limited_code(struct device *device, enum log_level level, const char *code,
                             const char *text)
{
    struct log_source source = supervision_source(device);
    source.code = code;
    struct worker *worker = &device->worker;
    struct rate_limit *lines = level <= LOG_LEVEL_WARNING ? &worker->troubles : &worker->news;
    uint64_t suppressed;
    /* A line that is not logged does not count against those that are. */
    if (!log_says(level) || !rate_limit_pass(lines, clock_ms(), &suppressed))
        return;
    if (suppressed > 0)
        log_from(level, &source, "%s (after %llu messages left out)", text,
                 (unsigned long long)suppressed);
    else
        log_from(level, &source, "%s", text);
}

void supervision_log(struct device *device, enum log_level level, const char *text)
{
    log_limited_code(device, level, NULL, text);
}

static void log_ready(struct device *device, uint32_t layers)
{
    char in_force[WORDS_SIZE], missing[WORDS_SIZE];
    const struct log_source source = supervision_source(device);
    if (layers == device->worker.layers_logged) {
        log_from(LOG_LEVEL_INFO, &source, "worker %d ready", (int)device->worker.pid);
        return;
    }
    device->worker.layers_logged = layers;
    words_layers(layers, in_force);
    words_layers(~layers, missing);
    log_from(LOG_LEVEL_INFO, &source, "worker %d ready, confined by: %s%s%s",
             (int)device->worker.pid, in_force, missing[0] ? "; not available: " : "", missing);
}

/* Returns NULL, or what is wrong with the worker. */
static const char *take_ready(struct device *device, const struct message_ready *ready)
{
    uint32_t core = words_core_layers();
#ifdef BVDM_SANITIZE
    core &= ~(1u << LAYER_SECCOMP | 1u << LAYER_RLIMITS); /* as in worker/sandbox/sandbox.h */
#endif
    uint32_t fds = device_kind_fds(device->info, device->backend_fd_count, device->queue_count);
    if (device->worker.phase != WORKER_STARTING)
        return "it says READY again";
    if ((ready->layers & core) != core)
        return "it is not confined by every layer that it must be confined by";
    if (ready->fd_count != fds)
        return "it has not the files that it must have";
    device->worker.phase = WORKER_READY;
    device->worker.start_ms = (uint32_t)(clock_ms() - device->worker.started_at) + 1;
    alive_begin(&device->worker.alive, clock_ms());
    device->worker.layers = ready->layers;
    log_ready(device, ready->layers);
    uint64_t given_up = atomic_exchange(&device->relay.given_up, 0);
    device->worker.outage_logged = false;
    if (given_up > 0)
        log_warning(device->name, "register accesses answered without a worker: %llu in all",
                    (unsigned long long)given_up);
    if (device->backend.ops->ready)
        device->backend.ops->ready(&device->backend);
    relay_worker_ready(&device->relay, device->worker.incarnation);
    device->worker.connects = 0;
    device->worker.no_room_since = 0;
    device->worker.messages = (struct rate_limit){.refilled_at = clock_ms()};
    connections_resume(device);
    device->worker.clients_wait = true; /* clients may have come in the meantime */
    return NULL;
}

static const char *take_log(struct device *device, const struct message_log *message)
{
    char text[WORDS_SIZE], line[WORDS_SIZE + 64];
    if (!words_log(message->code, message->args, text))
        return "it says what is not in the list of messages";
    if (message->suppressed > 0)
        snprintf(line, sizeof(line), "%s (and %u more like it)", text, message->suppressed);
    else
        snprintf(line, sizeof(line), "%s", text);
    log_limited_code(device, words_log_level(message->code), words_log_code(message->code), line);
    return NULL;
}

static const char *take_failed(struct device *device, const struct message_failed *failed)
{
    char line[WORDS_SIZE];
    const char *step = words_step(failed->step);
    if (!step || device->worker.phase != WORKER_STARTING)
        return "it reports a failure that it can't have";
    snprintf(line, sizeof(line), "worker failed to %s: %s", step, words_error(failed->error));
    supervision_log(device, LOG_LEVEL_ERROR, line);
    return NULL;
}

static const char *take_message(struct device *device, const union message *message)
{
    uint64_t refused;
    if (message->header.type == MSG_CONNECT) {
        pace_count(&device->worker.connections, clock_ms());
        return connections_make(device, &message->connect);
    }
    if (!rate_limit_take(&device->worker.messages, &worker_rate, clock_ms(), &refused))
        return "it sends more messages than any worker has to";
    switch ((enum message_type)message->header.type) {
    case MSG_READY:
        return take_ready(device, &message->ready);
    case MSG_LOG:
        return take_log(device, &message->log);
    case MSG_FAILED:
        return take_failed(device, &message->failed);
    case MSG_CONNECT:
    case MSG_START:
    case MSG_CONNECTION:
    case MSG_STORE:
    case MSG_RESTORE:
    case MSG_RESTORE_END:
    case MSG_RUNNING:
    case MSG_SPAWN:
    case MSG_KILL:
    case MSG_SPAWNED:
    case MSG_DIED:
    case MSG_STOP:
    case MSG_STORED:
    case MSG_CONFIG:
    case MSG_OPEN:
    case MSG_KEEP:
    case MSG_KEPT:
    case MSG_PING:
    case MSG_PONG:
    case MSG_OPENED:
    case MSG_CONNECTOR:
    case MSG_CONNECT_TO:
    case MSG_CONNECTED:
    case MSG_TYPES:
        break; /* MSG_CONNECT is handled above; message_receive refuses all others */
    }
    return "it sends what only others may send";
}

static void watch_worker(const struct supervisor *supervisor, struct device *device, bool wanted)
{
    struct epoll_event event = {
        .events = wanted ? EPOLLIN : 0,
        .data.u32 = EVENT_WORKER_FIRST + device->index,
    };
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_MOD, device->worker.socket, &event) == 0)
        device->worker.left_unread = !wanted;
}

void supervision_listen(const struct supervisor *supervisor, struct device *device, int64_t now,
                        int64_t *ret_next)
{
    struct worker *worker = &device->worker;
    if (!worker->left_unread || worker->socket < 0)
        return;
    if (pace_has(&worker->connections, CONNECTIONS_A_MS, now))
        watch_worker(supervisor, device, true);
    else if (now + 1 < *ret_next)
        *ret_next = now + 1;
}

void supervision_receive(struct supervisor *supervisor, struct device *device)
{
    for (int i = 0; i < MESSAGES_A_TURN && device->worker.socket >= 0; i++) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0; /* no message of a worker carries any */
        int result = message_receive(device->worker.socket, ROLE_WORKER, &message, fds, &fd_count);
        if (result == -EAGAIN)
            return;
        const char *wrong = NULL;
        if (result == 1 && device->worker.phase != WORKER_ENDING)
            wrong = take_message(device, &message);
        else if (result < 0)
            wrong = "it sends what is not a message";
        if (wrong && device->worker.phase != WORKER_ENDING)
            supervision_end_because(supervisor, device, wrong);
        if (result <= 0) {
            /* Mostly this is the end of the worker. The keeper says how it died. */
            supervision_close_socket(&device->worker);
            if (device->worker.phase != WORKER_ENDING)
                supervision_end_worker(supervisor, device);
        } else if (!pace_has(&device->worker.connections, CONNECTIONS_A_MS, clock_ms())) {
            watch_worker(supervisor, device, false);
            return;
        }
    }
}
