/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register path, and every way in which a worker can fail it. test_attempt tests how long an
 * access waits. This test shows that the relay does what is decided there. Time passes here only
 * when the test says so. So no deadline is missed by chance, however busy the machine is.
 */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/failing_calls.h"
#include "tests/unit/relay_under_test.h"

/* --- Time ------------------------------------------------------------------------------------- */

static _Atomic int64_t passed_ms;
static _Atomic int64_t waits_until[1024]; /* index: epoll fd; value in passed_ms, 0: nobody waits */
static _Atomic int waits[1024];           /* so often; the same index */
static _Atomic bool waits_for_part;       /* a relay does not wait for its two files at once */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int count,
                        const struct timespec *timeout, const sigset_t *mask);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    int64_t now = atomic_load(&passed_ms);
    (void)clock;
    *ret = (struct timespec){.tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000};
    return 0;
}

int __wrap_epoll_pwait2(int epoll, struct epoll_event *events, int count,
                        const struct timespec *timeout, const sigset_t *mask)
{
    (void)mask;
    int64_t timeout_ms = timeout ? timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000 : -1;
    int64_t end = atomic_load(&passed_ms) + timeout_ms;
    waits[epoll]++;
    if (count < 2)
        waits_for_part = true;
    if (timeout_ms < 0)
        return epoll_wait(epoll, events, count, -1);
    /* An event that is there already ends a wait before any time passes. */
    int found = epoll_wait(epoll, events, count, 0);
    if (found != 0 || timeout_ms <= 0)
        return found;
    atomic_store(&waits_until[epoll], end);
    do
        found = epoll_wait(epoll, events, count, 1);
    while (found == 0 && atomic_load(&passed_ms) < end);
    atomic_store(&waits_until[epoll], 0);
    return found;
}

/* How long the relay waits for an event; asserts that it does. */
static int64_t it_waits(void)
{
    int64_t end = 0;
    for (int i = 0; i < SLACK_MS && (end = atomic_load(&waits_until[relay->epoll])) == 0; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_FATAL(end > 0);
    return end - atomic_load(&passed_ms);
}

/* Let that much time pass while the relay waits. It may have to wake up from a wait before. */
static void pass(int64_t ms)
{
    for (int i = 0; i < SLACK_MS && it_waits() < ms; i++)
        poll(NULL, 0, 1);
    CU_ASSERT(it_waits() >= ms);
    atomic_fetch_add(&passed_ms, ms);
}

/* A worker that was told has ANSWER_MS, in two waits. */
#define LAST_MS (ANSWER_MS / 5)
#define FIRST_MS (ANSWER_MS - LAST_MS)

static void pass_answer_time(void)
{
    pass(FIRST_MS);
    pass(LAST_MS);
}

/* --- The register path ------------------------------------------------------------------------ */

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
    int64_t wait_ms = it_waits(); /* the whole time, if it was woken up since */
    CU_ASSERT(wait_ms == FIRST_MS || wait_ms == ANSWER_MS);
    CU_ASSERT_TRUE(nothing_completed(0));
    answer(0x123456789abcdef0);
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 11);
    CU_ASSERT_EQUAL(done.op, BAO_IO_READ);
    CU_ASSERT_EQUAL(done.dm_id, DM_ID);
    CU_ASSERT_EQUAL(done.value, 0xdef0); /* truncated to the width */

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
    start(); /* there is no worker: the relay must not ask one */
    atomic_store(&journal->interrupt, 2 << INTERRUPT_STATUS_SHIFT);
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 2);
    ask(BAO_IO_WRITE, 0x64, 4, 2, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_WRITE);
    CU_ASSERT_EQUAL(atomic_load(&journal->interrupt), 0);
    CU_ASSERT_FALSE(wait_told(0));
}

/* Only a write to Status, or to InterruptACK, says that no interrupt is awaited any more. */
static void test_who_acknowledges(void)
{
    const uint64_t raised = UINT64_C(5) << INTERRUPT_COUNT_SHIFT | 2 << INTERRUPT_STATUS_SHIFT;
    static const struct {
        uint64_t op, offset, value;
        bool ends;
        uint64_t status;
    } rows[] = {
        {BAO_IO_WRITE, 0x14, 1, false, 2}, {BAO_IO_READ, 0x70, 0, false, 2},
        {BAO_IO_WRITE, 0x70, 15, true, 2}, {BAO_IO_WRITE, 0x70, 1, true, 2},
        {BAO_IO_WRITE, 0x70, 0, true, 0},  {BAO_IO_WRITE, 0x64, 1, true, 2},
        {BAO_IO_WRITE, 0x64, 2, true, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pollfd irq = {.events = POLLIN};
        start();
        irq.fd = line->irq;
        relay_worker_ready(relay, 0);
        atomic_store(&journal->interrupt, raised | INTERRUPT_RAISED);
        ask(rows[i].op, rows[i].offset, 4, rows[i].value, 1);
        if (rows[i].offset != 0x64) {
            CU_ASSERT_TRUE(wait_told(SLACK_MS));
            answer(0);
        }
        completed(SLACK_MS);
        const uint64_t now = atomic_load(&journal->interrupt);
        CU_ASSERT_EQUAL(now & INTERRUPT_STATE, rows[i].ends ? INTERRUPT_IDLE : INTERRUPT_RAISED);
        CU_ASSERT_EQUAL((now & INTERRUPT_STATUS) >> INTERRUPT_STATUS_SHIFT, rows[i].status);

        /* What was pending meanwhile is raised right after it. */
        atomic_store(&journal->interrupt, raised | INTERRUPT_RAISED);
        atomic_store(&state->interrupt.pending, 1);
        ask(rows[i].op, rows[i].offset, 4, rows[i].value, 1);
        if (rows[i].offset != 0x64) {
            CU_ASSERT_TRUE(wait_told(SLACK_MS));
            answer(0);
        }
        completed(SLACK_MS);
        for (int j = 0; j < SLACK_MS && relay_busy(relay); j++)
            poll(NULL, 0, 1);
        CU_ASSERT_EQUAL(poll(&irq, 1, rows[i].ends ? SLACK_MS : 0), rows[i].ends);
    }
}

static void test_malformed(void)
{
    start();
    CU_ASSERT_EQUAL(reported(2), 2); /* gate and relay run */
    ask(BAO_IO_READ, 0x1fe, 4, 0x55, 1);
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.value, 0);
    CU_ASSERT_EQUAL(done.op, BAO_IO_READ);

    ask(BAO_IO_NOTIFY, 0, 4, 0, 2); /* with op unchanged, COMPLETE would raise an interrupt */
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_WRITE);

    const struct bao_io_request foreign = {DM_ID + 1, BASE, BAO_IO_READ, 0, 4, 3};
    CU_ASSERT_EQUAL(write(requests[1], &foreign, sizeof(foreign)), sizeof(foreign));
    done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.dm_id, DM_ID); /* never another device's id */
    CU_ASSERT_EQUAL(done.request_id, 3);
    CU_ASSERT_EQUAL(atomic_load(&relay->malformed), 3);
    CU_ASSERT_EQUAL(reported(3), 3);
}

static void test_refused_completion(void)
{
    start();
    CU_ASSERT_EQUAL(reported(2), 2);
    complete_result = -EPERM; /* it was completed before: this is no error */
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    complete_result = -ESRCH;
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    complete_result = 0;
    ask(BAO_IO_READ, 0x60, 4, 0, 1);
    completed(SLACK_MS);
    CU_ASSERT_EQUAL(atomic_load(&relay->refused), 1);
    CU_ASSERT_EQUAL(reported(1), 1);
}

/* --- A driver that fails ---------------------------------------------------------------------- */

static void wait_attaches(int count)
{
    for (int i = 0; i < SLACK_MS && atomic_load(&attaches) < count; i++)
        poll(NULL, 0, 1);
    CU_ASSERT(atomic_load(&attaches) >= count);
}

/* A relay that has taken every event, and blocks in the driver. From the next request on, the
 * driver behaves as the test says. */
static void start_and_settle(void)
{
    start();
    CU_ASSERT_EQUAL(reported(2), 2); /* gate and relay run */
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0x100, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    (void)it_waits();
    answer(0);
    completed(SLACK_MS);
    for (int i = 0; i < SLACK_MS && atomic_load(&takes) < 2; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&takes), 2);
    attaches = 0;
}

static void test_driver_that_can_t_be_asked(void)
{
    start_and_settle();
    attach_result = -ENOTTY;
    ask(BAO_IO_READ, 0x60, 4, 0, 6);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 6);
    wait_attaches(1);
    CU_ASSERT_EQUAL(it_waits(), 100); /* before it asks again */
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_EQUAL(atomic_exchange(&relay->attach_error, 0), ENOTTY);
    CU_ASSERT_EQUAL(atomic_load(&attaches), 1);
    pass(100);
    wait_attaches(2);
    CU_ASSERT_EQUAL(it_waits(), 100);
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_FALSE(atomic_load(&relay->gone));
    attach_result = 0;
    ask(BAO_IO_READ, 0x60, 4, 0, 7); /* it works again */
    pass(100);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 7);
}

/* It has no request, and says that it has. */
static void test_success_without_a_request(void)
{
    start_and_settle();
    empties = 1;
    ask(BAO_IO_READ, 0x60, 4, 0, 6);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 6);
    CU_ASSERT_EQUAL(it_waits(), 100);
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), EPROTO);
    CU_ASSERT_FALSE(relay_busy(relay));
    ask(BAO_IO_READ, 0x60, 4, 0, 8);
    pass(100);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 8);
}

static void test_driver_that_is_gone(void)
{
    start_and_settle();
    attach_result = -ENODEV;
    ask(BAO_IO_READ, 0x60, 4, 0, 6);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 6);
    wait_attaches(1);
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_TRUE(atomic_load(&relay->gone));
    CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), 0);
    /* It sleeps from now on: it is woken up once. */
    for (int i = 0; i < 20; i++)
        poll(NULL, 0, 1);
    const int before = atomic_load(&waits[relay->epoll]);
    relay_worker_gone(relay);
    for (int i = 0; i < SLACK_MS && atomic_load(&waits[relay->epoll]) == before; i++)
        poll(NULL, 0, 1);
    for (int i = 0; i < 20; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&waits[relay->epoll]), before + 1);
    CU_ASSERT_EQUAL(atomic_load(&attaches), 1);
}

/* While it is in doubt whether a request was completed, it looks so long, and no longer. */
static void looks_so_long(int result, int64_t ms)
{
    prepare();
    journal->slots[0].request = (struct bao_io_request){DM_ID, BASE + 0x34, BAO_IO_READ, 0, 4, 31};
    journal_completing(&journal->slots[0], 1234);
    attaches = 0;
    attach_result = result;
    begin();
    wait_attaches(1);
    atomic_fetch_add(&passed_ms, ms - 1);
    wait_attaches(atomic_load(&attaches) + 3);
    CU_ASSERT_TRUE(nothing_completed(0));
    atomic_fetch_add(&passed_ms, 1);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1234);
    attach_result = -ENODEV; /* otherwise this relay would go on as long as the program */
}

static void test_how_long_it_looks(void)
{
    looks_so_long(-ETIME, RECOVER_MS);
    looks_so_long(-EAGAIN, RECOVER_MS);
    looks_so_long(-EINTR, RECOVER_MS + 1000);
}

/* --- Workers that fail ----------------------------------------------------------------------- */

static void test_waits_for_the_first_worker(void)
{
    start();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_EQUAL(it_waits(), GIVE_UP_MS);
    CU_ASSERT_TRUE(nothing_completed(0));
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
    state->mailbox.offset = 0x24; /* the worker has spoilt the access and died */
    relay_worker_gone(relay);
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    CU_ASSERT_TRUE(nothing_completed(0));
    CU_ASSERT_EQUAL(state->mailbox.offset, 0x20);
    answer(5);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 5);
}

static void test_missed_deadline(void)
{
    start();
    CU_ASSERT_EQUAL(reported(2), 2);
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    pass(FIRST_MS);
    pass(LAST_MS - 1);
    CU_ASSERT_EQUAL(wait_unusable(10), RELAY_NO_WORKER);
    pass(1);
    CU_ASSERT_EQUAL(wait_unusable(SLACK_MS), 0 + 1);
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_TRUE(nothing_completed(0)); /* the access now waits for the successor */
    relay_worker_gone(relay);
    CU_ASSERT_FALSE(wait_told(0));
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(6);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 6);
    CU_ASSERT_EQUAL(relay_take_unusable(relay), RELAY_NO_WORKER);
}

/* The worker signals without answering. That must not put the deadline off for ever. */
static void test_noise_is_no_answer(void)
{
    const uint64_t one = 1;
    start();
    relay_worker_ready(relay, 4);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    uint32_t unusable = RELAY_NO_WORKER;
    for (int i = 0; i < 1000 && unusable == RELAY_NO_WORKER; i++) {
        CU_ASSERT_EQUAL(write(answered, &one, sizeof(one)), sizeof(one));
        atomic_fetch_add(&passed_ms, ANSWER_MS / 20);
        unusable = wait_unusable(5);
    }
    CU_ASSERT_EQUAL(unusable, 4 + 1);
}

/* A worker that waits for a disk has more time, as long as it tells the relay so. */
static void test_slow_disk(void)
{
    start();
    relay_worker_ready(relay, 0);
    atomic_store(&state->watch.in_io, 1);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    pass_answer_time();
    CU_ASSERT_EQUAL(wait_unusable(10), RELAY_NO_WORKER);
    atomic_store(&state->watch.in_io, 0);
    pass(it_waits());
    CU_ASSERT_EQUAL(wait_unusable(SLACK_MS), 0 + 1);
}

static void test_late_answer_counts(void)
{
    start();
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    pass_answer_time();
    CU_ASSERT_EQUAL(wait_unusable(SLACK_MS), 1);
    answer(9); /* before it is killed */
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 9);
}

static void test_gives_up(void)
{
    start();
    CU_ASSERT_EQUAL(reported(2), 2);
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    pass(GIVE_UP_MS);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0x40);
    CU_ASSERT_EQUAL(atomic_load(&journal->given_up), 1);
    CU_ASSERT_EQUAL(reported(1), 1);

    /* The next accesses do not wait again: no time passes. */
    for (int i = 0; i < 5; i++) {
        ask(BAO_IO_READ, 0, 4, 0, 1);
        CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0);
    }
    CU_ASSERT_EQUAL(atomic_load(&relay->given_up), 6);
    CU_ASSERT_EQUAL(reported(0), 0); /* once is enough */
}

/* A driver makes an access that no worker answers. So the device is given up. */
static void let_it_be_given_up(uint64_t op, uint64_t id)
{
    ask(op, 0x70, 4, 0, id);
    pass(GIVE_UP_MS);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, id);
}

/* A worker that was started before the device was given up would go on from an old state page. */
static void test_worker_of_before_is_not_used(void)
{
    start();
    let_it_be_given_up(BAO_IO_WRITE, 1);
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

/* Otherwise a driver that polls would keep a device that was given up in that state for ever. */
static void test_waits_for_one_that_is_starting(void)
{
    start();
    let_it_be_given_up(BAO_IO_READ, 1);
    relay_worker_starting(relay);
    atomic_store(&journal->given_up, 0); /* settled */
    ask(BAO_IO_READ, 0x70, 4, 0, 2);
    CU_ASSERT_EQUAL(it_waits(), ANSWER_MS);
    CU_ASSERT_TRUE(nothing_completed(0));
    relay_worker_ready(relay, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    answer(0x40);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 2);
    CU_ASSERT_EQUAL(atomic_load(&journal->given_up), 0);

    relay_worker_gone(relay);
    let_it_be_given_up(BAO_IO_READ, 3);
    relay_worker_starting(relay); /* it hangs there */
    ask(BAO_IO_READ, 0x70, 4, 0, 4);
    pass(ANSWER_MS);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 4);
}

/* Every worker misses its deadline with the same access. The vCPU goes on nevertheless. */
static void test_every_worker_wedges(void)
{
    start();
    int64_t began = atomic_load(&passed_ms);
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0x70, 4, 0, 1);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(wait_told(SLACK_MS));
        pass_answer_time();
        CU_ASSERT_EQUAL(wait_unusable(SLACK_MS), i + 1);
        if (i < 1)
            relay_worker_ready(relay, i + 1);
    }
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0x40);
    CU_ASSERT_EQUAL(atomic_load(&passed_ms) - began, GIVE_UP_MS);
}

static void test_stop(void)
{
    start();
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_EQUAL(it_waits(), GIVE_UP_MS);
    CU_ASSERT_TRUE(nothing_completed(0));
    CU_ASSERT_TRUE(relay_busy(relay));
    relay_stop(relay);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 1);
}

/* A full counter can't be signalled. But it can be read, and that is enough. */
static void test_full_request_counter(void)
{
    const uint64_t full = UINT64_MAX - 1;
    start();
    CU_ASSERT_EQUAL(write(told, &full, sizeof(full)), sizeof(full));
    relay_worker_ready(relay, 0);
    ask(BAO_IO_READ, 0, 4, 0, 1);
    CU_ASSERT_TRUE(wait_told(SLACK_MS));
    for (int i = 0; i < SLACK_MS && atomic_load(&state->mailbox.request_seq) == 0; i++)
        poll(NULL, 0, 1);
    answer(3);
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 3);
}

/* --- The start -------------------------------------------------------------------------------- */

static void test_start_that_fails(void)
{
    static const struct {
        const char *call;
        unsigned int later;
    } rows[] = {
        {"eventfd", 0},   {"epoll_create1", 0},  {"epoll_ctl", 0},
        {"epoll_ctl", 1}, {"pthread_create", 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        prepare();
        errno = EIO; /* of an earlier call */
        fail_once(rows[i].call, ENOMEM, rows[i].later);
        CU_ASSERT_EQUAL(relay_start(relay), -ENOMEM);
        CU_ASSERT_PTR_NULL(failing.call);
    }
    /* What it makes may have the number 0. No thread may use that after this case. */
    for (unsigned int i = 0; i < 2; i++) {
        prepare();
        fail_once("pthread_create", ENOMEM, 0);
        gives_0 = i == 0 ? "eventfd" : "epoll_create1";
        errno = EIO;
        CU_ASSERT_EQUAL(relay_start(relay), -ENOMEM);
        CU_ASSERT_EQUAL(i == 0 ? relay->wake : relay->epoll, 0);
        take_0_back();
    }
}

static void test_start(void)
{
    uint64_t count;
    prepare();
    errno = EIO; /* of an earlier call */
    CU_ASSERT_EQUAL_FATAL(relay_start(relay), 0);
    CU_ASSERT_EQUAL(stack_size, 256 * 1024);
    CU_ASSERT_EQUAL(timers, 0); /* nothing is in doubt */
    CU_ASSERT_EQUAL(reported(1), 1);
    CU_ASSERT_EQUAL(fcntl(relay->wake, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(fcntl(relay->epoll, F_GETFD), FD_CLOEXEC);
    CU_ASSERT_EQUAL(read(relay->wake, &count, sizeof(count)), -1); /* nobody has signalled it */
    CU_ASSERT_EQUAL(errno, EAGAIN);
    for (int i = 0; i < 20; i++)
        poll(NULL, 0, 1);
    CU_ASSERT_EQUAL(atomic_load(&waits[relay->epoll]), 1); /* it sleeps until it may go */
}

static void test_waits_at_once(void)
{
    CU_ASSERT_FALSE(waits_for_part);
}

int main(int argc, char **argv)
{
    CU_TestInfo path_tests[] = {
        {"reads and writes", test_read_and_write},
        {"the interrupt registers, without a worker", test_interrupt_registers},
        {"who acknowledges", test_who_acknowledges},
        {"malformed requests", test_malformed},
        {"completions that are refused", test_refused_completion},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo worker_tests[] = {
        {"an access before the first worker", test_waits_for_the_first_worker},
        {"a worker dies with an access in hand", test_successor_gets_the_access},
        {"a worker misses the deadline", test_missed_deadline},
        {"a worker rings and does not answer", test_noise_is_no_answer},
        {"a worker that waits for a disk", test_slow_disk},
        {"a late answer counts", test_late_answer_counts},
        {"no worker comes", test_gives_up},
        {"a worker of before the device was given up", test_worker_of_before_is_not_used},
        {"a worker that is being started", test_waits_for_one_that_is_starting},
        {"every worker wedges", test_every_worker_wedges},
        {"the end of the device model", test_stop},
        {"a request counter that is full", test_full_request_counter},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo driver_tests[] = {
        {"a driver that can't be asked", test_driver_that_can_t_be_asked},
        {"success without a request", test_success_without_a_request},
        {"a driver that is gone", test_driver_that_is_gone},
        {"how long it looks", test_how_long_it_looks},
        CU_TEST_INFO_NULL,
    };
    CU_TestInfo start_tests[] = {
        {"a start that fails", test_start_that_fails},
        {"a start", test_start},
        {"a relay waits for both files at once", test_waits_at_once},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"register path", NULL, NULL, NULL, NULL, path_tests},
        {"workers that fail", NULL, NULL, NULL, NULL, worker_tests},
        {"drivers that fail", NULL, NULL, NULL, NULL, driver_tests},
        {"start", NULL, NULL, NULL, NULL, start_tests},
        CU_SUITE_INFO_NULL,
    };
    return relay_tests_run(argc, argv, suites);
}
