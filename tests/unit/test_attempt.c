/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No vCPU waits for ever, and no worker is replaced that still has time. How long does a register
 * access wait, for whom, and what comes then? Time is a number here.
 */
#include "broker/attempt.h"
#include "tests/cunit_main.h"

#define ANSWER 5000
#define SLOW 15000
#define GIVE_UP 10000
#define LAST (ANSWER / 5) /* the part of a worker's time that is waited for apart */
#define FIRST (ANSWER - LAST)
#define START 1000000

static const struct relay_limits limits = {
    .answer_ms = ANSWER, .slow_ms = SLOW, .give_up_ms = GIVE_UP};

static struct attempt attempt;
static int64_t now;

static void begin(void)
{
    attempt = (struct attempt){0};
    attempt_begin(&attempt);
    now = START;
}

static struct attempt_seen sight(uint32_t worker)
{
    return (struct attempt_seen){.worker = worker, .now = now};
}

static struct attempt_next next(struct attempt_seen seen)
{
    return attempt_next(&attempt, &limits, &seen);
}

static void expect(struct attempt_seen seen, enum attempt_step step, int64_t wait_ms)
{
    struct attempt_next found = next(seen);
    CU_ASSERT_EQUAL(found.step, step);
    CU_ASSERT_EQUAL(found.wait_ms, wait_ms);
}

/* What the relay sees after a wait that no event ended. */
static struct attempt_seen late(uint32_t worker)
{
    struct attempt_seen seen = sight(worker);
    seen.is_timed_out = true;
    return seen;
}

static void the_first_worker_is_told_without_a_clock(void)
{
    begin();
    CU_ASSERT_FALSE(attempt_needs_clock(&attempt, 1));
    now = 0;
    struct attempt_next found = next(sight(1));
    CU_ASSERT_EQUAL(found.step, ATTEMPT_TELL);
    CU_ASSERT_FALSE(found.is_again);
    CU_ASSERT_EQUAL(found.wait_ms, FIRST);
    CU_ASSERT_TRUE(attempt_needs_clock(&attempt, 1));
    CU_ASSERT_TRUE(attempt_needs_clock(&attempt, RELAY_NO_WORKER));
    CU_ASSERT_TRUE(attempt_needs_clock(&attempt, RELAY_WORKER_STARTING));
}

/* Worker 1 is told, and does not answer in time. */
static void miss(void)
{
    expect(sight(1), ATTEMPT_TELL, FIRST);
    now += FIRST;
    expect(late(1), ATTEMPT_WAIT, LAST);
    now += LAST;
}

static void the_end_of_the_last_wait_is_the_deadline(void)
{
    begin();
    miss();
    expect(late(1), ATTEMPT_REPLACE, 0);
    CU_ASSERT_EQUAL(attempt.missed, 1);
    CU_ASSERT_EQUAL(attempt.silent_since, START); /* it has been silent since it was asked */
}

/* The worker signals without answering. That must not put the deadline off for ever. */
static void noise_puts_nothing_off(void)
{
    begin();
    expect(sight(1), ATTEMPT_TELL, FIRST);
    int64_t first = now;
    for (unsigned int i = 0; i < 50; i++) {
        expect(sight(1), ATTEMPT_WAIT, ANSWER - (now - first));
        now += 100;
    }
    expect(sight(1), ATTEMPT_REPLACE, 0);
}

static void a_successor_has_its_own_time(void)
{
    begin();
    miss();
    expect(late(1), ATTEMPT_REPLACE, 0);
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, GIVE_UP - ANSWER);
    now += 100;
    struct attempt_next found = next(sight(2));
    CU_ASSERT_EQUAL(found.step, ATTEMPT_TELL);
    CU_ASSERT_TRUE(found.is_again); /* the mailbox may hold spoilt values */
    CU_ASSERT_EQUAL(found.wait_ms, FIRST);
    /* Also if somebody rings: its predecessor's deadline, which is over, is not its own. */
    expect(sight(2), ATTEMPT_WAIT, ANSWER);
    now += ANSWER - 1;
    expect(sight(2), ATTEMPT_WAIT, 1);
    now += 1;
    expect(sight(2), ATTEMPT_REPLACE, 0);
    CU_ASSERT_EQUAL(attempt.missed, 2);
}

static void a_disk_excuses_and_not_for_ever(void)
{
    begin();
    miss();
    int64_t end = START + SLOW;
    while (now < end) {
        struct attempt_seen seen = late(1);
        seen.is_in_io = true;
        int64_t left = end - now < 500 ? end - now : 500;
        expect(seen, ATTEMPT_WAIT, left);
        expect(sight(1), ATTEMPT_WAIT, left); /* noise gives it no more time */
        now += left;
    }
    struct attempt_seen seen = late(1);
    seen.is_in_io = true;
    expect(seen, ATTEMPT_REPLACE, 0);
}

static void what_was_excused_and_is_over_is_judged(void)
{
    begin();
    miss();
    struct attempt_seen seen = late(1);
    seen.is_in_io = true;
    expect(seen, ATTEMPT_WAIT, 500);
    now += 500;
    expect(late(1), ATTEMPT_REPLACE, 0);
}

static void without_a_worker_it_is_given_up_in_time(void)
{
    begin();
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, GIVE_UP);
    now += GIVE_UP - 1;
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, 1);
    now += 1;
    expect(sight(RELAY_NO_WORKER), ATTEMPT_GIVE_UP, 0);

    /* The next access to the same device does not wait again, */
    attempt_begin(&attempt);
    expect(sight(RELAY_NO_WORKER), ATTEMPT_GIVE_UP, 0);
    /* unless one was answered in between. */
    attempt_answered(&attempt);
    attempt_begin(&attempt);
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, GIVE_UP);
}

/* Otherwise a driver that polls would keep a device that was given up in that state for ever. */
static void one_that_is_being_started_has_time(void)
{
    begin();
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, GIVE_UP);
    now += GIVE_UP;
    expect(sight(RELAY_WORKER_STARTING), ATTEMPT_WAIT, ANSWER);
    now += ANSWER - 1;
    expect(sight(RELAY_WORKER_STARTING), ATTEMPT_WAIT, 1);
    now += 1;
    expect(sight(RELAY_WORKER_STARTING), ATTEMPT_GIVE_UP, 0);

    /* The device has been silent only for a short time: a worker that starts has all the time that
     * is left. */
    begin();
    expect(sight(RELAY_WORKER_STARTING), ATTEMPT_WAIT, GIVE_UP);
}

/* Every worker misses its deadline with the same access. The vCPU goes on nevertheless. */
static void every_worker_wedges(void)
{
    begin();
    uint32_t worker = 1;
    struct attempt_next found = {0};
    while (now < START + 10 * GIVE_UP) {
        found = next(sight(worker));
        while (found.step == ATTEMPT_TELL || found.step == ATTEMPT_WAIT) {
            now += found.wait_ms;
            found = next(late(worker));
        }
        if (found.step == ATTEMPT_REPLACE) {
            found = next(sight(RELAY_NO_WORKER));
            worker++;
        }
        if (found.step == ATTEMPT_GIVE_UP)
            break;
    }
    CU_ASSERT_EQUAL(found.step, ATTEMPT_GIVE_UP);
    CU_ASSERT_EQUAL(now, START + GIVE_UP);
}

/* The worker's last part begins when the machine goes on, and again if it has stood still in that.
 */
static void a_worker_has_its_time_though_the_machine_stood_still(void)
{
    begin();
    expect(sight(1), ATTEMPT_TELL, FIRST);
    now += FIRST + 60000;
    expect(late(1), ATTEMPT_WAIT, LAST);
    now += LAST + 60000;
    expect(late(1), ATTEMPT_WAIT, LAST);
    now += LAST + LAST - 1; /* on a busy machine that is no standstill */
    expect(late(1), ATTEMPT_REPLACE, 0);
}

static void no_access_is_given_up_because_the_machine_stood_still(void)
{
    begin();
    expect(sight(RELAY_NO_WORKER), ATTEMPT_WAIT, GIVE_UP);
    now += GIVE_UP + 60000;
    expect(late(RELAY_NO_WORKER), ATTEMPT_WAIT, LAST);
    expect(sight(RELAY_WORKER_STARTING), ATTEMPT_WAIT, ANSWER);
    now += ANSWER + 60000;
    expect(late(RELAY_WORKER_STARTING), ATTEMPT_WAIT, LAST);
    now += LAST;
    expect(late(RELAY_WORKER_STARTING), ATTEMPT_GIVE_UP, 0);
}

static void a_disk_excuses_though_the_machine_stood_still(void)
{
    begin();
    miss();
    struct attempt_seen seen = late(1);
    seen.is_in_io = true;
    expect(seen, ATTEMPT_WAIT, 500);
    now += 500 + 60000;
    seen.now = now;
    expect(seen, ATTEMPT_WAIT, LAST);
}

/* A machine on which every wait ends too late is no reason to wait for ever. */
static void standstills_end_as_well(void)
{
    unsigned int waits = 0;
    begin();
    expect(sight(1), ATTEMPT_TELL, FIRST);
    now += FIRST;
    while (next(late(1)).step == ATTEMPT_WAIT && waits++ < 100)
        now += LAST + 60000;
    CU_ASSERT_EQUAL(waits, 11);
}

static void at_the_end_nothing_waits(void)
{
    begin();
    struct attempt_seen seen = sight(RELAY_NO_WORKER);
    seen.is_stopping = true;
    expect(seen, ATTEMPT_GIVE_UP, 0);
    seen.worker = RELAY_WORKER_STARTING;
    expect(seen, ATTEMPT_GIVE_UP, 0);
}

int main(int argc, char **argv)
{
    CU_TestInfo tests[] = {
        {"the first worker is told without a clock", the_first_worker_is_told_without_a_clock},
        {"the end of the last wait is the deadline", the_end_of_the_last_wait_is_the_deadline},
        {"noise puts nothing off", noise_puts_nothing_off},
        {"a successor has its own time", a_successor_has_its_own_time},
        {"a disk excuses, and not for ever", a_disk_excuses_and_not_for_ever},
        {"what was excused and is over is judged", what_was_excused_and_is_over_is_judged},
        {"without a worker it is given up in time", without_a_worker_it_is_given_up_in_time},
        {"one that is being started has time", one_that_is_being_started_has_time},
        {"every worker wedges", every_worker_wedges},
        {"a worker has its time though the machine stood still",
         a_worker_has_its_time_though_the_machine_stood_still},
        {"no access is given up because the machine stood still",
         no_access_is_given_up_because_the_machine_stood_still},
        {"a disk excuses though the machine stood still",
         a_disk_excuses_though_the_machine_stood_still},
        {"standstills end as well", standstills_end_as_well},
        {"at the end nothing waits", at_the_end_nothing_waits},
        CU_TEST_INFO_NULL,
    };
    return run_tests(argc, argv, "how long an access waits", tests);
}
