/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/dispatcher.h"
#include "broker/keeper/kept.h"
#include "broker/log.h"
#include "broker/words.h"

#define MESSAGES_A_TURN 32
#define STOP_BROKER_MS 2000 /* the time that a broker gets to stop */
#define STOP_KILLED_MS 2000 /* the time that the kernel gets to end killed processes */

void keeper_init(struct keeper *keeper)
{
    keeper->broker = NO_CHILD;
    keeper->socket = -1;
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        keeper->workers[i] = keeper->openers[i] = keeper->connectors[i] = NO_CHILD;
    keeper->exit_status = -1;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
}

/* Is there a child besides the broker? */
static bool any_child(const struct keeper *keeper)
{
    bool any = false;
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        any |= keeper->workers[i].pidfd >= 0 || keeper->openers[i].pidfd >= 0 ||
               keeper->connectors[i].pidfd >= 0;
    return any;
}

/* --- To the broker ------------------------------------------------------------------------ */

/* A broker that does not take its messages, or that sends a forbidden message, is replaced. */
static void broker_failed(struct keeper *keeper, const char *what, int error)
{
    log_line(NULL, "the broker is ended: %s: %s", what, strerror(-error));
    child_kill(&keeper->broker);
}

static void send_to_broker(struct keeper *keeper, union message *message, const int *fds,
                           size_t fd_count)
{
    int result = message_send(keeper->socket, message, fds, fd_count);
    if (result < 0 && result != -EPIPE && result != -ECONNRESET) /* gone: its pidfd will tell */
        broker_failed(keeper, "it does not take a message", result);
}

static void give_back_stored(struct keeper *keeper)
{
    fd_store_broker_gone(&keeper->store);
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        const struct stored_set *set = &keeper->store.sets[i];
        if (set->fd_count == 0)
            continue;
        union message message = {.store = set->message};
        message.header.type = MSG_RESTORE;
        send_to_broker(keeper, &message, set->fds, set->fd_count);
    }
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        const struct kept_set *kept = &keeper->store.kept[i];
        if (!kept->present)
            continue;
        union message message = {.opened = kept->message};
        message.header.type = MSG_KEPT;
        send_to_broker(keeper, &message, kept->fds, kept->fd_count);
    }
    union message end = {.header = {.type = MSG_RESTORE_END, .device = MESSAGE_NO_DEVICE}};
    send_to_broker(keeper, &end, NULL, 0);
}

static int start_broker(struct keeper *keeper)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    int result = spawn_broker(&keeper->executables, sockets[1], keeper->store.config,
                              keeper->store.claims, keeper->broker_argv, &keeper->broker);
    close(sockets[1]);
    if (result < 0) {
        close(sockets[0]);
        return result;
    }
    keeper->socket = sockets[0];
    keeper->started_at = clock_ms();
    keeper->running = false;
    watch_begin(&keeper->watch, keeper->started_at);
    give_back_stored(keeper);
    return 0;
}

/* --- From the broker ---------------------------------------------------------------------- */

/* Send STORED once the service manager has the set. Returns how long to sleep at most, ms; -1: for
 * ever. */
static int tell_stored(struct keeper *keeper)
{
    uint32_t device;
    int wait;
    while (fd_store_next_stored(&keeper->store, clock_ms(), &device, &wait)) {
        union message reply = {.header = {.type = MSG_STORED, .device = device}};
        if (keeper->socket >= 0)
            send_to_broker(keeper, &reply, NULL, 0);
    }
    return wait;
}

static void broker_runs(struct keeper *keeper)
{
    if (!keeper->ready)
        log_info(NULL, "%s", keeper->cgroups.words);
    keeper->has_run = keeper->running = true;
    fd_store_keep_claims(&keeper->store);
    watch_answered(&keeper->watch, clock_ms());
    if (notify_say(&keeper->notify, "%sSTATUS=The devices are served.",
                   keeper->ready ? "" : "READY=1\n") == 0)
        keeper->ready = true;
}

/* A worker without a cgroup of its own is better than none. */
static int spawn_in_cgroup(struct keeper *keeper, uint32_t device, int socket)
{
    struct child *worker = &keeper->workers[device];
    int *cgroup = &keeper->cgroups.workers[device];
    int result = spawn_worker(&keeper->executables, socket, *cgroup, worker);
    if (result == 0 || *cgroup < 0)
        return result;
    int without = spawn_worker(&keeper->executables, socket, -1, worker);
    if (without < 0)
        return without;
    log_warning(NULL, "the worker of device %u can't enter its cgroup: %s: it does without", device,
                strerror(-result));
    close(*cgroup);
    *cgroup = -1;
    return 0;
}

static void start_worker(struct keeper *keeper, uint32_t device, int socket)
{
    struct child *worker = &keeper->workers[device];
    union message reply = {.spawned = {.header = {.type = MSG_SPAWNED, .device = device}}};

    int result = -EBUSY; /* only one worker for each device */
    if (worker->pidfd < 0)
        result = spawn_in_cgroup(keeper, device, socket);
    if (result == 0)
        keeper->of_broker[device] = true;
    close(socket);
    reply.spawned.pid = result < 0 ? result : worker->pid;
    reply.spawned.cgroup = cgroups_of_worker(&keeper->cgroups, device);
    send_to_broker(keeper, &reply, NULL, 0);
}

/*
 * The text of the configuration says which files an opener opens, and the opener opens them as
 * root. So a broker may name a text only before it is confined, when it could open the files
 * itself; afterwards the settled text counts. If an opener can't be started, or an earlier one has
 * not ended, its socket is closed, which tells the broker.
 */
static void start_opener(struct keeper *keeper, const struct message_open *message, int socket,
                         int given_text)
{
    uint32_t dm_id = message->header.device;
    struct child *opener = &keeper->openers[dm_id];
    int text = keeper->running ? keeper->store.config : given_text;
    int taps[SPAWN_TAPS_MAX];
    unsigned int tap_count = message->tap_index != 0 ? kept_taps(&keeper->store, dm_id, taps) : 0;
    if (opener->pidfd < 0) {
        int result = spawn_opener(&keeper->executables, socket, text, keeper->broker_argv[2],
                                  message, taps, tap_count, opener);
        if (result < 0)
            log_line(NULL, "can't start a process that opens the backend of device %u: %s", dm_id,
                     strerror(-result));
    }
    close(socket);
    close(given_text);
}

/* The connector gets the directory that is kept for the device: a broker can't name one. If a
 * connector can't be started, or an earlier one has not ended, its socket is closed, which tells
 * the broker. */
static void start_connector(struct keeper *keeper, uint32_t dm_id, int socket)
{
    struct child *connector = &keeper->connectors[dm_id];
    int directory = kept_file(&keeper->store, dm_id, OPENED_DIRECTORY);
    if (connector->pidfd < 0 && directory >= 0) {
        int result = spawn_connector(&keeper->executables, socket, directory, connector);
        if (result < 0)
            log_line(NULL, "can't start a process that connects for device %u: %s", dm_id,
                     strerror(-result));
    }
    close(socket);
}

/* Settles the text for the next brokers: this one, or the one that is kept. They do not read the
 * file again, since it may have changed by then. */
static bool settle_config(struct keeper *keeper, const int *fds, size_t fd_count)
{
    static char kept[] = "--kept-config";
    if (keeper->running)
        return false; /* see start_opener */
    if (fd_count > 0 ? !kept_put_config(&keeper->store, fds[0]) : keeper->store.config < 0)
        return false;
    keeper->broker_argv[1] = kept;
    return true;
}

static bool names_device(const union message *message)
{
    return message->header.device < BAO_DEVICES_MAX;
}

/* Returns false for a message that no broker of ours sends; then the fds are still the caller's. */
static bool handle_message(struct keeper *keeper, const union message *message, const int *fds,
                           size_t fd_count)
{
    switch ((enum message_type)message->header.type) {
    case MSG_RUNNING:
        broker_runs(keeper);
        return true;
    case MSG_STORE:
        return names_device(message) &&
               fd_store_put(&keeper->store, &message->store, fds, fd_count);
    case MSG_SPAWN:
        if (!names_device(message))
            return false;
        start_worker(keeper, message->header.device, fds[0]);
        return true;
    case MSG_KILL:
        if (!names_device(message))
            return false;
        child_kill(&keeper->workers[message->header.device]);
        return true;
    case MSG_CONFIG:
        return settle_config(keeper, fds, fd_count);
    case MSG_OPEN:
        if (!names_device(message))
            return false;
        start_opener(keeper, &message->open, fds[0], fds[1]);
        return true;
    case MSG_CONNECTOR:
        if (!names_device(message))
            return false;
        start_connector(keeper, message->header.device, fds[0]);
        return true;
    case MSG_KEEP:
        return kept_put(&keeper->store, &message->opened, fds, fd_count);
    case MSG_PONG:
        if (keeper->watch.asked)
            watch_answered(&keeper->watch, clock_ms());
        return true;
    case MSG_START:
    case MSG_READY:
    case MSG_LOG:
    case MSG_FAILED:
    case MSG_CONNECT:
    case MSG_CONNECTION:
    case MSG_RESTORE:
    case MSG_RESTORE_END:
    case MSG_SPAWNED:
    case MSG_DIED:
    case MSG_STOP:
    case MSG_STORED:
    case MSG_KEPT:
    case MSG_PING:
    case MSG_OPENED:
    case MSG_CONNECT_TO:
    case MSG_CONNECTED:
    case MSG_TYPES:
        break;
    }
    return false;
}

/* Receives one message. Returns whether there may be another. */
static bool receive_from_broker(struct keeper *keeper)
{
    union message message;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count = 0;
    int result = message_receive(keeper->socket, ROLE_BROKER, &message, fds, &fd_count);

    if (result == 1 && !handle_message(keeper, &message, fds, fd_count)) {
        close_all(fds, fd_count);
        result = -EPROTO;
    }
    if (result == 1 || result == -EAGAIN)
        return result == 1;
    if (result < 0)
        broker_failed(keeper, "a message that it must not send", result);
    else
        child_kill(&keeper->broker); /* it has closed its socket: it is useless now */
    close(keeper->socket);
    keeper->socket = -1;
    return false;
}

/* --- Deaths ------------------------------------------------------------------------------- */

/* Kills all children but the broker. */
static void kill_children(struct keeper *keeper)
{
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        child_kill(&keeper->workers[i]);
        child_kill(&keeper->openers[i]);
        child_kill(&keeper->connectors[i]);
    }
}

static void reap_worker(struct keeper *keeper, uint32_t device)
{
    union message message = {.died = {.header = {.type = MSG_DIED, .device = device}}};
    if (!child_reap(&keeper->workers[device], &message.died.code, &message.died.status))
        return;
    /* The death of an earlier broker's worker does not concern this broker. */
    if (keeper->socket >= 0 && keeper->of_broker[device])
        send_to_broker(keeper, &message, NULL, 0);
}

/* The broker died before the first RUNNING. It has told the reason, if it could. A wrong
 * configuration stays wrong, and the user is there to see the message, so there is no second
 * attempt. */
static void first_start_failed(struct keeper *keeper, int code, int status)
{
    char how[WORDS_SIZE];
    if (code != CLD_EXITED)
        log_line(NULL, "the broker did not start: %s", words_death(code, status, how));
    keeper->exit_status = code == CLD_EXITED && status != 0 ? status : EXIT_FAILURE;
}

static void schedule_broker(struct keeper *keeper, int code, int status)
{
    char how[WORDS_SIZE];
    int64_t now = clock_ms();
    uint32_t wait = backoff_after_death(&keeper->backoff, now - keeper->started_at);
    keeper->restart_at = now + wait;
    words_death(code, status, how);
    (void)notify_say(&keeper->notify, "STATUS=The broker died: %s. The guests wait for another.",
                     how);
    if (wait == 0)
        log_line(NULL, "the broker died: %s: starting another, and all workers", how);
    else
        log_line(NULL, "the broker died: %s: starting another, and all workers, in %u ms", how,
                 wait);
}

static void broker_died(struct keeper *keeper, int code, int status)
{
    /* What the broker stored last must not be lost: closing a DM file is fatal for its frontend. */
    while (keeper->socket >= 0 && receive_from_broker(keeper))
        ;
    if (keeper->socket >= 0)
        close(keeper->socket);
    keeper->socket = -1;
    kill_children(keeper);
    memset(keeper->of_broker, 0, sizeof(keeper->of_broker));

    if (keeper->stop_by != 0)
        keeper->exit_status = 0;
    else if (!keeper->has_run && !fd_store_outlives(&keeper->store))
        first_start_failed(keeper, code, status);
    else
        schedule_broker(keeper, code, status);
}

/* --- Signals and the loop ------------------------------------------------------------------ */

static void begin_stop(struct keeper *keeper)
{
    if (keeper->stop_by != 0)
        return;
    (void)notify_say(&keeper->notify, "STOPPING=1\nSTATUS=The end was asked for.");
    keeper->stop_by = clock_ms() + STOP_BROKER_MS;
    if (keeper->broker.pidfd < 0) {
        keeper->exit_status = 0;
        return;
    }
    if (fd_store_outlives(&keeper->store)) {
        /* Another keeper may go on where this one ends, and no guest may be told fixed values: an
         * access that is not complete stays in its journal, as when the broker dies. */
        child_kill(&keeper->broker);
        return;
    }
    union message stop = {.header = {.type = MSG_STOP, .device = MESSAGE_NO_DEVICE}};
    if (keeper->socket >= 0)
        send_to_broker(keeper, &stop, NULL, 0);
}

static void take_signal(struct keeper *keeper)
{
    struct signalfd_siginfo info;
    if (read(keeper->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
        begin_stop(keeper);
}

/* Returns how long to sleep, ms; -1: for ever. */
static int watch_broker(struct keeper *keeper, int64_t now)
{
    union message ping = {.header = {.type = MSG_PING, .device = MESSAGE_NO_DEVICE}};
    switch (watch_look(&keeper->watch, now)) {
    case WATCH_ASK:
        if (keeper->socket >= 0)
            send_to_broker(keeper, &ping, NULL, 0);
        break;
    case WATCH_STUCK:
        log_line(NULL, "the broker is ended: it has not %s",
                 keeper->running ? "answered for 5 s" : "come to the end of its start");
        child_kill(&keeper->broker);
        return -1;
    case WATCH_WAIT:
        break;
    }
    return keeper->watch.when == INT64_MAX ? -1 : (int)(keeper->watch.when - now);
}

/* Do what is due at this time. Returns how long to sleep; -1: until something happens. */
static int handle_time(struct keeper *keeper)
{
    int64_t now = clock_ms();
    if (keeper->stop_by != 0) {
        if (now >= keeper->stop_by)
            child_kill(&keeper->broker);
        return now < keeper->stop_by ? (int)(keeper->stop_by - now) : -1;
    }
    if (keeper->broker.pidfd >= 0)
        return watch_broker(keeper, now);
    if (now < keeper->restart_at)
        return (int)(keeper->restart_at - now);

    int result = start_broker(keeper);
    if (result != 0) {
        uint32_t wait = backoff_after_death(&keeper->backoff, 0);
        log_line(NULL, "can't start the broker: %s", strerror(-result));
        keeper->restart_at = now + wait;
        if (!keeper->has_run && !fd_store_outlives(&keeper->store))
            keeper->exit_status = EXIT_FAILURE;
        return (int)wait;
    }
    return watch_broker(keeper, keeper->started_at);
}

enum {
    POLL_SIGNALS,
    POLL_SOCKET,
    POLL_BROKER,
    POLL_MANAGER,
    POLL_WORKERS,
    POLL_OPENERS = POLL_WORKERS + (int)BAO_DEVICES_MAX,
    POLL_CONNECTORS = POLL_OPENERS + (int)BAO_DEVICES_MAX,
    POLL_COUNT = POLL_CONNECTORS + (int)BAO_DEVICES_MAX,
};

static void wait_and_handle(struct keeper *keeper, int timeout)
{
    struct pollfd fds[POLL_COUNT];
    fds[POLL_SIGNALS] = (struct pollfd){.fd = keeper->signals, .events = POLLIN};
    fds[POLL_SOCKET] = (struct pollfd){.fd = keeper->socket, .events = POLLIN};
    fds[POLL_BROKER] = (struct pollfd){.fd = keeper->broker.pidfd, .events = POLLIN};
    bool waits = notify_waits(&keeper->notify) && keeper->notify.polls;
    fds[POLL_MANAGER] =
        (struct pollfd){.fd = waits ? keeper->notify.socket : -1, .events = POLLOUT};
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        fds[POLL_WORKERS + i] = (struct pollfd){.fd = keeper->workers[i].pidfd, .events = POLLIN};
        fds[POLL_OPENERS + i] = (struct pollfd){.fd = keeper->openers[i].pidfd, .events = POLLIN};
        fds[POLL_CONNECTORS + i] =
            (struct pollfd){.fd = keeper->connectors[i].pidfd, .events = POLLIN};
    }

    (void)poll(fds, POLL_COUNT, timeout); /* if it fails, nothing is ready */
    notify_flush(&keeper->notify);
    if (fds[POLL_SIGNALS].revents)
        take_signal(keeper);
    int code, status;
    for (int i = 0; fds[POLL_SOCKET].revents && i < MESSAGES_A_TURN; i++) {
        if (!receive_from_broker(keeper))
            break;
    }
    /* Look only at what was polled: a worker that was just started may have taken a free place. */
    for (uint32_t i = 0; i < BAO_DEVICES_MAX; i++) {
        if (fds[POLL_WORKERS + i].revents)
            reap_worker(keeper, i);
        if (fds[POLL_OPENERS + i].revents)
            (void)child_reap(&keeper->openers[i], &code, &status);
        if (fds[POLL_CONNECTORS + i].revents)
            (void)child_reap(&keeper->connectors[i], &code, &status);
    }
    if (fds[POLL_BROKER].revents && child_reap(&keeper->broker, &code, &status))
        broker_died(keeper, code, status);
}

/* Wait until no process of ours is left, as far as the kernel ends them, and until the service
 * manager has what it must keep, as far as it takes it. There is no broker any more, and the others
 * were killed when it died. */
static void await_children(struct keeper *keeper)
{
    int64_t by = clock_ms() + STOP_KILLED_MS;
    while (any_child(keeper) || notify_waits(&keeper->notify)) {
        int64_t left = by - clock_ms();
        if (left <= 0)
            return;
        wait_and_handle(keeper, (int)left);
    }
}

/* When the keeper ends, its DM files and eventfds are closed for the last time, in an order that
 * the driver does not survive. So the irqfds of the driver have to be taken back before
 * (broker/dispatcher.h). If that fails, there is nothing else to try. */
static void take_back_irqs(const struct keeper *keeper)
{
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++) {
        const struct stored_set *set = &keeper->store.sets[i];
        if (set->fd_count > STORE_IRQ)
            (void)dispatcher_remove_irq((enum bao_generation)set->message.generation,
                                        set->fds[STORE_DM], set->fds[STORE_IRQ]);
    }
}

/* The shorter of two times to sleep; -1, for ever, is the largest number here. */
static int sooner(int a, int b)
{
    return (unsigned int)a < (unsigned int)b ? a : b;
}

/* When to try again to write to a reader that takes nothing at present. */
static int next_attempt(struct keeper *keeper)
{
    int timeout = log_tell_lost() ? -1 : LOG_RETRY_MS;
    return notify_waits(&keeper->notify) ? sooner(timeout, NOTIFY_RETRY_MS) : timeout;
}

int keeper_run(struct keeper *keeper)
{
    while (keeper->exit_status < 0) {
        int timeout = sooner(handle_time(keeper), tell_stored(keeper));
        timeout = sooner(timeout, notify_watchdog(&keeper->notify, clock_ms()));
        timeout = sooner(timeout, next_attempt(keeper));
        wait_and_handle(keeper, timeout);
    }
    int status = keeper->exit_status;
    await_children(keeper);
    if (!fd_store_outlives(&keeper->store))
        take_back_irqs(keeper);
    cgroups_leave(&keeper->cgroups);
    return status;
}
