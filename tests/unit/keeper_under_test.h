/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_keeper.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_KEEPER_UNDER_TEST_H
#define TESTS_UNIT_KEEPER_UNDER_TEST_H

#include "broker/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/dispatcher.h"
#include "broker/keeper/kept.h"
#include "broker/shared_page.h"
#include "common/cgroup_limit.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define SET_FDS (STORE_QUEUE_FIRST + 1u)

static uint32_t dm_id = 3; /* the device of most cases */

static struct keeper keeper;
static int64_t now_ms;
static int signals[2];
static int broker = -1; /* the broker's end of its socket */
static int manager = -1;
static struct said said;
static unsigned int fds;
static char *argv_of_broker[] = {(char *)"bao-virtio-broker", (char *)"--config", (char *)"/c.yaml",
                                 NULL};

/* ---- Children ---- */

static struct fake {
    struct child child;
    bool killed;
    int code, status;
} fakes[32];
static unsigned int spawned, broker_count;
static char spawn_log[1024]; /* what was started */
static int spawn_error[4];   /* of the next ones; 0: it works */
static unsigned int spawn_tries;
static int text_of_opener;    /* the size of its text */
static unsigned int number_0; /* which child's pidfd gets the number 0; the first is 1 */
static unsigned int hung;     /* bit n: fakes[n] does not die of SIGKILL */
static int manager_error;     /* what each message to the service manager fails with */

static struct fake *fake_of(int pidfd)
{
    for (unsigned int i = 0; i < spawned; i++) {
        if (pidfd >= 0 && fakes[i].child.pidfd == pidfd)
            return &fakes[i];
    }
    return NULL;
}

static int start(struct child *ret, const char *what)
{
    int error = spawn_tries < 4 ? spawn_error[spawn_tries] : 0;
    spawn_tries++;
    if (error != 0)
        return -error;
    CU_ASSERT_FATAL(spawned < 32);
    struct fake *fake = &fakes[spawned++];
    if (spawned == number_0)
        free_0();
    *fake =
        (struct fake){.child = {.pid = 1000 + (pid_t)spawned, .pidfd = eventfd(0, EFD_NONBLOCK)},
                      .code = CLD_KILLED,
                      .status = SIGKILL};
    *ret = fake->child;
    strcat(spawn_log, what);
    return 0;
}

int spawn_broker(const struct executables *executables, int socket, int text, int claims,
                 char *const argv[], struct child *ret)
{
    char what[64];
    CU_ASSERT_PTR_EQUAL(executables, &keeper.executables);
    CU_ASSERT_EQUAL(claims, keeper.store.claims);
    CU_ASSERT_EQUAL(text, keeper.store.config);
    CU_ASSERT_EQUAL(fcntl(socket, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    CU_ASSERT_EQUAL(fcntl(socket, F_GETFD), FD_CLOEXEC);
    snprintf(what, sizeof(what), "broker %s\n", argv[1]);
    int result = start(ret, what);
    if (broker >= 0)
        close(broker);
    broker = result < 0 ? -1 : fcntl(socket, F_DUPFD_CLOEXEC, 0);
    broker_count += result == 0;
    return result;
}

int spawn_opener(const struct executables *executables, int socket, int text, char *path,
                 const struct message_open *message, const int *taps, unsigned int tap_count,
                 struct child *ret)
{
    char what[64];
    (void)executables;
    CU_ASSERT(socket >= 0);
    for (unsigned int i = 0; i < tap_count; i++)
        CU_ASSERT_EQUAL(taps[i], keeper.store.kept[dm_id].fds[i]);
    CU_ASSERT_STRING_EQUAL(path, "/c.yaml");
    text_of_opener = shared_page_is(text, 3) ? 3 : shared_page_is(text, 2) ? 2 : 0;
    snprintf(what, sizeof(what), "opener %u again %u taps %u\n", message->header.device,
             message->again, tap_count);
    return start(ret, what);
}

int spawn_connector(const struct executables *executables, int socket, int directory,
                    struct child *ret)
{
    (void)executables;
    CU_ASSERT(socket >= 0);
    CU_ASSERT_EQUAL(directory, kept_file(&keeper.store, dm_id, OPENED_DIRECTORY));
    return start(ret, "connector\n");
}

int spawn_worker(const struct executables *executables, int socket, int cgroup, struct child *ret)
{
    (void)executables;
    CU_ASSERT(socket >= 0 && cgroup >= -1);
    return start(ret, cgroup >= 0 ? "worker in a cgroup\n" : "worker\n");
}

static bool is_of_keeper(const struct child *child)
{
    return child == &keeper.broker ||
           (child >= keeper.workers && child < keeper.workers + BAO_DEVICES_MAX) ||
           (child >= keeper.openers && child < keeper.openers + BAO_DEVICES_MAX) ||
           (child >= keeper.connectors && child < keeper.connectors + BAO_DEVICES_MAX);
}

void child_kill(const struct child *child)
{
    CU_ASSERT_TRUE(is_of_keeper(child));
    struct fake *fake = fake_of(child->pidfd);
    if (!fake || fake->killed)
        return;
    fake->killed = true;
    if ((hung & 1u << (fake - fakes)) == 0)
        eventfd_signal(fake->child.pidfd);
}

bool child_reap(struct child *child, int *ret_code, int *ret_status)
{
    struct fake *fake = fake_of(child->pidfd);
    if (!fake || !eventfd_drain(child->pidfd))
        return false;
    *ret_code = fake->code;
    *ret_status = fake->status;
    close(child->pidfd);
    fake->child.pidfd = -1;
    *child = (struct child){.pidfd = -1};
    return true;
}

static void dies(const struct child *child, int code, int status)
{
    struct fake *fake = fake_of(child->pidfd);
    CU_ASSERT_PTR_NOT_NULL_FATAL(fake);
    fake->code = code;
    fake->status = status;
    eventfd_signal(child->pidfd);
}

static unsigned int cgroups_left, irqs_removed;

uint32_t cgroups_of_worker(const struct cgroups *cgroups, uint32_t device)
{
    return cgroups->workers[device] >= 0 ? CGROUP_OWN : 0;
}

void cgroups_leave(struct cgroups *cgroups)
{
    CU_ASSERT_PTR_EQUAL(cgroups, &keeper.cgroups);
    cgroups_left++;
}

int __wrap_dispatcher_remove_irq(enum bao_generation generation, int dm, int eventfd);

int __wrap_dispatcher_remove_irq(enum bao_generation generation, int dm, int eventfd)
{
    const struct stored_set *set = &keeper.store.sets[dm_id];
    CU_ASSERT_EQUAL(generation, BAO_C);
    CU_ASSERT(dm == set->fds[STORE_DM] && eventfd == set->fds[STORE_IRQ]);
    CU_ASSERT(fcntl(dm, F_GETFD) >= 0);
    irqs_removed++;
    return 0;
}

/* ---- The kernel ---- */

WRAPPED(int, socketpair, (int domain, int type, int protocol, int *ret),
        (domain, type, protocol, ret))

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    errno = manager_error;
    if (manager_error != 0 && fd == keeper.notify.socket)
        return -1;
    return __real_sendmsg(fd, message, flags);
}

static void (*steps[16])(void);

/* The steps from the first one on. */
#define SCRIPT(...) set_steps((void (*const[])(void)){__VA_ARGS__, NULL})

static void set_steps(void (*const from[])(void))
{
    for (size_t i = 0; from[i]; i++)
        steps[i] = from[i];
}

static unsigned int step, turns;
static int slept; /* the time for which the keeper wanted to sleep */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

/* Returns as the kernel does: when a file is ready, or the time is over. */
int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout)
{
    int64_t until = timeout < 0 ? INT64_MAX : now_ms + timeout;
    slept = timeout;
    for (;;) {
        int ready = (int)syscall(SYS_ppoll, poll_fds, count, &(struct timespec){0}, NULL, 0);
        if (turns++ > 200) {
            CU_FAIL("it does not end");
            keeper.exit_status = 99;
            now_ms += 10000;
            return ready;
        }
        if (ready != 0 || now_ms >= until)
            return ready;
        if (step < 16 && steps[step]) {
            steps[step++]();
        } else if (timeout >= 0) {
            now_ms = until;
        } else {
            keeper.exit_status = 98; /* it would sleep for ever */
            return 0;
        }
    }
}

static void asked_to_stop(void)
{
    const struct signalfd_siginfo info = {0};
    CU_ASSERT_EQUAL(write(signals[1], &info, sizeof(info)), sizeof(info));
}

static void begin(void)
{
    memset(&keeper, 0, sizeof(keeper));
    memset(steps, 0, sizeof(steps));
    memset(spawn_error, 0, sizeof(spawn_error));
    spawned = broker_count = spawn_tries = step = turns = cgroups_left = irqs_removed = 0;
    number_0 = hung = 0;
    manager_error = 0;
    spawn_log[0] = '\0';
    now_ms = 100000;
    broker = manager = -1;
    said_begin(&said, STDERR_FILENO);
    fds = fd_count();
    CU_ASSERT_EQUAL_FATAL(pipe2(signals, O_CLOEXEC | O_NONBLOCK), 0);
    keeper.signals = signals[0];
    keeper.broker_argv = argv_of_broker;
    argv_of_broker[1] = (char *)"--config";
    keeper.notify.socket = -1;
    keeper.store.notify = &keeper.notify;
    keeper.store.config = keeper.store.claims = -1;
    strcpy(keeper.cgroups.words, "no worker has a cgroup");
    for (size_t i = 0; i < BAO_DEVICES_MAX; i++)
        keeper.cgroups.workers[i] = -1;
    keeper_init(&keeper);
}

static void with_manager(void)
{
    int sockets[2];
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets), 0);
    keeper.notify.socket = sockets[0];
    manager = sockets[1];
}

/* Returns the exit status. The log is in `said`. */
static int run(void)
{
    int status = keeper_run(&keeper);
    CU_ASSERT_EQUAL(cgroups_left, 1);
    for (size_t i = 0; i < 16 && steps[i]; i++)
        CU_ASSERT(i < step); /* each step was done */
    struct stored_set *set = &keeper.store.sets[dm_id];
    for (size_t i = 0; i < set->fd_count; i++)
        close(set->fds[i]);
    struct kept_set *kept = &keeper.store.kept[dm_id];
    for (size_t i = 0; i < kept->fd_count; i++)
        close(kept->fds[i]);
    for (unsigned int i = 0; i < spawned; i++) {
        if (fakes[i].child.pidfd >= 0)
            close(fakes[i].child.pidfd);
    }
    const int others[] = {keeper.store.config,
                          keeper.store.claims,
                          keeper.cgroups.workers[dm_id],
                          keeper.notify.socket,
                          manager,
                          broker,
                          keeper.socket,
                          signals[0],
                          signals[1]};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i] >= 0)
            close(others[i]);
    }
    CU_ASSERT_EQUAL(fd_count(), fds); /* nothing else was open */
    said_end(&said);
    return status;
}

/* ---- The broker ---- */

static int got[MESSAGE_FDS_MAX];
static size_t got_count;

/* The next message to the broker; its files are closed. */
static union message receive(void)
{
    union message message = {0};
    got_count = 0;
    if (message_receive(broker, ROLE_KEEPER, &message, got, &got_count) != 1)
        message.header.type = MSG_TYPES;
    for (size_t i = 0; i < got_count; i++)
        close(got[i]);
    return message;
}

static void gets(enum message_type type)
{
    CU_ASSERT_EQUAL(receive().header.type, type);
}

static void gets_nothing(void)
{
    gets(MSG_TYPES);
}

static void says(enum message_type type, uint32_t device, const int *files, size_t count)
{
    union message message = {.header = {.type = (uint16_t)type, .device = device}};
    CU_ASSERT_EQUAL(message_send(broker, &message, files, count), 0);
}

static void runs(void)
{
    gets(MSG_RESTORE_END);
    says(MSG_RUNNING, MESSAGE_NO_DEVICE, NULL, 0);
}

static void ends(void)
{
    dies(&keeper.broker, CLD_EXITED, 0);
}

static void asks_for_a_worker(void)
{
    says(MSG_SPAWN, dm_id, &signals[0], 1);
}

static void stores(void)
{
    union message message = {.store = {.header = {.type = MSG_STORE, .device = 5},
                                       .dm_id = dm_id,
                                       .mmio_addr = 0x1000,
                                       .shmem_size = 0x1000,
                                       .fd_count = SET_FDS,
                                       .generation = BAO_C}};
    int files[SET_FDS];
    for (size_t i = 0; i < SET_FDS; i++)
        files[i] = i == STORE_STATE || i == STORE_JOURNAL ? shared_page_create("page", 4096)
                                                          : eventfd(0, EFD_CLOEXEC);
    CU_ASSERT_EQUAL(message_send(broker, &message, files, SET_FDS), 0);
    for (size_t i = 0; i < SET_FDS; i++)
        close(files[i]);
}

/* ---- Starts and deaths of the broker ---- */

static void exits_with_3(void)
{
    gets(MSG_RESTORE_END);
    gets_nothing();
    dies(&keeper.broker, CLD_EXITED, 3);
}

static void exits_with_0(void)
{
    dies(&keeper.broker, CLD_EXITED, 0);
}

static void crashes(void)
{
    dies(&keeper.broker, CLD_KILLED, SIGSEGV);
}

static void a_first_start_that_fails_is_the_end(void)
{
    begin();
    steps[0] = exits_with_3;
    CU_ASSERT_EQUAL(run(), 3);
    CU_ASSERT_STRING_EQUAL(said.text, "");
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\n");
    begin();
    steps[0] = exits_with_0;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE); /* that is no success */
    CU_ASSERT_STRING_EQUAL(said.text, "");
    begin();
    steps[0] = crashes;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_STRING_EQUAL(said.text,
                           "bao-virtio-dm: the broker did not start: killed by SIGSEGV\n");
}

static int64_t began_at;

static void another_crash(void)
{
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_EQUAL(now_ms, began_at); /* the first one is replaced at once */
    runs();
    dies(&keeper.broker, CLD_KILLED, SIGSEGV);
}

static void a_third_one_runs(void)
{
    CU_ASSERT_EQUAL(broker_count, 3);
    CU_ASSERT_EQUAL(now_ms, began_at + 100);
    runs();
}

static void waits_for_the_third(void)
{
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_EQUAL(now_ms, began_at);
    CU_ASSERT_EQUAL(slept, 100);
    now_ms += 100;
}

static void a_broker_that_ran_is_replaced(void)
{
    begin();
    began_at = now_ms;
    SCRIPT(runs, crashes, another_crash, waits_for_the_third, a_third_one_runs, asked_to_stop,
           ends);
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers, in "
        "100 ms\n");
}

static void one_that_can_t_be_started_is_told(void)
{
    begin();
    spawn_error[0] = ENOMEM;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_STRING_EQUAL(said.text,
                           "bao-virtio-dm: can't start the broker: Cannot allocate memory\n");
    begin();
    keeper.has_run = true; /* an earlier keeper's did */
    spawn_error[0] = spawn_error[1] = ENOMEM;
    SCRIPT(waits_for_the_third, runs, asked_to_stop, ends);
    broker_count = 2;
    began_at = now_ms;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(spawn_tries, 3);
}

static void closes_its_socket(void)
{
    close(broker);
    broker = -1;
}

static void one_that_closes_its_socket_is_ended(void)
{
    begin();
    SCRIPT(runs, closes_its_socket, asked_to_stop, ends);
    (void)run();
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_PTR_NULL(strstr(said.text, "is ended"));
}

/* ---- What it must not send ---- */

static enum message_type forbidden;
static uint32_t forbidden_device;
static size_t forbidden_fds;
static uint32_t forbidden_dm;

static void says_what_is_forbidden(void)
{
    union message message = {0};
    int files[MESSAGE_FDS_MAX];
    for (size_t i = 0; i < MESSAGE_FDS_MAX; i++)
        files[i] = signals[0];
    message.header.type = (uint16_t)forbidden;
    message.header.device = forbidden_device;
    if (forbidden == MSG_STORE) {
        message.store.fd_count = SET_FDS;
        message.store.dm_id = forbidden_dm;
    }
    CU_ASSERT_EQUAL(message_send(broker, &message, files, forbidden_fds), 0);
}

static void is_forbidden(enum message_type type, uint32_t device, size_t count)
{
    begin();
    forbidden = type;
    forbidden_device = device;
    forbidden_fds = count;
    SCRIPT(runs, says_what_is_forbidden, asked_to_stop, ends);
    (void)run();
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text,
                                  "bao-virtio-dm: the broker is ended: a message that it must not "
                                  "send: Protocol error\n"));
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nbroker --config\n");
}

static void what_no_broker_of_ours_sends_ends_it(void)
{
    is_forbidden(MSG_SPAWN, BAO_DEVICES_MAX, 1);
    is_forbidden(MSG_STORE, BAO_DEVICES_MAX, SET_FDS);
    forbidden_dm = BAO_DEVICES_MAX;
    is_forbidden(MSG_STORE, 0, SET_FDS);
    forbidden_dm = 0;
    is_forbidden(MSG_KILL, BAO_DEVICES_MAX, 0);
    is_forbidden(MSG_OPEN, BAO_DEVICES_MAX, 2);
    is_forbidden(MSG_CONNECTOR, BAO_DEVICES_MAX, 1);
    is_forbidden(MSG_CONFIG, 0, 1); /* it runs already */
    is_forbidden(MSG_START, 0, 1);  /* a worker's */
    is_forbidden(MSG_CONNECTION, 0, 1);
    is_forbidden(MSG_CONNECT_TO, 0, 0);
}

#endif
