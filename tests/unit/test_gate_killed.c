/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No interrupt is lost, in whichever order a driver looks and acknowledges, and whenever the broker
 * dies. Gate and relay run in a process that is killed at random and started again. A worker or a
 * vhost that has produced something calls, and a driver consumes. The driver consumes nothing
 * without an interrupt. So after a lost interrupt nothing goes on, and the time limit finds that.
 *
 * 10 million interrupts with BVDM_LONG=1, a quarter of them for each of the four runs with deaths,
 * and some thousands without.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/dispatcher.h"
#include "broker/relay.h"
#include "common/eventfd.h"
#include "tests/cunit_main.h"

#define BASE 0x10000000u
#ifndef SELF
#define SELF "/proc/self/exe" /* this program; under an emulator, a script that starts it */
#endif
#define LOST_MS 20000
#define REQUEST_IDS 4u
#define NO_REQUEST UINT64_MAX

/* struct shared, attacher. The frontend's process is never killed. So a request comes into its slot
 * as a whole, as in the kernel. */
#define ATTACHER_NONE 0u
#define ATTACHER_FILLING 1u
#define ATTACHER_FILLED 2u

enum { CALL_FD = 200, IRQ_FD, REQUEST_FD, REPLY_FD, SHARED_FD };

/* The memory that all processes share. */
static struct shared {
    struct state_page state;
    _Alignas(4096) struct journal journal;
    /* The dispatcher: one request at a time, as from a frontend with one vCPU. */
    _Alignas(64) _Atomic uint32_t attacher; /* futex: ATTACHER_*, or offset of the slot to fill */
    _Atomic uint64_t waiting; /* id of the request whose vCPU waits, or NO_REQUEST; its answer: */
    _Atomic uint64_t answer;
    _Atomic uint32_t answered; /* futex: + 1 for each completion */
    /* The work. */
    _Alignas(64) _Atomic uint64_t produced;
    _Alignas(64) _Atomic uint64_t consumed;
    _Atomic uint32_t kills; /* of brokers */
    uint32_t kills_wanted;  /* the driver goes on until so many have been killed */
    _Atomic bool over;
    /* The properties of the run. */
    bool acknowledges_last, sets_no_bits;
} * shared;

static bool futex_wait(_Atomic uint32_t *word, uint32_t value, int ms)
{
    const struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    return syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0) == 0;
}

static void futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* --- The broker's process -------------------------------------------------------------------- */

/* Like the driver's ATTACH: it waits, and any signal ends the wait. */
int dispatcher_attach(enum bao_generation generation, int dm, struct bao_io_request *slot)
{
    (void)generation;
    (void)dm;
    uint32_t offset = (uint32_t)((char *)slot - (char *)shared);
    atomic_store(&shared->attacher, offset);
    futex_wake(&shared->attacher);
    for (;;) {
        uint32_t now = atomic_load(&shared->attacher);
        if (now == ATTACHER_FILLED)
            return 0;
        bool interrupted = !futex_wait(&shared->attacher, now, 50) && errno == EINTR;
        /* It never ends in the middle of a request, however often it is interrupted. */
        uint32_t mine = offset;
        if (interrupted && atomic_compare_exchange_strong(&shared->attacher, &mine, ATTACHER_NONE))
            return -ETIME;
    }
}

int dispatcher_complete(enum bao_generation generation, int dm,
                        const struct bao_io_request *request)
{
    (void)generation;
    (void)dm;
    uint64_t waiting = request->request_id;
    atomic_store(&shared->answer, request->value);
    if (!atomic_compare_exchange_strong(&shared->waiting, &waiting, NO_REQUEST))
        return -EPERM;
    atomic_fetch_add(&shared->answered, 1);
    futex_wake(&shared->answered);
    return 0;
}

static _Noreturn void run_broker(void)
{
    static struct gate gate;
    static struct gate_line line;
    static struct gate_line *const lines[] = {&line};
    static struct relay relay;
    int report = eventfd(0, EFD_NONBLOCK);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    line = (struct gate_line){
        .call = CALL_FD,
        .irq = IRQ_FD,
        .sets_no_bits = shared->sets_no_bits,
        .state = &shared->state,
        .journal = &shared->journal,
    };
    gate = (struct gate){.report = report, .lines = lines, .line_count = 1};
    relay = (struct relay){
        .dm_id = 0,
        .mmio_addr = BASE,
        .dm = -1,
        .request = REQUEST_FD,
        .reply = REPLY_FD,
        .report = report,
        .state = &shared->state,
        .journal = &shared->journal,
        .interrupt = &line,
        .limits = {.answer_ms = 5000, .give_up_ms = 10000, .recover_ms = 2},
    };
    if (gate_start(&gate) < 0 || relay_start(&relay) < 0)
        _exit(EXIT_FAILURE);
    relay_go(&relay);
    for (;;)
        pause();
}

/* --- The frontend's process ------------------------------------------------------------------ */

static _Noreturn void fail(const char *what)
{
    fprintf(stderr,
            "%s: produced %llu, consumed %llu, %u kills, interrupt %llx, "
            "pending %x, raised %x\n",
            what, (unsigned long long)shared->produced, (unsigned long long)shared->consumed,
            shared->kills, (unsigned long long)shared->journal.interrupt,
            shared->state.interrupt.pending, shared->state.interrupt.raised);
    _exit(EXIT_FAILURE);
}

static void deliver(const struct bao_io_request *request)
{
    for (int waited = 0; waited < LOST_MS; waited += 10) {
        uint32_t attacher = atomic_load(&shared->attacher);
        if (attacher > ATTACHER_FILLED &&
            atomic_compare_exchange_strong(&shared->attacher, &attacher, ATTACHER_FILLING)) {
            memcpy((char *)shared + attacher, request, sizeof(*request));
            atomic_store(&shared->attacher, ATTACHER_FILLED);
            futex_wake(&shared->attacher);
            return;
        }
        (void)futex_wait(&shared->attacher, attacher, 10);
    }
    fail("nobody takes a register access");
}

/* A register access: the vCPU waits until it is completed. */
static uint64_t access_register(uint64_t op, uint64_t offset, uint64_t value)
{
    static uint64_t id;
    id = (id + 1) % REQUEST_IDS;
    uint32_t answered = atomic_load(&shared->answered);
    const struct bao_io_request request = {
        .addr = BASE + offset, .op = op, .value = value, .access_width = 4, .request_id = id};
    atomic_store(&shared->waiting, id);
    deliver(&request);
    for (int waited = 0; atomic_load(&shared->waiting) != NO_REQUEST; waited += 10) {
        (void)futex_wait(&shared->answered, answered, 10); /* its waker can have been killed */
        if (waited > LOST_MS)
            fail("a register access was never completed");
    }
    return atomic_load(&shared->answer);
}

static void consume(uint32_t status)
{
    /* As Linux does: it looks only at what InterruptStatus names. */
    if ((status & VIRTIO_MMIO_INT_VRING) != 0)
        atomic_store(&shared->consumed, atomic_load(&shared->produced));
}

static void take_interrupt(void)
{
    struct pollfd irq = {.fd = IRQ_FD, .events = POLLIN};
    uint64_t count;
    if (poll(&irq, 1, 1) != 1)
        return;
    if (read(IRQ_FD, &count, sizeof(count)) != (ssize_t)sizeof(count))
        fail("the interrupt's eventfd");
    /* A successor does not know whether its predecessor has signalled, so it signals again. */
    static uint64_t total;
    total += count;
    uint32_t kills = atomic_load(&shared->kills);
    if (count > 1 && kills == 0)
        fail("more than one interrupt was outstanding");
    if (total > (atomic_load(&shared->journal.interrupt) >> INTERRUPT_COUNT_SHIFT) + kills)
        fail("more interrupts came than were raised");
    uint32_t status = (uint32_t)access_register(BAO_IO_READ, VIRTIO_MMIO_INTERRUPT_STATUS, 0);
    if (shared->acknowledges_last)
        consume(status);
    access_register(BAO_IO_WRITE, VIRTIO_MMIO_INTERRUPT_ACK, status);
    if (!shared->acknowledges_last)
        consume(status);
}

/* What a worker's device_interrupt does, or vhost. */
static void call(void)
{
    struct state_interrupt *interrupt = &shared->state.interrupt;
    if (shared->sets_no_bits || (atomic_fetch_or(&interrupt->pending, VIRTIO_MMIO_INT_VRING) == 0 &&
                                 atomic_load(&interrupt->raised) == 0))
        (void)eventfd_signal(CALL_FD);
}

static void *produce(void *argument)
{
    (void)argument;
    uint32_t random = 1;
    while (!atomic_load(&shared->over)) {
        random = random * 1664525 + 1013904223;
        uint64_t produced = atomic_load(&shared->produced);
        /* Now and then the producer is far ahead, mostly by one: so each side is sometimes first.
         */
        uint64_t ahead = (random >> 24) % 4;
        if (produced - atomic_load(&shared->consumed) > ahead) {
            usleep(10);
            continue;
        }
        atomic_store(&shared->produced, produced + 1);
        call();
    }
    return NULL;
}

/* Run until so many interrupts were raised, and enough brokers killed. */
static _Noreturn void run_frontend(uint64_t interrupts)
{
    pthread_t producer;
    uint64_t last = 0;
    struct timespec since, now;
    if (pthread_create(&producer, NULL, produce, NULL) != 0)
        fail("can't make a thread");
    clock_gettime(CLOCK_MONOTONIC, &since);
    while (atomic_load(&shared->journal.interrupt) >> INTERRUPT_COUNT_SHIFT < interrupts ||
           atomic_load(&shared->kills) < shared->kills_wanted) {
        take_interrupt();
        uint64_t consumed = atomic_load(&shared->consumed);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (consumed != last)
            since = now;
        last = consumed;
        if ((now.tv_sec - since.tv_sec) * 1000 > LOST_MS)
            fail("an interrupt was lost");
    }
    _exit(EXIT_SUCCESS);
}

/* --- The test --------------------------------------------------------------------------------- */

static pid_t start(const char *role, const char *argument)
{
    pid_t pid = fork();
    CU_ASSERT_FATAL(pid >= 0);
    if (pid == 0) {
        execl(SELF, "test_gate_killed", role, argument, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    return pid;
}

static void end(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
    CU_ASSERT(WIFSIGNALED(status));
}

/* The driver forgets that a process waits which has gone. */
static void forget_attacher(void)
{
    uint32_t attacher;
    do
        attacher = atomic_load(&shared->attacher);
    while (attacher == ATTACHER_FILLING ||
           !atomic_compare_exchange_strong(&shared->attacher, &attacher, ATTACHER_NONE));
}

#define KILLS 11u

enum deaths { NO_DEATHS, DEATHS };

/* Half of the brokers live until a register access of the driver has been completed. On a busy
 * machine, a broker may be killed before any access comes so far. Then nothing goes on, but no
 * interrupt was lost. If one was lost, a longer life does not help. */
static void spare(pid_t frontend, uint32_t answered)
{
    siginfo_t ended = {0};
    while (atomic_load(&shared->answered) == answered && ended.si_pid == 0) {
        usleep(500);
        waitid(P_PID, (id_t)frontend, &ended, WEXITED | WNOHANG | WNOWAIT);
    }
}

static void run(bool sets_no_bits, bool acknowledges_last, enum deaths deaths)
{
    bool is_long = long_form() && deaths == DEATHS;
    uint64_t interrupts = is_long ? 2500000 : 2000;
    /* A broker lives long enough for some thousand interrupts. Some end in their first moments. */
    unsigned int life_us = is_long ? 300000 : 30000;
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)interrupts);
    memset(shared, 0, sizeof(*shared));
    journal_init(&shared->journal);
    shared->waiting = NO_REQUEST;
    shared->sets_no_bits = sets_no_bits;
    shared->acknowledges_last = acknowledges_last;
    shared->kills_wanted = deaths == DEATHS ? KILLS : 0;
    for (int fd = CALL_FD; fd < SHARED_FD; fd++) {
        int made = eventfd(0, EFD_NONBLOCK);
        CU_ASSERT_EQUAL_FATAL(dup2(made, fd), fd);
        close(made);
    }
    pid_t broker = start("broker", ""), frontend = start("frontend", text);
    int status = 0;
    unsigned int random = 1;
    while (waitpid(frontend, &status, WNOHANG) == 0) {
        uint32_t answered = atomic_load(&shared->answered);
        usleep(500 + (unsigned int)rand_r(&random) % life_us);
        if (deaths == NO_DEATHS)
            continue;
        if (rand_r(&random) % 2 == 0)
            spare(frontend, answered);
        end(broker);
        forget_attacher();
        atomic_fetch_add(&shared->kills, 1);
        broker = start("broker", "");
    }
    end(broker);
    CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS);
    CU_ASSERT(atomic_load(&shared->kills) >= shared->kills_wanted);
    printf("%llu interrupts, %u brokers killed\n",
           (unsigned long long)(shared->journal.interrupt >> INTERRUPT_COUNT_SHIFT), shared->kills);
}

static void one_at_a_time_without_deaths(void)
{
    run(false, false, NO_DEATHS);
    run(false, true, NO_DEATHS);
    run(true, false, NO_DEATHS);
    run(true, true, NO_DEATHS);
}

static void a_driver_that_acknowledges_first_loses_nothing(void)
{
    run(false, false, DEATHS);
}

static void a_driver_that_acknowledges_last_loses_nothing(void)
{
    run(false, true, DEATHS);
}

static void nothing_of_vhost_is_lost(void)
{
    run(true, false, DEATHS);
    run(true, true, DEATHS);
}

static void *map_shared(void)
{
    void *page = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
    return page == MAP_FAILED ? NULL : page;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        shared = map_shared();
        if (!shared)
            return EXIT_FAILURE;
        if (strcmp(argv[1], "broker") == 0)
            run_broker();
        run_frontend(strtoull(argv[2], NULL, 10));
    }
    int memory = memfd_create("shared", 0);
    if (memory < 0 || ftruncate(memory, sizeof(*shared)) < 0 || dup2(memory, SHARED_FD) < 0)
        return EXIT_FAILURE;
    close(memory);
    shared = map_shared();
    static CU_TestInfo tests[] = {
        {"one interrupt at a time, while nobody dies", one_at_a_time_without_deaths},
        {"a driver that acknowledges first loses no interrupt",
         a_driver_that_acknowledges_first_loses_nothing},
        {"nor one that acknowledges last", a_driver_that_acknowledges_last_loses_nothing},
        {"nor does either if vhost or a daemon calls", nothing_of_vhost_is_lost},
        CU_TEST_INFO_NULL,
    };
    if (!shared)
        return EXIT_FAILURE;
    return run_tests(argc, argv, "gate, killed", tests);
}
