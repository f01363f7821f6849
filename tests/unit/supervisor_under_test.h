/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_supervisor.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_SUPERVISOR_UNDER_TEST_H
#define TESTS_UNIT_SUPERVISOR_UNDER_TEST_H

#include "broker/supervisor.h"

#include <errno.h>
#include <fcntl.h>
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
static struct device devices[DEVICES];
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

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int most,
                        const struct timespec *timeout, const sigset_t *mask);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

static int wait_0(int epoll, struct epoll_event *events, int most)
{
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
    CU_ASSERT_EQUAL(client, 1);
    drops++;
}

bool control_serve(struct control *control, size_t client, struct supervisor *of)
{
    CU_ASSERT(control == &supervisor.control && client == 1 && of == &supervisor);
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

static bool look(struct backend *backend, struct state_backend *page)
{
    (void)backend;
    (void)page;
    looks++;
    return look_new;
}

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

static void begin(void)
{
    static const char text[] =
        "devices:\n- {id: 4, type: rng, data_plane: virtio, mmio_addr: 0x1000}\n"
        "- {id: 5, type: rng, data_plane: virtio, mmio_addr: 0x2000}\n";
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(config_parse("f", text, strlen(text), &config, &diags), 0);
    memset(steps, 0, sizeof(steps));
    memset(killed, 0, sizeof(killed));
    step = turns = accepts = serves = drops = killed_next = looks = 0;
    look_new = false;
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
    client_fd = supervisor.control.clients[1] = new_eventfd();
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
        workers[i] = -1;
    }
    CU_ASSERT_EQUAL(supervisor_init(&supervisor), 0);
}

/* Returns the exit status; the log is in `said`. */
static int run(void)
{
    int status = supervisor_run(&supervisor);
    for (size_t i = 0; i < 16 && steps[i]; i++)
        CU_ASSERT(i < step); /* each step was done */
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
    return status;
}

static void logged(const char *words)
{
    if (!strstr(said.text, words))
        CU_FAIL(words);
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
static void both_are_started(void)
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
    CU_ASSERT_EQUAL(slept, WORKER_START_MS);
}

static void both_are_ready(void)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        union message ready = {.ready = {.header = {.type = MSG_READY, .device = i},
                                         .layers = (1u << LAYER_COUNT) - 1,
                                         .fd_count = device_kind_fds(devices[i].info, 0, 1)}};
        CU_ASSERT_EQUAL(devices[i].worker.pid, 4710 + (int)i);
        CU_ASSERT_EQUAL(devices[i].worker.cgroup, 9);
        CU_ASSERT_EQUAL(message_send(workers[i], &ready, NULL, 0), 0);
    }
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

static void it_answers(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_PONG));
    CU_ASSERT_FALSE(keeper_gets(MSG_PONG));
}

static void start_both(void)
{
    begin();
    steps[0] = both_are_started;
    steps[1] = both_are_ready;
    steps[2] = all_is_well;
}

static void it_starts_serves_and_stops(void)
{
    start_both();
    steps[3] = keeper_pings;
    steps[4] = it_answers;
    steps[5] = stops;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_FALSE(supervisor.abandoned);
    for (uint32_t i = 0; i < DEVICES; i++)
        CU_ASSERT_TRUE(atomic_load(&devices[i].relay.stopping));
}

static void keeper_goes(void)
{
    close(keeper);
    keeper = -1;
}

/* Another keeper may go on: no access gets fixed values. */
static void without_its_keeper_it_leaves_all_as_it_is(void)
{
    start_both();
    steps[3] = keeper_goes;
    CU_ASSERT_EQUAL(run(), EXIT_SUCCESS);
    CU_ASSERT_TRUE(supervisor.abandoned);
    CU_ASSERT_FALSE(atomic_load(&devices[0].relay.stopping));
}

static void the_second_dies(void)
{
    keeper_says((union message){.died = {.header = {.type = MSG_DIED, .device = 1},
                                         .code = CLD_KILLED,
                                         .status = SIGSEGV}});
}

static void another_is_started(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(workers[1]);
    workers[1] = got[0];
    CU_ASSERT_EQUAL(devices[1].worker.incarnation, 1);
    CU_ASSERT_STRING_EQUAL(devices[1].worker.last_death, "killed by SIGSEGV");
    CU_ASSERT_EQUAL(devices[1].worker.last_pid, 4711);
    CU_ASSERT_EQUAL(devices[0].worker.incarnation, 0);
}

static void a_worker_that_dies_is_replaced(void)
{
    start_both();
    steps[3] = the_second_dies;
    steps[4] = another_is_started;
    steps[5] = stops;
    (void)run();
    logged("rng 5: worker 4711 died: killed by SIGSEGV: starting another\n");
}

/* ---- A worker that does not start ---- */

static void both_wait(void)
{
    for (uint32_t i = 0; i < DEVICES; i++) {
        CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
        workers[i] = got[0];
    }
    spawned(0, -EBUSY);
    spawned(1, -ENOMEM);
}

static void the_first_is_tried_soon(void)
{
    CU_ASSERT_EQUAL(devices[0].worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(devices[0].worker.incarnation, 0); /* that was no life */
    CU_ASSERT_EQUAL(devices[0].worker.socket, -1);
    CU_ASSERT(slept > 0 && slept <= 1000);
    CU_ASSERT_EQUAL(devices[1].worker.incarnation, 1);
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN)); /* the second one at once */
    CU_ASSERT_EQUAL(message.header.device, 1);
    close(got[0]);
    now_ms += slept;
}

static void it_is_tried(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 0);
    close(got[0]);
}

static void a_worker_that_can_t_be_started_is_tried_again(void)
{
    begin();
    steps[0] = both_wait;
    steps[1] = the_first_is_tried_soon;
    steps[2] = it_is_tried;
    steps[3] = stops;
    (void)run();
    logged("rng 5: can't start a worker: Cannot allocate memory: starting another\n");
    CU_ASSERT_PTR_NULL(strstr(said.text, "rng 4"));
}

static void time_to_start_passes(void)
{
    now_ms += WORKER_START_MS;
}

static void both_are_killed(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
    CU_ASSERT_TRUE(keeper_gets(MSG_KILL));
}

static void a_start_has_an_end(void)
{
    begin();
    steps[0] = both_are_started;
    steps[1] = time_to_start_passes;
    steps[2] = both_are_killed;
    steps[3] = stops;
    (void)run();
    logged("rng 4: worker 4710 is ended: it did not become ready in time\n");
    logged("rng 5: worker 4711 is ended: it did not become ready in time\n");
}

static int last_one; /* a worker of an earlier broker: its lock on the page */

static void the_page_is_claimed(void)
{
    CU_ASSERT_TRUE(keeper_gets(MSG_SPAWN));
    CU_ASSERT_EQUAL(message.header.device, 1); /* the other one does not wait */
    close(got[0]);
    CU_ASSERT(slept > 0 && slept <= 1000);
    now_ms += slept;
}

static void it_still_waits(void)
{
    CU_ASSERT_FALSE(keeper_gets(MSG_SPAWN));
    close(last_one);
    now_ms += slept;
}

static void no_two_workers_use_one_page(void)
{
    begin();
    last_one = shared_page_claim(devices[0].state_fd);
    int own = shared_page_reopen(devices[0].state_fd);
    close(devices[0].state_fd);
    devices[0].state_fd = devices[0].claim_fd = own;
    steps[0] = the_page_is_claimed;
    steps[1] = it_still_waits;
    steps[2] = it_is_tried;
    steps[3] = stops;
    (void)run();
    CU_ASSERT_STRING_EQUAL(said.text, "bao-virtio-dm: rng 4: waits for the end of its last worker, "
                                      "which was killed with its broker\n");
}

#endif
