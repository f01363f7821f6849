/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_workers.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_WORKERS_UNDER_TEST_H
#define TESTS_UNIT_WORKERS_UNDER_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/connections.h"
#include "broker/supervision.h"
#include "broker/words.h"
#include "common/eventfd.h"
#include "common/log_code.h"
#include "common/sandbox_layer.h"
#include "common/worker_fds.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

static struct supervisor supervisor;
static struct device device;
static struct backend_ops ops;
static struct state_page state;
static struct journal journal;
static struct config config;
static struct config_diagnostics diags;
static int keeper;      /* its end */
static int worker = -1; /* its end */
static unsigned int fds;
static int64_t now_ms;
static struct said said;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

/* ---- The log ---- */

static struct {
    enum log_level level;
    struct log_source source;
} logged; /* the last line of a worker */

void __real_log_from(enum log_level level, const struct log_source *source, const char *format,
                     ...);
void __wrap_log_from(enum log_level level, const struct log_source *source, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void __wrap_log_from(enum log_level level, const struct log_source *source, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    logged.level = level;
    logged.source = *source;
    __real_log_from(level, source, "%s", text);
}

/* ---- The backend ---- */

static int give_error;
static struct backend_fds given;

static int give(struct backend *backend, struct message_start *start, struct backend_fds *ret)
{
    CU_ASSERT_PTR_EQUAL(backend, &device.backend);
    start->of_kind.rng.rate_limit = 4321;
    *ret = given;
    return give_error;
}

static bool look_says, look_has_news;

static bool look(struct backend *backend, struct state_backend *page)
{
    CU_ASSERT_PTR_EQUAL(page, &state.backend);
    if (look_has_news)
        strcpy(backend->news.text, "there are news");
    return look_says;
}

static int prepare_result;
static struct backend_wait prepare_wait;

static int prepare(struct backend *backend, const struct backend_memory *memory, int64_t now,
                   struct backend_wait *ret)
{
    CU_ASSERT_PTR_EQUAL(backend, &device.backend);
    CU_ASSERT(memory->dm == device.dm && memory->guest_addr == 0x80000000u);
    CU_ASSERT_EQUAL(memory->size, 0x10000);
    CU_ASSERT_EQUAL(now, now_ms + 1);
    CU_ASSERT_EQUAL(device.backend_watched, -1); /* nothing is watched meanwhile */
    *ret = prepare_wait;
    return prepare_result;
}

WRAPPED(int, socketpair, (int domain, int type, int protocol, int *ret),
        (domain, type, protocol, ret))

/* ---- A device ---- */

static void begin(void)
{
    static const char text[] =
        "devices:\n- {id: 5, type: rng, data_plane: virtio, mmio_addr: 0x1000, poll_us: 77, "
        "queue_size: 64, sched: \"fifo:3\", cpu_affinity: [1], features_off: "
        "[VIRTIO_F_RING_PACKED]}\n";
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(config_parse("f", text, strlen(text), &config, &diags), 0);
    now_ms = 100000;
    device = (struct device){.index = 2};
    device_init(&device, &config.devices[0]);
    ops = (struct backend_ops){.give = give};
    given = (struct backend_fds){0};
    give_error = prepare_result = 0;
    look_says = look_has_news = false;
    device.backend.ops = &ops;
    memset(&state, 0, sizeof(state));
    memset(&journal, 0, sizeof(journal));
    device.state = &state;
    device.journal = &journal;
    device.shmem_addr = 0x80000000u;
    device.shmem_size = 0x10000;
    said_begin(&said, STDERR_FILENO);
    fds = fd_count();
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    supervisor = (struct supervisor){.keeper = sockets[0], .epoll = epoll_create1(EPOLL_CLOEXEC)};
    keeper = sockets[1];
    device.dm = open("/dev/null", O_RDWR | O_CLOEXEC);
    device.state_fd = eventfd(0, EFD_CLOEXEC);
    device.request = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device.reply = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device.call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device.irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device.kicks[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    device_prepare_relay(&device, -1);
    device.interrupt.epoll = -1;
    worker = -1;
}

/* Returns what was logged. */
static const char *end(void)
{
    const int its[] = {supervisor.keeper, supervisor.epoll, keeper,          worker,
                       device.dm,         device.state_fd,  device.call,     device.request,
                       device.reply,      device.irq,       device.kicks[0], device.worker.socket};
    for (size_t i = 0; i < sizeof(its) / sizeof(its[0]); i++) {
        if (its[i] >= 0)
            close(its[i]);
    }
    CU_ASSERT_EQUAL(fd_count(), fds);
    config_free(&config);
    return said_end(&said);
}

/* ---- Keeper and worker ---- */

static union message message;
static int got[MESSAGE_FDS_MAX];
static size_t got_count;

static bool receive(int socket)
{
    got_count = 0;
    return message_receive(socket, ROLE_BROKER, &message, got, &got_count) == 1;
}

static void close_got(void)
{
    for (size_t i = 0; i < got_count; i++)
        close(got[i]);
    got_count = 0;
}

/* The keeper starts the worker. */
static void keeper_starts(void)
{
    CU_ASSERT_TRUE_FATAL(receive(keeper));
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWN);
    CU_ASSERT_EQUAL(message.header.device, 2);
    CU_ASSERT_EQUAL_FATAL(got_count, 1);
    worker = got[0];
}

static bool keeper_kills(void)
{
    if (!receive(keeper))
        return false;
    CU_ASSERT_EQUAL(message.header.type, MSG_KILL);
    CU_ASSERT_EQUAL(message.header.device, 2);
    return true;
}

static void start(void)
{
    supervision_start_worker(&supervisor, &device);
    keeper_starts();
    CU_ASSERT_TRUE_FATAL(receive(worker));
    close_got();
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = EVENT_WORKER_FIRST + device.index};
    CU_ASSERT_EQUAL(epoll_ctl(supervisor.epoll, EPOLL_CTL_ADD, device.worker.socket, &event), 0);
    device.worker.pid = 4711;
}

static void says(union message what)
{
    CU_ASSERT_EQUAL(message_send(worker, &what, NULL, 0), 0);
}

static union message ready(void)
{
    return (union message){
        .ready = {.header = {.type = MSG_READY},
                  .layers = (1u << LAYER_COUNT) - 1,
                  .fd_count = device_kind_fds(device.info, device.backend_fd_count, 1)}};
}

static void is_ended(const char *why)
{
    char words[256];
    CU_ASSERT_TRUE(keeper_kills());
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_ENDING);
    CU_ASSERT_EQUAL(atomic_load(&device.relay.ready), RELAY_NO_WORKER);
    CU_ASSERT_TRUE(device.worker.judged);
    snprintf(words, sizeof(words), "bao-virtio-dm: rng 5: worker 4711 is ended: %s\n", why);
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, words));
}

static void says_what_ends_it(union message what, const char *why)
{
    begin();
    start();
    says(what);
    supervision_receive(&supervisor, &device);
    is_ended(why);
}

static void started_and_ready(void)
{
    begin();
    start();
    now_ms += 7;
    says(ready());
    supervision_receive(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_READY);
}

/* ---- Starting ---- */

static void a_worker_gets_all_that_it_needs(void)
{
    begin();
    given = (struct backend_fds){
        .fds = {dup(device.dm), dup(device.dm)}, .count = 2, .owned = true, .boxed = 2};
    state.counters.requests = 12;
    state.transport.status = VIRTIO_CONFIG_S_DRIVER_OK;
    device.worker.start_ms = 99; /* of the last one, as the next */
    device.worker.judged = true;
    ops.worker_looks = true;
    const unsigned int before = fd_count();
    supervision_start_worker(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.start_ms, 0);
    CU_ASSERT_FALSE(device.worker.judged);
    CU_ASSERT_EQUAL(atomic_load(&device.relay.ready), RELAY_WORKER_STARTING);
    CU_ASSERT_EQUAL(state.backend.changes, 1); /* it has looked at its backend */
    CU_ASSERT_EQUAL(fcntl(device.worker.socket, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_NOT_EQUAL(fcntl(device.worker.socket, F_GETFL) & O_NONBLOCK, 0);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_STARTING);
    CU_ASSERT_EQUAL(device.worker.started_at, now_ms + 1);
    CU_ASSERT_EQUAL(device.worker.when, device.worker.started_at + WORKER_START_MS);
    CU_ASSERT_EQUAL(device.worker.requests, 12);
    CU_ASSERT_EQUAL(device.backend_fd_count, 2);
    CU_ASSERT_FALSE(eventfd_drain(device.kicks[0])); /* it is the first worker */
    CU_ASSERT_EQUAL(fd_count(), before - 2 + 1);     /* the socket; its own files are sent */
    keeper_starts();
    CU_ASSERT_TRUE_FATAL(receive(worker));
    const struct message_start *it = &message.start;
    CU_ASSERT_EQUAL(it->header.type, MSG_START);
    CU_ASSERT_EQUAL(it->header.device, 2);
    CU_ASSERT_STRING_EQUAL(it->name, "rng 5");
    CU_ASSERT_EQUAL(it->kind, DEVICE_RNG_VIRTIO);
    CU_ASSERT_EQUAL(it->incarnation, 0);
    CU_ASSERT_EQUAL(it->uid, WORKER_UID_BASE + 5);
    CU_ASSERT_EQUAL(it->virtio_id, 4);
    CU_ASSERT_EQUAL(it->queue_size_max, 64);
    CU_ASSERT_EQUAL(it->queue_count, 1);
    CU_ASSERT_EQUAL(it->backend_fd_count, 2);
    CU_ASSERT_EQUAL(it->boxed, 2);
    CU_ASSERT_EQUAL(it->sched_priority, 3);
    CU_ASSERT_EQUAL(it->poll_us, 77);
    CU_ASSERT_EQUAL(it->processors, 2);
    CU_ASSERT_EQUAL(it->features_off, 1ull << VIRTIO_F_RING_PACKED);
    CU_ASSERT(it->shmem_addr == 0x80000000u && it->shmem_size == 0x10000);
    CU_ASSERT_EQUAL(it->of_kind.rng.rate_limit, 4321);
    /* Mailbox, call, two of the backend, a kick, the state page, the DM file. */
    CU_ASSERT_EQUAL(got_count, 8);
    const int signalled[] = {device.request, device.reply, device.call, device.kicks[0]};
    const size_t places[] = {0, 1, 2, 5};
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(eventfd_signal(signalled[i]));
        for (size_t j = 0; j < 4; j++)
            CU_ASSERT_EQUAL(eventfd_drain(got[places[j]]), i == j);
    }
    const uint64_t seven = 7;
    CU_ASSERT_EQUAL(write(device.state_fd, &seven, sizeof(seven)), sizeof(seven));
    CU_ASSERT_TRUE(eventfd_drain(got[6]));
    close_got();
    (void)end();
}

static void some_files_are_kept_and_others_borrowed(void)
{
    begin();
    int files[] = {dup(device.dm), dup(device.dm)};
    given = (struct backend_fds){
        .fds = {files[0], files[1], keeper}, .count = 2, .owned = true, .kept = 2};
    const unsigned int before = fd_count();
    start();
    CU_ASSERT_EQUAL(fd_count(), before - 1 + 2); /* the socket has two ends */
    CU_ASSERT(fcntl(files[1], F_GETFD) >= 0);
    CU_ASSERT(fcntl(keeper, F_GETFD) >= 0); /* it was not given */
    close(files[1]);
    (void)end();
    begin();
    files[0] = dup(device.dm);
    given = (struct backend_fds){.fds = {files[0]}, .count = 1};
    start();
    CU_ASSERT(fcntl(files[0], F_GETFD) >= 0);
    close(files[0]);
    (void)end();
}

static void the_size_of_queues_is_the_kind_s_unless_it_is_given(void)
{
    begin();
    config.devices[0].queue_size = 0;
    supervision_start_worker(&supervisor, &device);
    keeper_starts();
    CU_ASSERT_TRUE_FATAL(receive(worker));
    CU_ASSERT_EQUAL(message.start.queue_size_max, device_kind_queue_size(device.info, 1, 0x10000));
    close_got();
    (void)end();
    begin();
    config.devices[0].queue_size = 1;
    supervision_start_worker(&supervisor, &device);
    keeper_starts();
    CU_ASSERT_TRUE_FATAL(receive(worker));
    CU_ASSERT_EQUAL(message.start.queue_size_max, 1);
    close_got();
    (void)end();
}

static void is_named(const char name[DEVICE_NAME_SIZE], const char expected[DEVICE_NAME_SIZE])
{
    begin();
    memcpy(device.name, name, DEVICE_NAME_SIZE);
    supervision_start_worker(&supervisor, &device);
    keeper_starts();
    CU_ASSERT_TRUE_FATAL(receive(worker));
    CU_ASSERT_EQUAL(memcmp(message.start.name, expected, DEVICE_NAME_SIZE), 0);
    close_got();
    (void)end();
}

static void its_name_comes_with_it_and_nothing_else(void)
{
    char longest[DEVICE_NAME_SIZE] = {0}, rubbish[DEVICE_NAME_SIZE];
    const char clean[DEVICE_NAME_SIZE] = "rng 5";
    memset(longest, 'n', DEVICE_NAME_SIZE - 1);
    is_named(longest, longest);
    memset(rubbish, 'r', sizeof(rubbish));
    memcpy(rubbish, "rng 5", sizeof("rng 5"));
    rubbish[DEVICE_NAME_SIZE - 1] = '\0';
    is_named(rubbish, clean);
}

static void a_successor_looks_at_everything(void)
{
    for (unsigned int which = 0; which < 3; which++) {
        begin();
        device.worker.incarnation = which == 1;
        device.restored = which == 2;
        state.deaths.turn = 9;
        state.transport.status = VIRTIO_CONFIG_S_DRIVER_OK;
        start();
        CU_ASSERT_EQUAL(eventfd_drain(device.kicks[0]), which != 0);
        CU_ASSERT_EQUAL(eventfd_drain(device.request), which != 0);
        /* What a broker's death ended is nobody's fault. */
        CU_ASSERT_EQUAL(state.deaths.turn, which == 2 ? 0 : 9);
        (void)end();
    }
    begin();
    device.worker.incarnation = 1;
    device.restored = true;
    state.deaths.turn = 9;
    start();
    CU_ASSERT_EQUAL(state.deaths.turn, 9);
    (void)end();
    begin();
    device.worker.incarnation = 1;
    device.worker.excused = true;
    state.deaths.turn = 9;
    atomic_store(&journal.given_up, 1);
    start();
    CU_ASSERT_EQUAL(state.deaths.turn, 0);
    CU_ASSERT_FALSE(device.worker.excused);
    CU_ASSERT_EQUAL(state.transport.status, VIRTIO_CONFIG_S_NEEDS_RESET);
    (void)end();
}

static void one_that_can_t_be_prepared_is_due_again(void)
{
    begin();
    give_error = -ENOSPC;
    supervision_start_worker(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    CU_ASSERT_EQUAL(device.worker.incarnation, 1);
    CU_ASSERT_FALSE(receive(keeper));
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: can't prepare a worker: No space left on "
                                  "device: starting another\n");
    begin();
    fail_once("socketpair", EMFILE, 0);
    supervision_start_worker(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    CU_ASSERT_FALSE(receive(keeper));
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: can't prepare a worker: Too many open "
                                  "files: starting another\n");
    begin();
    given = (struct backend_fds){.fds = {9999}, .count = 1}; /* it can't be sent */
    supervision_start_worker(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_DUE);
    CU_ASSERT_FALSE(receive(keeper));
    CU_ASSERT_STRING_EQUAL(end(), "bao-virtio-dm: rng 5: can't prepare a worker: Bad file "
                                  "descriptor: starting another\n");
    begin();
    close(keeper);
    keeper = -1;
    supervision_start_worker(&supervisor, &device);
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    CU_ASSERT_STRING_EQUAL(
        end(), "bao-virtio-dm: rng 5: can't prepare a worker: Broken pipe: starting another\n");
}

static void the_next_one_is_due_after_a_pause(void)
{
    begin();
    start();
    device.worker.start_ms = 5;
    supervision_schedule(&device, "worker 4711 died");
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_DUE);
    CU_ASSERT_EQUAL(device.worker.when, now_ms + 1);
    CU_ASSERT_EQUAL(device.worker.pid, 0);
    CU_ASSERT_EQUAL(device.worker.socket, -1);
    CU_ASSERT_EQUAL(atomic_load(&device.relay.ready), RELAY_NO_WORKER);
    CU_ASSERT_EQUAL(device.worker.incarnation, 1);
    supervision_schedule(&device, "worker 4712 died"); /* nothing was done meanwhile */
    CU_ASSERT_EQUAL(device.worker.when, now_ms + 1 + BACKOFF_IDLE_MS);
    state.counters.requests++;
    supervision_schedule(&device, "worker 4713 died");
    CU_ASSERT_EQUAL(device.worker.when, now_ms + 1);
    device.worker.judged = true; /* whatever it says that it has done */
    supervision_schedule(&device, "worker 4714 died");
    CU_ASSERT(device.worker.when > now_ms + 1);
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: rng 5: worker 4711 died: starting another\n"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: rng 5: worker 4712 died: starting another in 30 ms\n"));
}

/* A worker that was never ready has cost all the time that it lived. */
static void a_start_that_takes_long_costs_more(void)
{
    int64_t waits[2];
    for (unsigned int i = 0; i < 2; i++) {
        begin();
        for (unsigned int j = 0; j < 8; j++) {
            device.worker.started_at = now_ms + 1 - 1000;
            device.worker.start_ms = i == 0 ? 1 : 0;
            state.counters.requests++;
            supervision_schedule(&device, "it died");
        }
        waits[i] = device.worker.when - now_ms;
        (void)end();
    }
    CU_ASSERT(waits[1] > waits[0] + 100);
}

/* ---- Ending ---- */

static void a_restart_is_no_death(void)
{
    started_and_ready();
    device.worker.backoff.fruitless_ms = 500;
    CU_ASSERT_EQUAL(supervisor_restart(&supervisor, &device), 0);
    CU_ASSERT_TRUE(keeper_kills());
    CU_ASSERT_EQUAL(device.worker.phase, WORKER_ENDING);
    CU_ASSERT_TRUE(device.worker.excused);
    CU_ASSERT_FALSE(device.worker.judged);
    CU_ASSERT(device.worker.backoff.fruitless_ms == 0 && device.worker.backoff.worth == 0);
    CU_ASSERT_EQUAL(supervisor_restart(&supervisor, &device), EAGAIN);
    CU_ASSERT_FALSE(keeper_kills());
    device.worker.phase = WORKER_DUE;
    CU_ASSERT_EQUAL(supervisor_restart(&supervisor, &device), EAGAIN);
    device.worker.phase = WORKER_STARTING;
    CU_ASSERT_EQUAL(supervisor_restart(&supervisor, &device), 0);
    (void)end();
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "rng 5: worker 4711 is ended: a restart was asked for\n"));
}

#endif
