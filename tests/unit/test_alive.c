/* SPDX-License-Identifier: Apache-2.0 */
/* Which worker counts as stuck, and when. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/alive.h"
#include "tests/cunit_main.h"

static struct alive alive;
static struct state_watch watch;
static int request;

static void begin(void)
{
    watch = (struct state_watch){0};
    alive_begin(&alive, 0);
}

static bool look(int64_t now)
{
    return alive_look(&alive, &watch, request, now);
}

static void answer(void)
{
    atomic_store(&watch.answered, atomic_load(&watch.asked));
}

static void one_that_answers_lives_on(void)
{
    begin();
    for (int64_t now = 0; now < 20 * ALIVE_MS; now += ALIVE_MS / 5) {
        CU_ASSERT_TRUE(look(now));
        answer();
    }
    CU_ASSERT(atomic_load(&watch.asked) >= 19);
}

static void one_that_does_not_is_stuck(void)
{
    begin();
    CU_ASSERT_TRUE(look(ALIVE_MS));
    CU_ASSERT_TRUE(look(2 * ALIVE_MS - 1)); /* it still has time */
    CU_ASSERT_TRUE(look(2 * ALIVE_MS));     /* it is asked once more */
    CU_ASSERT_TRUE(look(2 * ALIVE_MS + ALIVE_LAST_MS - 1));
    CU_ASSERT_FALSE(look(2 * ALIVE_MS + ALIVE_LAST_MS));
}

/* The machine stands still from the question until the answer is due. Then the broker runs first,
 * hardly late. It must not judge the worker by a time that nobody had. */
static void one_that_had_no_time_is_not(void)
{
    int64_t now = ALIVE_MS;
    begin();
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_TRUE(look(now)); /* it is asked, and the machine stands still */
        now += ALIVE_MS + ALIVE_LATE_MS / 2;
        CU_ASSERT_TRUE(look(now));
        answer(); /* a moment later */
        now += ALIVE_LAST_MS;
    }
    CU_ASSERT_TRUE(look(now));
    CU_ASSERT_TRUE(look(now += ALIVE_MS));
    CU_ASSERT_FALSE(look(now += ALIVE_LAST_MS));
}

static void one_that_waits_for_a_disk_is_not(void)
{
    begin();
    CU_ASSERT_TRUE(look(ALIVE_MS));
    atomic_store(&watch.in_io, 1);
    for (int64_t now = 2 * ALIVE_MS; now < 20 * ALIVE_MS; now += ALIVE_MS)
        CU_ASSERT_TRUE(look(now));
    atomic_store(&watch.in_io, 0);
    CU_ASSERT_TRUE(look(20 * ALIVE_MS));
    CU_ASSERT_FALSE(look(20 * ALIVE_MS + ALIVE_LAST_MS));
}

/* If the broker comes late, the worker may have been held up, too. But it is not forgiven twice in
 * a row. */
static void one_whose_machine_stood_still_has_more_time(void)
{
    int64_t now = 2 * ALIVE_MS + 2 * ALIVE_LATE_MS;
    begin();
    CU_ASSERT_TRUE(look(ALIVE_MS));
    CU_ASSERT_TRUE(look(now));
    answer();
    CU_ASSERT_TRUE(look(now += ALIVE_MS));
    CU_ASSERT_TRUE(look(now += ALIVE_MS + 2 * ALIVE_LATE_MS)); /* forgiven again, after an answer */
    CU_ASSERT_FALSE(look(now += ALIVE_MS + 2 * ALIVE_LATE_MS));
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"one that answers lives on", one_that_answers_lives_on},
        {"one that does not is stuck", one_that_does_not_is_stuck},
        {"one that had no time to answer is not", one_that_had_no_time_is_not},
        {"one that waits for a disk is not", one_that_waits_for_a_disk_is_not},
        {"one whose machine stood still has more time",
         one_whose_machine_stood_still_has_more_time},
        CU_TEST_INFO_NULL,
    };
    request = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (request < 0)
        return EXIT_FAILURE;
    int status = run_tests(argc, argv, "alive", tests);
    close(request);
    return status;
}
