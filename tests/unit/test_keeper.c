/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: what it starts, ends, keeps and says. Its children are eventfds of this test, which
 * is the broker as well, and the service manager. Each time that the keeper waits, the next step of
 * a case is done; time passes only when a step says so.
 */
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
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define DM_ID 3u
#define SET_FDS (STORE_QUEUE_FIRST + 1u)

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
static int text_of_opener; /* the size of its text */

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
    (void)taps;
    CU_ASSERT(socket >= 0);
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
    CU_ASSERT_EQUAL(directory, kept_file(&keeper.store, DM_ID, OPENED_DIRECTORY));
    return start(ret, "connector\n");
}

int spawn_worker(const struct executables *executables, int socket, int cgroup, struct child *ret)
{
    (void)executables;
    CU_ASSERT(socket >= 0);
    return start(ret, cgroup >= 0 ? "worker in a cgroup\n" : "worker\n");
}

void child_kill(const struct child *child)
{
    struct fake *fake = fake_of(child->pidfd);
    if (!fake || fake->killed)
        return;
    fake->killed = true;
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
    const struct stored_set *set = &keeper.store.sets[DM_ID];
    CU_ASSERT_EQUAL(generation, BAO_C);
    CU_ASSERT(dm == set->fds[STORE_DM] && eventfd == set->fds[STORE_IRQ]);
    CU_ASSERT(fcntl(dm, F_GETFD) >= 0);
    irqs_removed++;
    return 0;
}

/* ---- Time and steps ---- */

static void (*steps[16])(void);
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

int __wrap_poll(struct pollfd *poll_fds, nfds_t count, int timeout)
{
    slept = timeout;
    int ready = (int)syscall(SYS_ppoll, poll_fds, count, &(struct timespec){0}, NULL, 0);
    if (ready != 0)
        return ready;
    if (turns++ > 200) {
        CU_FAIL("it does not end");
        keeper.exit_status = 99;
    }
    if (step < 16 && steps[step])
        steps[step++]();
    else if (timeout >= 0)
        now_ms += timeout;
    else
        keeper.exit_status = 98; /* it would sleep for ever */
    return (int)syscall(SYS_ppoll, poll_fds, count, &(struct timespec){0}, NULL, 0);
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
    spawn_log[0] = '\0';
    now_ms = 10000;
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
    struct stored_set *set = &keeper.store.sets[DM_ID];
    for (size_t i = 0; i < set->fd_count; i++)
        close(set->fds[i]);
    struct kept_set *kept = &keeper.store.kept[DM_ID];
    for (size_t i = 0; i < kept->fd_count; i++)
        close(kept->fds[i]);
    for (unsigned int i = 0; i < spawned; i++) {
        if (fakes[i].child.pidfd >= 0)
            close(fakes[i].child.pidfd);
    }
    const int others[] = {keeper.store.config,
                          keeper.store.claims,
                          keeper.cgroups.workers[DM_ID],
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
    says(MSG_SPAWN, DM_ID, &signals[0], 1);
}

static void stores(void)
{
    union message message = {.store = {.header = {.type = MSG_STORE, .device = 5},
                                       .dm_id = DM_ID,
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
    CU_ASSERT_EQUAL(slept, 100);
    now_ms += 100;
}

static void a_broker_that_ran_is_replaced(void)
{
    begin();
    began_at = now_ms;
    steps[0] = runs;
    steps[1] = crashes;
    steps[2] = another_crash;
    steps[3] = waits_for_the_third;
    steps[4] = a_third_one_runs;
    steps[5] = asked_to_stop;
    steps[6] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers, in "
        "100 ms\n");
}

static void nothing_happens(void)
{
    CU_ASSERT_EQUAL(slept, 0);
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
    steps[0] = nothing_happens;
    steps[1] = waits_for_the_third;
    steps[2] = runs;
    steps[3] = asked_to_stop;
    steps[4] = ends;
    broker_count = 2;
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
    steps[0] = runs;
    steps[1] = closes_its_socket;
    steps[2] = asked_to_stop;
    steps[3] = ends;
    (void)run();
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_PTR_NULL(strstr(said.text, "is ended"));
}

/* ---- What it must not send ---- */

static enum message_type forbidden;
static uint32_t forbidden_device;
static size_t forbidden_fds;

static void says_what_is_forbidden(void)
{
    union message message = {0};
    int files[MESSAGE_FDS_MAX];
    for (size_t i = 0; i < MESSAGE_FDS_MAX; i++)
        files[i] = signals[0];
    message.header.type = (uint16_t)forbidden;
    message.header.device = forbidden_device;
    if (forbidden == MSG_STORE)
        message.store.fd_count = SET_FDS;
    CU_ASSERT_EQUAL(message_send(broker, &message, files, forbidden_fds), 0);
}

static void is_forbidden(enum message_type type, uint32_t device, size_t count)
{
    begin();
    forbidden = type;
    forbidden_device = device;
    forbidden_fds = count;
    steps[0] = runs;
    steps[1] = says_what_is_forbidden;
    steps[2] = asked_to_stop;
    steps[3] = ends;
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
    is_forbidden(MSG_KILL, BAO_DEVICES_MAX, 0);
    is_forbidden(MSG_OPEN, BAO_DEVICES_MAX, 2);
    is_forbidden(MSG_CONNECTOR, BAO_DEVICES_MAX, 1);
    is_forbidden(MSG_CONFIG, 0, 1); /* it runs already */
    is_forbidden(MSG_START, 0, 1);  /* a worker's */
    is_forbidden(MSG_CONNECTION, 0, 1);
    is_forbidden(MSG_CONNECT_TO, 0, 0);
}

/* ---- Workers ---- */

static uint32_t its_cgroup;

static void has_a_worker(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.header.device, DM_ID);
    CU_ASSERT_EQUAL(message.spawned.pid, keeper.workers[DM_ID].pid);
    CU_ASSERT_EQUAL(message.spawned.cgroup, its_cgroup);
    asks_for_a_worker(); /* a second one */
}

static void gets_no_second_one(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.spawned.pid, -EBUSY);
    gets_nothing();
    says(MSG_KILL, DM_ID, NULL, 0);
}

static void hears_of_its_death(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_DIED);
    CU_ASSERT_EQUAL(message.header.device, DM_ID);
    CU_ASSERT_EQUAL(message.died.code, CLD_KILLED);
    CU_ASSERT_EQUAL(message.died.status, SIGKILL);
    CU_ASSERT_EQUAL(keeper.workers[DM_ID].pidfd, -1);
}

static void a_worker_is_started_ended_and_reaped(void)
{
    begin();
    its_cgroup = 0;
    steps[0] = runs;
    steps[1] = asks_for_a_worker;
    steps[2] = has_a_worker;
    steps[3] = gets_no_second_one;
    steps[4] = hears_of_its_death;
    steps[5] = asked_to_stop;
    steps[6] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker\n");
}

static void with_cgroup(void)
{
    its_cgroup = CGROUP_OWN;
    keeper.cgroups.workers[DM_ID] = dup(signals[0]);
}

static void a_worker_has_its_cgroup(void)
{
    begin();
    with_cgroup();
    steps[0] = runs;
    steps[1] = asks_for_a_worker;
    steps[2] = has_a_worker;
    steps[3] = asked_to_stop;
    steps[4] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker in a cgroup\n");
}

static void a_worker_without_its_cgroup_is_better_than_none(void)
{
    begin();
    with_cgroup();
    its_cgroup = 0;
    spawn_error[1] = EBUSY;
    steps[0] = runs;
    steps[1] = asks_for_a_worker;
    steps[2] = has_a_worker;
    steps[3] = asked_to_stop;
    steps[4] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nworker\n");
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text,
                                  "the worker of device 3 can't enter its cgroup: Device "
                                  "or resource busy: it does without\n"));
}

static void hears_that_there_is_none(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_SPAWNED);
    CU_ASSERT_EQUAL(message.spawned.pid, -ENOMEM);
    CU_ASSERT_EQUAL(message.spawned.cgroup, its_cgroup);
}

static void a_worker_that_can_t_be_started_is_told(void)
{
    for (unsigned int cgroup = 0; cgroup < 2; cgroup++) {
        begin();
        its_cgroup = 0;
        spawn_error[1] = cgroup ? EBUSY : ENOMEM;
        spawn_error[2] = ENOMEM;
        if (cgroup)
            with_cgroup();
        steps[0] = runs;
        steps[1] = asks_for_a_worker;
        steps[2] = hears_that_there_is_none;
        steps[3] = asked_to_stop;
        steps[4] = ends;
        CU_ASSERT_EQUAL(run(), 0);
        CU_ASSERT_EQUAL(spawn_tries, cgroup ? 3 : 2);
        CU_ASSERT_PTR_NULL(strstr(said.text, "without\n"));
    }
}

static void crashes_with_a_worker(void)
{
    (void)receive();
    dies(&keeper.broker, CLD_KILLED, SIGSEGV);
}

static void hears_nothing_of_the_old_one(void)
{
    CU_ASSERT_TRUE(fakes[1].killed); /* it is a worker of the first broker */
    CU_ASSERT_EQUAL(broker_count, 2);
    gets(MSG_RESTORE_END);
    gets_nothing();
    CU_ASSERT_EQUAL(keeper.workers[DM_ID].pidfd, -1);
}

static void the_death_of_an_earlier_broker_s_worker_is_not_told(void)
{
    begin();
    steps[0] = runs;
    steps[1] = asks_for_a_worker;
    steps[2] = crashes_with_a_worker;
    steps[3] = hears_nothing_of_the_old_one;
    steps[4] = asked_to_stop;
    steps[5] = ends;
    CU_ASSERT_EQUAL(run(), 0);
}

/* ---- Sets, openers, connectors, configurations ---- */

static void is_told_that_it_is_stored(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_STORED);
    CU_ASSERT_EQUAL(message.header.device, 5);
    gets_nothing();
}

static void says_running(void)
{
    says(MSG_RUNNING, MESSAGE_NO_DEVICE, NULL, 0);
}

static void keeps_a_backend(void)
{
    union message message = {0};
    message.header.type = MSG_KEEP;
    message.opened.dm_id = DM_ID;
    message.opened.files = 1u << OPENED_DIRECTORY;
    CU_ASSERT_EQUAL(message_send(broker, &message, &signals[0], 1), 0);
}

static void the_next_one_gets_all(void)
{
    union message message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_RESTORE);
    CU_ASSERT_EQUAL(message.store.dm_id, DM_ID);
    CU_ASSERT_EQUAL(message.store.mmio_addr, 0x1000);
    CU_ASSERT_EQUAL(got_count, SET_FDS);
    message = receive();
    CU_ASSERT_EQUAL(message.header.type, MSG_KEPT);
    CU_ASSERT_EQUAL(message.opened.dm_id, DM_ID);
    CU_ASSERT_EQUAL(got_count, 1);
    gets(MSG_RESTORE_END);
    gets_nothing();
}

static void gets_the_end(void)
{
    gets(MSG_RESTORE_END);
}

static void what_a_broker_stores_goes_to_the_next_one(void)
{
    begin();
    steps[0] = gets_the_end;
    steps[1] = stores;
    steps[2] = is_told_that_it_is_stored;
    steps[3] = says_running;
    steps[4] = keeps_a_backend;
    steps[5] = crashes;
    steps[6] = the_next_one_gets_all;
    steps[7] = asked_to_stop;
    steps[8] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(irqs_removed, 1); /* the driver would not survive it otherwise */
}

static void stores_and_crashes(void)
{
    gets(MSG_RESTORE_END);
    says_running();
    stores();
    crashes();
}

static void the_next_one_gets_the_set(void)
{
    gets(MSG_RESTORE);
    gets(MSG_RESTORE_END);
}

/* What it has sent before its death is taken, though nobody waits for the answer. */
static void what_a_broker_stored_last_is_not_lost(void)
{
    begin();
    steps[0] = stores_and_crashes;
    steps[1] = the_next_one_gets_the_set;
    steps[2] = asked_to_stop;
    steps[3] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(keeper.store.sets[DM_ID].fd_count, SET_FDS);
}

static void settles(size_t size)
{
    int text = shared_page_of_text("configuration", "abc", size);
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, &text, 1);
    close(text);
}

static void settles_its_configuration(void)
{
    settles(3);
}

static void asks_for_an_opener(void)
{
    union message message = {
        .open = {.header = {.type = MSG_OPEN, .device = DM_ID}, .again = 1, .tap_index = 0}};
    int text = shared_page_of_text("configuration", "ab", 2);
    const int files[] = {signals[0], text};
    text_of_opener = -1;
    CU_ASSERT_EQUAL(message_send(broker, &message, files, 2), 0);
    close(text);
}

static void its_own_text_counted(void)
{
    CU_ASSERT_EQUAL(text_of_opener, 2);
    asks_for_an_opener(); /* the first one has not ended */
}

static void only_one_was_started(void)
{
    CU_ASSERT_EQUAL(text_of_opener, -1);
    dies(&keeper.openers[DM_ID], CLD_EXITED, 0);
}

static void runs_and_asks(void)
{
    CU_ASSERT_EQUAL(keeper.openers[DM_ID].pidfd, -1);
    says_running();
    asks_for_an_opener();
}

static void the_settled_text_counted(void)
{
    CU_ASSERT_EQUAL(text_of_opener, 3);
}

static void a_confined_broker_names_no_text(void)
{
    begin();
    steps[0] = gets_the_end;
    steps[1] = settles_its_configuration;
    steps[2] = asks_for_an_opener;
    steps[3] = its_own_text_counted;
    steps[4] = only_one_was_started;
    steps[5] = runs_and_asks;
    steps[6] = the_settled_text_counted;
    steps[7] = asked_to_stop;
    steps[8] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log,
                           "broker --config\nopener 3 again 1 taps 0\nopener 3 again 1 taps 0\n");
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--kept-config");
    CU_ASSERT_PTR_NULL(strstr(said.text, "can't"));
}

static void says_config_without_a_text(void)
{
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, NULL, 0);
}

static void says_config_that_can_change(void)
{
    says(MSG_CONFIG, MESSAGE_NO_DEVICE, &signals[0], 1);
}

static void the_kept_text_must_be_there(void)
{
    begin();
    steps[0] = gets_the_end;
    steps[1] = says_config_without_a_text;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--config");
    begin();
    steps[0] = gets_the_end;
    steps[1] = says_config_that_can_change;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    begin();
    keeper.store.config = shared_page_of_text("configuration", "abc", 3);
    keeper.has_run = true;
    steps[0] = gets_the_end;
    steps[1] = says_config_without_a_text;
    steps[2] = asked_to_stop;
    steps[3] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_FALSE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(argv_of_broker[1], "--kept-config");
}

static void asks_for_a_connector(void)
{
    says(MSG_CONNECTOR, DM_ID, &signals[0], 1);
}

static void its_connector_dies(void)
{
    dies(&keeper.connectors[DM_ID], CLD_EXITED, 0);
}

static void a_connector_gets_the_kept_directory(void)
{
    begin();
    steps[0] = runs;
    steps[1] = asks_for_a_connector; /* nothing is kept yet */
    steps[2] = keeps_a_backend;
    steps[3] = asks_for_a_connector;
    steps[4] = asks_for_a_connector; /* the first one has not ended */
    steps[5] = its_connector_dies;
    steps[6] = asks_for_a_connector;
    steps[7] = asked_to_stop;
    steps[8] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(spawn_log, "broker --config\nconnector\nconnector\n");
}

static void helpers_that_can_t_be_started_are_told(void)
{
    begin();
    spawn_error[1] = EAGAIN;
    spawn_error[2] = ENOMEM;
    steps[0] = runs;
    steps[1] = asks_for_an_opener;
    steps[2] = keeps_a_backend;
    steps[3] = asks_for_a_connector;
    steps[4] = asked_to_stop;
    steps[5] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: can't start a process that opens the backend of device 3: Resource "
        "temporarily unavailable\n"
        "bao-virtio-dm: can't start a process that connects for device 3: Cannot allocate "
        "memory\n");
}

/* ---- Is it alive? ---- */

static void a_second_passes(void)
{
    CU_ASSERT_EQUAL(slept, WATCH_ASK_MS);
    now_ms += slept;
}

static void is_asked_and_answers(void)
{
    gets(MSG_PING);
    says(MSG_PONG, MESSAGE_NO_DEVICE, NULL, 0);
}

static void is_asked(void)
{
    gets(MSG_PING);
    CU_ASSERT_EQUAL(slept, WATCH_ANSWER_MS);
    now_ms += WATCH_ANSWER_MS;
}

static void is_asked_again(void)
{
    gets(MSG_PING);
    CU_ASSERT_EQUAL(slept, WATCH_LAST_MS);
    now_ms += WATCH_LAST_MS;
}

static void a_stuck_broker_is_ended(void)
{
    begin();
    steps[0] = runs;
    steps[1] = a_second_passes;
    steps[2] = is_asked_and_answers;
    steps[3] = a_second_passes;
    steps[4] = is_asked;
    steps[5] = is_asked_again;
    steps[6] = asked_to_stop;
    steps[7] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 2);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(said.text, "bao-virtio-dm: the broker is ended: it has not answered for 5 s\n"));
}

static void its_start_takes_too_long(void)
{
    now_ms += WATCH_START_MS;
}

static void a_start_without_an_end_is_ended(void)
{
    begin();
    steps[0] = its_start_takes_too_long;
    CU_ASSERT_EQUAL(run(), EXIT_FAILURE);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_STRING_EQUAL(
        said.text, "bao-virtio-dm: the broker is ended: it has not come to the end of its start\n"
                   "bao-virtio-dm: the broker did not start: killed by SIGKILL\n");
}

static void takes_nothing(void)
{
    const int size = 1;
    union message message = {.header = {.type = MSG_PING}};
    CU_ASSERT_EQUAL(setsockopt(keeper.socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    while (message_send(keeper.socket, &message, NULL, 0) == 0)
        continue;
    now_ms += WATCH_ASK_MS;
}

static void a_broker_that_reads_nothing_is_ended(void)
{
    begin();
    steps[0] = runs;
    steps[1] = takes_nothing;
    steps[2] = asked_to_stop;
    steps[3] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "bao-virtio-dm: the broker is ended: it does not take "
                                             "a message: Resource temporarily unavailable\n"));
}

/* ---- The end ---- */

static void is_asked_to_end(void)
{
    gets(MSG_STOP);
    gets_nothing();
    CU_ASSERT_FALSE(fakes[0].killed);
    asked_to_stop(); /* a second time changes nothing */
}

static void has_two_seconds(void)
{
    gets_nothing();
    CU_ASSERT_EQUAL(slept, 2000);
    now_ms += 1999;
}

static void then_it_is_killed(void)
{
    CU_ASSERT_FALSE(fakes[0].killed);
    now_ms += 1;
}

static void a_broker_gets_time_to_end(void)
{
    begin();
    steps[0] = runs;
    steps[1] = asked_to_stop;
    steps[2] = is_asked_to_end;
    steps[3] = has_two_seconds;
    steps[4] = then_it_is_killed;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(broker_count, 1);
}

static void stops_between_two_brokers(void)
{
    asked_to_stop();
}

static void nothing_comes(void)
{
    gets_nothing();
}

static void without_a_broker_it_ends_at_once(void)
{
    begin();
    keeper.has_run = true;
    spawn_error[0] = spawn_error[1] = ENOMEM;
    steps[0] = stops_between_two_brokers;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(broker_count, 0);
}

/* Each kind of child is waited for, also if it is the last one. */
static void the_last_child_is_waited_for(void)
{
    for (unsigned int kind = 0; kind < 3; kind++) {
        begin();
        steps[0] = runs;
        steps[1] = kind == 0 ? asks_for_a_worker : keeps_a_backend;
        steps[2] = kind == 1 ? asks_for_an_opener : asks_for_a_connector;
        steps[3] = kind == 0 ? asked_to_stop : nothing_comes;
        steps[4] = kind == 0 ? ends : asked_to_stop;
        steps[5] = kind == 0 ? NULL : ends;
        CU_ASSERT_EQUAL(run(), 0);
        CU_ASSERT_EQUAL(spawned, 2);
        CU_ASSERT_EQUAL(fakes[1].child.pidfd, -1);
    }
}

static void stops_with_a_worker(void)
{
    (void)receive();
    asked_to_stop();
}

static void all_children_are_ended(void)
{
    begin();
    steps[0] = runs;
    steps[1] = asks_for_a_worker;
    steps[2] = asks_for_an_opener;
    steps[3] = keeps_a_backend;
    steps[4] = asks_for_a_connector;
    steps[5] = stops_with_a_worker;
    steps[6] = ends;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_EQUAL(spawned, 4);
    for (unsigned int i = 1; i < spawned; i++)
        CU_ASSERT(fakes[i].killed && fakes[i].child.pidfd == -1); /* and reaped */
}

/* ---- The service manager ---- */

static void manager_hears(const char *words)
{
    char text[256] = "";
    ssize_t length = recv(manager, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    CU_ASSERT_STRING_EQUAL(text, words);
}

static void it_hears_that_devices_are_served(void)
{
    manager_hears("READY=1\nSTATUS=The devices are served.");
    crashes();
}

static void it_hears_of_the_death(void)
{
    manager_hears("STATUS=The broker died: killed by SIGSEGV. The guests wait for another.");
    runs();
}

static void it_hears_that_they_are_served_again(void)
{
    manager_hears("STATUS=The devices are served.");
    asked_to_stop();
}

static void it_hears_of_the_end(void)
{
    manager_hears("STOPPING=1\nSTATUS=The end was asked for.");
    manager_hears("");
    ends();
}

static void a_service_manager_hears_how_it_is(void)
{
    begin();
    with_manager();
    steps[0] = runs;
    steps[1] = it_hears_that_devices_are_served;
    steps[2] = it_hears_of_the_death;
    steps[3] = it_hears_that_they_are_served_again;
    steps[4] = it_hears_of_the_end;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_STRING_EQUAL(
        said.text,
        "bao-virtio-dm: no worker has a cgroup\n"
        "bao-virtio-dm: the broker died: killed by SIGSEGV: starting another, and all workers\n");
}

static void it_wants_to_hear_from_us(void)
{
    manager_hears("WATCHDOG=1");
    CU_ASSERT_EQUAL(slept, 300);
    asked_to_stop();
}

static void a_watchdog_is_fed(void)
{
    begin();
    with_manager();
    keeper.notify.watchdog_ms = 300;
    steps[0] = it_wants_to_hear_from_us;
    steps[1] = ends;
    CU_ASSERT_EQUAL(run(), 0);
}

/* With a service manager the devices outlive the keeper: nobody is told fixed values. */
static void what_outlives_us_is_left_as_it_is(void)
{
    begin();
    with_manager();
    steps[0] = gets_the_end;
    steps[1] = stores;
    steps[2] = is_told_that_it_is_stored;
    steps[3] = says_running;
    steps[4] = asked_to_stop;
    CU_ASSERT_EQUAL(run(), 0);
    CU_ASSERT_TRUE(fakes[0].killed);
    CU_ASSERT_EQUAL(irqs_removed, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo brokers[] = {
        {"a first start that fails is the end", a_first_start_that_fails_is_the_end},
        {"a broker that ran is replaced", a_broker_that_ran_is_replaced},
        {"one that can't be started is told", one_that_can_t_be_started_is_told},
        {"one that closes its socket is ended", one_that_closes_its_socket_is_ended},
        {"what no broker of ours sends ends it", what_no_broker_of_ours_sends_ends_it},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo workers[] = {
        {"a worker is started, ended and reaped", a_worker_is_started_ended_and_reaped},
        {"a worker has its cgroup", a_worker_has_its_cgroup},
        {"a worker without its cgroup", a_worker_without_its_cgroup_is_better_than_none},
        {"a worker that can't be started", a_worker_that_can_t_be_started_is_told},
        {"an earlier broker's worker", the_death_of_an_earlier_broker_s_worker_is_not_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo kept[] = {
        {"what a broker stores goes to the next", what_a_broker_stores_goes_to_the_next_one},
        {"what it stored last is not lost", what_a_broker_stored_last_is_not_lost},
        {"a confined broker names no text", a_confined_broker_names_no_text},
        {"the kept text must be there", the_kept_text_must_be_there},
        {"a connector gets the kept directory", a_connector_gets_the_kept_directory},
        {"helpers that can't be started", helpers_that_can_t_be_started_are_told},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo alive[] = {
        {"a stuck broker is ended", a_stuck_broker_is_ended},
        {"a start without an end is ended", a_start_without_an_end_is_ended},
        {"a broker that reads nothing is ended", a_broker_that_reads_nothing_is_ended},
        {"a broker gets time to end", a_broker_gets_time_to_end},
        {"without a broker it ends at once", without_a_broker_it_ends_at_once},
        {"all children are ended", all_children_are_ended},
        {"the last child is waited for", the_last_child_is_waited_for},
        {"a service manager hears how it is", a_service_manager_hears_how_it_is},
        {"a watchdog is fed", a_watchdog_is_fed},
        {"what outlives us is left as it is", what_outlives_us_is_left_as_it_is},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"brokers", NULL, NULL, NULL, NULL, brokers},
        {"workers", NULL, NULL, NULL, NULL, workers},
        {"kept", NULL, NULL, NULL, NULL, kept},
        {"alive", NULL, NULL, NULL, NULL, alive},
        CU_SUITE_INFO_NULL,
    };
    return run_suites(argc, argv, suites);
}
