/* SPDX-License-Identifier: Apache-2.0 */
/* A relay takes over from one that was killed (broker/journal.h). */
#include <CUnit/CUnit.h>
#include <errno.h>
#include <poll.h>

#include "broker/clock.h"
#include "tests/unit/failing_calls.h"
#include "tests/unit/relay_under_test.h"

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
    atomic_store(&state->mailbox.request_seq, 77); /* from its predecessor */
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
    CU_ASSERT_EQUAL(done.value, 1234); /* the answer that was recorded; no worker was asked */
    CU_ASSERT_FALSE(wait_told(0));
    CU_ASSERT_EQUAL(timers, 1);
    CU_ASSERT_EQUAL(timer_first_ns, RECOVER_MS * 1000000);
    CU_ASSERT_EQUAL(timer_ns, 0);
    CU_ASSERT_FALSE(timer_wrong);

    /* The timer does not interrupt anything any more, and the register path works. */
    ask(BAO_IO_READ, 0x60, 4, 0, 32);
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 32);
    CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), 0);
}

static void test_in_doubt_and_its_id_comes_again(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    atomic_store(&journal->interrupt, 2 << INTERRUPT_STATUS_SHIFT);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    begin();
    struct bao_io_request done = completed(SLACK_MS);
    CU_ASSERT_EQUAL(done.request_id, 31);
    CU_ASSERT_EQUAL(done.value, 2); /* the answer to the newer request */
    CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));
}

static void test_in_doubt_among_others(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    left_behind(1, 40, 0x60); /* taken while the relay before had a request in doubt */
    ask(BAO_IO_READ, 0x60, 4, 0, 41);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, 31); /* no other request with this id came */
    uint64_t first = completed(SLACK_MS).request_id, second = completed(SLACK_MS).request_id;
    CU_ASSERT((first == 40 && second == 41) || (first == 41 && second == 40));
    CU_ASSERT_TRUE(nothing_completed(RECOVER_MS));
}

static void test_in_doubt_beside_its_successor(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        prepare();
        journal_completing(left_behind(i, 31, 0x34), 1234);
        left_behind(1 - i, 31, 0x60);
        begin();
        CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0); /* this is InterruptStatus, not 1234 */
        CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));
    }
}

/* Without a timer it could wait in the driver for ever. */
static void test_in_doubt_without_a_timer(void)
{
    static const char *const calls[] = {"sigaction", "timer_create"};
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        prepare();
        journal_completing(left_behind(0, 31, 0x34), 1234);
        fail_once(calls[i], EAGAIN, 0);
        CU_ASSERT_EQUAL_FATAL(relay_start(relay), 0);
        CU_ASSERT_EQUAL(reported(1), 1);
        CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), EAGAIN);
        CU_ASSERT_EQUAL(pthread_join(relay->thread, NULL), 0); /* it does nothing else */
        CU_ASSERT_TRUE(nothing_completed(0));
    }
}

/*
 * The request had been completed before. Its vCPU makes its next access between the last look and
 * the second completion. So the second completion answers that access. When the relay is to
 * complete that access itself, the vCPU's following access has already come.
 */
static void test_completed_twice(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1234);
    atomic_store(&journal->interrupt, 2 << INTERRUPT_STATUS_SHIFT);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    ask(BAO_IO_READ, 0x60, 4, 0, 32); /* of another vCPU */
    ask(BAO_IO_WRITE, 0x64, 4, 2, 31);
    struct bao_io_request first = completed(SLACK_MS), second = completed(SLACK_MS);
    CU_ASSERT_EQUAL(first.request_id + second.request_id, 31 + 32);
    CU_ASSERT_EQUAL(first.request_id == 31 ? first.op : second.op, BAO_IO_WRITE);
    CU_ASSERT_EQUAL(atomic_load(&journal->interrupt), 0);
    CU_ASSERT_TRUE(nothing_completed(3 * RECOVER_MS));

    /* From then on, each is completed as soon as it comes. */
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    CU_ASSERT_EQUAL(completed(SLACK_MS).op, BAO_IO_READ);
    CU_ASSERT_EQUAL(journal->doubts, 0);
}

/* The doubt outlives a second death. It ends when the id's next request is really waiting. */
static void test_doubt_is_inherited(void)
{
    for (uint64_t id = 0; id < 32; id += 31) {
        prepare();
        journal_set_doubt(journal, left_behind(0, id, 0x60), true);
        int64_t began = clock_ms();
        begin();
        CU_ASSERT_EQUAL(completed(SLACK_MS).request_id, id);
        CU_ASSERT(clock_ms() - began >= RECOVER_MS - 1);
        CU_ASSERT_EQUAL(journal->doubts, 0);
        CU_ASSERT_EQUAL(timers, 1);
    }
}

/* If the dispatcher refuses the completion, the request had been completed: there is no doubt. */
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

/* The first calls do not reach the driver, and meanwhile the time is over. So nobody has looked
 * yet. */
static void test_late_look_is_a_look(void)
{
    prepare();
    journal_completing(left_behind(0, 31, 0x34), 1234);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    relay->limits.recover_ms = 1;
    interrupted = 20;
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0); /* this is InterruptStatus, not 1234 */
    CU_ASSERT_TRUE(nothing_completed(50));
}

/* A driver that always gives the same answer keeps no vCPU waiting: the vCPU of a request in doubt
 * goes on. Nobody is told of a failure unless the answer is one. */
static void test_look_ends(void)
{
    static const int results[] = {-EINTR, -ETIME, -EAGAIN, -EFAULT, -ENOTTY, -ENODEV};
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        prepare();
        journal_completing(left_behind(0, 31, 0x34), 1234);
        attach_result = results[i];
        begin();
        CU_ASSERT_EQUAL(completed(SLACK_MS).value, 1234);
        bool strange = results[i] == -EFAULT || results[i] == -ENOTTY;
        CU_ASSERT_EQUAL(atomic_load(&relay->attach_error), strange ? -results[i] : 0);
        CU_ASSERT_EQUAL(atomic_load(&relay->gone), results[i] == -ENODEV);
        attach_result = -ENODEV; /* otherwise this relay would go on as long as the program */
        int64_t end = clock_ms() + SLACK_MS;
        while (!atomic_load(&relay->gone) && clock_ms() < end)
            poll(NULL, 0, 1);
        CU_ASSERT_TRUE(atomic_load(&relay->gone));
    }
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

int main(int argc, char **argv)
{
    CU_TestInfo recovery_tests[] = {
        {"nothing before lock-down is over", test_nothing_before_go},
        {"a request that certainly waits", test_takes_over_a_waiting_request},
        {"in doubt, and nothing comes", test_in_doubt_and_nothing_comes},
        {"in doubt, and its id comes again", test_in_doubt_and_its_id_comes_again},
        {"in doubt among others", test_in_doubt_among_others},
        {"in doubt beside its successor", test_in_doubt_beside_its_successor},
        {"in doubt, and no timer", test_in_doubt_without_a_timer},
        {"completed twice, and the next one with it", test_completed_twice},
        {"a doubt that is inherited", test_doubt_is_inherited},
        {"in doubt, and refused", test_in_doubt_and_refused},
        {"a look that comes late", test_late_look_is_a_look},
        {"a look that ends, whatever the driver says", test_look_ends},
        {"all slots in doubt", test_all_slots_in_doubt},
        CU_TEST_INFO_NULL,
    };
    CU_SuiteInfo suites[] = {
        {"taking over", NULL, NULL, NULL, NULL, recovery_tests},
        CU_SUITE_INFO_NULL,
    };
    return relay_tests_run(argc, argv, suites);
}
