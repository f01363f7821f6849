/* SPDX-License-Identifier: Apache-2.0 */
/* A part of test_device.c, which includes it: what the cases use. */
#ifndef TESTS_UNIT_DEVICE_UNDER_TEST_H
#define TESTS_UNIT_DEVICE_UNDER_TEST_H

#include "broker/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "broker/bao_devices.h"
#include "broker/shared_page.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/fd_count.h"
#include "tests/unit/said.h"

#define DEVICES 3
#define MMIO 0x1000u
#define WINDOW 0x80000000ull
#define WINDOW_SIZE 0x200000ull
#define IRQ 52u

/* ---- The driver and the keeper ---- */

static int64_t now_ms;
static enum bao_generation driver_is; /* BAO_GENERATIONS: there is none */
static int open_error, get_error;     /* positive; 0: none */
static uint32_t get_error_of;         /* the id that can't be had */
static unsigned int gets, node_opens, kicks_added, irqs_added;
static int kick_results[STATE_QUEUES_MAX], irq_result;
static int added_kicks[STATE_QUEUES_MAX], added_irq;

static int keeper;      /* our end of the socket to the keeper */
static int keeper_end;  /* the keeper's end */
static int keeper_says; /* the message type that it answers with; 0: nothing; -1: it closes */
static uint32_t keeper_says_of;
static unsigned int kicks_before_stored;
static struct message_store kept;
static int kept_fds[MESSAGE_FDS_MAX];
static size_t kept_count;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_dispatcher_find(struct dispatcher *ret, struct failure *failure);
int __wrap_dispatcher_open(struct dispatcher *dispatcher, struct failure *failure);
int __wrap_dispatcher_get_device(const struct dispatcher *dispatcher,
                                 struct dispatcher_device *device, struct failure *failure);
int __wrap_dispatcher_add_kick(enum bao_generation generation, int dm, int eventfd,
                               uint64_t mmio_addr, uint32_t queue);
int __wrap_dispatcher_add_irq(enum bao_generation generation, int dm, int eventfd);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = (struct timespec){.tv_sec = now_ms / 1000, .tv_nsec = now_ms % 1000 * 1000000};
    return 0;
}

static void be_the_keeper(void)
{
    union message message;
    memset(kept_fds, 0x5a, sizeof(kept_fds));
    if (message_receive(keeper_end, ROLE_BROKER, &message, kept_fds, &kept_count) != 1)
        return;
    CU_ASSERT_EQUAL(message.header.type, MSG_STORE);
    kept = message.store;
    kicks_before_stored += kicks_added + irqs_added;
    union message answer = {.header = {.type = (uint16_t)keeper_says, .device = keeper_says_of}};
    if (keeper_says > 0)
        CU_ASSERT_EQUAL(message_send(keeper_end, &answer, NULL, 0), 0);
    if (keeper_says < 0)
        shutdown(keeper_end, SHUT_RDWR);
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
    if (count == 0) {
        CU_ASSERT(timeout > 0);
        now_ms += timeout;
        return 0;
    }
    CU_ASSERT(count == 1 && fds->fd == keeper && fds->events == POLLIN && timeout >= 1000);
    be_the_keeper();
    return (int)syscall(SYS_ppoll, fds, count, &(struct timespec){0}, NULL, 0);
}

int __wrap_dispatcher_find(struct dispatcher *ret, struct failure *failure)
{
    if (driver_is == BAO_GENERATIONS)
        return failure_set(failure, -ENOENT, "there is no driver");
    *ret = (struct dispatcher){.generation = driver_is, .node = -1};
    return 0;
}

int __wrap_dispatcher_open(struct dispatcher *dispatcher, struct failure *failure)
{
    node_opens++;
    dispatcher->node = 900;
    return open_error ? failure_set(failure, -open_error, "it does not open") : 0;
}

int __wrap_dispatcher_get_device(const struct dispatcher *dispatcher,
                                 struct dispatcher_device *device, struct failure *failure)
{
    gets++;
    if (get_error && device->id == get_error_of)
        return failure_set(failure, -get_error, "it is not there");
    device->generation = dispatcher->generation;
    device->dm = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (device->dm < 0)
        return failure_set(failure, -errno,
                           "can't make its eventfds and pages: Too many open files");
    if (!generations[dispatcher->generation].told) {
        device->shmem_addr = WINDOW;
        device->shmem_size = WINDOW_SIZE;
        device->irq = IRQ;
    }
    return 0;
}

int __wrap_dispatcher_add_kick(enum bao_generation generation, int dm, int eventfd,
                               uint64_t mmio_addr, uint32_t queue)
{
    CU_ASSERT_EQUAL(generation, driver_is);
    CU_ASSERT(dm >= 0 && mmio_addr >= MMIO && queue < STATE_QUEUES_MAX);
    added_kicks[queue] = eventfd;
    kicks_added++;
    return kick_results[queue];
}

int __wrap_dispatcher_add_irq(enum bao_generation generation, int dm, int eventfd)
{
    CU_ASSERT_EQUAL(generation, driver_is);
    CU_ASSERT(dm >= 0);
    added_irq = eventfd;
    irqs_added++;
    return irq_result;
}

/* ---- Pages ---- */

static const char *zero_call; /* a later call of this function gets the number 0; NULL: none does */
static unsigned int zero_later;

static bool page_call_fails(const char *call)
{
    if (zero_call && strcmp(zero_call, call) == 0 && zero_later-- == 0) {
        zero_call = NULL;
        free_0();
    }
    return call_fails(call);
}

int __real_shared_page_create(const char *name, size_t size);
int __wrap_shared_page_create(const char *name, size_t size);
int __real_shared_page_claim(int fd);
int __wrap_shared_page_claim(int fd);
int __real_shared_page_reopen(int fd);
int __wrap_shared_page_reopen(int fd);
void *__real_shared_page_map(int fd, size_t size);
void *__wrap_shared_page_map(int fd, size_t size);

int __wrap_shared_page_create(const char *name, size_t size)
{
    return page_call_fails("create") ? -errno : __real_shared_page_create(name, size);
}

int __wrap_shared_page_claim(int fd)
{
    return page_call_fails("claim") ? -errno : __real_shared_page_claim(fd);
}

int __wrap_shared_page_reopen(int fd)
{
    return page_call_fails("reopen") ? -errno : __real_shared_page_reopen(fd);
}

void *__wrap_shared_page_map(int fd, size_t size)
{
    return page_call_fails("map") ? NULL : __real_shared_page_map(fd, size);
}

/* After a case that has given a file the number 0. Returns whether one still has it; then it has
 * another number from now on. */
static bool is_0_used(int *fd)
{
    bool used = fcntl(0, F_GETFD) >= 0;
    if (used && fd && *fd == 0)
        *fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    take_0_back();
    return used;
}

/* ---- Devices ---- */

#define RNG_WITH(id, keys)                                                                         \
    "- {id: " id ", type: rng, data_plane: virtio, mmio_addr: 0x" id "000" keys "}\n"
#define RNG(id) RNG_WITH(id, "")
#define BLOCK(id)                                                                                  \
    "- {id: " id ", type: block, data_plane: virtio, mmio_addr: 0x" id "000, "                     \
    "file_path: /x, queues: 2}\n"

static struct config config;
static struct config_diagnostics diags;
static struct device devices[DEVICES + 1]; /* the last one is not there */
static struct bao_devices all;
static struct failure failure;
static struct dispatcher dispatcher;
static unsigned int fds;
static struct said said;

static void begin(const char *text_of_devices)
{
    char text[1024];
    int sockets[2];
    snprintf(text, sizeof(text), "devices:\n%s", text_of_devices);
    CU_ASSERT_EQUAL_FATAL(config_parse("f", text, strlen(text), &config, &diags), 0);
    now_ms = 1000;
    driver_is = BAO_B;
    open_error = get_error = irq_result = 0;
    gets = node_opens = kicks_added = irqs_added = kicks_before_stored = 0;
    memset(kick_results, 0, sizeof(kick_results));
    keeper_says = MSG_STORED;
    keeper_says_of = 0;
    failure.text[0] = '\0';
    fds = fd_count();
    CU_ASSERT_EQUAL_FATAL(
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sockets), 0);
    keeper = sockets[0];
    keeper_end = sockets[1];
    memset(devices, 0x5a, sizeof(devices));
    for (uint32_t i = 0; i < config.device_count; i++) {
        devices[i] = (struct device){.index = i};
        device_init(&devices[i], &config.devices[i]);
    }
    all = (struct bao_devices){&config, devices, config.device_count};
    dispatcher = (struct dispatcher){.generation = driver_is, .node = -1};
    kept_count = 0;
}

/* Its process ends. */
static void forget(struct device *device)
{
    const int its[] = {device->dm,
                       device->state_fd,
                       device->claim_fd == device->state_fd ? -1 : device->claim_fd,
                       device->state_stored_fd,
                       device->journal_fd,
                       device->request,
                       device->reply,
                       device->call,
                       device->irq};
    if (device->state)
        munmap(device->state, STATE_SIZE);
    if (device->journal)
        munmap(device->journal, JOURNAL_SIZE);
    for (size_t i = 0; i < sizeof(its) / sizeof(its[0]); i++) {
        if (its[i] > 2)
            close(its[i]);
    }
    for (uint32_t q = 0; q < device->queue_count; q++) {
        if (device->kicks[q] > 2)
            close(device->kicks[q]);
    }
    uint32_t index = device->index;
    *device = (struct device){.index = index};
    device_init(device, &config.devices[index]);
}

static void end(void)
{
    for (size_t i = 0; i < config.device_count; i++)
        forget(&devices[i]);
    for (size_t i = 0; i < kept_count; i++)
        close(kept_fds[i]);
    kept_count = 0;
    close(keeper);
    close(keeper_end);
    CU_ASSERT_EQUAL(fd_count(), fds);
    config_free(&config);
}

static int create(uint32_t i)
{
    return device_create(&devices[i], &dispatcher, &failure);
}

static void fails_with(int result, int expected, const char *words)
{
    CU_ASSERT_EQUAL(result, expected);
    CU_ASSERT_STRING_EQUAL(failure.text, words);
}

static bool is_locked(int fd)
{
    int again = shared_page_claim(fd);
    if (again >= 0)
        close(again);
    return again == -EWOULDBLOCK;
}

/* ---- Made once ---- */

static void at_first_it_has_nothing(void)
{
    begin(RNG("1") BLOCK("2"));
    const struct device *device = &devices[1];
    CU_ASSERT_STRING_EQUAL(device->name, "block 2");
    CU_ASSERT_EQUAL(device->index, 1);
    CU_ASSERT_PTR_EQUAL(device->config, &config.devices[1]);
    CU_ASSERT_PTR_EQUAL(device->info, &device_kinds[DEVICE_BLOCK_VIRTIO]);
    CU_ASSERT_EQUAL(device->queue_count, 2);
    CU_ASSERT_EQUAL(devices[0].queue_count, 1);
    CU_ASSERT(device->dm == -1 && device->state_fd == -1 && device->state_stored_fd == -1);
    CU_ASSERT(device->journal_fd == -1 && device->claim_fd == -1);
    CU_ASSERT(device->backend_watched == -1 && device->opening.socket == -1);
    CU_ASSERT_EQUAL(device->opening.phase, OPENING_DUE);
    CU_ASSERT_EQUAL(device->worker.socket, -1);
    CU_ASSERT_EQUAL(device->worker.phase, WORKER_DUE);
    CU_ASSERT_PTR_EQUAL(device->backend.ops, &backend_block);
    CU_ASSERT_EQUAL(device_of_id(devices, 2, 2), device);
    CU_ASSERT_PTR_NULL(device_of_id(devices, 2, 3));
    end();
}

static void what_outlives_a_broker_is_made(void)
{
    begin(BLOCK("1"));
    const unsigned int before = fd_count();
    struct device *device = &devices[0];
    CU_ASSERT_EQUAL(create(0), 0);
    CU_ASSERT_EQUAL(gets, 1);
    CU_ASSERT_EQUAL(device->generation, BAO_B);
    CU_ASSERT(device->shmem_addr == WINDOW && device->shmem_size == WINDOW_SIZE);
    CU_ASSERT_TRUE(device->unsaved);
    CU_ASSERT_FALSE(device->restored);
    /* The DM file, four eventfds, two kicks, the state page twice, the journal. */
    CU_ASSERT_EQUAL(fd_count(), before + 10);
    const int eventfds[] = {device->request, device->reply,    device->call,
                            device->irq,     device->kicks[0], device->kicks[1]};
    for (size_t i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(fcntl(eventfds[i], F_GETFD), FD_CLOEXEC);
        CU_ASSERT_NOT_EQUAL(fcntl(eventfds[i], F_GETFL) & O_NONBLOCK, 0);
        CU_ASSERT_FALSE(eventfd_drain(eventfds[i])); /* nothing waits, and it is no other one */
        CU_ASSERT_TRUE(eventfd_signal(eventfds[i]));
    }
    CU_ASSERT_TRUE(shared_page_is(device->state_fd, STATE_SIZE));
    CU_ASSERT_TRUE(shared_page_is(device->journal_fd, JOURNAL_SIZE));
    CU_ASSERT_TRUE(journal_usable(device->journal));
    CU_ASSERT_EQUAL(device->state->magic, 0);
    CU_ASSERT_TRUE(is_locked(device->journal_fd));
    CU_ASSERT_TRUE(is_locked(device->state_stored_fd));
    CU_ASSERT_EQUAL(device_claim(device), 0); /* it has it already */
    CU_ASSERT_EQUAL(kicks_added + irqs_added, 0);
    end();
}

static void a_device_is_asked_for_once(void)
{
    begin(RNG("1"));
    devices[0].dm = open("/dev/null", O_RDWR | O_CLOEXEC);
    CU_ASSERT_EQUAL(create(0), 0);
    CU_ASSERT_EQUAL(gets, 0);
    end();
    begin(RNG("1"));
    int before = dup(STDIN_FILENO);
    devices[0].dm = STDIN_FILENO; /* a file like any other */
    CU_ASSERT_EQUAL(create(0), 0);
    CU_ASSERT_EQUAL(gets, 0);
    close(before);
    end();
}

static void what_the_driver_refuses_is_told(void)
{
    begin(RNG("1"));
    get_error = ENOENT;
    get_error_of = 1;
    fails_with(create(0), -ENOENT, "it is not there");
    CU_ASSERT_FALSE(devices[0].unsaved);
    CU_ASSERT_EQUAL(devices[0].dm, -1);
    end();
}

/* However many files there is no room for, it fails, and says so. */
static void too_many_files_are_told(void)
{
    unsigned int failures = 0;
    for (bool made = false; !made; failures += !made) {
        int fillers[64];
        size_t count = 0;
        struct rlimit limit;
        begin(BLOCK("1"));
        CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &limit), 0);
        const struct rlimit low = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &low), 0);
        while (count < 64 && (fillers[count] = dup(STDIN_FILENO)) >= 0)
            count++;
        for (unsigned int i = 0; i < failures; i++)
            close(fillers[--count]);
        int result = create(0);
        CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &limit), 0);
        made = result == 0;
        if (!made)
            fails_with(result, -EMFILE, "can't make its eventfds and pages: Too many open files");
        while (count > 0)
            close(fillers[--count]);
        end();
    }
    CU_ASSERT(failures > 8); /* the driver gives the DM file */
}

/* No number says that a call failed, but a negative one. */
static void each_page_may_have_the_number_0(void)
{
    static const struct {
        const char *call;
        unsigned int later;
        bool stays; /* open */
    } rows[] = {{"create", 0, true}, {"claim", 0, true}, {"create", 1, true}, {"claim", 1, false}};
    for (size_t i = 0; i < 4; i++) {
        begin(RNG("1"));
        struct device *device = &devices[0];
        int *const fields[] = {&device->state_stored_fd, &device->state_fd, &device->journal_fd,
                               NULL};
        zero_call = rows[i].call;
        zero_later = rows[i].later;
        CU_ASSERT_EQUAL(create(0), 0);
        CU_ASSERT_PTR_NULL(zero_call);
        if (fields[i])
            CU_ASSERT_EQUAL(*fields[i], 0);
        CU_ASSERT_EQUAL(is_0_used(fields[i]), rows[i].stays);
        CU_ASSERT_PTR_NOT_NULL(device->journal);
        end();
    }
}

static void a_page_that_can_t_be_made_is_told(void)
{
    static const struct {
        const char *call;
        unsigned int later;
    } rows[] = {{"create", 0}, {"claim", 0}, {"create", 1}, {"claim", 1}, {"map", 0}, {"map", 1}};
    for (size_t i = 0; i < 6; i++) {
        begin(RNG("1"));
        fail_once(rows[i].call, ENOMEM, rows[i].later);
        fails_with(create(0), -ENOMEM, "can't make its eventfds and pages: Cannot allocate memory");
        CU_ASSERT_PTR_NULL(failing.call);
        end();
    }
}

static const char *says_while_creating(const char *text)
{
    begin(text);
    said_begin(&said, STDERR_FILENO);
    CU_ASSERT_EQUAL(create(0), 0);
    said_end(&said);
    end();
    return said.text;
}

static void another_interrupt_than_the_driver_s_is_noted(void)
{
    CU_ASSERT_STRING_EQUAL(
        says_while_creating(RNG_WITH("1", ", irq: 20")),
        "bao-virtio-dm: rng 1: irq is 20 in the configuration, and 52 by the driver, which needs "
        "no such key: it counts otherwise, or one of them is wrong\n");
    CU_ASSERT_STRING_EQUAL(says_while_creating(RNG_WITH("1", ", irq: 52")), "");
    CU_ASSERT_STRING_EQUAL(says_while_creating(RNG("1")), "");
}

/* ---- Registering ---- */

static int reg(uint32_t i)
{
    return device_register(&devices[i], keeper, &failure);
}

static void the_keeper_has_it_before_the_driver_knows_of_it(void)
{
    begin(BLOCK("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    const unsigned int before = fd_count();
    CU_ASSERT_EQUAL(reg(0), 0);
    CU_ASSERT_EQUAL(kicks_before_stored, 0);
    CU_ASSERT_EQUAL(kicks_added, 2);
    CU_ASSERT_EQUAL(irqs_added, 1);
    CU_ASSERT(added_kicks[0] == devices[0].kicks[0] && added_kicks[1] == devices[0].kicks[1]);
    CU_ASSERT_EQUAL(added_irq, devices[0].irq);
    CU_ASSERT_EQUAL(kept.header.device, 0);
    CU_ASSERT_EQUAL(kept.dm_id, 1);
    CU_ASSERT_EQUAL(kept.kind, DEVICE_BLOCK_VIRTIO);
    CU_ASSERT_EQUAL(kept.mmio_addr, MMIO);
    CU_ASSERT(kept.shmem_addr == WINDOW && kept.shmem_size == WINDOW_SIZE);
    CU_ASSERT_EQUAL(kept.condition, STORE_WHOLE);
    CU_ASSERT_EQUAL(kept.generation, BAO_B);
    CU_ASSERT_EQUAL(kept.fd_count, STORE_QUEUE_FIRST + 2);
    CU_ASSERT_EQUAL(kept_count, STORE_QUEUE_FIRST + 2);
    CU_ASSERT_TRUE(shared_page_is(kept_fds[STORE_STATE], STATE_SIZE));
    CU_ASSERT_TRUE(shared_page_is(kept_fds[STORE_JOURNAL], JOURNAL_SIZE));
    const int ours[] = {devices[0].request, devices[0].reply,    devices[0].call,
                        devices[0].irq,     devices[0].kicks[0], devices[0].kicks[1]};
    for (size_t i = 0; i < 6; i++) {
        CU_ASSERT_TRUE(eventfd_signal(ours[i]));
        for (size_t j = 0; j < 6; j++)
            CU_ASSERT_EQUAL(eventfd_drain(kept_fds[STORE_REQUEST + j]), i == j);
    }
    /* The pages' files are the keeper's alone now; the mappings stay. */
    CU_ASSERT(devices[0].journal_fd == -1 && devices[0].state_stored_fd == -1);
    CU_ASSERT_EQUAL(fd_count(), before - 2 + kept_count);
    CU_ASSERT_FALSE(devices[0].unsaved);
    CU_ASSERT_EQUAL(reg(0), 0); /* nothing is stored again */
    CU_ASSERT_EQUAL(kicks_added, 4);
    end();
}

static void without_the_keeper_the_driver_knows_nothing(void)
{
    static const struct {
        int says;
        uint32_t of;
        int result;
        const char *words;
    } cases[] = {
        {0, 0, -ETIMEDOUT, "can't hand its files to the keeper: Connection timed out"},
        {-1, 0, -EPIPE, "can't hand its files to the keeper: Broken pipe"},
        {MSG_STOP, 0, -ECANCELED, "can't hand its files to the keeper: Operation canceled"},
        {MSG_PING, 0, -EPROTO, "can't hand its files to the keeper: Protocol error"},
        {MSG_STORED, 1, -EPROTO, "can't hand its files to the keeper: Protocol error"},
        {MSG_PONG, 0, -EPROTO, "can't hand its files to the keeper: Protocol error"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin(RNG("1"));
        CU_ASSERT_EQUAL(create(0), 0);
        keeper_says = cases[i].says;
        keeper_says_of = cases[i].of;
        fails_with(reg(0), cases[i].result, cases[i].words);
        CU_ASSERT_EQUAL(kicks_added + irqs_added, 0);
        CU_ASSERT_TRUE(devices[0].unsaved);
        end();
    }
    begin(RNG("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    close(keeper_end);
    keeper_end = open("/dev/null", O_RDWR | O_CLOEXEC);
    fails_with(reg(0), -EPIPE, "can't hand its files to the keeper: Broken pipe");
    CU_ASSERT_EQUAL(kicks_added + irqs_added, 0);
    end();
}

static void registered(bool restored, int kick, int irq, int result, const char *words)
{
    begin(BLOCK("1"));
    CU_ASSERT_EQUAL(create(0), 0);
    devices[0].restored = restored;
    kick_results[0] = kick;
    irq_result = irq;
    fails_with(reg(0), result, words);
    CU_ASSERT_EQUAL(kicks_added, result < 0 && kick < 0 ? 1 : 2);
    CU_ASSERT_EQUAL(irqs_added, result < 0 && kick < 0 ? 0 : 1);
    end();
}

static void what_a_predecessor_registered_may_be_there_already(void)
{
    registered(true, -EEXIST, 0, 0, "");
    registered(true, 0, -EBUSY, 0, "");
    registered(true, -ENODEV, -ENODEV, 0, "");
    registered(true, -EBUSY, 0, -EBUSY,
               "/dev/bao-io-dispatcher: IOEVENTFD at 0x1000: Device or resource busy");
    registered(true, 0, -EEXIST, -EEXIST, "/dev/bao-io-dispatcher: IRQFD: File exists");
    registered(false, -EEXIST, 0, -EEXIST,
               "/dev/bao-io-dispatcher: IOEVENTFD at 0x1000: File exists");
    registered(false, 0, -EBUSY, -EBUSY, "/dev/bao-io-dispatcher: IRQFD: Device or resource busy");
    registered(false, -ENODEV, 0, -ENODEV,
               "/dev/bao-io-dispatcher: IOEVENTFD at 0x1000: No such device");
    registered(false, 0, -ENODEV, -ENODEV, "/dev/bao-io-dispatcher: IRQFD: No such device");
}

#endif
