/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay's start, and every way in which the driver can fail it. What is in doubt is looked for so
 * long, and no longer. Time passes here only when the test says so.
 */
#include "tests/unit/relay_time.h"

#include "tests/unit/failing_calls.h"

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

static void time_flies(void)
{
    atomic_fetch_add(&passed_ms, 5000);
}

/* Each request that comes may be followed by the one that it looks for, however late it is. */
static void test_looks_on_while_requests_come(void)
{
    prepare();
    journal->slots[0].request = (struct bao_io_request){DM_ID, BASE + 0x34, BAO_IO_READ, 0, 4, 31};
    journal_completing(&journal->slots[0], 1234);
    on_take = time_flies;
    ask(BAO_IO_READ, 0x60, 4, 0, 50);
    ask(BAO_IO_READ, 0x60, 4, 0, 31);
    begin();
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0); /* and not 1234 */
    CU_ASSERT_EQUAL(completed(SLACK_MS).value, 0);
    CU_ASSERT_FALSE(timer_wrong);
}

static void test_how_long_it_looks(void)
{
    looks_so_long(-ETIME, RECOVER_MS);
    looks_so_long(-EAGAIN, RECOVER_MS);
    looks_so_long(-EINTR, RECOVER_MS + 1000);
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
    CU_TestInfo driver_tests[] = {
        {"a driver that can't be asked", test_driver_that_can_t_be_asked},
        {"success without a request", test_success_without_a_request},
        {"a driver that is gone", test_driver_that_is_gone},
        {"it looks on while requests come", test_looks_on_while_requests_come},
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
        {"drivers that fail", NULL, NULL, NULL, NULL, driver_tests},
        {"start", NULL, NULL, NULL, NULL, start_tests},
        CU_SUITE_INFO_NULL,
    };
    return relay_tests_run(argc, argv, suites);
}
