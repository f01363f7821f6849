/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_supervisor*.c, which include it: what the cases use. */
#ifndef TESTS_UNIT_SUPERVISOR_UNDER_TEST_H
#define TESTS_UNIT_SUPERVISOR_UNDER_TEST_H

#include "broker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/kernel_log.h"
#include "broker/shared_page.h"
#include "broker/supervision.h"
#include "common/eventfd.h"
#include "common/sandbox_layer.h"
#include "tests/cunit_main.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define DEVICES 2

static struct supervisor supervisor;
static struct device devices[BAO_DEVICES_MAX + 1]; /* from DEVICES on, nobody may touch them */
static struct config config;
static struct config_diagnostics diags;
static struct state_page states[DEVICES];
static struct journal journals[DEVICES];
static struct backend_ops ops;
static int keeper;           /* its end */
static int workers[DEVICES]; /* their ends */
static int64_t now_ms;
static unsigned int fds;
static struct said said;

/* ---- Time and steps ---- */

static void (*steps[16])(void);
static unsigned int step, turns;
static int slept;

static unsigned int naps; /* of a millisecond each, while the loop ends */
static void (*on_nap)(unsigned int nap);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_poll(struct pollfd *files, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

/* Only this waits while the loop ends. */
int __wrap_poll(struct pollfd *files, nfds_t count, int timeout_ms)
{
    if (files)
        return __real_poll(files, count, timeout_ms);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_EQUAL(timeout_ms, 1);
    now_ms++;
    if (++naps > 1000)
        abort(); /* it does not end */
    if (on_nap)
        on_nap(naps);
    return 0;
}

static int wait_0(int epoll, struct epoll_event *events, int most)
{
    /* What does not come is not looked at: it would be of a device that is not there. */
    for (int i = 0; i < most; i++)
        events[i].data.u32 = EVENT_BACKEND_FIRST + DEVICES;
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, 0, NULL, 0);
}

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask)
{
    CU_ASSERT_PTR_NULL(mask);
    slept = timeout ? (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000) : -1;
    int count = wait_0(epoll, events, most);
    if (count != 0)
        return count;
    if (step < 16 && steps[step]) {
        steps[step++]();
    } else if (turns++ > 100) {
        CU_FAIL("it does not end");
        supervisor.abandoned = true;
    }
    return wait_0(epoll, events, most);
}

/* ---- What supervisor.c calls besides ---- */

static int accept_result;
static unsigned int accepts, serves, drops;
static size_t client_number = 1;
static int client_fd = -1;

int control_accept(struct control *control)
{
    CU_ASSERT_PTR_EQUAL(control, &supervisor.control);
    accepts++;
    if (accept_result >= 0)
        (void)eventfd_drain(control->listener); /* it was the only one */
    return accept_result;
}

void control_drop(struct control *control, size_t client)
{
    (void)control;
    CU_ASSERT_EQUAL(client, client_number);
    drops++;
}

bool control_serve(struct control *control, size_t client, struct supervisor *of)
{
    CU_ASSERT(control == &supervisor.control && client == client_number && of == &supervisor);
    serves++;
    (void)eventfd_drain(client_fd);
    return true;
}

static pid_t killed[3]; /* what the kernel's log has */
static unsigned int killed_next;

bool __wrap_kernel_log_next(int kernel_log, pid_t *ret_pid, char ret_call[KERNEL_LOG_CALL_SIZE]);

bool __wrap_kernel_log_next(int kernel_log, pid_t *ret_pid, char ret_call[KERNEL_LOG_CALL_SIZE])
{
    CU_ASSERT_EQUAL(kernel_log, supervisor.kernel_log);
    if (killed_next == 3 || killed[killed_next] == 0)
        return false;
    *ret_pid = killed[killed_next++];
    strcpy(ret_call, "openat (257)");
    return true;
}

static bool look_new;
static unsigned int looks;

/* ---- Devices ---- */

static int give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    (void)backend;
    (void)start;
    *ret = (struct backend_fds){0};
    return 0;
}

static int new_eventfd(void)
{
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Makes everything but what supervisor_init makes. */
static void make(void)
{
    static const char text[] =
        "devices:\n- {id: 4, type: rng, data_plane: virtio, mmio_addr: 0x1000}\n"
        "- {id: 5, type: rng, data_plane: virtio, mmio_addr: 0x2000}\n";
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(config_parse("f", text, strlen(text), &config, &diags), 0);
    memset(steps, 0, sizeof(steps));
    memset(killed, 0, sizeof(killed));
    step = turns = naps = accepts = serves = drops = killed_next = looks = 0;
    look_new = false;
    on_nap = NULL;
    accept_result = -EAGAIN;
    now_ms = 50000;
    ops = (struct backend_ops){.give = give};
    said_begin(&said, STDERR_FILENO);
    fds = fd_count();
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    keeper = sockets[1];
    supervisor = (struct supervisor){.keeper = sockets[0],
                                     .report = new_eventfd(),
                                     .control = {.listener = new_eventfd()},
                                     .kernel_log = new_eventfd(),
                                     .devices = devices,
                                     .device_count = DEVICES};
    client_fd = supervisor.control.clients[client_number] = new_eventfd();
    memset(devices, 0x5a, sizeof(devices));
    for (uint32_t i = 0; i < DEVICES; i++) {
        struct device *device = &devices[i];
        memset(&states[i], 0, sizeof(states[i]));
        memset(&journals[i], 0, sizeof(journals[i]));
        journal_init(&journals[i]);
        *device = (struct device){.index = i};
        device_init(device, &config.devices[i]);
        device->backend.ops = &ops;
        device->state = &states[i];
        device->journal = &journals[i];
        device->dm = open("/dev/null", O_RDWR | O_CLOEXEC);
        device->state_fd = shared_page_create("state", STATE_SIZE);
        device->request = new_eventfd();
        device->reply = new_eventfd();
        device->call = new_eventfd();
        device->irq = new_eventfd();
        device->kicks[0] = new_eventfd();
        device->opening.phase = OPENING_DONE;
        device_prepare_relay(device, supervisor.report);
        device->interrupt.epoll = -1;
        device->relay.wake = -1; /* it has no thread */
        workers[i] = -1;
    }
}

static void end(void)
{
    static struct device untouched[BAO_DEVICES_MAX + 1 - DEVICES];
    memset(untouched, 0x5a, sizeof(untouched));
    CU_ASSERT_EQUAL(memcmp(&devices[DEVICES], untouched, sizeof(untouched)), 0);
    for (uint32_t i = 0; i < DEVICES; i++) {
        const int its[] = {devices[i].dm,       devices[i].state_fd,      devices[i].request,
                           devices[i].reply,    devices[i].call,          devices[i].irq,
                           devices[i].kicks[0], devices[i].worker.socket, workers[i]};
        for (size_t j = 0; j < sizeof(its) / sizeof(its[0]); j++) {
            if (its[j] >= 0)
                close(its[j]);
        }
    }
    const int its[] = {supervisor.keeper,
                       supervisor.report,
                       supervisor.control.listener,
                       supervisor.kernel_log,
                       supervisor.epoll,
                       keeper,
                       client_fd};
    for (size_t j = 0; j < sizeof(its) / sizeof(its[0]); j++) {
        if (its[j] >= 0)
            close(its[j]);
    }
    CU_ASSERT_EQUAL(fd_count(), fds);
    config_free(&config);
    said_end(&said);
}

/* Returns the exit status; the log is in `said`. */
static int run(void)
{
    int status = supervisor_run(&supervisor);
    for (size_t i = 0; i < 16 && steps[i]; i++)
        CU_ASSERT(i < step); /* each step was done */
    end();
    return status;
}

/* ---- The keeper ---- */

static union message message;
static int got[MESSAGE_FDS_MAX];
static size_t got_count;

static bool keeper_gets(enum message_type type)
{
    got_count = 0;
    memset(&message, 0, sizeof(message));
    return message_receive(keeper, ROLE_BROKER, &message, got, &got_count) == 1 &&
           message.header.type == type;
}

static void keeper_says(union message what)
{
    CU_ASSERT_EQUAL(message_send(keeper, &what, NULL, 0), 0);
}

static void spawned(uint32_t device, int32_t pid)
{
    keeper_says((union message){
        .spawned = {.header = {.type = MSG_SPAWNED, .device = device}, .pid = pid, .cgroup = 9}});
}

/* The keeper starts what it was asked to start. */
static void keeper_starts_both(void)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
        CU_ASSERT_EQUAL(message.header.device, i);
        CU_ASSERT_EQUAL(devices[i].worker.phase, WORKER_STARTING);
        workers[i] = got[0];
        union message start;
        CU_ASSERT_EQUAL(message_receive(workers[i], ROLE_BROKER, &start, got, &got_count), 1);
        for (size_t j = 0; j < got_count; j++)
            close(got[j]);
        spawned(i, 4710 + (int32_t)i);
    }
}

static void both_are_started(void)
{
    keeper_starts_both();
    CU_ASSERT_EQUAL(slept, WORKER_START_MS);
}

static void is_ready(uint32_t i)
{
    union message ready = {.ready = {.header = {.type = MSG_READY, .device = i},
                                     .layers = (1u << LAYER_COUNT) - 1,
                                     .fd_count = device_kind_fds(devices[i].info, 0, 1)}};
    CU_ASSERT_EQUAL(devices[i].worker.pid, 4710 + (int)i);
    CU_ASSERT_EQUAL(devices[i].worker.cgroup, 9);
    CU_ASSERT_EQUAL(message_send(workers[i], &ready, NULL, 0), 0);
}

static void both_are_ready(void)
{
    is_ready(0);
    is_ready(1);
}

static void all_is_well(void)
{
    for (uint32_t i = 0; i < DEVICES; i++)
        CU_ASSERT_EQUAL(devices[i].worker.phase, WORKER_READY);
    CU_ASSERT_EQUAL(slept, ALIVE_MS);
}

static void stops(void)
{
    keeper_says((union message){.header = {.type = MSG_STOP, .device = MESSAGE_NO_DEVICE}});
}

static void keeper_pings(void)
{
    keeper_says((union message){.header = {.type = MSG_PING, .device = MESSAGE_NO_DEVICE}});
}

#endif
