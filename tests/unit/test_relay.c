/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay thread against a dispatcher made of two pipes and a worker made of a thread: the
 * register path, every way in which a worker can fail it, and the take-over from a relay that
 * was killed.
 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/clock.h"
#include "broker/dispatcher.h"
#include "broker/relay.h"

#define BASE 0x10000000u
#define DM_ID 7u
#define ANSWER_MS 300
#define GIVE_UP_MS 700
#define RECOVER_MS 40
#define SLACK_MS 5000 /* a busy machine */

/* --- The dispatcher ----------------------------------------------------------------------------
 */

static int requests[2], completions[2]; /* pipes; `dm` is requests[0] */
static int completions_of[1024];        /* by `dm`: relays of earlier tests are still there */
static _Atomic int complete_result;     /* what the dispatcher says */
static _Atomic int interrupted;         /* so many calls of ATTACH do not come to the driver */

int dispatcher_attach(int dm, struct bao_io_request *slot)
{
    struct bao_io_request request;
    if (interrupted > 0 && atomic_fetch_sub(&interrupted, 1) > 0) {
        poll(NULL, 0, 1);
        return -EINTR;
    }
    ssize_t length = read(dm, &request, sizeof(request));
    if (length != (ssize_t)sizeof(request))
        return length < 0 && errno == EINTR ? -EFAULT : -EIO; /* EFAULT: as the driver says it */
    *slot = request;
    return 0;
}

int dispatcher_complete(int dm, const struct bao_io_request *request)
{
    int result = complete_result; /* before the test goes on */
    /* Not an assertion of CUnit's: relays of earlier tests come by here, at any time. */
    if (write(completions_of[dm], request, sizeof(*request)) != (ssize_t)sizeof(*request))
        abort();
    return result;
}

static void ask(uint64_t op, uint64_t offset, uint64_t width, uint64_t value, uint64_t id)
{
    const struct bao_io_request request = {DM_ID, BASE + offset, op, value, width, id};
    CU_ASSERT_EQUAL(write(requests[1], &request, sizeof(request)), sizeof(request));
}

/* The next completion, or a failure after the time. */
static struct bao_io_request completed(int timeout_ms)
{
    struct bao_io_request request = {.request_id = UINT64_MAX};
    struct pollfd pipe = {.fd = completions[0], .events = POLLIN};
    if (poll(&pipe, 1, timeout_ms) == 1)
        CU_ASSERT_EQUAL(read(completions[0], &request, sizeof(request)), sizeof(request));
    return request;
}

static bool nothing_completed(int for_ms)
{
    struct pollfd pipe = {.fd = completions[0], .events = POLLIN};
    return poll(&pipe, 1, for_ms) == 0;
}

/* --- The worker --------------------------------------------------------------------------------
 */

static struct state_page *state;
static struct journal *journal;
static struct relay *relay;
static int told, answered, report; /* eventfds */

static bool wait_told(int timeout_ms)
{
    uint64_t count;
    struct pollfd poll_told = {.fd = told, .events = POLLIN};
    return poll(&poll_told, 1, timeout_ms) == 1 && read(told, &count, sizeof(count)) > 0;
}

static void answer(uint64_t value)
{
    const uint64_t one = 1;
    state->mailbox.answer = value;
    atomic_store(&state->mailbox.response_seq, atomic_load(&state->mailbox.request_seq));
    CU_ASSERT_EQUAL(write(answered, &one, sizeof(one)), sizeof(one));
}

/* What the relay reports of a worker, within the time. */
static uint32_t wait_unusable(int timeout_ms)
{
    int64_t end = clock_ms() + timeout_ms;
    for (;;) {
        uint32_t worker = relay_take_unusable(relay);
        if (worker != RELAY_NO_WORKER || clock_ms() >= end)
            return worker;
        poll(NULL, 0, 1);
    }
}

/* --- A relay for each test ---------------------------------------------------------------------
 */

/* Not freed: the thread of a relay lives as long as its process. */
static void *forever(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    CU_ASSERT_PTR_NOT_NULL_FATAL(memory);
    return memset(memory, 0, size);
}

static void prepare(void)
{
    complete_result = 0;
    CU_ASSERT_EQUAL_FATAL(pipe2(requests, O_CLOEXEC), 0);
    CU_ASSERT_EQUAL_FATAL(pipe2(completions, O_CLOEXEC), 0);
    completions_of[requests[0]] = completions[1];
    told = eventfd(0, EFD_NONBLOCK);
    answered = eventfd(0, EFD_NONBLOCK);
    report = eventfd(0, EFD_NONBLOCK);
    state = forever(sizeof(*state));
    journal = forever(sizeof(*journal));
    relay = forever(sizeof(*relay));
    journal_init(journal);
    *relay = (struct relay){
        .dm_id = DM_ID,
        .mmio_addr = BASE,
        .dm = requests[0],
        .request = told,
        .reply = answered,
        .report = report,
        .state = state,
        .journal = journal,
        .limits = {.answer_ms = ANSWER_MS, .give_up_ms = GIVE_UP_MS, .recover_ms = RECOVER_MS},
    };
}

static void begin(void)
{
    CU_ASSERT_EQUAL_FATAL(relay_start(relay), 0);
    relay_go(relay);
}

static void start(void)
{
    prepare();
    begin();
}

/* --- The register path ---------------------------------------------------------------------------
 */

static void test_read_and_write(void)
{
    start();
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0x100, 2, 0xffff, 11);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    CU_ASSERT_EQUAL(state->mailbox.offset, 0x100);
    CU_ASSERT_EQUAL(state->mailbox.width, 2);
    CU_ASSERT_EQUAL(state->mailbox.is_write, 0);
    CU_ASSERT_EQUAL(state->mailbox.value, 0);
    CU_ASSERT_TRUE(nothing_completed(20));
    answer(0x123456789abcdef0);
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 11);
    CU_ASSERT_EQUAL(done.op, BAO_IO_READ);
    CU_ASSERT_EQUAL(done.dm_id, DM_ID);
    CU_ASSERT_EQUAL(done.value, 0xdef0); /* cut to the width */

    ask(BAO_IO_WRITE, 0x70, 4, 0xdead00000000000f, 12);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    CU_ASSERT_EQUAL(state->mailbox.value, 0xf);
    CU_ASSERT_EQUAL(state->mailbox.is_write, 1);
    answer(UINT64_MAX);
    done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 12);
    CU_ASSERT_EQUAL(done.op, BAO_IO_WRITE);
    CU_ASSERT_EQUAL(done.value, 0);
    for (int i = 0; i < SLACK_MS && relay_busy(relay); i++)
        poll(NULL, 0, 1); /* the journal is cleared after the completion */
    CU_ASSERT_FALSE(relay_busy(relay));
}

static void test_interrupt_registers(void)
{
    start(); /* no worker: it is not asked */
    atomic_store(&state->transport.interrupt_status, 0xfffffff2);
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 2); /* the bits that exist */
    ask(BAO_IO_WRITE, 0x64, 4, 2, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_WRITE);
    CU_ASSERT_EQUAL(atomic_load(&state->transport.interrupt_status), 0xfffffff0);
    CU_ASSERT_FALSE(wait_told(0));
}

static void test_used_buffer_always(void)
{
    prepare();
    relay->used_buffer_always = true;
    begin();
    ask(BAO_IO_WRITE, 0x64, 4, 3, 1);
    completed(SLACK_MS);
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1);
}

static void test_malformed(void)
{
    start();
    ask(BAO_IO_READ, 0x1fe, 4, 0x55, 1);
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.value, 0);
    CU_ASSERT_EQUAL(done.op, BAO_IO_READ);

    ask(BAO_IO_NOTIFY, 0, 4, 0, 2); /* completed as it came, it would raise an interrupt */
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_WRITE);

    const struct bao_io_request foreign = {DM_ID + 1, BASE, BAO_IO_READ, 0, 4, 3};
    CU_ASSERT_EQUAL(write(requests[1], &foreign, sizeof(foreign)), sizeof(foreign));
    done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.dm_id, DM_ID); /* never another device's */
    CU_ASSERT_EQUAL(done.request_id, 3);
    CU_ASSERT_EQUAL(atomic_load(&relay->malformed), 3);
}

static void test_refused_completion(void)
{
    start();
    complete_result = -EPERM; /* it had been completed: nothing to say */
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    complete_result = -ESRCH;
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    complete_result = 0;
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    CU_ASSERT_EQUAL(atomic_load(&relay->refused), 1);
}

/* --- Workers that fail
 * ------------------------------------------------------------------------------ */

static void test_waits_for_the_first_worker(void)
{
    start();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(nothing_completed(50));
    CU_ASSERT_FALSE(wait_told(0));
    relay_worker_ready(relay, 0);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1);
    CU_ASSERT_EQUAL(atomic_load(&relay->given_up), 0);
}

static void test_successor_gets_the_access(void)
{
    start();
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0x20, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    relay_worker_gone(relay); /* it died with the access in hand */
    CU_ASSERT_TRUE(nothing_completed(30));
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    CU_ASSERT_EQUAL(state->mailbox.offset, 0x20);
    answer(5);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 5);
}

static void test_missed_deadline(void)
{
    start();
    relay_worker_ready(relay, 0);
    int64_t began = clock_ms();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_EQUAL(wait_unusable(ANSWER_MS + SLACK_MS), 0 + 1);
    CU_ASSERT(clock_ms() - began >= ANSWER_MS);
    CU_ASSERT_TRUE(nothing_completed(0)); /* still the successor's */
    relay_worker_gone(relay);
    wait_told(0);
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(6);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 6);
    CU_ASSERT_EQUAL(relay_take_unusable(relay), RELAY_NO_WORKER);
}

/* It rings without answering: the deadline is not put off for ever. */
static void test_noise_is_no_answer(void)
{
    const uint64_t one = 1;
    start();
    relay_worker_ready(relay, 4);
    int64_t began = clock_ms();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    uint32_t unusable = RELAY_NO_WORKER;
    while (unusable == RELAY_NO_WORKER && clock_ms() - began < SLACK_MS) {
        CU_ASSERT_EQUAL(write(answered, &one, sizeof(one)), sizeof(one));
        unusable = wait_unusable(5);
    }
    CU_ASSERT_EQUAL(unusable, 4 + 1);
    CU_ASSERT(clock_ms() - began >= ANSWER_MS);
}

static void test_late_answer_counts(void)
{
    start();
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_EQUAL(wait_unusable(ANSWER_MS + SLACK_MS), 1);
    answer(9); /* before it is killed */
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 9);
}

static void test_gives_up(void)
{
    start();
    int64_t began = clock_ms();
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    CU_ASSERT_EQUAL(completed(GIVE_UP_MS + SLACK_MS).value, 0x40);
    CU_ASSERT(clock_ms() - began >= GIVE_UP_MS);
    CU_ASSERT_EQUAL(atomic_load(&journal->given_up), 1);

    /* The next ones do not wait again. */
    began = clock_ms();
    for (int i = 0; i < 5; i++) {
        ask(BAO_IO_READ, 0, 4, 0, 1);
        CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0);
    }
    CU_ASSERT(clock_ms() - began < GIVE_UP_MS);
    CU_ASSERT_EQUAL(atomic_load(&relay->given_up), 6);
}

/* A worker that started before the device was given up would go on from a stale state page. */
static void test_worker_of_before_is_not_used(void)
{
    start();
    ask(BAO_IO_WRITE, 0x70, 4, 0, 1);
    completed(GIVE_UP_MS + SLACK_MS);
    relay_worker_ready(relay, 2);
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0x40);
    CU_ASSERT_EQUAL(wait_unusable(SLACK_MS), 2 + 1);
    CU_ASSERT_FALSE(wait_told(0));

    relay_worker_gone(relay);
    atomic_store(&journal->given_up, 0); /* the supervisor has settled it */
    relay_worker_ready(relay, 3);
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(0x4f);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0x4f);
}

/* Else a driver that polls a device which was given up would keep it so for ever. */
static void test_waits_for_one_that_is_starting(void)
{
    start();
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    completed(GIVE_UP_MS + SLACK_MS);
    relay_worker_starting(relay);
    atomic_store(&journal->given_up, 0); /* settled */
    ask(BAO_IO_READ, 0x70, 4, 0, 2);
    CU_ASSERT_TRUE(nothing_completed(50));
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(0x40);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 2);
    CU_ASSERT_EQUAL(atomic_load(&journal->given_up), 0);

    relay_worker_gone(relay);
    ask(BAO_IO_READ, 0x70, 4, 0, 3);
    completed(GIVE_UP_MS + SLACK_MS);
    relay_worker_starting(relay); /* and hangs there */
    int64_t began = clock_ms();
    ask(BAO_IO_READ, 0x70, 4, 0, 4);
    CU_ASSERT_EQUAL(completed(ANSWER_MS + SLACK_MS).request_id, 4);
    CU_ASSERT(clock_ms() - began >= ANSWER_MS);
}

/* Each worker misses its deadline with the same access: its vCPU goes on all the same. */
static void test_every_worker_wedges(void)
{
    start();
    int64_t began = clock_ms();
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    for (uint32_t i = 0; nothing_completed(0) && clock_ms() - began < 10 * SLACK_MS; i++) {
        if (wait_unusable(50) == RELAY_NO_WORKER)
            continue;
        relay_worker_gone(relay);
        relay_worker_ready(relay, i + 1);
    }
    CU_ASSERT_EQUAL(completed(0).value, 0x40);
    CU_ASSERT(clock_ms() - began < GIVE_UP_MS + 2 * ANSWER_MS + SLACK_MS);
}

static void test_stop(void)
{
    start();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(nothing_completed(30));
    CU_ASSERT_TRUE(relay_busy(relay));
    int64_t began = clock_ms();
    relay_stop(relay);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 1);
    CU_ASSERT(clock_ms() - began < GIVE_UP_MS);
}

/* A full counter can't be signalled, but is readable, and that is all it takes. */
static void test_full_request_counter(void)
{
    const uint64_t full = UINT64_MAX - 1;
    start();
    CU_ASSERT_EQUAL(write(told, &full, sizeof(full)), sizeof(full));
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    while (atomic_load(&state->mailbox.request_seq) == 0)
        poll(NULL, 0, 1);
    answer(3);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 3);
}

/* --- Taking over
 * ------------------------------------------------------------------------------------- */

static struct journal_slot *left_behind(unsigned int slot, uint64_t id, uint64_t offset)
{
    journal->slots[slot].request =
        (struct bao_io_request){DM_ID, BASE + offset, BAO_IO_READ, 0, 4, id};
    return &journal->slots[slot];
}

static void test_nothing_before_go(void)
{
    prepare();
    left_behind(0, 1, 0x60);
    CU_ASSERT_EQUAL_FATAL(relay_start(relay), 0);
    struct pollfd prepared = {.fd = report, .events = POLLIN};
    CU_ASSERT_EQUAL(poll(&prepared, 1, SLACK_MS), 1);
    CU_ASSERT_TRUE(nothing_completed(50));
    relay_go(relay);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 1);
}

static void test_takes_over_a_waiting_request(void)
{
    prepare();
    atomic_store(&state->mailbox.request_seq, 77); /* its predecessor's */
    left_behind(0, 21, 0x34);
    ask(BAO_IO_READ, 0x60, 4, 0, 22);
    begin();
    relay_worker_ready(relay, 0);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    CU_ASSERT_EQUAL(atomic_load(&state->mailbox.request_seq), 78);
    CU_ASSERT_EQUAL(state->mailbox.offset, 0x34);
    answer(256);
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 21);
    CU_ASSERT_EQUAL(done.value, 256);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 22);
}

static void test_in_doubt_and_nothing_comes(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    int64_t began = clock_ms();
    begin();
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT(clock_ms() - began >= RECOVER_MS - 1);
    CU_ASSERT_EQUAL(done.request_id, 31);
    CU_ASSERT_EQUAL(done.value, 1234); /* as it was answered, without asking a worker */
    CU_ASSERT_FALSE(wait_told(0));

    /* The timer no longer interrupts anything, and the path works. */
    ask(BAO_IO_READ, 0x60, 4, 0, 32);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 32);
    CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), 0);
}

static void test_in_doubt_and_its_id_comes_again(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    atomic_store(&state->transport.interrupt_status, 2);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    begin();
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 31);
    CU_ASSERT_EQUAL(done.value, 2); /* the newer one's answer */
    CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));
}

static void test_in_doubt_among_others(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    left_behind(1, 40, 0x60); /* taken while its predecessor's predecessor was in doubt */
    ask(BAO_IO_READ, 0x60, 4, 0, 41);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 31); /* nobody else came with its id */
    uint64_t first = completed(SLACK_MS).request_id, second = completed(SLACK_MS).request_id;
    CU_ASSERT((first == 40 && second == 41) || (first == 41 && second == 40));
    CU_ASSERT_TRUE(nothing_completed(RECOVER_MS));
}

static void test_in_doubt_beside_its_successor(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    left_behind(1, 31, 0x60);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0); /* InterruptStatus, not 1234 */
    CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));
}

/*
 * It had been completed, and its vCPU's next access comes between the last look and the second
 * completion, which is its own then; so the one after it has come when it is to be completed
 * itself.
 */
static void test_completed_twice(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1234);
    atomic_store(&state->transport.interrupt_status, 2);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    ask(BAO_IO_READ, 0x60, 4, 0, 32); /* another vCPU's */
    ask(BAO_IO_WRITE, 0x64, 4, 2, 31);
    struct bao_io_request first = completed(SLACK_MS), second = completed(SLACK_MS);
    CU_ASSERT_EQUAL(first.request_id + second.request_id, 31 + 32);
    CU_ASSERT_EQUAL(first.request_id == 31 ? first.op : second.op, BAO_IO_WRITE);
    CU_ASSERT_EQUAL(atomic_load(&state->transport.interrupt_status), 0);
    CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));

    /* And from then on each is completed at once, as it comes. */
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_READ);
    CU_ASSERT_EQUAL(journal->doubts, 0);
}

/* The doubt outlives a second death, and ends when the id's next request waits after all. */
static void test_doubt_is_inherited(void)
{
    prepare();
    journal_set_doubt(journal, left_behind(0, 31, 0x60), true);
    int64_t began = clock_ms();
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 31);
    CU_ASSERT(clock_ms() - began >= RECOVER_MS - 1);
    CU_ASSERT_EQUAL(journal->doubts, 0);
}

/* Where the dispatcher refuses, it had been completed; there is no doubt. */
static void test_in_doubt_and_refused(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    complete_result = -EPERM;
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 31);
    complete_result = 0;
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0);
    CU_ASSERT_EQUAL(journal->doubts, 0);
    CU_ASSERT_EQUAL(atomic_load(&relay->refused), 0);
}

/* Nobody has looked: the first calls do not come to the driver, and the time is over meanwhile. */
static void test_late_look_is_a_look(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    relay->limits.recover_ms = 1;
    interrupted = 20;
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0); /* InterruptStatus, not 1234 */
    CU_ASSERT_TRUE(nothing_completed(50));
}

static void test_all_slots_in_doubt(void)
{
    prepare();
    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++)
        journal_completing(left_behind(i, i, 0x34), i);
    begin();
    for (unsigned int i = 0; i < JOURNAL_SLOTS; i++)
        CU_ASSERT_EQUAL(completed(SLACK_MS).value, i);
    ask(BAO_IO_READ, 0x60, 4, 0, 99);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 99);
}

int main(void)
{
    CU_TestInfo path_tests[] = {
        {"reads and writes", test_read_and_write},
        {"the interrupt registers, without a worker", test_interrupt_registers},
        {"bit 0 where the kernel interrupts", test_used_buffer_always},
        {"malformed requests", test_malformed},
        {"completions that are refused", test_refused_completion},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo worker_tests[] = {
        {"an access before the first worker", test_waits_for_the_first_worker},
        {"a worker dies with an access in hand", test_successor_gets_the_access},
        {"a worker misses the deadline", test_missed_deadline},
        {"a worker rings and does not answer", test_noise_is_no_answer},
        {"a late answer counts", test_late_answer_counts},
        {"no worker comes", test_gives_up},
        {"a worker of before the device was given up", test_worker_of_before_is_not_used},
        {"a worker that is being started", test_waits_for_one_that_is_starting},
        {"every worker wedges", test_every_worker_wedges},
        {"the end of the device model", test_stop},
        {"a request counter that is full", test_full_request_counter},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo recovery_tests[] = {
        {"nothing before lock-down is over", test_nothing_before_go},
        {"a request that certainly waits", test_takes_over_a_waiting_request},
        {"in doubt, and nothing comes", test_in_doubt_and_nothing_comes},
        {"in doubt, and its id comes again", test_in_doubt_and_its_id_comes_again},
        {"in doubt among others", test_in_doubt_among_others},
        {"in doubt beside its successor", test_in_doubt_beside_its_successor},
        {"completed twice, and the next one with it", test_completed_twice},
        {"a doubt that is inherited", test_doubt_is_inherited},
        {"in doubt, and refused", test_in_doubt_and_refused},
        {"a look that comes late", test_late_look_is_a_look},
        {"all slots in doubt", test_all_slots_in_doubt},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"register path", NULL, NULL, NULL, NULL, path_tests},
        {"workers that fail", NULL, NULL, NULL, NULL, worker_tests},
        {"taking over", NULL, NULL, NULL, NULL, recovery_tests},
        CU_SUITE_INFO_NULL,
    };
    if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS)
        return EXIT_FAILURE;
    /* As in the broker; the threads inherit it. */
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    CU_basic_run_tests();
    unsigned int failures = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
    CU_cleanup_registry();
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
