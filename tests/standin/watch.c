/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/standin/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "tests/standin/clock.h"

#define SEIZED_AGAIN_MS 200
#define EAGER_MS 100 /* a signal soon after ATTACH is probably a test's timer: look often */

/* The status text of a thread; false if it is gone. */
static bool read_status(int fd, char *text, size_t size)
{
    ssize_t length = fd < 0 ? -1 : pread(fd, text, size - 1, 0);
    if (length <= 0)
        return false;
    text[length] = '\0';
    return true;
}

static uint64_t mask_of(const char *status, const char *name)
{
    uint64_t mask = 0;
    const char *line = strstr(status, name);
    if (line)
        (void)!sscanf(line + strlen(name), "%" SCNx64, &mask);
    return mask;
}

static bool is_stopped(const char *status)
{
    const char *line = strstr(status, "\nState:\t");
    return line && line[8] == 'T';
}

static int open_status(pid_t tid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", tid);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/*
 * A debugger waits for the thread to stop: it has just seized the thread, or may have seized it
 * once more. A debugger that only follows the thread makes ATTACH return now and then without need.
 */
static bool is_seized(struct attacher *attacher, const char *status)
{
    int tracer = 0;
    const char *line = strstr(status, "\nTracerPid:\t");
    if (line)
        (void)!sscanf(line, "\nTracerPid: %d", &tracer);
    bool seized =
        tracer != 0 && (tracer != attacher->tracer || now_ms() - attacher->since > SEIZED_AGAIN_MS);
    attacher->tracer = tracer;
    return seized;
}

/* Whether a signal is pending for the thread, a debugger waits for it, or its process is being
 * stopped. */
static bool has_signal(struct attacher *attacher)
{
    char status[4096];
    if (attacher->status_tid != attacher->tid ||
        !read_status(attacher->status_fd, status, sizeof(status))) {
        if (attacher->status_tid != 0) {
            close(attacher->status_fd);
            close(attacher->leader_status_fd);
        }
        attacher->status_tid = attacher->tid;
        attacher->status_fd = open_status(attacher->tid);
        attacher->leader_status_fd = -1;
        if (!read_status(attacher->status_fd, status, sizeof(status)))
            return false;
        attacher->tracer = 0;
        const char *leader = strstr(status, "\nTgid:\t");
        pid_t process;
        if (leader && sscanf(leader, "\nTgid: %d", &process) == 1)
            attacher->leader_status_fd = open_status(process);
    }
    uint64_t pending = mask_of(status, "SigPnd:\t") | mask_of(status, "ShdPnd:\t");
    if ((pending & ~mask_of(status, "SigBlk:\t")) != 0)
        return true;
    if (is_seized(attacher, status))
        return true;
    return read_status(attacher->leader_status_fd, status, sizeof(status)) && is_stopped(status);
}

/* Any signal ends ATTACH. Returns how soon to look again, in ms. */
static int check_attachers(struct standin *standin)
{
    int next = 10;
    uint64_t now = now_ms();
    for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++) {
        struct device *device = &standin->devices[i];
        struct attacher *attacher = &device->attacher;
        if (!attacher->waiting)
            continue;
        if (!standin_notification_valid(standin, attacher->notification))
            attacher->waiting = false; /* killed */
        else if (has_signal(attacher))
            standin_driver_interrupt(standin, device);
        else if (now - attacher->since < EAGER_MS)
            next = 1;
    }
    return next;
}

/* Read which files of a device's memory were closed for the last time. A mapping counts as open. */
static void read_releases(struct standin *standin)
{
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t length = read(standin->inotify, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < length;) {
        const struct inotify_event *event = (const void *)(buffer + at);
        at += (ssize_t)(sizeof(*event) + event->len);
        for (unsigned int i = 0; i < STANDIN_DEVICES_MAX; i++) {
            if (!standin->devices[i].options.present || standin->devices[i].watch != event->wd)
                continue;
            standin->counts.dm_releases++;
            if (standin->abi == STANDIN_D)
                standin_driver_destroy(standin, &standin->devices[i]);
            bool harmless = standin->abi == STANDIN_B || standin->abi == STANDIN_C;
            if (!standin->end_expected && !harmless)
                standin_protocol_violated(standin, "device %u: last close of a DM file", i);
        }
    }
}

static void end(struct standin *standin)
{
    standin->ended = true;
    pthread_cond_broadcast(&standin->end);
    pthread_cond_broadcast(&standin->slot_free);
    for (unsigned int i = 0; i < STANDIN_VCPUS_MAX; i++) {
        if (standin->slots[i].state == SLOT_PROCESSING && !standin->slots[i].abandoned)
            sem_post(&standin->slots[i].done);
    }
}

void *standin_watch(void *argument)
{
    struct standin *standin = argument;
    int timeout_ms = 1;
    while (!atomic_load(&standin->stopping)) {
        struct pollfd fds[] = {
            {.fd = standin->stop_event, .events = POLLIN},
            {.fd = standin->inotify, .events = POLLIN},
            {.fd = standin->ended ? -1 : standin->listener},
        };
        (void)poll(fds, 3, timeout_ms);
        pthread_mutex_lock(&standin->lock);
        if (fds[1].revents & POLLIN)
            read_releases(standin);
        if ((fds[2].revents & POLLHUP) && !standin->ended)
            end(standin);
        timeout_ms = check_attachers(standin);
        pthread_mutex_unlock(&standin->lock);
    }
    return NULL;
}
