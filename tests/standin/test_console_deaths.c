/* SPDX-License-Identifier: Apache-2.0 */
/* What a user at a console and its driver notice of the death of a worker or of the broker. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/standin/console_session.h"

static void goes_on_after_its_worker_was_killed(void)
{
    struct console_session test;
    console_start_one(&test);
    test.user = console_open(&test, 0);
    console_outlives_workers(&test, 24 << 20);
    /* The terminal is the same one: it still takes input. */
    CU_ASSERT_EQUAL(write(test.user, "alive?", 6), 6);
    CU_ASSERT(console_gets(&test, "alive?"));
    console_stop(&test);
}

/* The terminal stays, with whoever has it open: the keeper has kept it. */
static void goes_on_after_its_broker_was_killed(void)
{
    struct console_session test;
    char before[64] = "", after[64] = "";
    console_start_one(&test);
    test.user = console_open(&test, 0);
    console_say(&test, 0, "before\n");
    CU_ASSERT(console_reads(&test, test.user, "before\n"));
    CU_ASSERT(readlink(test.alias, before, sizeof(before) - 1) > 0);
    CU_ASSERT_EQUAL(kill(test.fixture.broker, SIGKILL), 0);
    CU_ASSERT_FATAL(fixture_wait_broker(&test.fixture, test.fixture.broker) > 0);
    CU_ASSERT_EQUAL(guest_read(&test.console.guest, VIRTIO_MMIO_DEVICE_ID, 4), 3);
    console_say(&test, 0, "after\n");
    CU_ASSERT(console_reads(&test, test.user, "after\n"));
    CU_ASSERT_EQUAL(write(test.user, "typed", 5), 5);
    CU_ASSERT(console_gets(&test, "typed"));
    CU_ASSERT(readlink(test.alias, after, sizeof(after) - 1) > 0);
    CU_ASSERT_STRING_EQUAL(before, after);
    /* That he has gone is seen, too: what is written then is completed, and lost. */
    close(test.user);
    test.user = -1;
    console_say(&test, 0, "nobody is there\n");
    CU_ASSERT(console_drained(&test, 0, PATIENCE_MS));
    console_stop(&test);
}

int main(void)
{
    static CU_TestInfo tests[] = {
        {"goes on after its worker was killed", goes_on_after_its_worker_was_killed},
        {"goes on after its broker was killed", goes_on_after_its_broker_was_killed},
        CU_TEST_INFO_NULL,
    };
    return fixture_main("console device, deaths", tests);
}
