/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/connections.h"
#include "broker/kernel_log.h"
#include "broker/log.h"
#include "broker/words.h"
#include "common/eventfd.h"
#include "common/log_code.h"
#include "common/sandbox_layer.h"
#include "common/worker_fds.h"

#define MESSAGES_A_TURN 32 /* of one worker, before the others have theirs */
#define BACKEND_LOOK_MS 1000
#define EVENTS_MAX 32
#define STOP_MS 200 /* what the relays may take to complete what they have in hand */

enum event_source {
    EVENT_KEEPER,
    EVENT_REPORT,
    EVENT_KERNEL_LOG,
    EVENT_CONTROL,
    EVENT_DMCTL_FIRST, /* a client of the control socket */
    EVENT_WORKER_FIRST = EVENT_DMCTL_FIRST + CONTROL_CLIENTS_MAX,
    EVENT_CLIENT_FIRST = EVENT_WORKER_FIRST + BAO_DEVICES_MAX,
    EVENT_BACKEND_FIRST = EVENT_CLIENT_FIRST + BAO_DEVICES_MAX,
};

int supervisor_init(struct supervisor *supervisor)
{
    struct epoll_event keeper = {.events = EPOLLIN, .data.u32 = EVENT_KEEPER};
    struct epoll_event report = {.events = EPOLLIN | EPOLLET, .data.u32 = EVENT_REPORT};
    supervisor->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (supervisor->epoll < 0 ||
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->keeper, &keeper) < 0 ||
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->report, &report) < 0)
        return -errno;
    int result = 0;
    for (size_t i = 0; result == 0 && i < supervisor->device_count; i++)
        result = connections_watch(&supervisor->devices[i], supervisor->epoll,
                                   EVENT_CLIENT_FIRST + (uint32_t)i);
    struct epoll_event control = {.events = EPOLLIN, .data.u32 = EVENT_CONTROL};
    struct epoll_event kernel_log = {.events = EPOLLIN | EPOLLET, .data.u32 = EVENT_KERNEL_LOG};
    if (result == 0 && supervisor->kernel_log >= 0 &&
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->kernel_log, &kernel_log) < 0)
        result = -errno;
    int listener = supervisor->control.listener;
    if (result == 0 && listener >= 0 &&
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, listener, &control) < 0)
        result = -errno;
    return result;
}

/* --- The log, for what a worker or a guest can cause ------------------------------------------ */

static void log_limited(struct device *device, const char *text)
{
    uint64_t suppressed;
    if (!rate_limit_pass(&device->worker.lines, clock_ms(), &suppressed))
        return;
    if (suppressed > 0)
        log_line(device->name, "%s (after %llu messages left out)", text,
                 (unsigned long long)suppressed);
    else
        log_line(device->name, "%s", text);
}

/* --- Ending a worker ---------------------------------------------------------------------------
 */

/* The keeper answers with DIED once it is reaped; harmless if it is dead already. */
static void end_worker(struct supervisor *supervisor, struct device *device)
{
    union message kill = {.header = {.type = MSG_KILL, .device = device->index}};
    device->worker.phase = WORKER_ENDING;
    relay_worker_gone(&device->relay);
    message_send(supervisor->keeper, &kill, NULL, 0); /* if it fails, the keeper is gone: STOP */
}

static void end_worker_because(struct supervisor *supervisor, struct device *device,
                               const char *why)
{
    log_line(device->name, "worker %d is ended: %s", (int)device->worker.pid, why);
    end_worker(supervisor, device);
}

static void close_socket(struct worker *worker)
{
    if (worker->socket >= 0)
        close(worker->socket); /* takes it out of epoll as well: there is no copy */
    worker->socket = -1;
}

/* It is reaped, or there never was one: make the next one DUE. */
static void schedule_next(struct device *device, const char *what_happened)
{
    struct worker *worker = &device->worker;
    int64_t now = clock_ms();
    uint32_t wait = backoff_after_death(&worker->backoff, now - worker->started_at);

    close_socket(worker);
    relay_worker_gone(&device->relay);
    if (wait == 0)
        log_line(device->name, "%s: starting another", what_happened);
    else
        log_line(device->name, "%s: starting another in %u ms", what_happened, wait);
    worker->phase = WORKER_DUE;
    worker->when = now + wait;
    worker->pid = 0;
    worker->incarnation++;
}

int supervisor_restart(struct supervisor *supervisor, struct device *device)
{
    if (device->worker.phase != WORKER_READY && device->worker.phase != WORKER_STARTING)
        return EAGAIN; /* it is being replaced */
    device->worker.backoff = (struct backoff){0};
    end_worker_because(supervisor, device, "a restart was asked for");
    return 0;
}

/* --- Starting a worker --------------------------------------------------------------------------
 */

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
                .queue_size_max = device->config->queue_size > 0 ? device->config->queue_size
                                                                 : WORKER_QUEUE_SIZE_MAX,
                .queue_count = device->queue_count,
                .config_changed = device->worker.config_changed,
                .sched_priority = device->config->sched_priority,
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

    /* The order of common/worker_fds.h. */
    int fds[MESSAGE_FDS_MAX];
    size_t count = 0;
    fds[count++] = device->request;
    fds[count++] = device->reply;
    fds[count++] = device->irq;
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

static int watch_worker(struct supervisor *supervisor, const struct device *device, int socket)
{
    struct epoll_event event = {
        .events = EPOLLIN,
        .data.u32 = EVENT_WORKER_FIRST + device->index,
    };
    return epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, socket, &event) < 0 ? -errno : 0;
}

/* Its whole start-up message waits in the socket before it exists. */
static int spawn_worker(struct supervisor *supervisor, struct device *device)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    union message spawn = {.header = {.type = MSG_SPAWN, .device = device->index}};
    int result = send_start(device, sockets[0]);
    if (result == 0)
        result = watch_worker(supervisor, device, sockets[0]);
    if (result == 0)
        result = message_send(supervisor->keeper, &spawn, &sockets[1], 1);
    close(sockets[1]);
    if (result < 0)
        close(sockets[0]);
    else
        device->worker.socket = sockets[0];
    return result;
}

/* Let the backend write what its worker is to know. Returns true if that is new. */
static bool look_at_backend(struct device *device)
{
    struct state_backend *state = &device->state->backend;
    const struct backend_ops *ops = device->backend.ops;
    if (!ops->look || !ops->look(&device->backend, state))
        return false;
    /* Release: pairs with the worker's acquire, after which it reads what was written. */
    atomic_fetch_add_explicit(&state->changes, 1, memory_order_release);
    return true;
}

/* What is watched may be another file under the same number by the next time, or a worker's: so
 * nothing stays watched while the backend works on it. */
static void watch_backend(struct supervisor *supervisor, struct device *device, int fd)
{
    struct epoll_event event = {
        .events = EPOLLIN,
        .data.u32 = EVENT_BACKEND_FIRST + device->index,
    };
    if (device->backend_watched >= 0)
        epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, device->backend_watched, NULL);
    /* If it can't be watched, the time at which to call again still comes. */
    bool watched = fd >= 0 && epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
    device->backend_watched = watched ? fd : -1;
}

/* Returns false if the device has to wait: it is DUE again as the backend says. */
static bool prepare_backend(struct supervisor *supervisor, struct device *device)
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
        log_line(device->name, "%s", wait.news.text);
    watch_backend(supervisor, device, wait.fd);
    device->worker.when = wait.until;
    return false;
}

static void start_worker(struct supervisor *supervisor, struct device *device)
{
    struct worker *worker = &device->worker;
    char what[WORDS_SIZE];
    worker->started_at = clock_ms();
    /* Before the page is settled: no access is given up now. */
    relay_worker_starting(&device->relay);
    (void)look_at_backend(device);
    bool interrupt = device_driver_ok(device);
    device_settle_given_up(device);
    if (worker->incarnation > 0 || device->restored)
        device_refresh_eventfds(device, interrupt);

    int result = spawn_worker(supervisor, device);
    if (result < 0) {
        snprintf(what, sizeof(what), "can't prepare a worker: %s", words_error(-result));
        schedule_next(device, what);
        return;
    }
    worker->phase = WORKER_STARTING;
    worker->when = worker->started_at + WORKER_START_MS;
}

/* --- What a worker says -------------------------------------------------------------------------
 */

static void log_ready(struct device *device, uint32_t layers)
{
    char in_force[WORDS_SIZE], missing[WORDS_SIZE];
    uint32_t all = (1u << LAYER_COUNT) - 1;
    if (layers == device->worker.layers_logged) {
        log_info(device->name, "worker %d ready", (int)device->worker.pid);
        return;
    }
    device->worker.layers_logged = layers;
    words_layers(layers & all, in_force);
    words_layers(~layers & all, missing);
    log_info(device->name, "worker %d ready, confined by: %s%s%s", (int)device->worker.pid,
             in_force, missing[0] ? "; not available: " : "", missing);
}

/* Returns NULL, or what is wrong with it. */
static const char *take_ready(struct device *device, const struct message_ready *ready)
{
    uint32_t core = words_core_layers();
#ifdef BVDM_SANITIZE
    core &= ~(1u << LAYER_SECCOMP | 1u << LAYER_RLIMITS); /* as in worker/sandbox.h */
#endif
    uint32_t fds = device_kind_fds(device->info, device->backend_fd_count, device->queue_count);
    if (device->worker.phase != WORKER_STARTING)
        return "it says READY again";
    if ((ready->layers & core) != core)
        return "it is not confined by every layer that it must be confined by";
    if (ready->fd_count != fds)
        return "it has not the files that it must have";
    device->worker.phase = WORKER_READY;
    device->worker.config_changed = false;
    alive_begin(&device->worker.alive, clock_ms());
    device->worker.layers = ready->layers;
    log_ready(device, ready->layers);
    uint64_t given_up = atomic_exchange(&device->relay.given_up, 0);
    device->worker.outage_logged = false;
    if (given_up > 0)
        log_line(device->name, "register accesses answered without a worker: %llu in all",
                 (unsigned long long)given_up);
    relay_worker_ready(&device->relay, device->worker.incarnation);
    device->worker.clients_wait = true; /* who came meanwhile */
    return NULL;
}

/* What happens to every device, and is nothing wrong. */
static bool is_info(uint32_t code)
{
    return code == LOG_DRIVER_OK || code == LOG_RESET || code == LOG_RESUMED;
}

static const char *take_log(struct device *device, const struct message_log *message)
{
    char text[WORDS_SIZE], line[WORDS_SIZE + 64];
    if (!words_log(message->code, message->args, text))
        return "it says what is not in the list of messages";
    if (is_info(message->code) && log_level() < LOG_LEVEL_INFO)
        return NULL;
    if (message->suppressed > 0)
        snprintf(line, sizeof(line), "%s (and %u more like it)", text, message->suppressed);
    else
        snprintf(line, sizeof(line), "%s", text);
    log_limited(device, line);
    return NULL;
}

static const char *take_failed(struct device *device, const struct message_failed *failed)
{
    char line[WORDS_SIZE];
    const char *step = words_step(failed->step);
    if (!step || device->worker.phase != WORKER_STARTING)
        return "it reports a failure that it can't have";
    snprintf(line, sizeof(line), "worker failed to %s: %s", step, words_error(failed->error));
    log_limited(device, line);
    return NULL;
}

static const char *take_message(struct device *device, const union message *message)
{
    switch ((enum message_type)message->header.type) {
    case MSG_READY:
        return take_ready(device, &message->ready);
    case MSG_LOG:
        return take_log(device, &message->log);
    case MSG_FAILED:
        return take_failed(device, &message->failed);
    case MSG_CONNECT:
        return connections_make(device, &message->connect, clock_ms());
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
    case MSG_TYPES:
        break; /* message_receive lets none of these through */
    }
    return "it sends what only others may send";
}

static void receive_from_worker(struct supervisor *supervisor, struct device *device)
{
    for (int i = 0; i < MESSAGES_A_TURN && device->worker.socket >= 0; i++) {
        union message message;
        int fds[MESSAGE_FDS_MAX];
        size_t fd_count = 0; /* no message of a worker's carries any */
        int result = message_receive(device->worker.socket, ROLE_WORKER, &message, fds, &fd_count);
        if (result == -EAGAIN)
            return;
        const char *wrong = NULL;
        if (result == 1 && device->worker.phase != WORKER_ENDING)
            wrong = take_message(device, &message);
        else if (result < 0)
            wrong = "it sends what is not a message";
        if (wrong && device->worker.phase != WORKER_ENDING)
            end_worker_because(supervisor, device, wrong);
        if (result <= 0) {
            /* Its end, mostly: how it died comes from the keeper. */
            close_socket(&device->worker);
            if (device->worker.phase != WORKER_ENDING)
                end_worker(supervisor, device);
        }
    }
}

/* --- What the keeper says -----------------------------------------------------------------------
 */

static void worker_spawned(struct device *device, int pid)
{
    if (pid > 0) {
        device->worker.pid = pid;
        return;
    }
    char what[WORDS_SIZE];
    snprintf(what, sizeof(what), "can't start a worker: %s", words_error(-pid));
    schedule_next(device, what);
}

static void worker_died(struct supervisor *supervisor, struct device *device,
                        const struct message_died *died)
{
    char how[WORDS_SIZE], what[WORDS_SIZE + 32];
    receive_from_worker(supervisor, device); /* its last words come before its death */
    words_death(died->code, died->status, how);
    snprintf(what, sizeof(what), "worker %d died: %s", (int)device->worker.pid, how);
    snprintf(device->worker.last_death, sizeof(device->worker.last_death), "%s", how);
    device->worker.last_pid = device->worker.pid;
    schedule_next(device, what);
}

/* What a filter killed a worker for comes after its death, from another place. */
static void read_kernel_log(const struct supervisor *supervisor)
{
    char call[KERNEL_LOG_CALL_SIZE];
    pid_t pid;
    while (kernel_log_next(supervisor->kernel_log, &pid, call)) {
        for (size_t i = 0; i < supervisor->device_count; i++) {
            struct worker *worker = &supervisor->devices[i].worker;
            if (pid != worker->pid && pid != worker->last_pid)
                continue;
            log_line(supervisor->devices[i].name, "worker %d was killed for system call %s",
                     (int)pid, call);
            if (pid == worker->last_pid)
                snprintf(worker->last_death, sizeof(worker->last_death),
                         "seccomp violation (SIGSYS) by %s", call);
        }
    }
}

static void stop_relays(struct supervisor *supervisor)
{
    int64_t end = clock_ms() + STOP_MS;
    for (size_t i = 0; i < supervisor->device_count; i++)
        relay_stop(&supervisor->devices[i].relay);
    for (size_t i = 0; i < supervisor->device_count; i++) {
        while (relay_busy(&supervisor->devices[i].relay) && clock_ms() < end)
            poll(NULL, 0, 1);
    }
}

/* Returns false if this is the end. */
static bool receive_from_keeper(struct supervisor *supervisor)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0; /* these messages carry none: what was stored came before */
    int result = message_receive(supervisor->keeper, ROLE_KEEPER, &message, fds, &fd_count);
    if (result == -EAGAIN)
        return true;
    if (result <= 0)
        return false;
    struct device *device = message.header.device < supervisor->device_count
                                ? &supervisor->devices[message.header.device]
                                : NULL;
    if (message.header.type == MSG_SPAWNED && device)
        worker_spawned(device, message.spawned.pid);
    else if (message.header.type == MSG_DIED && device)
        worker_died(supervisor, device, &message.died);
    else if (message.header.type == MSG_STOP)
        return false;
    return true;
}

/* --- What the relays say ------------------------------------------------------------------------
 */

static void look_at_relay(struct supervisor *supervisor, struct device *device)
{
    struct relay *relay = &device->relay;
    char line[WORDS_SIZE];

    uint32_t unusable = relay_take_unusable(relay);
    if (unusable == device->worker.incarnation + 1 && device->worker.phase == WORKER_READY)
        end_worker_because(supervisor, device,
                           atomic_load(&relay->journal->given_up)
                               ? "the device was given up before it was ready"
                               : "it did not answer a register access in time");

    if (atomic_load(&relay->given_up) > 0 && !device->worker.outage_logged) {
        log_line(device->name, "no worker answers: register accesses get fixed values, and the "
                               "device needs a reset");
        device->worker.outage_logged = true;
    }
    uint64_t malformed = atomic_exchange(&relay->malformed, 0);
    if (malformed > 0) {
        snprintf(line, sizeof(line), "requests that are no access to its registers: %llu",
                 (unsigned long long)malformed);
        log_limited(device, line);
    }
    uint64_t refused = atomic_exchange(&relay->refused, 0);
    if (refused > 0)
        log_limited(device, "the dispatcher refused to complete a request");
    int error = atomic_exchange(&relay->attach_error, 0);
    if (error > 0) {
        snprintf(line, sizeof(line), "can't take requests from the dispatcher: %s",
                 words_error(error));
        log_limited(device, line);
    }
}

/* --- The loop -----------------------------------------------------------------------------------
 */

/* Backends that have changed under their workers: those are told, or replaced, at once and
 * unblamed. */
static void look_at_backends(struct supervisor *supervisor, int64_t now)
{
    if (now < supervisor->look_at)
        return;
    supervisor->look_at = INT64_MAX;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        struct device *device = &supervisor->devices[i];
        const struct backend_ops *ops = device->backend.ops;
        if (!ops->outdated && !ops->look)
            continue;
        supervisor->look_at = now + BACKEND_LOOK_MS;
        if (device->worker.phase != WORKER_READY)
            continue;
        if (look_at_backend(device))
            (void)eventfd_signal(device->request);
        if (ops->outdated && ops->outdated(&device->backend)) {
            device->worker.config_changed = true;
            end_worker_because(supervisor, device, "its backend has changed");
        }
    }
}

/* What is due by time alone. Returns how long to sleep, -1: until something happens. */
static int handle_time(struct supervisor *supervisor)
{
    look_at_backends(supervisor, clock_ms());
    int64_t next = supervisor->look_at;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        struct device *device = &supervisor->devices[i];
        struct worker *worker = &device->worker;
        int64_t now = clock_ms();
        if (worker->phase == WORKER_DUE && now >= worker->when &&
            prepare_backend(supervisor, device))
            start_worker(supervisor, device);
        else if (worker->phase == WORKER_STARTING && now >= worker->when)
            end_worker_because(supervisor, device, "it did not become ready in time");
        if (worker->phase == WORKER_READY &&
            !alive_look(&worker->alive, &device->state->watch, device->request, now))
            end_worker_because(supervisor, device, "it has not looked at its events for 5 s");
        if (worker->phase == WORKER_READY && worker->alive.when < next)
            next = worker->alive.when;
        if (worker->phase == WORKER_READY && worker->clients_wait)
            worker->clients_wait = connections_accept(device);
        if (worker->phase == WORKER_READY && worker->clients_wait)
            next = now;
        if ((worker->phase == WORKER_DUE || worker->phase == WORKER_STARTING) &&
            worker->when < next)
            next = worker->when;
    }
    if (next == INT64_MAX)
        return -1;
    int64_t left = next - clock_ms();
    return left > 0 ? (int)left : 0;
}

static void take_client(struct supervisor *supervisor)
{
    int client = control_accept(&supervisor->control);
    if (client < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u32 = EVENT_DMCTL_FIRST + (uint32_t)client};
    int fd = control_client(&supervisor->control, (size_t)client);
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        control_drop(&supervisor->control, (size_t)client);
}

static bool handle_event(struct supervisor *supervisor, uint32_t source)
{
    if (source == EVENT_KEEPER)
        return receive_from_keeper(supervisor);
    if (source == EVENT_REPORT) {
        for (size_t i = 0; i < supervisor->device_count; i++)
            look_at_relay(supervisor, &supervisor->devices[i]);
        return true;
    }
    if (source == EVENT_KERNEL_LOG)
        read_kernel_log(supervisor);
    else if (source == EVENT_CONTROL)
        take_client(supervisor);
    else if (source < EVENT_WORKER_FIRST)
        (void)control_serve(&supervisor->control, source - EVENT_DMCTL_FIRST, supervisor);
    else if (source >= EVENT_BACKEND_FIRST)
        supervisor->devices[source - EVENT_BACKEND_FIRST].worker.when = 0; /* it is DUE */
    else if (source >= EVENT_CLIENT_FIRST)
        supervisor->devices[source - EVENT_CLIENT_FIRST].worker.clients_wait = true;
    else
        receive_from_worker(supervisor, &supervisor->devices[source - EVENT_WORKER_FIRST]);
    return true;
}

int supervisor_run(struct supervisor *supervisor)
{
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int timeout = handle_time(supervisor);
        int count = epoll_wait(supervisor->epoll, events, EVENTS_MAX, timeout);
        for (int i = 0; i < count; i++) {
            if (!handle_event(supervisor, events[i].data.u32)) {
                stop_relays(supervisor);
                return EXIT_SUCCESS;
            }
        }
    }
}
