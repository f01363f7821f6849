/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register path, and every way in which a worker can fail it. test_attempt tests how long an
 * access waits. This test shows that the relay does what is decided there. Time passes here only
 * when the test says so. So no deadline is missed by chance, however busy the machine is.
 */
#include "tests/unit/relay_time.h"

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
    CU_SuiteInfo suites[] = {
        {"register path", NULL, NULL, NULL, NULL, path_tests},
        {"workers that fail", NULL, NULL, NULL, NULL, worker_tests},
        CU_SUITE_INFO_NULL,
    };
    return relay_tests_run(argc, argv, suites);
}
