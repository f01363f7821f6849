/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/supervision.h"

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
#include "common/wait.h"
#include "common/worker_fds.h"

#define BACKEND_LOOK_MS 1000
#define EVENTS_MAX 32
#define CONNECTOR_AGAIN_MS 1000
#define GONE_LOOK_MS 100 /* time between two checks: is an earlier broker's worker gone? */
#define STOP_MS 200      /* how long the relays may take to complete their requests */

static int watch_opener(const struct supervisor *supervisor, const struct device *device)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = EVENT_OPENER_FIRST + device->index};
    return epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, device->opening.socket, &event) < 0 ? -errno
                                                                                           : 0;
}

static int watch_control(const struct supervisor *supervisor)
{
    struct epoll_event control = {.events = EPOLLIN, .data.u32 = EVENT_CONTROL};
    int listener = supervisor->control.listener;
    if (listener < 0)
        return 0;
    return epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, listener, &control) < 0 ? -errno : 0;
}

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
    for (size_t i = 0; result == 0 && i < supervisor->device_count; i++) {
        result = connections_watch(&supervisor->devices[i], supervisor->epoll,
                                   EVENT_CLIENT_FIRST + (uint32_t)i);
        if (result == 0 && supervisor->devices[i].opening.socket >= 0)
            result = watch_opener(supervisor, &supervisor->devices[i]);
    }
    struct epoll_event kernel_log = {.events = EPOLLIN | EPOLLET, .data.u32 = EVENT_KERNEL_LOG};
    if (result == 0 && supervisor->kernel_log >= 0 &&
        epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, supervisor->kernel_log, &kernel_log) < 0)
        result = -errno;
    return result == 0 ? watch_control(supervisor) : result;
}

/* --- What the keeper says -------------------------------------------------------------------- */

/* The broker listens to the worker only from now on. Otherwise a message of the worker could come
 * before the keeper's message about it. */
static void worker_spawned(struct supervisor *supervisor, struct device *device,
                           const struct message_spawned *spawned)
{
    const int pid = spawned->pid;
    struct epoll_event event = {
        .events = EPOLLIN,
        .data.u32 = EVENT_WORKER_FIRST + device->index,
    };
    char what[WORDS_SIZE];
    if (pid > 0) {
        device->worker.pid = pid;
        device->worker.cgroup = spawned->cgroup;
        log_debug(device->name, "worker %d started, number %u of this broker", pid,
                  device->worker.incarnation + 1);
        if (device->worker.socket >= 0 &&
            epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, device->worker.socket, &event) < 0)
            supervision_end_because(supervisor, device, "its socket can't be watched");
        return;
    }
    if (pid == -EBUSY) { /* its predecessor, a worker of an earlier broker, is not quite gone */
        supervision_close_socket(&device->worker);
        relay_worker_gone(&device->relay);
        device->worker.phase = WORKER_DUE;
        device->worker.when = clock_ms() + GONE_LOOK_MS;
        return;
    }
    snprintf(what, sizeof(what), "can't start a worker: %s", words_error(-pid));
    supervision_schedule(device, what);
}

static void worker_died(struct supervisor *supervisor, struct device *device,
                        const struct message_died *died)
{
    char how[WORDS_SIZE], what[WORDS_SIZE + 32];
    supervision_receive(supervisor, device); /* its last messages come before its death */
    words_death(died->code, died->status, how);
    snprintf(what, sizeof(what), "worker %d died: %s", (int)device->worker.pid, how);
    snprintf(device->worker.last_death, sizeof(device->worker.last_death), "%s", how);
    device->worker.last_pid = device->worker.pid;
    supervision_schedule(device, what);
}

/* The system call that a filter killed a worker for is known only after its death, from the
 * kernel's log. */
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

/* The answer comes from the loop itself, since the keeper asks whether the loop runs. */
static void answer_keeper(const struct supervisor *supervisor)
{
    union message pong = {.header = {.type = MSG_PONG, .device = MESSAGE_NO_DEVICE}};
    (void)message_send(supervisor->keeper, &pong, NULL, 0); /* it fails if others fill the socket */
}

/* Returns false if the broker has to end. */
static bool receive_from_keeper(struct supervisor *supervisor)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0; /* these messages carry none: stored files came before */
    int result = message_receive(supervisor->keeper, ROLE_KEEPER, &message, fds, &fd_count);
    if (result == -EAGAIN)
        return true;
    if (result <= 0) {
        /* The keeper was killed. Another keeper may have been given its files, so no access gets
         * fixed values: the requests that were taken are in the journal. */
        supervisor->abandoned = true;
        return false;
    }
    struct device *device = message.header.device < supervisor->device_count
                                ? &supervisor->devices[message.header.device]
                                : NULL;
    if (message.header.type == MSG_SPAWNED && device)
        worker_spawned(supervisor, device, &message.spawned);
    else if (message.header.type == MSG_DIED && device)
        worker_died(supervisor, device, &message.died);
    else if (message.header.type == MSG_PING)
        answer_keeper(supervisor);
    else if (message.header.type == MSG_STOP)
        return false;
    return true;
}

/* --- What the relays say --------------------------------------------------------------------- */

static void look_at_relay(struct supervisor *supervisor, struct device *device)
{
    struct relay *relay = &device->relay;
    char line[WORDS_SIZE];

    uint32_t unusable = relay_take_unusable(relay);
    if (unusable == device->worker.incarnation + 1 && device->worker.phase == WORKER_READY)
        supervision_end_because(supervisor, device,
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
        supervision_log(device, LOG_LEVEL_WARNING, line);
    }
    uint64_t refused = atomic_exchange(&relay->refused, 0);
    if (refused > 0)
        supervision_log(device, LOG_LEVEL_WARNING, "the dispatcher refused to complete a request");
    int error = atomic_exchange(&relay->attach_error, 0);
    if (error > 0) {
        snprintf(line, sizeof(line), "can't take requests from the dispatcher: %s",
                 words_error(error));
        supervision_log(device, LOG_LEVEL_ERROR, line);
    }
    if (atomic_load(&relay->gone) && !device->gone_said) {
        log_line(device->name,
                 "Bao's driver has given the device up (was it unloaded?): its frontend gets no "
                 "answer from here any more; load the driver, and stop and start bao-virtio-dm");
        device->gone_said = true;
    }
}

/* --- The loop -------------------------------------------------------------------------------- */

/* Tell workers that their backends have changed. If a look at the backend could wait for a disk,
 * the worker does it: it is only told that it is time to look. */
static void look_at_backends(struct supervisor *supervisor, int64_t now)
{
    if (now < supervisor->look_at)
        return;
    supervisor->look_at = INT64_MAX;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        struct device *device = &supervisor->devices[i];
        const struct backend_ops *ops = device->backend.ops;
        if (!ops->worker_looks && !ops->look)
            continue;
        supervisor->look_at = now + BACKEND_LOOK_MS;
        if (device->worker.phase != WORKER_READY)
            continue;
        if (!supervision_look_at_backend(device))
            continue;
        if (!ops->worker_looks)
            log_debug(device->name, "its backend has changed: worker %d is told",
                      (int)device->worker.pid);
        (void)eventfd_signal(device->request);
    }
}

static void serve_connections(struct supervisor *supervisor, struct device *device, int64_t now,
                              int64_t *ret_next)
{
    if (device->worker.phase != WORKER_READY)
        return;
    const char *wrong = connections_serve(device, now, ret_next);
    if (wrong)
        supervision_end_because(supervisor, device, wrong);
}

static void accept_control_again(struct supervisor *supervisor, int64_t *ret_next)
{
    if (supervisor->control_at != 0 && clock_ms() >= supervisor->control_at) {
        supervisor->control_at = 0;
        (void)watch_control(supervisor);
    }
    if (supervisor->control_at != 0 && supervisor->control_at < *ret_next)
        *ret_next = supervisor->control_at;
}

/* Look at the opening of the device's backend. Returns when to look again. */
static int64_t look_at_opening(struct supervisor *supervisor, struct device *device, int64_t now)
{
    struct opening *opening = &device->opening;
    const enum opening_phase before = opening->phase;
    int64_t next = opening_look(device, &supervisor->opening, now);
    /* An opener that can't be watched is killed with this broker, at the latest. */
    if (before == OPENING_DUE && opening->socket >= 0)
        (void)watch_opener(supervisor, device);
    if (before != OPENING_DONE && opening->phase == OPENING_DONE) {
        (void)connections_watch(device, supervisor->epoll, EVENT_CLIENT_FIRST + device->index);
        device->worker.when = now;
    }
    return next;
}

static int start_connector(struct supervisor *supervisor, struct device *device)
{
    union message message = {.header = {.type = MSG_CONNECTOR, .device = device->config->id}};
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u32 = EVENT_CONNECTOR_FIRST + device->index};
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    int result = message_send(supervisor->keeper, &message, &sockets[1], 1);
    close(sockets[1]);
    if (result == 0 && epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, sockets[0], &event) < 0)
        result = -errno;
    if (result < 0)
        close(sockets[0]);
    else
        device->backend.connector.socket = sockets[0];
    return result;
}

/* Start a connector once the keeper has the directory. From then on there is one as long as the
 * broker runs, or another one is started. */
static void look_at_connector(struct supervisor *supervisor, struct device *device, int64_t now,
                              int64_t *ret_next)
{
    if (!backend_connects(&device->backend) || device->backend.connector.socket >= 0 ||
        device->opening.phase != OPENING_DONE || device->opening.unkept)
        return;
    if (now >= device->connector_at) {
        device->connector_at = now + CONNECTOR_AGAIN_MS;
        if (start_connector(supervisor, device) == 0)
            return;
    }
    if (device->connector_at < *ret_next)
        *ret_next = device->connector_at;
}

static void hear_connector(struct device *device)
{
    struct connector *connector = &device->backend.connector;
    if (connector->socket >= 0 && !connector_receive(connector))
        supervision_log(device, LOG_LEVEL_WARNING,
                        "the process that connects to its sockets has ended, or has to end first: "
                        "another is started");
    if (connector_answered(connector) && device->worker.phase == WORKER_DUE)
        device->worker.when = 0; /* its backend waited for this */
}

/* May a worker be started now? If not, it is DUE again when the answer may be different. */
static bool can_start(struct supervisor *supervisor, struct device *device, int64_t now)
{
    if (device->opening.phase != OPENING_DONE) {
        device->worker.when = INT64_MAX; /* look_at_opening sets it */
        return false;
    }
    if (device_claim(device) < 0) {
        if (!device->claim_said)
            log_warning(device->name, "waits for the end of its last worker, which was killed with "
                                      "its broker");
        device->claim_said = true;
        device->worker.when = now + GONE_LOOK_MS;
        return false;
    }
    return supervision_prepare_backend(supervisor, device);
}

/* Do what is due because of time. Returns how long to sleep, in ms; -1: until something happens. */
static int handle_time(struct supervisor *supervisor)
{
    look_at_backends(supervisor, clock_ms());
    int64_t next = supervisor->look_at;
    for (size_t i = 0; i < supervisor->device_count; i++) {
        struct device *device = &supervisor->devices[i];
        struct worker *worker = &device->worker;
        int64_t now = clock_ms();
        int64_t opening = look_at_opening(supervisor, device, now);
        if (opening < next)
            next = opening;
        look_at_connector(supervisor, device, now, &next);
        if (worker->phase == WORKER_DUE && now >= worker->when &&
            can_start(supervisor, device, now))
            supervision_start_worker(supervisor, device);
        else if (worker->phase == WORKER_STARTING && now >= worker->when)
            supervision_end_because(supervisor, device, "it did not become ready in time");
        if (worker->phase == WORKER_READY &&
            !alive_look(&worker->alive, &device->state->watch, device->request, now))
            supervision_end_because(supervisor, device, "it has not looked at its events for 5 s");
        if (worker->phase == WORKER_READY && worker->alive.when < next)
            next = worker->alive.when;
        serve_connections(supervisor, device, now, &next);
        supervision_listen(supervisor, device, now, &next);
        if ((worker->phase == WORKER_DUE || worker->phase == WORKER_STARTING) &&
            worker->when < next)
            next = worker->when;
    }
    accept_control_again(supervisor, &next);
    if (!log_tell_lost() && next > clock_ms() + LOG_RETRY_MS)
        next = clock_ms() + LOG_RETRY_MS;
    if (next == INT64_MAX)
        return -1;
    int64_t left = next - clock_ms();
    return left > 0 ? (int)left : 0;
}

static void take_client(struct supervisor *supervisor)
{
    int client = control_accept(&supervisor->control);
    if (client == -EBUSY) {
        epoll_ctl(supervisor->epoll, EPOLL_CTL_DEL, supervisor->control.listener, NULL);
        supervisor->control_at = clock_ms() + CONTROL_PAUSE_MS;
    }
    if (client < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u32 = EVENT_DMCTL_FIRST + (uint32_t)client};
    int fd = control_client(&supervisor->control, (size_t)client);
    if (epoll_ctl(supervisor->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        control_drop(&supervisor->control, (size_t)client);
}

static void look_at_entropy(struct supervisor *supervisor)
{
    int64_t took = entropy_came(&supervisor->entropy);
    if (took > 0)
        log_warning(NULL, "the kernel's random generator is ready, after %lld.%lld s",
                    (long long)(took / 1000), (long long)(took % 1000 / 100));
}

static bool handle_event(struct supervisor *supervisor, uint32_t source)
{
    if (source == EVENT_KEEPER)
        return receive_from_keeper(supervisor);
    if (source == EVENT_REPORT) {
        for (size_t i = 0; i < supervisor->device_count; i++)
            look_at_relay(supervisor, &supervisor->devices[i]);
        look_at_entropy(supervisor);
        return true;
    }
    if (source == EVENT_KERNEL_LOG)
        read_kernel_log(supervisor);
    else if (source == EVENT_CONTROL)
        take_client(supervisor);
    else if (source < EVENT_WORKER_FIRST)
        (void)control_serve(&supervisor->control, source - EVENT_DMCTL_FIRST, supervisor);
    else if (source >= EVENT_CONNECTOR_FIRST)
        hear_connector(&supervisor->devices[source - EVENT_CONNECTOR_FIRST]);
    else if (source >= EVENT_OPENER_FIRST)
        ; /* handle_time looks at all openers */
    else if (source >= EVENT_BACKEND_FIRST)
        supervisor->devices[source - EVENT_BACKEND_FIRST].worker.when = 0; /* it is DUE */
    else if (source >= EVENT_CLIENT_FIRST)
        supervisor->devices[source - EVENT_CLIENT_FIRST].worker.clients_wait = true;
    else
        supervision_receive(supervisor, &supervisor->devices[source - EVENT_WORKER_FIRST]);
    return true;
}

/*
 * Nothing in this loop waits, except wait_events: if it waited for one device, all others would
 * wait, too. What it calls, and why that does not wait:
 *
 * - recvmsg, sendmsg: always with MSG_DONTWAIT; the filter requires it. To hand on an fd does not
 *   touch the file behind it.
 * - accept4: the listeners do not block.
 * - write, read: eventfds that do not block; /dev/kmsg, opened with O_NONBLOCK; stderr, as
 *   broker/log.h says.
 * - epoll_ctl: asks sockets, eventfds and listeners for their state, which is in memory.
 * - flock (device_claim): LOCK_NB, on a memfd.
 * - connect: is not called here, but in a separate process of the device (backend/connector.h).
 * - SIOCOUTQ, SO_PEERCRED: read a number.
 * - SIOCGIFNAME, SIOCGIFFLAGS, poll of a tap: need no rtnl lock, which others may hold for long.
 *   Without capabilities, no module is loaded for a name.
 * - TIOCGWINSZ: copies under a lock that is held only for that copy.
 * - open of a vhost node: a device node, in a tmpfs. Root could unload the module, and this open
 *   would load it again: that takes as long as modprobe does.
 * - VHOST_VSOCK_SET_GUEST_CID: takes the lock of a table.
 * - close: of copies; of sockets, with unread data in them; never of the last fd of a backend's
 *   file. No file that can be flushed is open here: images and logs are in boxes (common/box.h), so
 *   that the end of this process does not wait either.
 * - memory: the pages are populated memfds; no memory of a guest is touched.
 *
 * What does block is done elsewhere: openers open backends by their names (opening.h); workers read
 * and write images.
 *
 * The work for one device, or one client, is bounded: in a turn, 32 messages; in a millisecond, 8
 * connections and 4 clients; in a second, worker_rate (worker_messages.c) and rate (control.c).
 * epoll lets all fds that are ready have their turns, one after the other.
 */
int supervisor_run(struct supervisor *supervisor)
{
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int timeout = handle_time(supervisor);
        if (supervisor->abandoned)
            return EXIT_SUCCESS;
        int count = wait_events(supervisor->epoll, events, EVENTS_MAX, wait_ns(timeout));
        for (int i = 0; i < count; i++) {
            if (!handle_event(supervisor, events[i].data.u32)) {
                if (!supervisor->abandoned)
                    stop_relays(supervisor);
                return EXIT_SUCCESS;
            }
        }
    }
}
